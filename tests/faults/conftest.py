"""Upkeep so frequent that a small history meets all of it."""

from __future__ import annotations

import pytest

from faults import child


@pytest.fixture
def frequent_upkeep(monkeypatch):
    for module, names in child.PATCHED.items():
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name))
    child.frequent_upkeep()
