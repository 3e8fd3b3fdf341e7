"""The example runs; both changes are reported, and nothing before them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "09_monitor.py"


def test_w37_both_changes_are_reported(tmp_path):
    ran = subprocess.run(
        [sys.executable, str(EXAMPLE), str(tmp_path)], capture_output=True, text=True, timeout=120, env=dict(os.environ)
    )
    assert ran.returncode == 0, ran.stderr
    assert "steady traffic about files: 0 changes" in ran.stdout
    changes = [line for line in ran.stdout.splitlines() if line.startswith("CHANGE")]
    assert "queries changed in queries 241 to 300" in changes[0]
    assert any("answers changed in queries 421 to 480" in line for line in changes[1:])
