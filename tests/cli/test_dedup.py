"""``orthant dedup``: what it shows, marks, takes back and deletes."""

from __future__ import annotations

import json

import pytest

import orthant

PLANTED = {"kite-2": "kite", "boat-2": "boat"}


@pytest.fixture
def copied(notes):
    """The small collection with two copies in it."""
    with orthant.open(notes) as opened:
        for copy, original in PLANTED.items():
            record = opened.get(original)
            opened.upsert([copy], texts=[f"{record.text.upper()} !"], metadata=[record.metadata])
    return notes


def marks(path):
    with orthant.open(path, read_only=True) as opened:
        return {r.id: r.metadata["duplicate_of"] for r in opened.find({"duplicate_of": {"exists": True}})}


@pytest.mark.parametrize(
    "options",
    [
        ["--by", "text", "--threshold", "0.8"],
        ["--threshold", "0.99", "--exact"],
        ["--by", "both", "--threshold", "0.9", "--text-threshold", "0.7"],
    ],
)
def test_json_is_what_the_library_found_and_nothing_is_changed(run, copied, options):
    ran = run("dedup", copied, *options, "--json")
    assert ran.code == 0 and ran.err == ""
    found = {key: group["kept"] for group in ran.json["groups"] for key in group["duplicates"]}
    assert found == PLANTED and ran.json["action"] is None and ran.json["changed"] == 0
    assert marks(copied) == {}


def test_mark_unmark_and_delete(run, copied):
    text = ["--by", "text", "--threshold", "0.8"]
    ran = run("dedup", copied, *text, "--mark")
    assert ran.code == 0 and "2 records marked" in ran.err and "kite-2" in ran.out
    assert marks(copied) == PLANTED
    assert run("dedup", copied, "--unmark", "--json").json == {"action": "unmark", "changed": 2}
    assert marks(copied) == {}
    assert run("dedup", copied, *text, "--keep", "newest", "--delete", "--json").json["changed"] == 2
    with orthant.open(copied, read_only=True) as opened:
        assert set(PLANTED) <= set(opened.ids()) and not {"kite", "boat"} & set(opened.ids())


def test_a_file_of_judged_pairs_chooses_the_threshold(run, copied, tmp_path):
    judged = tmp_path / "judged.tsv"
    judged.write_text("kite\tkite-2\t1\nboat\tboat-2\tyes\n\nkite\tboat\t0\nbread\twhale\tfalse\n")
    ran = run("dedup", copied, "--by", "text", "--labelled", judged, "--json")
    assert ran.json["choice"]["f1"] == 1.0 and ran.json["choice"]["pairs"] == 4
    assert ran.json["threshold"] == {"text": ran.json["choice"]["threshold"]}
    shown = run("dedup", copied, "--by", "text", "--labelled", judged).out
    assert "4 judged pairs" in shown and "F1" in shown


def test_without_a_threshold_a_histogram_is_shown(run, copied):
    ran = run("dedup", copied, "--by", "text")
    assert ran.code == 0 and "Similarity to the nearest other record" in ran.out and "####" in ran.out
    assert "--threshold" in ran.err
    # Texts less alike than that were not compared, and none of them is told to be wholly unlike.
    first = next(line.split() for line in ran.out.splitlines() if "0.000" in line)
    assert first[:3] == ["0.000", "0.200", "4"]
    assert run("dedup", copied, "--by", "text", "--json").json["histogram"]["sought_from"] == 0.2
    assert run("dedup", copied, "--json").json["histogram"]["sought_from"] == 0.0
    assert json.loads(run("dedup", copied, "--json").out)["histogram"]["records"] == 8


def test_mistakes_are_refused(refused, copied, tmp_path):
    refused("dedup", tmp_path / "nowhere", "--unmark", says=["nowhere"])
    assert not (tmp_path / "nowhere").exists()
    refused("dedup", copied, "--mark", "--delete", says=["--mark", "--delete"])
    refused("dedup", copied, "--mark", says=["threshold"])
    refused("dedup", copied, "--unmark", "--threshold", "0.5", says=["--unmark"])
    refused("dedup", copied, "--text-threshold", "0.5", says=["--by both"])
    bad = tmp_path / "bad.tsv"
    bad.write_text("kite\tboat\t1\nkite\tboat\n")
    refused("dedup", copied, "--labelled", bad, says=["line 2", "tabs"])
    bad.write_bytes(b"\xff\xfe\tboat\t1\n")
    refused("dedup", copied, "--labelled", bad, says=["UTF-8"])
    refused("dedup", copied, "--labelled", tmp_path / "absent.tsv", says=["absent.tsv"])
    assert marks(copied) == {}


def test_what_cannot_be_marked_is_refused_before_the_work(refused, copied, monkeypatch):
    monkeypatch.setattr("orthant.collection.collection.Collection.duplicates", lambda *_, **__: pytest.fail("compared"))
    refused("dedup", copied, "--mark", says=["--mark without a threshold", "--labelled"])
    refused("dedup", copied, "--delete", says=["histogram"])


def test_large_groups_are_cut_ids_are_not_and_an_empty_comparison_is_told(run, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    ids = [f"a-rather-long-identifier-{i:02}" for i in range(9)]
    with orthant.open(tmp_path / "c") as made:
        made.upsert(ids, texts=["one and the same text that goes on for more than a line of sixty characters"] * 9)
    ran = run("dedup", tmp_path / "c", "--by", "text", "--threshold", "0.9")
    assert ran.out.count("a-rather-long-identifier-") == 6 and "3 copies more" in ran.out
    assert all(one in ran.out for one in ids[:6])
    ran = run("dedup", tmp_path / "c", "--by", "text", "--threshold", "0.9", "--where", '{"absent": 1}')
    assert ran.code == 0 and "no record was compared" in ran.err
