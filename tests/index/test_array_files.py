"""Folders of arrays while others write to them: a reader gets one state whole, and writers do not mix theirs."""

from __future__ import annotations

import json
import threading
import zlib

import numpy as np
import pytest

from orthant import artifact
from orthant.errors import NotFoundError, StoreCorruptedError
from orthant.index import IVF, Flat, Graph, array_files


def index_of(value, rows=40):
    out = Flat(4, "l2")
    out.add(np.full((rows, 4), value, np.float32))
    return out


def test_a_reader_begins_again_when_a_save_took_its_files(tmp_path, monkeypatch):
    index_of(1.0).save(tmp_path)
    verify, saved = array_files.verify_file, []

    def save_first(path, entry):
        if not saved:
            saved.append(1)
            index_of(2.0).save(tmp_path)
        verify(path, entry)

    monkeypatch.setattr("orthant.index.flat_file.verify_file", save_first)
    found = Flat.load(tmp_path)
    assert (found.reconstruct([0]) == 2.0).all()
    # What is damaged and stays so is said.
    next(tmp_path.glob("vectors-*.bin")).unlink()
    with pytest.raises(StoreCorruptedError, match="no such file"):
        Flat.load(tmp_path)


def test_a_graph_that_was_flat_when_it_was_looked_for_is_found(tmp_path, monkeypatch):
    small = Graph(4, "l2", scan_below=100)
    small.add(np.random.default_rng(0).standard_normal((50, 4)))
    small.save(tmp_path)
    load, saved = Flat.load, []

    def save_first(*args, **settings):
        if not saved:
            saved.append(1)
            small.add(np.random.default_rng(1).standard_normal((100, 4)))
            small.save(tmp_path)
        return load(*args, **settings)

    monkeypatch.setattr(Flat, "load", save_first)
    assert len(Graph.load(tmp_path)) == 150
    with pytest.raises(NotFoundError):
        Graph.load(tmp_path / "none")


def test_threads_that_save_to_one_folder_take_turns(tmp_path, monkeypatch):
    """Each writes a while; who is last has the folder, and nobody takes files away that another's header names."""
    write, meet = array_files._written, threading.Event()

    def slow(file, parts):
        meet.wait(0.02)
        return write(file, parts)

    monkeypatch.setattr(array_files, "_written", slow)
    errors = []

    def save(value):
        try:
            for _ in range(3):
                index_of(value).save(tmp_path)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=save, args=(float(value),)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    found = Flat.load(tmp_path).reconstruct(np.arange(40))
    assert (found == found[0, 0]).all()
    assert not list(tmp_path.glob(".*"))


def test_threads_that_write_one_file_do_not_mix_their_bytes(tmp_path):
    names = set()

    def note():
        names.add(artifact.aside_name("x"))
        together.wait()

    together = threading.Barrier(4)
    threads = [threading.Thread(target=note) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names) == 4


def test_a_save_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(array_files.os, "fsync", full)
    with pytest.raises(OSError, match="space"):
        index_of(1.0).save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_lists_that_name_what_has_no_vector_are_searched_without_it(monkeypatch):
    """As after an interrupt between two steps of a removal: a kernel would look at address zero."""
    from orthant.index.ivf import searching
    from orthant.kernels import warmup
    from orthant.kernels.clustering.list_rank import GROUP

    warmup.wait(GROUP)
    X = np.random.default_rng(0).standard_normal((600, 16)).astype(np.float32)
    index = IVF(16, "l2", lists=6, scan_below=0)
    index.add(X)
    gone = np.arange(0, 600, 3)
    index._flat.remove(gone)
    rank = searching.rank_places

    def ranked(queries, addresses, told, ids, **settings):
        assert (addresses[ids >= 0] != 0).all()
        assert (ids[:, 1:] < 0)[ids[:, :-1] < 0].all()
        return rank(queries, addresses, told, ids, **settings)

    monkeypatch.setattr(searching, "rank_places", ranked)
    for _ in range(4):
        hits = index.search(X[:50], 5, effort=6)
        assert not np.isin(hits.ids, gone).any() and (hits.counts == 5).all()
        assert index._ready.addressed is None
    assert index.remove(gone) == len(gone)
    assert not np.isin(index.search(X[:50], 5, effort=6).ids, gone).any()


