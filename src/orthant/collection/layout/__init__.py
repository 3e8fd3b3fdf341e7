"""A collection on a plane: where its records lie, neighbours close together.

A generation and the name of a space enter; ids with places leave.
Never changes the collection, and keeps nothing.
Start with `points`.
"""
