"""Rows on finding neighbours: compression, graphs, filters, several vectors per text.

Nothing enters; `Paper` records leave, one per module.
Never holds a method; torch and data are touched only inside a claim.
Start with `muvera`.
"""
