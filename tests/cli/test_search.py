"""``orthant search``: the library's own hits, shown readably or as JSON."""

from __future__ import annotations

import json

import pytest

import orthant
from orthant.cli.hits import passage

WHERE = {"year": {"gte": 2000}}


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid", None])
def test_json_holds_what_the_library_returns(run, built, mode):
    options = [] if mode is None else ["--mode", mode]
    ran = run("search", built, "red kite", "-k", "3", "--explain", "--json", *options)
    assert ran.code == 0 and ran.err == ""
    with orthant.open(built, read_only=True) as notes:
        expected = notes.search("red kite", k=3, mode=mode, explain=True).to_dict()
    assert ran.json.keys() == {"query", "hits", "plan"}
    assert ran.json["query"] == "red kite"
    assert ran.json["hits"] == json.loads(json.dumps(expected["hits"]))
    untimed = ("mode", "space", "generation", "records", "allowed", "where", "fusion", "warnings")
    assert {name: ran.json["plan"][name] for name in untimed} == {name: expected["plan"][name] for name in untimed}


def test_every_option_reaches_the_library(run, built):
    ran = run(
        "search", built, "+wind* -rain sea", "--where", json.dumps(WHERE), "-k", "2", "--offset", "1",
        "--mode", "hybrid", "--dense-weight", "0.6", "--fusion", "rrf", "--syntax", "plain", "--json",
    )  # fmt: skip
    with orthant.open(built, read_only=True) as notes:
        expected = notes.search(
            "+wind* -rain sea", k=2, offset=1, mode="hybrid", where=WHERE, syntax="plain", fusion="rrf",
            weights={"dense": 0.6, "lexical": 0.4},
        )  # fmt: skip
        assert notes.search("+wind* -rain sea", k=2, offset=1, mode="hybrid", where=WHERE).ids != expected.ids
    assert [hit["id"] for hit in ran.json["hits"]] == expected.ids
    assert ran.json["plan"]["fusion"]["weights"] == {"dense": 0.6, "lexical": 0.4}
    assert ran.json["plan"]["allowed"] == 4


def test_min_score_drops_hits(run, built):
    scores = [hit["score"] for hit in run("search", built, "sea", "--mode", "dense", "--json").json["hits"]]
    kept = run("search", built, "sea", "--mode", "dense", "--min-score", scores[1], "--json").json["hits"]
    assert [hit["score"] for hit in kept] == scores[:2]


@pytest.mark.parametrize("columns", ["80", "100", "120"])
def test_a_person_sees_title_passage_legs_plan_and_cost(run, built, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    ran = run("search", built, "red kite", "--explain", "--where", '{"year": {"lt": 2012}}')
    lines = ran.out.splitlines()
    assert max(map(len, lines)) <= int(columns)
    assert not any(line != line.rstrip() for line in lines)
    assert lines[0] == "4 hits for 'red kite'"
    assert lines[1].split() == ["#", "score", "dense", "lexical", "record"]
    assert lines[2].split()[:2] == ["1", "1.000"] and "#1 " in lines[2] and lines[2].endswith("kite  Kites")
    for words in ("A red kite rises", "kind: toy; year: 1990", "matched: ", "4 pass the filter", "minmax (dense 0.40"):
        assert words in ran.out
    assert "\n\nplan " in ran.out and "\ncost " in ran.out and "\n\n\n" not in ran.out


def test_one_leg_needs_no_column_of_its_own(run, built):
    heading = run("search", built, "red kite", "--mode", "dense").out.splitlines()[1]
    assert heading.split() == ["#", "dense", "score", "record"]


def test_nothing_found_is_said(run, built):
    ran = run("search", built, "zzxxqq", "--mode", "lexical")
    assert ran.code == 0 and "Nothing found." in ran.out and "plan" in ran.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["kite", "-k", "0"], ["k=0"]),
        (["kite", "--where", "{year: 1}"], ["--where", "JSON object", "Quote it"]),
        (["kite", "--where", "[1]"], ["--where", "braces"]),
        (["kite", "--where", "[" * 100_000], ["--where"]),
        (["kite", "--where", '{"year": {"above": 3}}'], ["above"]),
        (["kite", "--where", '{"year": {"gte": 3}, "year": {"lt": 9}}'], ["'year' stands twice", "one object"]),
        (["kite", "--mode", "fuzzy"], ["mode", "fuzzy"]),
        (["kite", "--space", "images"], ["images", "default"]),
        (["kite", "--dense-weight", "1.5", "--mode", "hybrid"], ["--dense-weight"]),
        (["kite", "--fusion", "sum"], ["--fusion", "rrf"]),
        ([" "], ["empty query"]),
        (["\udcff"], ["UTF-8"]),
    ],
)
def test_refusals(refused, built, options, words):
    refused("search", built, *options, says=words)
    refused("search", built, *options, "--json", says=words)


