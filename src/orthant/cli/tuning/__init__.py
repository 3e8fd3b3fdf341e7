"""Verbs that fit a collection to its users' queries.

Arguments enter; a report on stdout and, where asked, a stored setting leave.
Never stores what a test does not carry.
Start with `tune_fusion`.
"""
