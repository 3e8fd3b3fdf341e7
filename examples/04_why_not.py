"""Find out why a record that you expected is not in a result, and what would bring it in.

Run: python examples/04_why_not.py [FOLDER]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import orthant
from orthant.datasets.pydocs import read_python_documentation

PACKAGES = ("csv", "json", "email", "http", "sqlite3", "urllib", "zipfile", "logging", "unittest", "asyncio")
QUERY = "parse the arguments of a url query string"

CASES = (
    ("asked for one hit too few", QUERY, "urllib.parse.parse_qsl", {"k": 1}),
    ("a filter that is too narrow", QUERY, "urllib.parse.parse_qs", {"where": {"package": {"in": ["http", "json"]}}}),
    ("a word that must not be there", f"{QUERY} -flag", "urllib.parse.parse_qs", {}),
    ("a score that is too high", QUERY, "urllib.parse.urlencode", {"min_score": 0.9}),
    ("no word in common", QUERY, "zipfile.ZipFile.close", {"mode": "lexical"}),
    ("one leg has it, the other pushes it out", "unpack an archive", "zipfile.ZipFile.extractall", {"k": 5}),
    ("a name that is misspelt", QUERY, "urllib.parse.parse_query", {}),
)


def main(folder: Path) -> None:
    """Ask about one record per cause."""
    documents = read_python_documentation(PACKAGES, processes=1).documents
    with orthant.open(folder / "docs.orthant", encoder="static") as docs:
        docs.upsert(
            [document.id for document in documents],
            texts=[document.text for document in documents],
            metadata=[{"package": document.id.partition(".")[0]} for document in documents],
        )
        print(f"{len(docs):,} docstrings\n")
        for title, query, record_id, settings in CASES:
            why = docs.why_not(query, record_id, **settings)
            print(f"{title}: {query!r} {settings or ''}\n  [{why.stage}] {why}")
            for change in why.changes[1:]:
                print(f"  or: {change}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
