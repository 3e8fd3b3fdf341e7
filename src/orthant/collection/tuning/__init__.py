"""Fusion weights learned from judged queries, and kept with the collection.

Queries with relevant records enter; a report with held-out figures, and settings of hybrid search, leave.
Never recommends a gain that a paired test does not carry, and never stores anything unless asked.
Start with `learning.tune`, then `crossvalidation`.
"""
