"""A command line run in this process, and a small collection to run it on."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass

import pytest

from orthant.cli.main import main

RECORDS = [
    {"_id": "kite", "title": "Kites", "text": "A red kite rises over the windy beach.", "year": 1990, "kind": "toy"},
    {"_id": "boat", "title": "Boats", "text": "The blue boat crosses the harbour.", "year": 2001, "kind": "vehicle"},
    {"_id": "bread", "title": "Bread", "text": "Knead the dough and bake it in a hot oven.", "year": 2010},
    {"_id": "whale", "title": "Whales", "text": "Whales are the largest animals in the sea.", "year": 2015},
    {"_id": "storm", "title": "Storms", "text": "Strong winds and rain damage houses.", "year": 2015, "tags": ["sky"]},
    {"_id": "violin", "title": "Violin", "text": "A violin has four strings and a bow.", "year": 1999},
]


@dataclass(frozen=True)
class Ran:
    """What one command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """The one JSON object on stdout."""
        return json.loads(self.out)


@pytest.fixture
def run(capsys):
    """Run ``orthant`` with arguments."""

    def run_command(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(stop.value.code or 0, captured.out, captured.err)

    return run_command


@pytest.fixture
def refused(run):
    """Run ``orthant`` with arguments that it must refuse in one paragraph that says all of some words."""

    def run_refused(*arguments, says=()):
        ran = run(*arguments)
        assert ran.code == 2
        assert ran.out == ""
        assert ran.err.startswith("orthant") and ran.err.count("\n") == 1, ran.err
        for word in says:
            assert word.lower() in ran.err.lower()
        return ran

    return run_refused


def write_jsonl(path, rows):
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def records_file(tmp_path_factory):
    """Six records as JSON lines."""
    return write_jsonl(tmp_path_factory.mktemp("records") / "records.jsonl", RECORDS)


@pytest.fixture(scope="session")
def built(tmp_path_factory, records_file):
    """A collection made once by the command line."""
    path = tmp_path_factory.mktemp("built") / "notes.orthant"
    with pytest.raises(SystemExit) as stop:
        main(["add", str(path), str(records_file), "--encoder", "static", "--json"])
    assert not stop.value.code
    return path


@pytest.fixture
def notes(built, tmp_path):
    """A copy of that collection, free to be changed."""
    return shutil.copytree(built, tmp_path / "notes.orthant")
