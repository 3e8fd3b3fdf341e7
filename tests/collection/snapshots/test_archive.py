"""One file that holds a collection: complete, portable, and refused when a byte of it is wrong."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from collection.fakes import FakeEncoder
from faults.verify import check_equal, contents
from orthant.collection.collection import Collection
from orthant.collection.snapshots import archive
from orthant.errors import InputError, NotFoundError, StoreCorruptedError, StoreError


def open_fake(path, **settings):
    return Collection(path, encoder=FakeEncoder(), **settings)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An archive, and what it must hold."""
    folder = tmp_path_factory.mktemp("made")
    with open_fake(folder / "c") as collection:
        ids = [f"r{i}" for i in range(40)]
        collection.upsert(ids, texts=[f"amber {i}" for i in ids], metadata=[{"stamp": i} for i in range(40)])
        collection.add_space("aspect", dim=3)
        collection.upsert(["v"], texts=["basin"], vectors={"aspect": [[1.0, 2.0, 3.0]]})
        report = collection.export(folder / "c.orthant.zip")
        assert (report.format, report.records) == ("archive", 41)
        return folder / "c.orthant.zip", contents(collection)


def test_w51_there_and_back(made, tmp_path):
    path, model = made
    with open_fake(tmp_path / "d") as collection:
        report = collection.import_from(path)
        assert (report.path, report.records, report.vectors) == (str(path), 41, {"default": 41, "aspect": 1})
        check_equal(collection, model)
        np.testing.assert_array_equal(collection.get("v", vectors=True).vectors["aspect"], [1.0, 2.0, 3.0])


def test_w51_an_archive_is_the_exported_folder(made, tmp_path):
    """Whoever has no Orthant can read it: plain JSON lines and .npy files in a plain zip file."""
    path, _ = made
    with open_fake(tmp_path / "d") as collection:
        collection.import_from(path)
        collection.export(tmp_path / "folder")
    with zipfile.ZipFile(path) as members:
        assert members.testzip() is None
        plain = {f.relative_to(tmp_path / "folder").as_posix() for f in (tmp_path / "folder").rglob("*") if f.is_file()}
        assert set(members.namelist()) == plain
        ids = [json.loads(line)["_id"] for line in members.read("records.jsonl").splitlines()]
        assert len(ids) == 41


def test_a_reader_exports_while_a_writer_goes_on(tmp_path):
    with open_fake(tmp_path / "c") as writer, open_fake(tmp_path / "c", read_only=True) as reader:
        writer.upsert(["a"], texts=["amber"])
        assert reader.export(tmp_path / "x", format="archive").records == 1
        with pytest.raises(InputError, match="exists"):
            reader.export(tmp_path / "x", format="archive")
        with pytest.raises(NotFoundError, match="no folder"):
            reader.export(tmp_path / "nowhere" / "x.zip")
    with open_fake(tmp_path / "d") as collection:
        assert collection.import_from(tmp_path / "x").records == 1


def _refused(collection, path, model):
    with pytest.raises(StoreCorruptedError, match="damaged archive"):
        collection.import_from(path)
    assert contents(collection) == model


