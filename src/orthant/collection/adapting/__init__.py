"""Corrections of a space's queries, learned from pairs of a query and the record that it should have found.

Pairs enter; a report leaves, and a stored adapter where it is better. Records and their vectors are never changed.
Start with ``methods.py``, then ``learning.py``.
"""
