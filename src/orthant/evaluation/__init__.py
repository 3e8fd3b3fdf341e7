"""Harnesses that judge encoders, indexes and anything that searches.

Targets that fit a protocol and judged data enter; reports leave.
Never imports a collection, a server or a paper; a missing arm is missing, never zero.
Start with `retrieval`.
"""
