"""The journey of weights: a gain that is there is applied, one that is not is refused."""

from __future__ import annotations

import os
import subprocess
import sys

from contracts.package import ROOT


def test_the_journey_runs():
    script = ROOT / "examples" / "10_learn_fusion_weights.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr
    first, used, again, names = (part for part in ran.stdout.split("\n\n")[1:5])
    assert first.startswith("1. Use ") and "against lexical alone" in first and "applied: True" in first
    assert "come from: tuned" in used
    assert "Keep the present weights" in again and "applied: False" in again
    assert "Keep the default" in names and "better than on others" in names
