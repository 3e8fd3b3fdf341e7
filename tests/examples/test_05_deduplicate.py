"""The journey of cleaning a collection runs and finds what it planted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_journey_finds_the_planted_copies(data_root):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "ORTHANT_DATA": str(data_root)}
    ran = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "05_deduplicate.py")],
        capture_output=True, text=True, timeout=240, env=environment, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    figures = re.findall(r"^(text|vectors) +([\d.]+) +[\d.]+-[\d.]+ +([\d.]+) +([\d.]+)", ran.stdout, re.MULTILINE)
    assert [row[0] for row in figures] == ["text", "vectors"]
    for _, _, precision, recall in figures:
        assert float(precision) >= 0.9 and float(recall) >= 0.9
    marked = int(re.search(r"marked (\d+)", ran.stdout).group(1))
    assert f"taken back: {marked}" in ran.stdout and ran.stdout.count("cluster of") == 4
