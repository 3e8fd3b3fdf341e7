"""``orthant add``: sources of every kind, all or nothing, and a report of what vectors lack."""

from __future__ import annotations

import json

import numpy as np
import pytest

import orthant


@pytest.fixture
def more(tmp_path):
    """A CSV table and a folder of texts."""
    table = tmp_path / "more.csv"
    table.write_text("id,title,text,year\n1,Dune,Sand and spice.,1965\n2,Ice,A cold lake.,1971\n", encoding="utf-8")
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "plain.txt").write_text("A lamp in the window.", encoding="utf-8")
    return table, folder


def test_several_sources(run, tmp_path, records_file, more):
    ran = run("add", tmp_path / "c", records_file, *more, "--encoder", "static", "--json")
    assert ran.code == 0 and ran.json.keys() == {"collection", "records", "added", "finish_s", "notes"}
    assert ran.json["records"] == 9 and ran.json["notes"] == []
    assert {name: report["records"] for name, report in ran.json["added"].items()} == {
        str(records_file): 6,
        **{str(source): count for source, count in zip(more, (2, 1), strict=True)},
    }
    with orthant.open(tmp_path / "c", read_only=True) as opened:
        assert opened.get("2").metadata == {"year": 1971}
        assert opened.search("spice", k=1).ids == ["1"]


def test_again_replaces(run, notes, records_file):
    report = run("add", notes, records_file, "--json").json["added"][str(records_file)]
    assert (report["records"], report["replaced"], report["vectors"]) == (6, 6, {"default": 6})


def test_a_person_sees_counts_and_what_lacks_a_vector(run, tmp_path):
    path = tmp_path / "odd.jsonl"
    path.write_text('{"id": "a", "text": "a kite"}\n{"id": "b", "n": 1}\n', encoding="utf-8")
    ran = run("add", tmp_path / "c", path, "--encoder", "static")
    assert ran.code == 0 and ran.err == ""
    assert "1 of 2 without vector in 'default'" in ran.out
    assert ran.out.endswith("c holds 2 records.\n")


def test_w64_without_encoder_a_note_says_how_to_pick_one(run, tmp_path, records_file):
    ran = run("add", tmp_path / "c", records_file)
    assert "only words are searchable" in ran.err and "--encoder static" in ran.err
    ran = run("add", tmp_path / "c", records_file, "--json")
    assert ran.err == "" and "only words are searchable" in ran.json["notes"][0]
    # What the note advises makes them searchable by meaning.
    assert run("add", tmp_path / "c", records_file, "--encoder", "static", "--json").json["notes"] == []
    assert run("search", tmp_path / "c", "kite", "--json").json["plan"]["mode"] == "hybrid"


def test_brought_vectors(run, tmp_path):
    path = tmp_path / "v.jsonl"
    path.write_text('{"id": "a", "v": [1, 0]}\n{"id": "b", "v": [0, 1]}\n', encoding="utf-8")
    ran = run("add", tmp_path / "c", path, "--vector-field", "v", "--metric", "l2", "--json")
    assert ran.json["added"][str(path)]["vectors"] == {"default": 2}
    assert "by words only" in ran.json["notes"][0]
    with orthant.open(tmp_path / "c", read_only=True) as opened:
        assert opened.spaces["default"].metric == "l2" and opened.search(vector=[0, 1], k=1).ids == ["b"]


def test_dry_run_writes_nothing(run, tmp_path, more):
    ran = run("add", tmp_path / "c", *more, "--dry-run", "--json")
    assert ran.json["dry_run"] is True and not (tmp_path / "c").exists()
    scan = ran.json["scanned"][str(more[0])]
    assert scan["records"] == 2 and scan["fields"] == {"year": 2} and scan["schema"]["id_field"] == "id"
    shown = run("add", tmp_path / "c", *more, "--dry-run")
    assert "Nothing was written." in shown.out and "year (2)" in shown.out and not (tmp_path / "c").exists()


def test_fields_can_be_named(run, tmp_path):
    path = tmp_path / "x.data"
    path.write_text("key;body;year\n7;a kite;3\n", encoding="utf-8")
    ran = run(
        "add", tmp_path / "c", path, "--format", "csv", "--delimiter", ";", "--id-field", "key", "--text-field", "body",
        "--json",
    )  # fmt: skip
    assert ran.code == 0
    with orthant.open(tmp_path / "c", read_only=True) as opened:
        assert (opened.get("7").text, opened.get("7").metadata) == ("a kite", {"year": 3})


