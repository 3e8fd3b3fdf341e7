"""Folders of models on the command line, and the spaces that they are for."""

from __future__ import annotations

import numpy as np
import pytest

import orthant
from cli.conftest import write_jsonl
from orthant.encoders import ExplicitSemanticAnalysis, ProjectedEncoder, RecordEncoder
from orthant.transforms import Layer, Network


@pytest.fixture
def aspects(tmp_path, built):
    """A copy of the small collection with a space of concepts and two of aspects, and their folders."""
    concepts = ExplicitSemanticAnalysis({"sea": "whales boats harbour sea", "kitchen": "dough oven bread bake"})
    concepts.save(tmp_path / "concepts")
    weights = np.random.default_rng(0).standard_normal((2, 8, 512)).astype(np.float32)
    heads = {
        name: ProjectedEncoder("static", Network([Layer("linear", {"weight": weight})]), name=name)
        for name, weight in zip(("one", "other"), weights, strict=True)
    }
    for name, head in heads.items():
        head.save(tmp_path / name)
    with orthant.open(built, read_only=True) as opened:
        records = opened.get(list(opened.ids()))
    with orthant.open(tmp_path / "c", encoder="static", spaces={"topics": concepts, **heads}) as opened:
        opened.upsert([one.id for one in records], texts=[one.text for one in records])
        told = {name: opened.search("the oven", space=name, mode="dense", k=3).ids for name in heads}
    return tmp_path / "c", tmp_path, told


def test_a_folder_of_concepts_is_for_the_only_sparse_space(run, refused, aspects, built):
    path, folder, _ = aspects
    found = run("search", path, "an oven", "--sparse", folder / "concepts", "--mode", "sparse", "--json").json
    assert found["hits"][0]["id"] == "bread"
    assert "bread" in run("why-not", path, "an oven", "bread", "--sparse", folder / "concepts", "--mode", "sparse").out
    refused("search", built, "an oven", "--sparse", folder / "concepts", "--mode", "sparse", says=["space 'sparse'"])


def test_an_encoder_is_for_the_space_that_is_asked(run, refused, aspects):
    path, folder, told = aspects
    for name, ids in told.items():
        asked = ("search", path, "the oven", "--space", name, "--mode", "dense", "-k", "3")
        found = run(*asked, "--encoder", folder / name, "--json").json
        assert [hit["id"] for hit in found["hits"]] == ids
        ran = refused(*asked, says=[f"aspect-{name} #", "--encoder"])
        assert "%7C" not in ran.err
    refused(
        "search",
        path,
        "x",
        "--space",
        "one",
        "--mode",
        "dense",
        "--encoder",
        folder / "other",
        says=["for space 'one'"],
    )


def test_a_part_of_a_record_is_a_query_where_vectors_are_of_records(run, refused, tmp_path):
    films = [
        {"_id": "Heat", "year": 1995, "genres": ["crime", "drama"]},
        {"_id": "Ronin", "year": 1998, "genres": ["crime"]},
        {"_id": "Rio Bravo", "year": 1959, "genres": ["western"]},
    ]
    RecordEncoder(dim=512, schema={"genres": "symbol"}).fit(films).save(tmp_path / "records")
    source = write_jsonl(tmp_path / "films.jsonl", films)
    path, encoder = tmp_path / "films", ("--encoder", tmp_path / "records")
    refused("add", path, source, *encoder, says=["--text-field ''"])
    assert run("add", path, source, *encoder, "--text-field", "").code == 0
    found = run("search", path, '{"year": 1960}', *encoder, "--json").json
    assert found["hits"][0]["id"] == "Rio Bravo"
    assert (
        run("search", path, '{"genres": "crime", "year": 1997}', *encoder, "-k", "1", "--json").json["hits"][0]["id"]
        == "Ronin"
    )
    refused("search", path, '{"year": 1960', *encoder, says=["the query", "JSON object"])
    refused("search", path, "{}", *encoder, says=["without a field"])


def test_braces_are_words_where_vectors_are_of_texts(run, built):
    assert run("search", built, '{"oven": 1}', "--mode", "lexical", "--json").json["hits"][0]["id"] == "bread"
