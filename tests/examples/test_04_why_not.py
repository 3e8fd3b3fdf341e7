"""The example runs, and names a different stage for every case."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "04_why_not.py"


def test_every_case_names_its_stage(tmp_path):
    ran = subprocess.run(
        [sys.executable, str(EXAMPLE), str(tmp_path)], capture_output=True, text=True, timeout=120, env=dict(os.environ)
    )
    assert ran.returncode == 0, ran.stderr
    stages = re.findall(r"^  \[([\w-]+)\]", ran.stdout, re.MULTILINE)
    assert stages == ["page", "filter", "condition", "min_score", "words", "fusion", "missing"]
    assert "weights={'dense':" in ran.stdout
