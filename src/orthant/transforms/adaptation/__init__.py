"""Corrections of frozen vectors, learned from pairs of a query and the item it should have found.

Vectors of queries and of items by one encoder enter; corrected ones of the same width leave.
Never sees texts or encoders, and needs no torch.
Start with `adapter`.
"""
