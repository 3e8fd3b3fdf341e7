"""The journey of filters and hybrid search runs, and every filter holds."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from contracts.package import ROOT


def test_the_journey_runs():
    script = ROOT / "examples" / "12_filter_and_hybrid.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr
    found = {part.splitlines()[0]: re.findall(r"^  (t\d) ", part, re.MULTILINE) for part in ran.stdout.split("\n\n")}
    words, meaning, both, code, recent, nested, required, weighed = found.values()
    assert words == ["t6"] and {"t3", "t6"} <= set(meaning) and both[:2] == ["t6", "t3"]
    assert set(code) == {"t2", "t5"} and set(recent) == {"t1", "t6", "t7"}
    assert "3 of 8 tickets pass" in ran.stdout
    assert set(nested) == {"t1", "t6", "t8"} and set(required) == {"t1", "t8"} and weighed[0] == "t6"
