"""Upkeep so frequent that a small history meets all of it, and a folder that is quick to sync."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from faults import child


@pytest.fixture
def frequent_upkeep(monkeypatch):
    for module, names in child.PATCHED.items():
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name))
    child.frequent_upkeep()


@pytest.fixture
def scratch():
    """A folder in memory where there is one: syncs of a thousand states would take minutes on a disk."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
