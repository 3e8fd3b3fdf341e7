"""``orthant snapshot`` and archives on the command line."""

from __future__ import annotations

import orthant


def test_a_snapshot_from_making_to_dropping(run, notes, tmp_path):
    made = run("snapshot", "create", notes, "monday", "--json").json
    assert (made["name"], made["records"]) == ("monday", 6)
    assert "Kept 6 records" in run("snapshot", "create", notes, "again").out
    with orthant.open(notes) as opened:
        opened.delete(["kite", "boat"])
    listed = run("snapshot", "list", notes, "--json").json["snapshots"]
    assert sorted(info["name"] for info in listed) == ["again", "monday"]
    assert "monday" in run("snapshot", "list", notes).out
    assert run("snapshot", "export", notes, "monday", tmp_path / "m.zip", "--json").json["records"] == 6
    assert "Wrote 6 records" in run("snapshot", "export", notes, "monday", tmp_path / "folder").out
    report = run("snapshot", "restore", notes, "monday", "--json").json
    assert (report["records"], report["brought_back"], report["removed"]) == (6, 2, 0)
    assert "Restored 'again': 6 records (0 went, 0 came back)." in run("snapshot", "restore", notes, "again").out
    assert run("search", notes, "kite", "--json").json["hits"][0]["id"] == "kite"
    assert "Dropped 'again'" in run("snapshot", "drop", notes, "again").out
    assert run("check", notes).code == 0
    # The archive makes a collection elsewhere.
    assert "Imported 6 records" in run("import", tmp_path / "m.zip", tmp_path / "copy").out
    assert run("search", tmp_path / "copy", "kite", "--json").json["hits"][0]["id"] == "kite"


def test_mistakes_are_one_paragraph(refused, notes, tmp_path):
    refused("snapshot", "restore", notes, "tuesday", says=["tuesday", "none yet"])
    refused("snapshot", "export", notes, "tuesday", tmp_path / "x.zip", says=["tuesday"])
    refused("snapshot", "drop", notes, "tuesday", says=["tuesday"])
    refused("snapshot", "create", notes, "a/b", says=["snapshot name", "choose another name".capitalize()])
    for action in ("create", "restore", "drop"):
        refused("snapshot", action, tmp_path / "absent", "x", says=["no collection"])
    refused("snapshot", "list", tmp_path / "absent", says=["no collection"])
    assert not (tmp_path / "absent").exists()


def test_a_cut_archive_makes_no_collection(run, refused, notes, tmp_path):
    run("export", notes, tmp_path / "x.zip")
    data = (tmp_path / "x.zip").read_bytes()
    (tmp_path / "x.zip").write_bytes(data[: len(data) // 2])
    refused("import", tmp_path / "x.zip", tmp_path / "copy", says=["damaged archive"])
    assert not (tmp_path / "copy").exists()
