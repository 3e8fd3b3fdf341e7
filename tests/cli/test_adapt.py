"""``orthant adapt``: the library's report, stored only where asked and shown to be better."""

from __future__ import annotations

import json

import pytest

import orthant

THINGS = [
    "harbour",
    "engine",
    "garden",
    "violin",
    "lighthouse",
    "bridge",
    "castle",
    "forest",
    "kitchen",
    "market",
    "river",
    "school",
]
WORDS = ["red", "blue", "grey", "pale", "dark", "old", "new", "tall", "green", "broken", "famous", "empty"]


@pytest.fixture
def made(tmp_path):
    """Questions that call everything by the name of another thing, which the shipped encoder cannot know."""
    texts = {f"r{i}-{j}": f"The {word} {thing}" for i, thing in enumerate(THINGS) for j, word in enumerate(WORDS)}
    with orthant.open(tmp_path / "c", encoder="static") as opened:
        opened.upsert(list(texts), texts=list(texts.values()))
    names = [*THINGS[1:], THINGS[0]]
    rows = [
        {"query": f"The {word} {names[i]}", "id": f"r{i}-{j}"}
        for i in range(len(names))
        for j, word in enumerate(WORDS)
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path, rows


def test_learn_apply_and_take_back(run, made):
    folder, rows = made
    given = (str(folder / "c"), "--pairs", str(folder / "pairs.jsonl"))
    first = run("adapt", *given, "--json")
    assert first.code == 0 and first.err == ""
    with orthant.open(folder / "c", read_only=True) as opened:
        assert opened.adapters == {}
        assert first.json == json.loads(json.dumps(opened.adapt(rows, apply=False).to_dict()))
    assert first.json["recommended"] and not first.json["applied"]
    shown = run("adapt", *given, "--apply")
    assert shown.code == 0 and "Searches use it now" in shown.out and "--reset" in shown.err
    assert f"query {first.json['validated']['query']:.4f}" in shown.out and first.json["sides"] in ("query", "both")
    assert "in use" in run("stats", str(folder / "c")).out
    assert run("adapt", str(folder / "c"), "--reset", "--json").json == {"reset": True}
    assert run("adapt", str(folder / "c"), "--reset", "--json").json == {"reset": False}


def test_moved_records_hold_up_an_upgrade_until_they_are_kept(run, refused, made):
    folder, _ = made
    given = (str(folder / "c"), "--pairs", str(folder / "pairs.jsonl"), "--sides", "both")
    assert run("adapt", *given, "--apply", "--json").json["applied"]
    refused("upgrade", str(folder / "c"), "minilm", says=["moved by a correction", "keep_adapter() or reset_adapter()"])
    refused("adapt", str(folder / "c"), "--keep", "--reset", says=["--reset beside --keep"])
    assert run("adapt", str(folder / "c"), "--keep", "--json").json == {"keep": True}
    assert run("adapt", str(folder / "c"), "--keep", "--json").json == {"keep": False}
    assert "No upgrade is open" in run("upgrade", str(folder / "c")).out
    refused("adapt", str(folder / "c"), "--reset", says=["former vectors were let go"])


def test_bad_use_is_refused_in_one_paragraph(run, made):
    folder, _ = made
    for given in ((), ("--reset", "--apply"), ("--pairs", str(folder / "none.jsonl"))):
        found = run("adapt", str(folder / "c"), *given)
        assert found.code == 2 and found.out == ""
    assert run("adapt", str(folder / "nowhere"), "--pairs", "x").code == 2
    # A file of judgements is told what pairs look like.
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
    assert "fields 'query' and 'id'" in run("adapt", str(folder / "c"), "--pairs", str(folder / "qrels.tsv")).err
    assert not (folder / "nowhere").exists()
