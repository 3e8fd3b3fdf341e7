"""``orthant upgrade`` from rehearsal to release."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from collection.fakes import FakeEncoder
from collection.upgrade.encoders import Newer, texts
from orthant.collection.collection import Collection
from orthant.collection.upgrade.words import DECISIONS, decision_table
from orthant.encoders import ProjectedEncoder, registry
from orthant.transforms import Layer, Network


@pytest.fixture
def named(tmp_path, monkeypatch):
    """A collection of a named encoder, and another that can be named."""
    for name, make in (("yesterday", FakeEncoder), ("today", Newer)):
        monkeypatch.setitem(registry._BUILT_IN, name, make)
    path = tmp_path / "c"
    with Collection(path, encoder="yesterday") as collection:
        collection.upsert([f"r{i}" for i in range(200)], texts=texts(200))
    return path


def test_an_upgrade_from_rehearsal_to_release(run, named, tmp_path):
    queries = tmp_path / "queries.jsonl"
    asked = [{"_id": f"q{i}", "text": text} for i, text in enumerate(texts(30, seed=1))]
    queries.write_text("".join(json.dumps(one) + "\n" for one in asked))
    found = run("upgrade", named, "today", "--rehearse", "--queries", queries, "--json").json
    assert (found["action"], found["metric"]) == ("do", "overlap@10")
    assert sorted(found["shares"]) == sorted(found["now"]) == ["0.00", "0.25", "0.50", "0.75", "1.00"]
    assert (found["seen"], found["decided_by"]) == (1.0, "unseen")
    said = run("upgrade", named, "today", "--rehearse", "--queries", queries, "--decide-by", "now").out
    assert "having seen 100% of it" in said and "records that the map has not seen" in said
    ran = run("upgrade", named, "today", "--using", "low-rank", "--run", "--share", "0.5", "--json").json
    assert (ran["encoded"], ran["mapped"]) == (100, 200)
    assert run("upgrade", named, "--json").json["phase"] == "running"
    assert "committed" in run("upgrade", named, "--commit").out
    assert run("search", named, "word1 word2", "--mode", "dense", "--json").code == 0
    assert run("upgrade", named, "--run", "--share", "1", "--json").json["share"] == 1.0
    assert "closed" in run("upgrade", named, "--release").out
    with Collection(named, read_only=True) as collection:
        assert collection.spaces["default"].encoder == "today"
        assert np.isfinite(collection.search("word1", mode="dense")[0].score)


def test_mistakes_are_one_paragraph(run, refused, named, tmp_path):
    refused("upgrade", tmp_path / "absent", "today", says=["no collection at"])
    assert "No upgrade is open" in run("upgrade", named).out
    refused("upgrade", named, "today", "--run", "--commit", says=["one of them"])
    refused("upgrade", named, "today", "--rehearse", says=["--queries"])
    # Refused before anything is encoded, or it would leave an open upgrade behind.
    refused("upgrade", named, "today", "--run", "--share", "7", says=["share=7.0"])
    refused("upgrade", named, "--commit", says=["no open upgrade"])
    refused("upgrade", named, "yesterday", "--run", says=["the encoder that the space has"])


def test_the_table_of_decisions_is_that_of_the_guide(run, refused):
    guide = (Path(__file__).parents[2] / "docs" / "guide" / "36-replacing-an-encoder.md").read_text()
    assert decision_table() in guide
    ways = [row["way"] for row in run("upgrade", "--decisions", "--json").json["decisions"]]
    assert ways == [way for _, way, _ in DECISIONS]
    told = run("upgrade", "--decisions").out
    assert all(way in told for way in ways) and "|" not in told
    refused("upgrade", says=["no collection"])


def test_an_upgrade_to_a_folder_tells_where_it_stands_without_the_folder(run, refused, named, tmp_path):
    turned = Network([Layer("linear", {"weight": np.eye(24, dtype=np.float32)[::-1].copy()})])
    ProjectedEncoder("today", turned, name="mine").save(tmp_path / "mine")
    assert run("upgrade", named, tmp_path / "mine", "--using", "low-rank", "--run").code == 0
    told = run("upgrade", named).out
    assert "to aspect-mine #" in told and "low-rank: running" in told and "%7C" not in told
    assert run("upgrade", named, "--json").json["mapped"] == 200
    # What needs the encoder says so by its short name.
    ran = refused("upgrade", named, "--run", says=["aspect-mine #", "the encoder itself"])
    assert "%7C" not in ran.err
    refused("upgrade", named, "--commit", says=["the encoder itself"])
    assert "committed" in run("upgrade", named, tmp_path / "mine", "--commit").out
    assert "closed" in run("upgrade", named, "--rollback").out
    assert "No upgrade is open" in run("upgrade", named).out
