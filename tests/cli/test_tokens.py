"""Spaces of tokens on the command line."""

from __future__ import annotations

import json

import pytest

import orthant
from encoders.tiny_models import write_tiny_bert
from orthant.encoders import load_token_encoder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORTHANT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield write_tiny_bert(root / "one", window=30, seed=0), write_tiny_bert(root / "two", window=30, seed=1)


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "notes.jsonl"
    texts = ["a cat sat on a mat", "the lighthouse keeper", "a dog ran off"]
    file.write_text("".join(json.dumps({"_id": str(i), "text": text}) + "\n" for i, text in enumerate(texts)))
    return file


def test_tokens_are_added_searched_reranked_and_repaired(run, refused, models, source, tmp_path):
    model, other = models
    path = tmp_path / "c"
    added = run("add", path, source, "--tokens", model, "--token-dtype", "float16", "--json")
    assert added.code == 0 and added.json["added"][str(source)]["vectors"] == {"tokens": 3}
    refused("search", path, "cat", "--mode", "tokens", says=["--tokens"])
    refused("search", path, "cat", "--mode", "tokens", "--tokens", other, says=["--tokens"])
    found = run("search", path, "a cat", "--mode", "tokens", "--tokens", model, "--explain", "--json")
    with orthant.open(path, read_only=True) as collection:
        collection.use_encoder("tokens", load_token_encoder(model))
        assert collection.spaces["tokens"].dtype == "float16"
        expected = collection.search("a cat", mode="tokens", k=5, explain=True).to_dict()["hits"]
    assert found.json["hits"] == json.loads(json.dumps(expected))
    assert found.json["hits"][0]["alignment"]
    fused = run("search", path, "a cat", "--mode", "hybrid", "--tokens", model, "--token-weight", "0.3", "--json")
    assert fused.json["plan"]["fusion"]["weights"] == pytest.approx({"tokens": 0.3, "lexical": 0.7})
    again = run("search", path, "a cat", "--mode", "lexical", "--rerank", "tokens", "--tokens", model, "--json")
    assert again.json["plan"]["stages"][0]["name"] == "rerank"
    assert "tokens" in run("stats", path).out
    (segment,) = (path / "vectors" / "tokens").glob("*.seg")
    data = bytearray(segment.read_bytes())
    data[5000] ^= 1
    segment.write_bytes(bytes(data))
    assert run("check", path).code == 1
    assert run("check", path, "--repair", "--tokens", model).code == 0
    assert run("search", path, "a cat", "--mode", "tokens", "--tokens", model, "--json").json["hits"][0]["id"] == "0"


def test_more_sources_go_into_the_same_space(run, refused, models, source, tmp_path):
    model, _ = models
    path = tmp_path / "c"
    assert run("add", path, source, "--tokens", model).code == 0
    more = tmp_path / "more.jsonl"
    more.write_text('{"_id": "x", "text": "a cat"}\n')
    refused("add", path, more, says=["--tokens"])
    refused("add", path, more, "--tokens", model, "--token-dtype", "float16", says=["--token-dtype"])
    refused("add", path, more, "--token-space", "late", says=["--tokens"])
    refused("add", path, more, "--space", "late", says=["--tokens"])
    assert run("add", path, more, "--tokens", model, "--json").json["added"][str(more)]["vectors"] == {"tokens": 1}
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "one.md").write_text("# A cat\n\nThe cat sat.")
    assert run("add", path, folder, "--documents", "--tokens", model).code == 0
    with orthant.open(path, read_only=True) as collection:
        assert collection.stats().spaces["tokens"]["vectors"] == len(collection) == 5
    other = tmp_path / "d"
    assert run("add", other, more, "--tokens", model, "--space", "late").code == 0
    with orthant.open(other, read_only=True) as collection:
        assert collection.spaces["late"].kind == "tokens" and collection.stats().spaces["late"]["vectors"] == 1


def test_candidates_are_chosen_measured_and_stored(run, refused, models, tmp_path):
    model, _ = models
    path, notes, queries = tmp_path / "c", tmp_path / "notes.jsonl", tmp_path / "queries.jsonl"
    words = ["cat", "dog", "mat", "ran", "sat", "off", "keeper", "lighthouse", "a", "the", "on"]
    texts = [" ".join(words[(i * j + i // 7) % 11] for j in range(1, 7)) for i in range(120)]
    notes.write_text("".join(json.dumps({"_id": str(i), "text": text}) + "\n" for i, text in enumerate(texts)))
    queries.write_text("".join(json.dumps({"_id": str(i), "text": f"{a} on"}) + "\n" for i, a in enumerate(words[:8])))
    told = ("--token-method", "plaid", "--token-exact-below", "100")
    refused("add", path, notes, *told, says=["--tokens"])
    assert run("add", path, notes, "--tokens", model, *told).code == 0
    found = run("tokens", path, "--tokens", model, "--queries", queries, "--effort", "20", "--apply", "--json").json
    assert found["plan"] == "plaid" and found["shortcut"]["measured"][0][0] == 20
    assert {row["method"] for row in found["report"]["rows"]} == {"plaid", "pooled"}
    shared = ("search", path, "a cat", "--mode", "tokens", "--tokens", model, "--json")
    assert run(*shared, "--effort", "30").json["plan"]["legs"][0]["method"] == "plaid"
    assert run(*shared, "--exact").json["plan"]["legs"][0]["method"] == "scan"
    found = run(*shared[:-1], "--recall", "0.99999")
    assert "exact, since no measured effort reaches a recall of 0.99999" in " ".join(found.out.split())
    assert "everything below 100" in run("tokens", path).out
    assert run("tokens", path, "--method", "exact", "--json").json["plan"] == "scan"
    for idle in (["--apply"], ["--effort", "20"], ["--compare", "plaid"]):
        refused("tokens", path, *idle, says=[f"{idle[0]} without --queries"])
    # Nothing is changed by a call that cannot be carried out.
    vectors = tmp_path / "queries.npy"
    vectors.write_bytes(b"")
    refused("tokens", path, "--method", "pooled", "--queries", tmp_path / "absent", says=["no file"])
    refused("tokens", path, "--method", "pooled", "--queries", vectors, says=["queries as text"])
    refused("tokens", path, "--method", "pooled", "--queries", queries, says=["name its folder with --tokens"])
    assert run("tokens", path, "--json").json["shortcut"]["method"] == "exact"
    refused("tokens", tmp_path / "absent", says=["no collection at"])


def test_a_collection_without_token_spaces_is_told_how_to_get_one(refused, notes):
    refused("tokens", notes, says=["orthant add --tokens"])
    refused("tokens", notes, "--space", "default", says=["'default' as a space of tokens", "orthant add --tokens"])