def test_a_save_of_sets_that_dies_leaves_the_old_index(tmp_path, monkeypatch):
    """Also where a graph was written to a folder beside: it has the name of its content, which no header names yet."""
    from orthant.index import MultiVector
    from orthant.index.multivector import files

    sets = np.random.default_rng(0).standard_normal((90, 3, 8)).astype(np.float32)
    index = MultiVector(8, "fde", exact_below=0)
    index.add(list(sets[:60]))
    index.save(tmp_path)
    before = index.search(list(sets[:5]), 3)
    write = files.write_arrays

    def dies(*args, **settings):
        raise OSError(28, "No space left on device")

    index.add(list(sets[60:]))
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_arrays", dies)
        with pytest.raises(OSError, match="space"):
            index.save(tmp_path)
    old = MultiVector.load(tmp_path)
    assert len(old) == 60 and (old.search(list(sets[:5]), 3).ids == before.ids).all()
    index.save(tmp_path)
    assert files.write_arrays is write and len(MultiVector.load(tmp_path)) == 90
    assert len([folder for folder in tmp_path.iterdir() if folder.is_dir()]) == len(
        {folder.name.rsplit("-")[0] for folder in tmp_path.iterdir() if folder.is_dir()}
    )


def test_nobody_extends_a_graph_over_rows_on_disk_while_it_is_saved(tmp_path, monkeypatch):
    from orthant.index import TwoTier, two_tier

    X = np.random.default_rng(0).standard_normal((700, 16)).astype(np.float32)
    index = TwoTier(16, "l2", train_rows=300, search="graph", folder=tmp_path)
    index.add(X[:400])
    write, added = two_tier.files.write_two_tier, []

    def meanwhile(*args):
        other = threading.Thread(target=lambda: added.append(len(index.add(X[400:]))))
        other.start()
        other.join(0.1)
        write(*args)
        assert not added
        threads.append(other)

    threads = []
    monkeypatch.setattr(two_tier.files, "write_two_tier", meanwhile)
    index.save(tmp_path / "saved")
    threads[0].join()
    assert len(TwoTier.load(tmp_path / "saved")) == 400 and len(index) == 700


def test_w26_an_inverted_file_whose_parts_do_not_fit_is_refused_whatever_its_checksums(tmp_path):
    X = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)
    index = IVF(8, "l2", lists=4, scan_below=0)
    index.add(X)
    index.save(tmp_path)
    record = json.loads((tmp_path / "ivf.json").read_text())
    for change in ({"rows": 1.5}, {"rows": 299}, {"dim": 4}):
        body = {**record["body"], **change}
        forged = {"body": body, "sha256": array_files._digest(body)}
        (tmp_path / "ivf.json").write_text(json.dumps(forged))
        with pytest.raises(StoreCorruptedError):
            IVF.load(tmp_path)
    (tmp_path / "ivf.json").write_text(json.dumps(record))
    begins = tmp_path / record["body"]["files"]["begins"]["name"]
    begins.write_bytes(np.array([0, 9, 1, 2, *np.fromfile(begins, "<i8")[4:]], "<i8").tobytes())
    record["body"]["files"]["begins"]["crc32"] = [zlib.crc32(begins.read_bytes())]
    record["sha256"] = array_files._digest(record["body"])
    (tmp_path / "ivf.json").write_text(json.dumps(record))
    with pytest.raises(StoreCorruptedError):
        IVF.load(tmp_path)


def test_listed_files_stay_in_their_folder_and_have_the_sizes_of_their_arrays(tmp_path):
    entries = {"ids": {"name": "../ids-1.bin", "bytes": 16}, "rows": {"name": "rows-1.bin", "bytes": 64}}
    found = array_files.listed_files(tmp_path, entries, {"rows": 64, "ids": 16})
    assert {role: file for role, (file, _) in found.items()} == {
        "rows": tmp_path / "rows-1.bin",
        "ids": tmp_path / "ids-1.bin",
    }
    with pytest.raises(ValueError, match="sizes"):
        array_files.listed_files(tmp_path, entries, {"rows": 60, "ids": 16})
    with pytest.raises(KeyError):
        array_files.listed_files(tmp_path, entries, {"codes": 1})
