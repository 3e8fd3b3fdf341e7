"""Graphs on disk: saved and loaded, attached to vectors, damaged everywhere (W26, W28)."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from index.graph_data import clustered
from orthant.errors import NotFoundError, OrthantError, StoreCorruptedError, StoreVersionError
from orthant.index import Graph
from orthant.kernels import bitmaps

SMALL = {"degree": 8, "beam": 24, "scan_below": 0}


def same(one, other, Q, **arguments):
    a, b = one.search(Q, 10, **arguments), other.search(Q, 10, **arguments)
    return (a.ids == b.ids).all() and (a.scores == b.scores).all()


@pytest.fixture(scope="module")
def small(compiled):
    X, _ = clustered(700, 20, seed=51)
    X[600:640] = X[:40]
    Q, _ = clustered(30, 20, seed=52)
    return X, Q


@pytest.fixture(scope="module")
def saved(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "graph"
    index = Graph(20, "dot", **SMALL)
    index.add(small[0], np.arange(700) * 3)
    index.remove(np.arange(0, 600, 9))
    index.calibrate()
    index.save(folder)
    return index, folder


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("metric", ["dot", "cosine", "l2"])
def test_what_is_loaded_answers_as_what_was_saved(compiled, tmp_path, metric, mmap):
    X, _ = clustered(900, 150, seed=53)
    Q, _ = clustered(30, 150, seed=54)
    index = Graph(150, metric, reduced_dim=96, seed=3, **SMALL)
    index.add(X)
    index.save(tmp_path / "a")
    shutil.move(tmp_path / "a", tmp_path / "b")
    loaded = Graph.load(tmp_path / "b", mmap=mmap)
    assert loaded.check() == []
    assert loaded.metric == metric and loaded.dim == 150 and len(loaded) == 900
    assert same(index, loaded, Q) and same(index, loaded, Q, allowed=np.arange(0, 900, 2))
    assert (loaded.stats().details["mapped_code_bytes"] > 0) == mmap
    # And changes like it: a map is copied first, and the file stays as it was.
    for each in (index, loaded):
        each.add(Q)
        each.remove(np.arange(0, 300, 5))
    assert same(index, loaded, Q)
    assert loaded.check() == []
    assert len(Graph.load(tmp_path / "b")) == 900


def test_calibration_and_numbering_are_kept(saved):
    index, folder = saved
    loaded = Graph.load(folder)
    assert loaded.calibration == index.calibration
    assert loaded.add(np.ones((1, 20)))[0] == 700 * 3 - 3 + 1


def test_a_save_over_another_replaces_it(compiled, small, tmp_path):
    X, Q = small
    index = Graph(20, "l2", degree=8, beam=24, scan_below=300)
    index.add(X[:100])
    for count in (100, 500, 200):
        if count > len(index):
            index.add(X[len(index) : count], np.arange(len(index), count))
        else:
            index = Graph(20, "l2", degree=8, beam=24, scan_below=300)
            index.add(X[:count])
        index.save(tmp_path / "g")
        loaded = Graph.load(tmp_path / "g")
        assert len(loaded) == count
        assert same(index, loaded, Q)
    kept = {p.name for p in (tmp_path / "g").rglob("*") if p.is_file()}
    assert not [name for name in kept if name.startswith(("codes", "sketches", "links"))]


def test_w48_no_path_and_no_secret_is_saved(saved, tmp_path):
    _, folder = saved
    text = b"".join(p.read_bytes() for p in folder.glob("*.json"))
    assert str(folder).encode() not in text
    # Vectors of removed rows are gone from the file.
    assert not (folder / "pickle").exists()


# --- damage


def damage_all(folder, scratch, open_it, *, positions=24):
    """Open copies with one byte flipped or the end cut, at positions spread over every file."""
    rng = np.random.default_rng(5)
    tried = 0
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = file.read_bytes()
        places = {0, 1, len(data) // 2, len(data) - 1, *rng.integers(0, len(data), positions).tolist()}
        for place in sorted(places):
            for how in ("flip", "cut"):
                spoiled = bytearray(data)
                if how == "flip":
                    spoiled[place] ^= 1 << int(rng.integers(8))
                else:
                    del spoiled[place:]
                if bytes(spoiled) == data:
                    continue
                shutil.copytree(folder, scratch)
                (scratch / file.relative_to(folder)).write_bytes(bytes(spoiled))
                with pytest.raises(OrthantError) as caught:
                    open_it(scratch)
                assert isinstance(caught.value, (StoreCorruptedError, StoreVersionError)), (file.name, place, how)
                stem = file.name.split("-")[0]
                assert stem in str(caught.value), (file.name, place, how, str(caught.value))
                shutil.rmtree(scratch)
                tried += 1
        shutil.copytree(folder, scratch)
        (scratch / file.relative_to(folder)).unlink()
        with pytest.raises((StoreCorruptedError, NotFoundError)):
            open_it(scratch)
        shutil.rmtree(scratch)
    return tried


@pytest.mark.parametrize("mmap", [True, False])
def test_w26_damage_anywhere_is_noticed_and_named(saved, tmp_path, mmap):
    _, folder = saved
    assert damage_all(folder, tmp_path / "copy", lambda path: Graph.load(path, mmap=mmap), positions=8) > 100


def test_w26_damage_to_links_is_noticed_before_vectors_are_read(compiled, small, tmp_path):
    X, _ = small
    Graph.over([(X, np.arange(700))], dim=20, metric="l2", **SMALL).save_links(tmp_path / "links")
    blocks = [(X, np.arange(700))]
    assert damage_all(tmp_path / "links", tmp_path / "copy", lambda path: Graph.attach(path, blocks), positions=6) > 80


def test_w26_a_checksum_that_fits_does_not_excuse_links_out_of_range(compiled, small, tmp_path):
    X, _ = small
    index = Graph(20, "l2", **SMALL)
    index.add(X)
    for name, value in (("links", 700), ("links", -2), ("twins", 1 << 20), ("entries", -1)):
        index.save(tmp_path / "good")
        array = getattr(index._state, name)
        kept = array[0].copy()
        array[0] = value
        index.save(tmp_path / "bad")
        array[0] = kept
        with pytest.raises(StoreCorruptedError):
            Graph.load(tmp_path / "bad")
    assert Graph.load(tmp_path / "good").check() == []


def test_w49_newer_formats_and_other_kinds_are_refused(saved, tmp_path):
    _, folder = saved
    with pytest.raises(NotFoundError):
        Graph.load(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError):
        Graph.load(tmp_path / "empty")
    from orthant.index import array_files

    for settings in ({"beam": 0}, {"sketch": "x"}, {"alpha": None}, {"degree": 1 << 20}, {"margin": "x"}):
        # With a checksum that fits: kernels make room by these.
        copy = tmp_path / "settings"
        shutil.copytree(folder, copy)
        record = json.loads((copy / "graph.json").read_text())
        record["body"]["settings"] |= settings
        record["sha256"] = array_files._digest(record["body"])
        (copy / "graph.json").write_text(json.dumps(record))
        with pytest.raises(StoreCorruptedError):
            Graph.load(copy)
        shutil.rmtree(copy)
    for change, error in (
        ({"format": 99, "minimum_reader": 99}, StoreVersionError),
        ({"kind": "x"}, StoreCorruptedError),
    ):
        copy = tmp_path / error.__name__
        shutil.copytree(folder, copy)
        record = json.loads((copy / "graph.json").read_text())
        record["body"] |= change
        record["sha256"] = array_files._digest(record["body"])
        (copy / "graph.json").write_text(json.dumps(record))
        with pytest.raises(error):
            Graph.load(copy)


# --- attach


def test_attached_graphs_answer_as_those_built(compiled, small, tmp_path):
    X, Q = small
    blocks = [(X[:300], np.arange(300)), (X[300:], np.arange(300, 700))]
    index = Graph.over(blocks, dim=20, metric="l2", **SMALL)
    index.save_links(tmp_path / "links")
    # Whatever way the vectors are cut into blocks.
    for cut in (300, 1, 699):
        again = [(X[cut:], np.arange(cut, 700)), (X[:cut], np.arange(cut))]
        attached = Graph.attach(tmp_path / "links", again)
        assert same(index, attached, Q)
        assert attached.check() == []
        assert (attached.reconstruct([5, 650]) == X[[5, 650]]).all()


def test_attach_drops_what_is_not_there_any_more(compiled, small, tmp_path):
    X, Q = small
    Graph.over([(X, np.arange(700))], dim=20, metric="l2", **SMALL).save_links(tmp_path / "links")
    before = {p.name: p.read_bytes() for p in (tmp_path / "links").iterdir()}
    live = bitmaps.from_rows(np.arange(0, 700, 2))
    # Rows 600 on are in no block, odd ids are not alive, and 900 to 904 are new.
    strange, _ = clustered(5, 20, seed=55)
    blocks = [(X[:600], np.arange(600)), (strange, np.arange(900, 905))]
    attached = Graph.attach(tmp_path / "links", blocks, live=bitmaps.set_rows(live, np.arange(900, 905)))
    assert sorted(attached.ids()) == list(range(0, 600, 2))
    hits = attached.search(Q, 10, effort=60)
    assert (hits.counts == 10).all()
    assert (hits.ids % 2 == 0).all() and hits.ids.max() < 600
    assert attached.check() == []
    more = attached.extended([(strange, np.arange(900, 905))])
    assert len(more) == 305
    assert more.search(strange, 1).ids[:, 0].tolist() == list(range(900, 905))
    # Opening changed nothing on disk.
    assert {p.name: p.read_bytes() for p in (tmp_path / "links").iterdir()} == before
    more.save_links(tmp_path / "links")
    kept = np.arange(0, 600, 2)
    rows = [(X[:600][::2].copy(), kept), (strange, np.arange(900, 905))]
    again = Graph.attach(tmp_path / "links", rows)
    assert len(again) == 305
    assert again.check() == []
    assert (again.search(X[:600][::2].copy(), 1, effort=60).scores > -1e-3).all()


def test_attach_without_any_row(compiled, small, tmp_path):
    X, Q = small
    Graph.over([(X, np.arange(700))], dim=20, metric="l2", **SMALL).save_links(tmp_path / "links")
    attached = Graph.attach(tmp_path / "links", [])
    assert len(attached) == 0
    assert (attached.search(Q, 5).ids == -1).all()
    assert (attached.search(Q, 5, allowed=np.arange(100)).ids == -1).all()


def _attached(folder, index, X, monkeypatch, most: int | None = None):
    """Save links, packed up to some bytes, and attach them again."""
    from orthant.index.vamana import files

    with monkeypatch.context() as patched:
        if most is not None:
            patched.setattr(files, "_PACKED_BYTES", most)
        index.save_links(folder)
    return Graph.attach(folder, [(X, np.arange(len(X)))])


def test_links_are_packed_where_they_are_few_and_answer_the_same(compiled, tmp_path, monkeypatch):
    X, _ = clustered(900, 40, seed=61)
    Q, _ = clustered(30, 40, seed=62)
    index = Graph(40, "l2", degree=16, beam=32, scan_below=0)
    index.add(X)
    packed = _attached(tmp_path / "packed", index, X, monkeypatch)
    mapped = _attached(tmp_path / "mapped", index, X, monkeypatch, most=0)
    assert same(index, packed, Q) and same(index, mapped, Q)
    for one in (packed, mapped):
        np.testing.assert_array_equal(one._state.links, index._state.links[:900])
        assert one.check() == []
    sizes = [sum(f.stat().st_size for f in (tmp_path / name).glob("links-*")) for name in ("packed", "mapped")]
    assert 2 * sizes[0] < sizes[1] == 4 * 900 * index._state.room
    formats = [json.loads((tmp_path / name / "graph.json").read_text())["body"] for name in ("packed", "mapped")]
    # A release that cannot read packed links says so; what it can read stays open to it.
    assert [body["minimum_reader"] for body in formats] == [2, 1] and "packed" not in formats[1]


@pytest.mark.parametrize("used", [3, 65_536, 65_537, 131_072, 131_073, 262_145, 600_000, 5_000_000])
def test_slots_of_any_size_are_packed(used):
    from orthant.index.vamana import files

    rng = np.random.default_rng(used)
    rows, room = min(used, 4001), 8
    links = np.full((rows, room), -1, np.int32)
    degrees = rng.integers(0, room + 1, rows)
    present = np.arange(room) < degrees[:, None]
    links[present] = rng.integers(0, used, int(present.sum()))
    bits = files._high_bits(used)
    assert bits in (0, 1, 2, 4, 8) and 1 << (16 + bits) >= used
    if rows == used:
        assert files._packed_links(links) is not None
        gap = links.copy()
        gap[0] = [1, -1, 2, *[-1] * (room - 3)]
        assert files._packed_links(gap) is None


def test_packed_links_of_many_slots_come_back(tmp_path):
    import zlib

    from orthant.index.vamana import files

    rng = np.random.default_rng(7)
    links = np.full((70_000, 4), -1, np.int32)
    present = np.arange(4) < rng.integers(0, 5, 70_000)[:, None]
    links[present] = rng.integers(0, 70_000, int(present.sum()))
    data = files._packed_links(links).tobytes()
    (tmp_path / "links").write_bytes(data)
    entry = {"name": "links", "bytes": len(data), "crc32": [zlib.crc32(data)]}
    out = files._unpacked_links(tmp_path, entry, links.shape, int(present.sum()))
    np.testing.assert_array_equal(out, links)
    with pytest.raises(ValueError, match="size"):
        files._unpacked_links(tmp_path, entry, links.shape, int(present.sum()) - 8)
    with pytest.raises(ValueError, match="fit"):
        files._unpacked_links(tmp_path, entry, (70_000, 3), int(present.sum()))
