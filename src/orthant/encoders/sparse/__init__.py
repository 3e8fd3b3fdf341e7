"""Texts to weighted terms: SPLADE-style models without torch, models of sentence-transformers, functions of one's own.

Texts, saved models and weights that a user brings enter; checked sparse rows over a vocabulary leave.
Never trains, never stores an index, never downloads.
Start with `splade.SpladeEncoder`, then `rows`.
"""
