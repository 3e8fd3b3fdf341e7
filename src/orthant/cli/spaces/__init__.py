"""Spaces of a collection on the command line.

Options enter; spaces and encoders of an opened collection come of them.
Never reads a source.
Start with `tokens`.
"""
