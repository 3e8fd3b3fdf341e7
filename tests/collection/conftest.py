"""Settings by which a few hundred vectors have what many thousands have."""

from __future__ import annotations

import pytest

from orthant.collection.storage import maintenance, merging


@pytest.fixture
def small_graphs(monkeypatch):
    """Graphs from 400 vectors on, tails of 150."""
    for name, value in {"BREAK_EVEN": 400, "_TAIL_ROWS": 150, "_CLOSE_ROWS": 20}.items():
        monkeypatch.setattr(merging, name, value)
    monkeypatch.setattr(maintenance, "_MINIMUM_SLOTS", 100)
