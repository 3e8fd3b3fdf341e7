"""The journey runs and says what it should."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_journey_runs():
    script = ROOT / "examples" / "07_snapshot_and_restore.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr
    told = (
        "cleaning removed 120 records; 40 are left",
        "restored: 120 records came back, 0 went",
        "160 records, sound",
    )
    for line in told:
        assert line in ran.stdout
    assert "read back: 130 records, {'default': 130}" in ran.stdout
