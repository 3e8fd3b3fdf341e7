"""Drawings made of strokes as pixels.

SVG shapes of the kind that icon sets use enter; grey pictures leave.
Never draws fills, gradients, texts or styles, never reads a network address.
Start with `rendering.render`; `outlines` turns shapes into lists of points.
"""
