"""Stores of documents side by side: how fast, how large, how exact, and what survives.

Texts with metadata and vectors, and the names of stores, enter; one report with a column per question leaves.
Never imports a store into the measuring process, never gives one store more cores, data or tuning than another.
Start with `run`; what a store must do to take part is in `store`.
"""
