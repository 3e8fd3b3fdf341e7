"""Verbs that clean a collection.

Arguments enter; pairs, groups and marks, as tables or one JSON object, leave.
Never compares itself: that is the business of ``orthant.collection.duplicates``.
Start with `dedup`.
"""
