"""Rows on text encoders: pooling, losses, training data, merging, pruning, positions.

Nothing enters; `Paper` records leave, one per module.
Never holds a method; torch and data are touched only inside a claim.
Start with `nv_embed`.
"""
