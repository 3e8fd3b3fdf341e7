"""One vector per token without torch, and scores between such sets: ColBERT-style models.

Texts and saved late-interaction models enter; ragged token vectors and MaxSim scores leave.
Never trains, never stores an index.
Start with `encoder.LateInteractionEncoder`, then `reranker`.
"""
