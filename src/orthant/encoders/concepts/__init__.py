"""Texts to weights of named concepts, so that a score can be told in their names.

Texts enter; sparse rows over a list of concepts leave, without torch.
Never trains with torch: `orthant.learn.train_concepts` makes what `encoder` serves.
Start with `association.ExplicitSemanticAnalysis`, which needs articles only; `rows` keeps the strongest concepts.
"""
