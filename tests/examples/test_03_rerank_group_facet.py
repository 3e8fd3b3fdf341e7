"""The journey through the stages runs and prints what it promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_script_runs():
    script = ROOT / "examples" / "03_rerank_group_facet.py"
    settings = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    ran = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=settings, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr
    for words in (
        "200 passages",
        "With diversity=0.5",
        "year 2024, was",
        "10 pages of 50 hits, 50 of them distinct",
        "Facets over all that match",
    ):
        assert words in ran.stdout
    varied = ran.stdout.split("With diversity=0.5")[1].split("\n\n")[0]
    plain = ran.stdout.split("Plain: four times the same")[1].split("\n\n")[0]
    assert len({line.split(": ", 1)[1] for line in varied.splitlines() if ": " in line}) > len(
        {line.split(": ", 1)[1] for line in plain.splitlines() if ": " in line}
    )
