"""Truncated files and flipped bytes: one clear error or the right answer, never a wrong one (W26)."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from collection.fake_graph import FakeGraph
from collection.fakes import FakeEncoder, text_of
from faults.recording import write_state
from orthant.collection.collection import Collection
from orthant.collection.storage import derived, graphs, merging
from orthant.collection.storage.texts import dictionaries
from orthant.errors import StoreCorruptedError, StoreVersionError


def _build(path: Path, *, killed: bool) -> dict[str, bytes]:
    """Return the files of a collection with derived files, a tail behind them, and a second space."""
    rng = np.random.default_rng(5)
    with Collection(path, encoder=FakeEncoder()) as collection:
        collection.add_space("extra", dim=5, metric="l2")
        collection.add_space("late", dim=3, kind="tokens", dtype="float16")
        _write(collection, rng, 0, 60)
        collection.delete([f"r{i}" for i in range(0, 60, 7)])
    with Collection(path, encoder=FakeEncoder()) as collection:
        _write(collection, rng, 60, 8)
        collection.delete(["r61", "r3"])
        if not killed:
            collection._store.save_derived = lambda: None
        else:
            left = path.with_name("left")
            shutil.copytree(path, left)
    root = left if killed else path
    return {str(f.relative_to(root)): f.read_bytes() for f in sorted(root.rglob("*")) if f.is_file()}


def _write(collection: Collection, rng: np.random.Generator, first: int, count: int) -> None:
    ids = [f"r{i}" for i in range(first, first + count)]
    collection.upsert(
        ids,
        texts=[text_of(rng) + f" v{key}" for key in ids],
        metadata=[{"n": i, "kind": "odd" if i % 2 else "even"} for i in range(count)],
        vectors={"extra": rng.standard_normal((count, 5)), "late": [np.ones((1 + i % 3, 3)) * i for i in range(count)]},
    )


@pytest.fixture(autouse=True)
def graphs_of_small_spaces(monkeypatch):
    """Every space here has a graph, with a tail and dead rows."""
    monkeypatch.setattr(merging, "BREAK_EVEN", 20)
    monkeypatch.setattr(merging, "_TAIL_ROWS", 20)
    monkeypatch.setattr(merging, "_CLOSE_ROWS", 20)
    monkeypatch.setattr(graphs, "graph_class", lambda: FakeGraph)
    # And records that are packed.
    monkeypatch.setattr(dictionaries, "_LEAST_RECORDS", 16)
    monkeypatch.setattr(dictionaries, "_LEAST_SAMPLE", 512)


_Q = FakeEncoder().encode(["amber lagoon"])[0]


def _answers(collection: Collection) -> dict:
    """Return everything a user may ask for, in comparable form."""
    found: dict = {"ids": list(collection.ids()), "len": len(collection)}
    wanted = [f"r{i}" for i in range(0, 70, 3)]
    for key, record in zip(wanted, collection.get(wanted, vectors=True), strict=True):
        found[key] = record and (record.text, record.metadata, {n: x.tobytes() for n, x in record.vectors.items()})
    for name, options in {
        "dense": {"vector": _Q},
        "l2": {"vector": np.ones(5), "space": "extra"},
        "tokens": {"query": np.eye(3), "mode": "tokens"},
        "lexical": {"query": "amber lagoon", "mode": "lexical"},
        "hybrid": {"query": "amber -cedar", "mode": "hybrid"},
        "filtered": {"query": "amber", "mode": "hybrid", "where": {"kind": "odd", "n": {"lt": 30}}},
    }.items():
        hits = collection.search(k=12, **options)
        found[name] = [(hit.id, hit.score, hit.text, hit.metadata) for hit in hits]
    return found


def _damaged(rng: np.random.Generator, data: bytes) -> tuple[str, bytes]:
    at = int(rng.integers(len(data)))
    if rng.random() < 0.2:
        return f"cut at {at}", data[:at]
    out = bytearray(data)
    if rng.random() < 0.3:
        end = min(len(out), at + int(rng.integers(2, 512)))
        out[at:end] = rng.integers(0, 256, size=end - at, dtype=np.uint8).tobytes()
        return f"noise at {at} to {end}", bytes(out)
    out[at] ^= 1 << int(rng.integers(8))
    return f"bit at {at}", bytes(out)


def _fuzz(scratch: Path, *, killed: bool, positions: int, seed: int) -> dict[str, int]:
    files = _build(scratch / "built", killed=killed)
    assert killed == bool(files.get("store.sqlite-wal"))
    with Collection(write_state(scratch / "sound", files), encoder=FakeEncoder(), read_only=True) as collection:
        truth = _answers(collection)
        for name in ("default", "extra"):
            told = collection.stats().spaces[name]
            assert told["plan"] == "graph+tail" and told["graph"]["dead"], told
    rng = np.random.default_rng(seed)
    # Small files as often as large ones; the shared memory of SQLite is rebuilt from the log and proves nothing.
    names = [name for name, data in files.items() if data and not name.endswith(("-shm", "writer.lock"))]
    outcome = {"refused": 0, "right": 0, "reported": 0}
    for i in range(positions):
        name = names[i % len(names)]
        what, data = _damaged(rng, files[name])
        folder = write_state(scratch / "damaged", {**files, name: data})
        try:
            with Collection(folder, encoder=FakeEncoder(), read_only=i % 4 > 0) as collection:
                found = _answers(collection)
                assert found == truth, {key: (found[key], truth[key]) for key in truth if found[key] != truth[key]}
                outcome["right"] += 1
                outcome["reported"] += not collection.check().ok
        except (StoreCorruptedError, StoreVersionError) as error:
            assert not name.startswith(("derived", "head")), error
            assert "Got " in str(error) and "; expected " in str(error)
            outcome["refused"] += 1
        except BaseException as error:
            error.add_note(f"{i}: {name}, {what}, of {len(files[name])} bytes")
            raise
    return outcome


@pytest.mark.parametrize("killed", [False, True])
def test_w26_damage_is_refused_or_harmless(scratch, killed):
    outcome = _fuzz(scratch, killed=killed, positions=240, seed=1)
    assert outcome["refused"] > 12 and outcome["right"] > 20


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(4))
def test_w26_much_damage(scratch, seed):
    _fuzz(scratch, killed=seed % 2 == 0, positions=2500, seed=100 + seed)


def test_w51_repair_rebuilds_derived_files_and_encodes_damaged_vectors_again(scratch):
    path = write_state(scratch / "c", _build(scratch / "built", killed=False))
    with Collection(path, encoder=FakeEncoder(), read_only=True) as collection:
        truth = _answers(collection)
    (segment,) = (path / "vectors" / "default").iterdir()
    data = bytearray(segment.read_bytes())
    data[5000] ^= 255
    segment.write_bytes(data)
    (lexical,) = (path / "derived").rglob("lexical")
    lexical.write_bytes(lexical.read_bytes()[:100])
    with Collection(path, encoder=FakeEncoder()) as collection:
        with pytest.raises(StoreCorruptedError, match=r"default.000000\.seg .*block 0 .*check --repair"):
            collection.search(vector=_Q)
        assert collection.search("amber", mode="lexical").ids
        report = collection.check()
        assert not report.ok and all(problem.repairable for problem in report.problems)
        assert {problem.where.split("/")[0] for problem in report.problems} == {"derived", "vectors"}
        assert collection.check(repair=True).ok
        assert collection.check().problems == []
        assert _answers(collection) == truth
    with Collection(path, encoder=FakeEncoder(), read_only=True) as collection:
        assert collection.check().problems == [] and _answers(collection) == truth


def _dictionaries(path: Path) -> list[tuple[int, int, bytes]]:
    connection = sqlite3.connect(path / "store.sqlite")
    try:
        return connection.execute("SELECT number, copy, data FROM dictionaries ORDER BY copy").fetchall()
    finally:
        connection.close()


def test_a_lost_copy_of_a_dictionary_costs_nothing_and_is_mended(scratch):
    path = write_state(scratch / "c", _build(scratch / "built", killed=False))
    with Collection(path, encoder=FakeEncoder(), read_only=True) as collection:
        truth = _answers(collection)
    whole = _dictionaries(path)
    assert [(number, copy) for number, copy, _ in whole] == [(1, 0), (1, 1)] and whole[0][2] == whole[1][2]
    for copy in (0, 1):
        with sqlite3.connect(path / "store.sqlite") as connection:
            connection.execute("UPDATE dictionaries SET data = ? WHERE copy = ?", (b"x" + whole[0][2][1:], copy))
        connection.close()
        with Collection(path, encoder=FakeEncoder()) as collection:
            assert _answers(collection) == truth
            (problem,) = collection.check().problems
            assert problem.where == "store.sqlite" and "dictionary 1" in problem.what and problem.repairable
            assert collection.check(repair=True).ok and collection.check().problems == []
        assert _dictionaries(path) == whole
    with sqlite3.connect(path / "store.sqlite") as connection:
        connection.execute("UPDATE dictionaries SET data = x'00'")
    connection.close()
    with (
        pytest.raises(StoreCorruptedError, match="dictionary 1 is missing or fails its checksum"),
        Collection(path, encoder=FakeEncoder(), read_only=True) as collection,
    ):
        collection.get("r1")


def test_repair_says_what_it_cannot_mend(scratch):
    path = write_state(scratch / "c", _build(scratch / "built", killed=False))
    (segment,) = (path / "vectors" / "extra").iterdir()
    segment.unlink()
    with Collection(path, encoder=FakeEncoder()) as collection:
        report = collection.check(repair=True)
        (problem,) = report.problems
        assert not report.ok and not problem.repairable and "brought by the user" in problem.what
        # The other space is unharmed.
        assert collection.search(vector=_Q, k=1).ids


def test_w49_a_newer_format_names_what_reads_it(scratch):
    path = write_state(scratch / "c", _build(scratch / "built", killed=False))
    with sqlite3.connect(path / "store.sqlite") as connection:
        connection.execute("UPDATE meta SET value = '7' WHERE key IN ('format', 'minimum_reader')")
    connection.close()
    with pytest.raises(StoreVersionError, match=r"format 7.*; expected format 3 or older.*Upgrade orthant"):
        Collection(path, encoder=FakeEncoder())


def test_w49_newer_derived_files_are_rebuilt(scratch, monkeypatch):
    path = scratch / "c"
    with monkeypatch.context() as patch:
        patch.setattr(derived, "_FORMAT", 9)
        files = _build(scratch / "built", killed=False)
    write_state(path, files)
    with Collection(path, encoder=FakeEncoder()) as collection:
        assert len(_answers(collection)["dense"]) == 12


def test_a_lost_database_or_log_is_noticed(scratch):
    files = _build(scratch / "built", killed=True)
    without_log = {name: data for name, data in files.items() if "-wal" not in name and "-shm" not in name}
    with pytest.raises(StoreCorruptedError, match=r"although .* was stored.*delete the file 'head'"):
        Collection(write_state(scratch / "c", without_log), encoder=FakeEncoder())
    (scratch / "c" / "head").unlink()
    with Collection(scratch / "c", encoder=FakeEncoder()) as collection:
        assert "r60" not in collection and collection.check().ok
        collection.upsert(["r60"], texts=["amber"], vectors={"extra": np.ones((1, 5))})
    without_database = {name: data for name, data in files.items() if not name.startswith("store.sqlite")}
    for read_only in (True, False):
        with pytest.raises(StoreCorruptedError, match=r"without its store\.sqlite"):
            Collection(write_state(scratch / "c", without_database), encoder=FakeEncoder(), read_only=read_only)


def test_derived_files_of_a_lost_log_are_never_taken_for_the_present(scratch):
    """After the user accepts an older state, generations count up again: files of the lost ones must be gone."""
    path = scratch / "c"
    with Collection(path, encoder=FakeEncoder()) as collection:
        collection.upsert(["a"], texts=["amber"])
    old = {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}
    with Collection(path, encoder=FakeEncoder()) as collection:
        for i in range(4):
            collection.upsert([f"lost{i}"], texts=["basin"])
    lost = {str(f.relative_to(path)): f.read_bytes() for f in (path / "derived").rglob("*") if f.is_file()}
    old.pop("head")
    write_state(path, {**old, **lost})
    collection = Collection(path, encoder=FakeEncoder())
    for i in range(6):
        collection.upsert([f"new{i}"], texts=["cedar"])
    shutil.copytree(path, scratch / "killed")
    collection.close()
    with Collection(scratch / "killed", encoder=FakeEncoder()) as collection:
        assert collection.search("basin", mode="lexical").ids == []
        assert len(collection.search("cedar", mode="lexical").ids) == 6 and collection.check().ok
