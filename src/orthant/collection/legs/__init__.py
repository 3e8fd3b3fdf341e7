"""Legs of a search that compare vectors.

Queries and a generation enter; each leg's hits leave.
Never fuses and never reads a record.
Start with `vectors`.
"""