def test_cut_anywhere_it_is_refused(made, tmp_path):
    data = made[0].read_bytes()
    with open_fake(tmp_path / "d") as collection:
        collection.upsert(["mine"], texts=["cedar"])
        model = contents(collection)
        for length in [0, 1, 30, *range(100, len(data), len(data) // 12), len(data) - 30, len(data) - 1]:
            (tmp_path / "x.zip").write_bytes(data[:length])
            _refused(collection, tmp_path / "x.zip", model)


def test_one_flipped_bit_anywhere_is_refused_or_harmless(made, tmp_path):
    """Some bits of a zip file mean nothing (dates, versions); none may change what is imported."""
    path, whole = made
    data = path.read_bytes()
    rng = np.random.default_rng(4)
    refused = 0
    with open_fake(tmp_path / "d") as collection:
        collection.upsert(["mine"], texts=["cedar"])
        model = contents(collection)
        for place in sorted(rng.choice(len(data), size=60, replace=False).tolist()):
            changed = bytearray(data)
            changed[place] ^= 1 << int(rng.integers(8))
            (tmp_path / "x.zip").write_bytes(changed)
            try:
                with archive.unpacked(tmp_path / "x.zip"):
                    pass
            except StoreCorruptedError:
                refused += 1
                continue
            with open_fake(tmp_path / f"e{place}") as other:
                other.import_from(tmp_path / "x.zip")
                assert contents(other) == whole
        assert contents(collection) == model
    assert refused > 40


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/b/c", "vectors/../../evil", "..", "C:evil", "a\\b"])
def test_members_that_lead_elsewhere_are_refused(made, tmp_path, name):
    target = tmp_path / "x.zip"
    target.write_bytes(made[0].read_bytes())
    with zipfile.ZipFile(target, "a") as members:
        members.writestr(name, b"evil")
    with pytest.raises(StoreCorruptedError, match="a member"), archive.unpacked(target):
        pass
    assert not (tmp_path / "evil").exists()


def test_other_zip_files_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as members:
        members.writestr("letter.txt", b"hello")
    with open_fake(tmp_path / "d") as collection, pytest.raises(StoreCorruptedError, match=r"no export\.json"):
        collection.import_from(tmp_path / "x.zip")


def test_an_archive_that_does_not_fit_is_refused_before_it_fills_the_disk(made, monkeypatch):
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda _: type("usage", (), {"free": 100}))
    with pytest.raises(StoreError, match="to unpack where 100 are free"), archive.unpacked(made[0]):
        pass


def test_a_failed_export_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with open_fake(tmp_path / "c") as collection:
        collection.upsert(["a"], texts=["amber"])
        monkeypatch.setattr(archive, "_pack", full)
        with pytest.raises(StoreError, match="full disk"):
            collection.export(tmp_path / "out.zip")
    assert [entry.name for entry in tmp_path.iterdir()] == ["c"]


def test_equal_exports_are_equal_files(tmp_path):
    with open_fake(tmp_path / "c") as collection:
        collection.upsert(["a"], texts=["amber"])
        made = [tmp_path / name for name in ("x.zip", "y.zip")]
        for path in made:
            collection.export(path)
    first, second = (zipfile.ZipFile(io.BytesIO(path.read_bytes())) for path in made)
    for name in first.namelist():
        if name != "export.json":
            assert first.read(name) == second.read(name)
    assert [m.date_time for m in first.infolist()] == [m.date_time for m in second.infolist()]


KILLED = """
import os, signal, sys
from collection.fakes import FakeEncoder
from orthant.collection import transfer
from orthant.collection.collection import Collection

whole = transfer.stored_batches

def cut(store):
    yield from whole(store)
    os.kill(os.getpid(), signal.SIGKILL)

transfer.stored_batches = cut
with Collection(sys.argv[1], encoder=FakeEncoder()) as collection:
    collection.export(sys.argv[2])
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal, and no question after a process")
@pytest.mark.parametrize("name", ["x", "x.parquet", "x.zip"])
def test_what_a_killed_export_left_goes_with_the_next_to_that_target(tmp_path, name):
    with open_fake(tmp_path / "c") as collection:
        collection.upsert(["a"], texts=["amber"])
    target, other = tmp_path / "out" / name, tmp_path / "out" / ("y" + name)
    target.parent.mkdir()
    path = os.pathsep.join(entry for entry in sys.path if entry)
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "c", target], env={**os.environ, "PYTHONPATH": path}
    )
    assert ended.returncode == -signal.SIGKILL
    (left,) = os.listdir(target.parent)
    assert left.startswith(f".{name}.") and left.endswith(".tmp")
    host, _, process, thread = left[len(f".{name}.") : -len(".tmp")].split("-")
    # A process that lives, this one before it was this one, another machine, and what only looks alike.
    running, same = f"{host}-{os.getppid()}-{process}-{thread}", f"{host}-{os.getpid()}-{process}-{thread}"
    kept = {f".{name}.{running}.tmp", f".{name}.00000000-{'9' * 7}-{process}-{thread}.tmp", f".{name}.7.tmp"}
    for beside in {*kept, f".{name}.{same}.tmp"}:
        (target.parent / beside).write_bytes(b"x")
    with open_fake(tmp_path / "c", read_only=True) as collection:
        collection.export(other)
        assert left in os.listdir(target.parent)
        collection.export(target)
    assert set(os.listdir(target.parent)) == {name, other.name, *kept}
