"""Rows on recommendation: click prediction, embedding tables, graphs.

Nothing enters; `Paper` records leave, one per module.
Never holds a method; torch and data are touched only inside a claim.
Start with `fastrp`.
"""
