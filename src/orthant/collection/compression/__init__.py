"""Choosing codes on the vectors of a space, and searching it by them.

Vectors of a space enter, and limits; a report and, on consent, a setting that storage keeps leave.
Never drops a full vector: codes find candidates, vectors score them, and what was applied is taken back at any time.
Start with `methods`.
"""
