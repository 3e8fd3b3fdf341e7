"""Rows on vector spaces themselves: adapting, aligning, explaining and replacing them.

Nothing enters; `Paper` records leave, one per module.
Never holds a method; torch and data are touched only inside a claim.
Start with `query_drift`.
"""
