"""``orthant upgrade``: replacing the encoder of a collection.

A collection's folder, an encoder's name and judged queries enter; figures, or one JSON object, leave.
Never decides itself: that is the business of ``orthant.collection.upgrade``.
Start with `upgrade`.
"""
