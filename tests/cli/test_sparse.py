"""``--sparse``: weighted terms from the command line."""

from __future__ import annotations

import json

import pytest

import orthant
from cli.conftest import RECORDS
from encoders.sparse.tiny_splade import write_tiny_splade
from orthant.encoders import SpladeEncoder


@pytest.fixture
def weighted(run, tmp_path):
    """A collection with weighted terms and no vectors, and the folder of its model."""
    model, source = write_tiny_splade(tmp_path / "model"), tmp_path / "records.jsonl"
    source.write_text("\n".join(map(json.dumps, RECORDS)))
    ran = run("add", tmp_path / "c", source, "--sparse", model, "--json")
    assert ran.code == 0 and ran.json["added"][str(source)]["vectors"] == {"sparse": len(RECORDS)}
    assert not ran.json["notes"]
    return tmp_path / "c", model


def test_a_search_by_weighted_terms(run, weighted):
    path, model = weighted
    ran = run("search", path, "a red kite", "--mode", "sparse", "--sparse", model, "--json")
    with orthant.open(path, read_only=True, spaces={"sparse": SpladeEncoder.load(model)}) as c:
        assert [hit["id"] for hit in ran.json["hits"]] == c.search("a red kite", mode="sparse", k=5).ids
    both = run("search", path, "kite", "--sparse", model, "--dense-weight", "0", "--sparse-weight", "0.5", "--json")
    assert both.json["plan"]["fusion"]["weights"] == {"dense": 0.0, "lexical": 0.5, "sparse": 0.5}
    shown = run("search", path, "kite", "--sparse", model, "--dense-weight", "0", "--sparse-weight", "0.5", "--explain")
    assert shown.code == 0 and "sparse" in shown.out and "#1" in shown.out
    told = run("stats", path)
    assert "Sparse spaces" in told.out and "89" in told.out
    why = run("why-not", path, "kite", "kite", "--mode", "sparse", "--sparse", model, "-k", "6")
    assert why.code == 0


def test_mistakes_are_told(refused, weighted, tmp_path):
    path, model = weighted
    refused("search", path, "kite", "--mode", "sparse", says=("no encoder at hand", "spaces="))
    refused("search", path, "kite", "--mode", "sparse", "--sparse", tmp_path, says=("sparse model",))
    refused(
        "search", path, "kite", "--dense-weight", "0.7", "--sparse-weight", "0.5", "--sparse", model,
        says=("at most 1 together",),
    )  # fmt: skip
    refused("search", path, "kite", "--encoder", model, says=("space of its own",))
