"""One module per kind of data set; each function reads one set and returns one record type.

A data folder and options enter; frozen records leave.
Never writes, never downloads, never guesses at a damaged row.
Start with `files`, then `retrieval`; users come through `orthant.datasets.load`.
"""
