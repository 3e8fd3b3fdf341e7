"""``orthant stats``, ``check``, ``export``, ``import``, ``doctor`` and ``warmup``."""

from __future__ import annotations

import json

import numpy as np
import pytest

import orthant
from collection.fake_graph import FakeGraph
from orthant.cli import doctor
from orthant.cli.hits import print_hits
from orthant.cli.output import readable_bytes
from orthant.collection.results import LegPlan, Plan, SearchResult
from orthant.collection.storage import graphs, merging
from orthant.kernels import cpu


def damage_vectors(path):
    """Flip a byte in the last stored vector."""
    file = next((path / "vectors").rglob("*.seg"))
    data = bytearray(file.read_bytes())
    data[-5] ^= 0x40
    file.write_bytes(data)


# ---- stats -----------------------------------------------------------------------------------------------------------


def test_stats_are_the_librarys(run, built):
    with orthant.open(built, read_only=True) as notes:
        expected = notes.stats().to_dict()
    assert run("stats", built, "--json").json == json.loads(json.dumps(expected))


@pytest.mark.parametrize("columns", ["80", "120"])
def test_stats_for_a_person(run, built, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    ran = run("stats", built)
    dim = str(orthant.load_encoder("static").dim)
    assert max(map(len, ran.out.splitlines())) <= max(int(columns), len(f"Collection {built}"))
    for words in ("records  6\n", "kB", "Vector spaces", dim, "cosine", "Metadata fields", "int 6", "2015"):
        assert words in ran.out
    fingerprint = orthant.load_encoder("static").fingerprint
    assert f"static-minilm {fingerprint[-11:]}" in " ".join(ran.out.split()) and fingerprint not in ran.out


def test_stats_of_an_empty_collection(run, tmp_path):
    with orthant.open(tmp_path / "empty"):
        pass
    assert "only words are searchable" in run("stats", tmp_path / "empty").out
    assert run("stats", tmp_path / "empty", "--json").json["records"] == 0


def test_bytes_are_readable():
    assert [readable_bytes(n) for n in (0, 999, 1000, 12_345_678, 5e12)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "12.3 MB",
        "5.0 TB",
    ]


# ---- check -----------------------------------------------------------------------------------------------------------


def test_check_of_a_sound_collection(run, notes):
    ran = run("check", notes, "--json")
    assert ran.code == 0
    assert ran.json == {"ok": True, "records": 6, "vectors": 6, "problems": [], "notes": []}
    assert "sound; 6 records and 6 vectors" in run("check", notes).out


def test_check_finds_damage_and_repair_mends_it(run, notes):
    damage_vectors(notes)
    ran = run("check", notes, "--json")
    assert ran.code == 1 and ran.json["ok"] is False
    (problem,) = ran.json["problems"]
    assert problem["repairable"] and not problem["repaired"] and "vectors" in problem["where"]
    shown = run("check", notes)
    assert shown.code == 1 and "DAMAGED" in shown.out and "--repair" in shown.out
    mended = run("check", notes, "--repair", "--json")
    assert mended.code == 0 and mended.json["ok"] and mended.json["problems"][0]["repaired"]
    assert run("check", notes).code == 0


def test_a_destroyed_database_cannot_be_read(refused, notes):
    (notes / "store.sqlite").write_bytes(b"no database" * 500)
    for verb in ("check", "stats", "search"):
        refused(verb, notes, *(["kite"] if verb == "search" else []), says=["damaged store.sqlite"])


def test_damage_under_a_search_is_one_paragraph(refused, notes):
    damage_vectors(notes)
    refused("search", notes, "kite", "--mode", "dense", says=["orthant"])


# ---- export and import -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["out", "out.parquet"])
def test_export_and_import_keep_everything(run, built, tmp_path, target):
    if target.endswith("parquet"):
        pytest.importorskip("pyarrow")
    wrote = run("export", built, tmp_path / target, "--json")
    assert wrote.code == 0
    assert wrote.json.keys() == {"path", "format", "records", "spaces"} and wrote.json["records"] == 6
    read = run("import", tmp_path / target, tmp_path / "copy", "--json")
    assert read.json == {"path": str(tmp_path / target), "records": 6, "replaced": 0, "vectors": {"default": 6}}
    with orthant.open(built, read_only=True) as left, orthant.open(tmp_path / "copy", read_only=True) as right:
        ids = list(left.ids())
        assert list(right.ids()) == ids
        for one, two in zip(left.get(ids, vectors=True), right.get(ids, vectors=True), strict=True):
            assert (one.text, one.metadata) == (two.text, two.metadata)
            assert np.array_equal(one.vectors["default"], two.vectors["default"])
        assert left.search("windy toy").ids == right.search("windy toy").ids


def test_export_and_import_for_a_person(run, built, tmp_path):
    assert "Wrote 6 records" in run("export", built, tmp_path / "out").out
    assert "Imported 6 records (0 replaced)" in run("import", tmp_path / "out", tmp_path / "copy").out
    assert "(6 replaced)" in run("import", tmp_path / "out", tmp_path / "copy").out


def test_import_can_encode_again(run, refused, built, tmp_path):
    run("export", built, tmp_path / "out")
    refused("import", tmp_path / "out", tmp_path / "copy", "--encode-again", says=["--encoder static"])
    assert not (tmp_path / "copy").exists()
    ran = run("import", tmp_path / "out", tmp_path / "copy", "--encode-again", "--encoder", "static", "--json")
    assert ran.json["vectors"] == {"default": 6}


def test_what_is_no_export_is_refused_before_a_collection_is_made(refused, records_file, tmp_path):
    refused("import", records_file, tmp_path / "copy", says=["orthant add"])
    refused("import", records_file.parent, tmp_path / "copy")
    refused("import", tmp_path / "none", tmp_path / "copy", says=["none"])
    assert not (tmp_path / "copy").exists()


def test_an_existing_target_is_not_overwritten(refused, built, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x", encoding="utf-8")
    refused("export", built, tmp_path / "out", says=["exists"])
    refused("export", built, tmp_path / "fresh", "--format", "xml", says=["format", "parquet"])


# ---- doctor ----------------------------------------------------------------------------------------------------------


def test_w61_doctor(run, monkeypatch):
    monkeypatch.delenv("ORTHANT_DATA", raising=False)
    report = run("doctor", "--json").json
    assert report.keys() == {"orthant", "findings"} and report["orthant"] == orthant.__version__
    found = {finding["name"]: finding for finding in report["findings"]}
    assert found["numpy"]["ok"] and found["encoder static"]["ok"]
    assert not found["ORTHANT_DATA"]["ok"] and found["ORTHANT_DATA"]["remedy"]
    assert all(finding["remedy"] == "" for finding in report["findings"] if finding["ok"])


def test_w61_doctor_says_what_to_install(run, monkeypatch):
    monkeypatch.setattr(doctor, "_EXTRAS", {"arrow": ("no_such_module",)})
    monkeypatch.setenv("COLUMNS", "80")
    ran = run("doctor")
    assert "--  extra arrow" in ran.out and "pip install 'orthant[arrow]'" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80


def test_w61_doctor_says_which_kernels_this_machine_gets(run, monkeypatch, tmp_path):
    monkeypatch.setenv("ORTHANT_CACHE", str(tmp_path))
    monkeypatch.setenv("ORTHANT_SIMD", "portable")
    cpu.simd_level.cache_clear()
    try:
        found = {finding["name"]: finding for finding in run("doctor", "--json").json["findings"]}
        assert found["kernels"]["found"].startswith("portable kernels, forced by ORTHANT_SIMD; ")
        assert "empty; `orthant warmup` fills it" in found["kernel cache"]["found"]
        cpu.simd_level.cache_clear()
        monkeypatch.setenv("ORTHANT_SIMD", "sse9")
        found = {finding["name"]: finding for finding in run("doctor", "--json").json["findings"]}
        assert not found["kernels"]["ok"] and "sse9" in found["kernels"]["found"]
        monkeypatch.setenv("ORTHANT_SIMD", "")
        cpu.simd_level.cache_clear()
        (tmp_path / "file").touch()
        monkeypatch.setenv("ORTHANT_CACHE", str(tmp_path / "file"))
        found = {finding["name"]: finding for finding in run("doctor", "--json").json["findings"]}
        assert not found["kernel cache"]["ok"] and "ORTHANT_CACHE" in found["kernel cache"]["remedy"]
    finally:
        cpu.simd_level.cache_clear()


def test_warmup_compiles_groups_and_names_the_folder(run):
    report = run("warmup", "--group", "scan", "--json").json
    (group,) = report["groups"]
    assert group["group"] == "scan" and group["kernels"] >= 1 and group["seconds"] >= 0.0
    assert report["cache"]["folder"]
    shown = run("warmup", "--group", "scan")
    assert shown.code == 0 and "Kernels ready after" in shown.out and report["cache"]["folder"] in shown.out
    refused = run("warmup", "--group", "scam")
    assert refused.code == 2 and "encode" in refused.err


def test_graphs_in_stats_add_and_search(run, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(graphs, "graph_class", lambda: FakeGraph)
    for name, value in {"BREAK_EVEN": 100, "_TAIL_ROWS": 50, "_CLOSE_ROWS": 50}.items():
        monkeypatch.setattr(merging, name, value)
    X = np.random.default_rng(0).standard_normal((240, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", X[:200])
    np.save(tmp_path / "y.npy", X[200:])
    made = run("add", tmp_path / "c", tmp_path / "x.npy", "--json")
    assert made.json["finish_s"] > 0
    run("add", tmp_path / "c", tmp_path / "y.npy", "--id-prefix", "y")
    told = run("stats", tmp_path / "c", "--json").json["spaces"]["default"]
    assert told["plan"] == "graph+tail" and told["graph"]["rows"] == 200 and told["graph"]["tail"] == 40
    shown = run("stats", tmp_path / "c").out
    for words in ("default: graph+tail", "Graphs", "16: 0.900, 64: 0.990"):
        assert words in shown
    for file in (tmp_path / "c" / "derived").glob("graph.*/links/ids.npy"):
        file.write_bytes(file.read_bytes()[:-1])
    checked = run("check", tmp_path / "c")
    assert checked.code == 1 and "graph.default" in checked.out
    # Stats say why it is scanned.
    shown = run("stats", tmp_path / "c")
    assert "is searched by a scan" in shown.out + shown.err
    assert run("check", tmp_path / "c", "--repair").code == 0
    assert run("stats", tmp_path / "c", "--json").json["spaces"]["default"]["plan"].startswith("graph")


def test_hits_show_how_far_a_graph_search_went(monkeypatch, capsys):
    leg = LegPlan(
        "dense", "graph+tail", 3, 0.1, {"distances": 9, "effort": 64, "expected_recall": 0.957, "tail_rows": 7}
    )
    exact = LegPlan("dense", "scan", 3, 0.1, {"distances": 9, "exact": True})
    for one, words in ((leg, "effort 64, expected recall 0.957, 7 newer rows scanned"), (exact, "candidates; exact")):
        plan = Plan("dense", "default", 1, 9, None, None, (one,), None, {})
        monkeypatch.setenv("COLUMNS", "160")
        print_hits("found", SearchResult((), plan))
        assert words in capsys.readouterr().out
