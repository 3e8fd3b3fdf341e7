"""The journey from one embedding API to another runs: nothing mixed, nothing paid twice, a changed model noticed."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from contracts.package import ROOT


def test_the_journey_runs():
    script = ROOT / "examples" / "11_change_api_encoder.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "never mixed" in ran.stdout and "add_space" in ran.stdout
    assert "old provider meanwhile: 0" in ran.stdout and "{'default': 8, 'fine': 8}" in ran.stdout
    old, new = map(int, re.search(r"of 8: \{'default': (\d), 'fine': (\d)\}", ran.stdout).groups())
    assert new > old and "Searches move to space='fine': ['violin']" in ran.stdout
    assert "Canary alarm" in ran.stdout and "The weights behind the name changed" in ran.stdout
