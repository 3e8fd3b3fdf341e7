"""``orthant snapshot``: states of a collection, kept, listed, gone back to and carried away.

A collection's folder and names enter; tables or one JSON object leave.
Never makes a snapshot itself: that is the business of ``orthant.collection.snapshots``.
Start with `snapshot`.
"""
