"""Scores between sets of vectors.

Arrays of vectors with offsets enter; scores leave.
Never checks its input, never keeps anything.
Start with `maxsim`.
"""
