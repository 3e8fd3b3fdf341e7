"""Durability: one commit point in SQLite, vectors in segment files, everything else derived.

Checked batches enter; immutable generations leave.
Never encodes, never ranks.
Start with `store.Store`, then `segments`.
"""
