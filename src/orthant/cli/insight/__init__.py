"""Verbs that explain results.

Arguments enter; a sentence, tables or one JSON object leave.
Never explains anything itself: that is the business of ``orthant.collection.insight``.
Start with `why_not`.
"""
