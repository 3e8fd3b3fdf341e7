"""``orthant why-not``: the library's explanation as a sentence and tables, or as JSON."""

from __future__ import annotations

import json

import orthant


def test_json_holds_what_the_library_returns(run, built):
    ran = run(
        "why-not", built, "red kite", "whale", "-k", "2", "--where", '{"year": {"lt": 2010}}', "--dense-weight", "0.7",
        "--depth", "50", "--json",
    )  # fmt: skip
    assert ran.code == 1 and ran.err == ""
    settings = {"k": 2, "where": {"year": {"lt": 2010}}, "weights": {"dense": 0.7, "lexical": 0.3}, "depth": 50}
    with orthant.open(built, read_only=True) as notes:
        expected = notes.why_not("red kite", "whale", **settings).to_dict()
    assert ran.json == {"query": "red kite", **json.loads(json.dumps(expected))}
    assert ran.json["stage"] == "filter"


def test_a_person_sees_the_reason_first(run, built):
    ran = run("why-not", built, "red kite", "bread", "-k", "1")
    assert ran.code == 1
    assert ran.out.startswith("'bread' is at rank ")
    assert "DROPPED" in ran.out and "brings it to rank" in ran.out


def test_a_record_in_the_result_exits_with_zero(run, built):
    assert run("why-not", built, "red kite", "kite").code == 0


def test_wrong_settings_are_refused(refused, built):
    refused("why-not", built, "red kite", "kite", "--mode", "dense", "--depth", "9", says=("depth",))
    refused("why-not", built, " ", "kite", says=("empty query",))


def test_stages_behind_the_ranking(run, built):
    ran = run("why-not", built, "red kite", "bread", "-k", "1", "--group-by", "no_such_field", "--json")
    assert ran.code == 1 and ran.json["stage"] == "groups"
    assert ran.json["changes"][0]["settings"] == {"groups": ran.json["changes"][0]["rank"]}
