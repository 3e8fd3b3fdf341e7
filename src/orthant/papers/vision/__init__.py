"""Rows on images and video: several modalities, metric learning, generation.

Nothing enters; `Paper` records leave, one per module.
Never holds a method; torch and data are touched only inside a claim.
Start with `simvq`.
"""
