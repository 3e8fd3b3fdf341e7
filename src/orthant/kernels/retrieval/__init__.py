"""The inner loops of a search by words and vectors together.

Posting lists, rows of vectors and the lists of several legs enter; scores and orders leave.
Never knows texts, records or spaces.
Start with `bm25`.
"""
