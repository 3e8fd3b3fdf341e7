"""The legs of a search, and the ranking that they make together.

Queries and a generation enter; hits of each leg, and one ranking per query, leave.
Never reads a record.
Start with `vectors` and `postings`; `fused` joins them.
"""
