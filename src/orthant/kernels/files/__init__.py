"""Rows of files that are read where they are wanted, and not mapped by being looked at.

A mapped array and the file behind it enter; copies of single rows leave, or the addresses of these.
Never opens or writes a file of its own accord, and holds none open longer than its map lives.
Start with `rows`.
"""
