"""Shared fixtures: where the data is, and what a skip for missing data means."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of ORTHANT_DATA; skips when it is not set, fails when it is set but absent."""
    value = os.environ.get("ORTHANT_DATA", "")
    if not value:
        pytest.skip("ORTHANT_DATA is not set: point it at the folder with the data sets")
    root = Path(value)
    if not root.is_dir():
        pytest.fail(f"ORTHANT_DATA={value} is not a folder")
    return root
