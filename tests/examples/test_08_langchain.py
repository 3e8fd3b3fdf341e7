"""The journey of a user who adopts a collection in LangChain."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_adopt_in_langchain():
    pytest.importorskip("langchain_core", reason="needs the extra 'langchain'")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "08_langchain.py"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    parts = {part.splitlines()[0]: part.splitlines()[1:] for part in done.stdout.strip().split("\n\n")}
    assert "inlet valve" in "".join(parts["What does E-4711 mean? (hybrid)"])
    assert "2019" not in "".join(parts["The same, 2024 and later"])
    assert all("ressure" in line for line in parts["Low pressure, closest"])
    assert parts["Low pressure, varied"][1] != parts["Low pressure, closest"][1]
    assert "motor run hot" in done.stdout
    assert "canteen closes" in done.stdout
