"""Supervised explicit semantic analysis: a space whose dimensions are named concepts, learned from pairs and tags.

Pairs of texts and tags of documents enter; a `ConceptEncoder` that NumPy serves leaves.
Never needed to search or to explain: `orthant.encoders.ConceptEncoder` does both.
Start with `training.train_concepts`.
"""
