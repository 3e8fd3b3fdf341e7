"""Spaces of weighted terms: sparse vectors stored with the records, searched by posting lists.

Sparse vectors and weighted queries enter; rows by dot product leave.
Never encodes by itself, never writes a file of its own: vectors are rows of SQLite, posting lists are derived.
Start with `index.WeightedIndex`, then `state`, `tables` and `leg`.
"""
