"""Verbs of training and of what comes after it.

Arguments enter; tables or one JSON object leave.
Never trains or exports itself: that is the business of ``orthant.learn``.
Start with `train`.
"""