def test_a_missing_collection_is_refused_and_not_made(refused, tmp_path):
    refused("search", tmp_path / "none", "kite", says=["no collection", "check the path".capitalize()])
    assert not (tmp_path / "none").exists()


def test_words_only_says_how_to_search_by_meaning(run, refused, tmp_path, records_file):
    run("add", tmp_path / "words", records_file)
    refused("search", tmp_path / "words", "kite", "--mode", "dense", says=["--encoder static", "--mode lexical"])
    assert run("search", tmp_path / "words", "kite", "--json").json["plan"]["mode"] == "lexical"


# ---- passages -------------------------------------------------------------------------------------------------------

RST = """
scipy.linalg
module scipy.linalg

====================================
Linear   algebra (:mod:`scipy.linalg`)
====================================

.. currentmodule:: scipy.linalg

Linear algebra functions.
---- ----
"""


def test_a_passage_is_plain():
    assert passage(RST, "scipy.linalg") == ("", "Linear algebra (scipy.linalg) Linear algebra functions.")
    assert passage("One line only", "id") == ("", "One line only")
    assert passage("", "id") == ("", "")
    assert passage("Title\na -- b == c", "id") == ("Title", "a -- b == c")


def test_a_passage_moves_to_the_matched_words():
    text = "Title\n" + "Nothing of note here. " * 30 + "The red kite flew. " + "More of nothing. " * 30
    assert passage(text, "id", width=60)[1].startswith("Nothing of note")
    # One word does not outweigh the beginning, two do.
    assert passage(text, "id", matched=["kite"], width=60)[1].startswith("Nothing of note")
    moved = passage(text, "id", matched=["Red", "kite"], width=60)[1]
    assert moved.startswith("… ") and "red kite flew" in moved and moved.endswith(" …") and len(moved) <= 64


# ---- stages ---------------------------------------------------------------------------------------------------------


def test_stages_reach_the_library(run, built):
    options = ["--group-by", "kind", "--per-group", "1", "--facet", "year", "--facet", "kind", "--diversity", "0.4"]
    ran = run("search", built, "red kite", "-k", "3", "--json", *options)
    with orthant.open(built, read_only=True) as notes:
        expected = notes.search(
            "red kite", k=3, group_by="kind", per_group=1, facets=["year", "kind"], diversity=0.4
        ).to_dict()
    assert ran.json["groups"] == expected["groups"] and len(ran.json["groups"]) == 3
    assert ran.json["facets"] == json.loads(json.dumps(expected["facets"]))
    assert [stage["name"] for stage in ran.json["plan"]["stages"]] == ["diversity", "group", "facets"]
    out = run("search", built, "red kite", *options).out
    for words in ("[toy: 1 of 1]", "year: 2015 2, 1990 1", "kind: toy 1, vehicle 1, none 4", "group ", "mmr, 6 to 6"):
        assert words in out


def test_records_like_another(run, refused, built):
    ran = run("search", built, "--similar-to", "boat", "--similar-to", "kite", "-k", "2", "--json")
    with orthant.open(built, read_only=True) as notes:
        assert [hit["id"] for hit in ran.json["hits"]] == notes.similar(["boat", "kite"], k=2).ids
    assert "hits like boat" in run("search", built, "--similar-to", "boat").out
    refused("search", built, "kite", "--similar-to", "boat", says=["a query beside --similar-to"])
    refused("search", built, "--similar-to", "boat", "--group-by", "kind", says=["--group-by beside"])
    refused("search", built, "--similar-to", "none", says=["'none'"])
    refused("search", built, says=["empty query"])


def test_a_query_moved_by_texts(run, refused, built):
    steer = {"away": ["kite"], "toward": ["boat"], "strength": 0.5}
    options = ("--away", "kite", "--toward", "boat", "--strength", "0.5", "--mode", "dense")
    ran = run("search", built, "red kite", *options, "--json")
    with orthant.open(built, read_only=True) as notes:
        assert [hit["id"] for hit in ran.json["hits"]] == notes.search("red kite", k=5, mode="dense", steer=steer).ids
    refused("search", built, "red kite", "--strength", "0.5", says=["'toward' and 'away'"])
    refused("search", built, "--similar-to", "boat", "--away", "kite", says=["--toward or --away beside"])
