"""``orthant monitor``: the report of a monitor's file."""

from __future__ import annotations

import json

import orthant
from orthant.collection.insight import journal


def test_a_file_is_shown_and_drawn(run, built, tmp_path):
    path, drawing = tmp_path / "queries.jsonl", tmp_path / "queries.svg"
    with orthant.open(built, read_only=True) as notes, notes.monitor(path, window=20) as watch:
        for _ in range(25):
            notes.search("red kite", mode="lexical")
        expected = watch.report()
    ran = run("monitor", path, "--plot", drawing)
    assert ran.code == 0 and ran.out.startswith("25 queries, 2 windows kept, 0 changes")
    assert drawing.read_text().startswith("<svg") and "drawn to" in ran.err
    told = run("monitor", path, "--json").json
    assert told["queries"] == 25 and told["windows"][0] == json.loads(json.dumps(expected.windows[0]))


def test_a_change_exits_with_one(run, built, tmp_path):
    path = tmp_path / "queries.jsonl"
    with orthant.open(built, read_only=True) as notes, notes.monitor(path, window=20):
        for query in ["red kite"] * 20 + ["bread oven"] * 20:
            notes.search(query)
    ran = run("monitor", path)
    assert ran.code == 1 and "CHANGE: queries changed in queries 21 to 40" in ran.out
    assert journal.read(path)[1] == 0


def test_an_absent_file_is_refused(refused, tmp_path):
    refused("monitor", tmp_path / "absent", says=("monitor file",))
