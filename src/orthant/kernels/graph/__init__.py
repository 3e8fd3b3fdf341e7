"""Kernels of the graph index: codes of two levels, best-first search, links, and answers.

Addresses and checked arrays enter; slots, keys and scores leave.
Never allocates what outlives a call, never validates.
Start with `sketch`, what a vector becomes, then `beam`, how they are searched.
"""
