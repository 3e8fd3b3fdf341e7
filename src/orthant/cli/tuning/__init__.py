"""Verbs that fit a collection to its users' queries.

Arguments enter; a report on stdout and, where asked or gained, a stored setting or a better graph leave.
Never learns anything itself: that is the business of ``orthant.collection.tuning``.
Start with `tune`.
"""
