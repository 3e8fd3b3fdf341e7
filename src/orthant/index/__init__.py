"""Nearest neighbours among vectors with int64 ids.

Vectors, ids and row sets enter; `Hits` leave.
Never sees documents, where-expressions or encoders.
Start with `flat`, the oracle of every other index.
"""
