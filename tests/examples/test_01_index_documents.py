"""The journey of who indexes a folder of documents."""

from __future__ import annotations

import os
import subprocess
import sys

from contracts.package import ROOT


def test_the_journey_runs_and_says_what_it_found():
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    script = ROOT / "examples" / "01_index_documents.py"
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, env=environment, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    for words in (
        "4 documents became",
        "Skipped broken.txt: Got bytes that are no text",
        "guide.md > Flying a kite > Line",
        "tools/knots.py > def bowline",
        "mail/repair.eml > The engine",
        "1 document updated, 2 unchanged, 1 removed",
        "four times the pull",
    ):
        assert words in ran.stdout, ran.stdout
