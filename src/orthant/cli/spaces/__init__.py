"""Spaces of a collection on the command line.

Options enter; spaces of an opened collection, and their encoders, leave.
Never reads a source.
Start with `tokens`.
"""
