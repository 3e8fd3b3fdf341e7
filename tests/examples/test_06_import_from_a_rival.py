"""The journey of moving in runs as written and says what happened."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_journey_of_moving_in():
    ran = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "06_import_from_a_rival.py")],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "chroma notes: 10 of 10 records, vectors {'default': 9, 'chroma': 10}" in ran.stdout.replace(
        "{'chroma': 10, 'default': 9}", "{'default': 9, 'chroma': 10}"
    )
    assert ran.stdout.count("refused:") == 2
    assert "field 'scan': a value of type bytes: 1 (such as card-105)" in ran.stdout
    assert "0 written, 10 there already" in ran.stdout
    assert "in drawer 26: card-104, card-105, card-106, card-107" in ran.stdout
