"""One vector space per aspect of a document, such as its genre or its method, from sets of labels.

Vectors or texts and labels enter; small networks that NumPy serves, or a fine-tuned encoder, leave.
Never judges: `orthant.measures.judge_aspects` does, on documents that were not trained on.
Start with `heads.train_aspect_heads`; `encoder` fine-tunes a whole model, `pairs` draws what both learn from.
"""
