"""Watch the queries of a collection, and see a change of topic and a loss of records reported.

Run: python examples/09_monitor.py [FOLDER]
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import orthant
from orthant.datasets.pydocs import read_python_documentation

PACKAGES = ("csv", "json", "email", "http", "sqlite3", "urllib", "zipfile", "logging", "unittest", "asyncio")
FILES = ("csv", "json", "zipfile")
NETWORK = ("http", "urllib", "email")
WINDOW = 60


def main(folder: Path) -> None:
    """Watch steady traffic, then a change of topic, then a loss of records."""
    rng = random.Random(5)
    documents = read_python_documentation(PACKAGES, processes=1).documents
    with orthant.open(folder / "docs.orthant", encoder="static") as docs:
        docs.upsert([d.id for d in documents], texts=[d.text for d in documents])
        asked = {topic: [_question(d.text) for d in documents if _package(d.id) in topic] for topic in (FILES, NETWORK)}

        with docs.monitor(folder / "queries.jsonl", window=WINDOW, canaries=["read a csv file"]) as watch:
            for _ in range(4 * WINDOW):
                docs.search(rng.choice(asked[FILES]))
            print(f"steady traffic about files: {len(watch.report().changes)} changes")
            for _ in range(WINDOW):
                docs.search(rng.choice(asked[NETWORK]))
            print("traffic turns to networks:")
            for _ in range(2 * WINDOW):
                docs.search(rng.choice(asked[NETWORK]))
            docs.delete([d.id for d in documents if _package(d.id) in NETWORK])
            for _ in range(WINDOW):
                docs.search(rng.choice(asked[NETWORK]))
            print("and the records about networks are deleted:\n")
            report = watch.report()
        print(report)
        print(f"\nwatching took {1e6 * report.overhead_s:,.0f} microseconds per query, tests included")
        print(f"the file holds {(folder / 'queries.jsonl').stat().st_size:,} bytes and no text of a query")


def _package(record_id: str) -> str:
    return record_id.partition(".")[0]


def _question(text: str) -> str:
    """The first words of a docstring, behind its signature."""
    body = text.partition("\n\n")[2] or text
    return " ".join(body.split()[:8]) or "nothing"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
