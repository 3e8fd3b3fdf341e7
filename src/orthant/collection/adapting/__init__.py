"""Corrections of a space's queries, learned from pairs of a query and the record that it should have found.

Pairs enter; a report leaves, and a stored adapter where it is better.
Never changes records or their vectors.
Start with `methods`, then `learning`; `asking` is what searches use.
"""
