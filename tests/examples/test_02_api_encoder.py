"""The journey of an encoder behind an API runs, and says what it promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_journey_runs():
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    ran = subprocess.run(
        [sys.executable, ROOT / "examples" / "02_api_encoder.py"], capture_output=True, env=environment, timeout=120
    )
    said = ran.stdout.decode()
    assert ran.returncode == 0, ran.stderr.decode()
    assert "6 texts, 3 requests" in said
    assert "status 401" in said and "Records in the collection: 0" in said
    assert "resumes: 2 of 6 texts" in said and "Records now: 6" in said
    assert "note-5" in said and "Reopened without naming the encoder: ['note-1']" in said
    assert "changed the model under its name" in said and "canary" in said
