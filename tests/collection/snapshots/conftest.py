"""Upkeep so frequent that a small history meets all of it."""

from faults.conftest import frequent_upkeep  # noqa: F401
