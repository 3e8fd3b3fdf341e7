"""Corrections of frozen vectors, learned from pairs of a query and the item it should have found.

What enters: vectors of queries and of items by one encoder; what leaves: corrected ones of the same width. It never
sees texts or encoders, and needs no torch. Start with ``adapter.py``.
"""
