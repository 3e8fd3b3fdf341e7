"""Which claims of the papers hold here? Runs rows in full and writes what they come to.

    python benchmarks/measure_papers.py KEY [KEY ...]

Each result goes, byte for byte the same, to the package (where `orthant papers` reads it) and to
benchmarks/results/papers/. Run it alone on the machine, with ORTHANT_DATA set, and commit both files.
"""

from __future__ import annotations

import sys
from pathlib import Path

from orthant.errors import OrthantError
from orthant.papers.catalogue import paper
from orthant.papers.reproduce import measurement, reproduce
from orthant.papers.results import HOME, write

MIRROR = Path(__file__).parent / "results" / "papers"


def main(keys: list[str]) -> int:
    worst = 0
    for key in keys:
        try:
            row = paper(key)
            report = reproduce(key, progress=lambda line: print(line, file=sys.stderr))
            paths = write(measurement(row, report), homes=(HOME, MIRROR))
        except OrthantError as error:
            print(f"{key}: {error}", file=sys.stderr)
            worst = 2
            continue
        print(f"{key}: {report.outcome} -> {', '.join(path.name for path in paths)}")
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
