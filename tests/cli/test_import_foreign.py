"""``orthant import`` for other projects' stores."""

from __future__ import annotations

from fixtures.foreign.stand_ins import HERE, qdrant, unpack


def test_a_chroma_folder_is_recognised(run, tmp_path):
    folder, target = unpack("chroma", tmp_path), tmp_path / "c"
    ran = run("import", str(folder), str(target), "--table", "notes", "--json")
    assert ran.code == 0 and ran.json["records"] == 10 and ran.json["kind"] == "chroma"
    again = run("import", str(folder), str(target), "--from", "chroma", "--table", "notes", "--existing", "skip")
    assert "Imported 0 of 10 records (0 replaced, 10 skipped) from chroma notes" in again.out
    assert "Without a text: 1." in again.out


def test_losses_are_printed_or_refuse(run, tmp_path, monkeypatch):
    monkeypatch.setenv("KEY_OF_QDRANT", "secret")
    target = tmp_path / "c"
    with qdrant() as server:
        words = [
            "import",
            server.address,
            str(target),
            "--table",
            "notes",
            "--space",
            "title=default",
            "--space",
            "body=b",
        ]
        words += ["--api-key-env", "KEY_OF_QDRANT"]
        refused = run(*words)
        assert refused.code == 2 and "sparse vector" in refused.err and not target.exists()
        ran = run(*words, "--on-unknown", "report")
        assert set(server.keys) == {"secret"}
    assert ran.code == 0 and "Not carried: sparse vector 'words': 1 (such as 5c56c793" in ran.out


def test_settings_need_a_store(run, tmp_path):
    target = str(tmp_path / "c")
    (tmp_path / "export").mkdir()
    ran = run("import", str(tmp_path / "export"), target, "--table", "x", "--existing", "skip")
    assert ran.code == 2 and "--table, --existing for an export" in ran.err
    ran = run("import", str(HERE / "nine.hnsw"), target, "--table", "x")
    assert ran.code == 2 and "table for kind='hnswlib'" in ran.err
    ran = run("import", str(HERE / "nine.hnsw"), target, "--space", "a", "--space", "b")
    assert ran.code == 2 and "FIELD=SPACE" in ran.err
    ran = run("import", "http://127.0.0.1:9", target, "--api-key-env", "NOT_SET_AT_ALL")
    assert ran.code == 2 and "NOT_SET_AT_ALL" in ran.err
    assert not (tmp_path / "c").exists()


def test_a_folder_that_was_there_is_kept_when_an_import_is_refused(run, tmp_path):
    target = tmp_path / "c"
    assert run("import", str(HERE / "nine.hnsw"), str(target), "--metric", "l2").code == 0
    folder = unpack("chroma", tmp_path)
    assert run("import", str(folder), str(target), "--table", "notes", "--metric", "dot").code == 2
    assert run("stats", str(target), "--json").json["records"] == 8


def test_records_that_all_lack_a_text_get_a_hint(run, tmp_path):
    ran = run("import", HERE / "nine.hnsw", tmp_path / "c", "--metric", "l2")
    assert "Without a text: " in ran.out and ". Import again with --records to bring them." in ran.out
