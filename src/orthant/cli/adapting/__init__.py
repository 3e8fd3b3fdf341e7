"""Verbs that learn from feedback.

Arguments enter; a report on stdout and, where asked and shown to be better, a stored correction leave.
Never learns anything itself: that is the business of ``orthant.collection.adapting``.
Start with `adapt`.
"""
