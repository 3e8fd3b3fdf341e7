"""Run every benchmark, one after the other, alone on the machine: ``make bench``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPTS = (
    "where_bitmap.py",
    "collection_speed.py",
    "cold_start.py",
    "collection_rivals.py",
    "static_encoder.py",
    "retrieval.py",
    "hybrid_weights.py",
    "fusion_weights.py",
    "ann.py",
    "two_threads.py",
    "filtered.py",
    "query_aware.py",
    "hnsw_study.py",
    "ivf.py",
    "training.py",
)


def main() -> None:
    here = Path(__file__).parent
    for name in SCRIPTS:
        print(f"== {name}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, str(here / name)], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
