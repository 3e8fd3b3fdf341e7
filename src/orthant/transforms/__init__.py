"""Vectors to vectors, as scikit-learn estimators.

float32 vectors enter; float32 vectors leave.
Never trains with torch, never touches a collection.
Classes register in `tests/conformance` and speak `orthant.types.Transform`.
"""