def test_quotes_may_be_ordinary_characters(run, refused, tmp_path):
    path = tmp_path / "titles.tsv"
    path.write_text('id\ttitle\n1\t"Fatal error" in PHP\n2\ta 5" screen\n', encoding="utf-8")
    refused("add", tmp_path / "c", path, "--text-field", "title", says=["line 2", "--quote ''"])
    assert run("add", tmp_path / "c", path, "--text-field", "title", "--quote", "", "--json").code == 0
    with orthant.open(tmp_path / "c", read_only=True) as opened:
        assert (opened.get("1").text, opened.get("2").text) == ('"Fatal error" in PHP', 'a 5" screen')
    refused("add", tmp_path / "d", tmp_path, "--documents", "--quote", "", says=["--quote"])


def test_a_malformed_line_is_named_and_nothing_is_made(refused, tmp_path, records_file):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"id": "a", "text": "fine"}\n{"id": "b", "text": \n', encoding="utf-8")
    refused("add", tmp_path / "c", bad, says=["bad.jsonl", "line 2"])
    assert not (tmp_path / "c").exists()


def test_a_malformed_second_source_leaves_the_first_out(refused, notes, tmp_path, more):
    bad = tmp_path / "bad.jsonl"
    bad.write_text("not json\n", encoding="utf-8")
    refused("add", notes, more[0], bad, says=["bad.jsonl", "line 1"])
    with orthant.open(notes, read_only=True) as opened:
        assert len(opened) == 6


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--ids", "guess"], ["--ids", "hash"]),
        (["--metric", "hamming"], ["metric", "cosine"]),
        (["--format", "xml"], ["format", "jsonl"]),
        (["--batch-size", "0"], ["batch_size"]),
        (["--id-field", "nope"], ["nope"]),
    ],
)
def test_refusals(refused, tmp_path, records_file, options, words):
    refused("add", tmp_path / "c", records_file, *options, says=words)
    assert not (tmp_path / "c").exists()


def test_a_missing_source_or_a_foreign_folder(refused, tmp_path, records_file):
    refused("add", tmp_path / "c", tmp_path / "none.jsonl", says=["none.jsonl"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear", encoding="utf-8")
    refused("add", tmp_path / "mine", records_file, says=["letter.txt"])
    assert [entry.name for entry in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_an_unknown_encoder(refused, tmp_path, records_file):
    refused("add", tmp_path / "c", records_file, "--encoder", "no-such-encoder", says=["no-such-encoder"])
    assert not (tmp_path / "c").exists()


def test_a_second_writer(refused, notes, records_file):
    with orthant.open(notes) as first:
        first.upsert(["x"], texts=["x"])
        refused("add", notes, records_file, says=["second writer"])


def test_add_takes_vector_files(run, tmp_path):
    X = np.arange(12, dtype=np.float32).reshape(4, 3) + 1
    np.save(tmp_path / "x.npy", X)
    ran = run("add", str(tmp_path / "c"), str(tmp_path / "x.npy"), "--metric", "l2", "--id-prefix", "v", "--json")
    assert json.loads(ran.out)["records"] == 4
    with orthant.open(tmp_path / "c", read_only=True) as collection:
        assert collection.search(vector=X[2], k=1).ids == ["v2"]
    scanned = run("add", tmp_path / "d", tmp_path / "x.npy", "--dry-run", "--json").json["scanned"]
    assert scanned[str(tmp_path / "x.npy")]["count"] == 4
    assert "4 of 3 values" in run("add", tmp_path / "d", tmp_path / "x.npy", "--dry-run").out
    X[1, 1] = np.nan
    np.save(tmp_path / "bad.npy", X)
    ran = run("add", str(tmp_path / "c"), str(tmp_path / "bad.npy"))
    assert ran.code == 2
    assert "row(s): 1" in ran.err


def test_options_of_vector_files(refused, tmp_path, records_file):
    for name in ("x.npy", "y.npy"):
        np.save(tmp_path / name, np.ones((2, 3), dtype=np.float32))
    refused("add", tmp_path / "c", tmp_path / "x.npy", tmp_path / "y.npy", says=["same ids", "--id-prefix"])
    refused("add", tmp_path / "c", records_file, "--id-prefix", "v", says=["--id-prefix", "vector file"])
    (tmp_path / "y.npy").write_bytes(b"none")
    refused("add", tmp_path / "c", tmp_path / "y.npy", says=["y.npy"])
    assert not (tmp_path / "c").exists()
