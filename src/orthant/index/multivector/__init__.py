"""Nearest neighbours among sets of vectors, by MaxSim.

Sets of token vectors with int64 ids enter; `Hits` leave.
Never sees texts, encoders or documents, and never returns a score that was not computed exactly.
Start with `index`; `stages` has what proposes candidates.
"""
