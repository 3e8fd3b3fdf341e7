"""The journey runs and says what it should."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_journey_runs():
    script = ROOT / "examples" / "13_upgrade_encoder.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("True") == 2, ran.stdout
    assert "committed: committed" in ran.stdout
    assert "100% encoded again" in ran.stdout
