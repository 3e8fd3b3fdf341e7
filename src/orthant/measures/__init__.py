"""Figures computed from arrays: ranking metrics, significance tests, and later geometry.

Rankings, judgements and score arrays enter; numbers leave.
Never encodes, searches or reads a collection.
Start with `ranking`.
"""
