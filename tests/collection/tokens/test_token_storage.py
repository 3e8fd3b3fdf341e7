"""Tokens on disk: whole records, runs of rows, compaction, damage, snapshots, exports."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest

import orthant
from collection.fakes import FakeEncoder, FakeTokenEncoder
from collection.tokens.test_token_space import QUERY, by_hand, filled, same
from orthant.collection.storage import segments
from orthant.collection.storage.segments import Extent, SegmentFolder, SegmentState, pack_rows, unpack_rows
from orthant.errors import InputError, StoreCorruptedError, StoreVersionError


def reopened(path):
    collection = orthant.open(path, encoder=FakeEncoder())
    collection.use_encoder("tokens", FakeTokenEncoder())
    return collection


@pytest.mark.parametrize("rows", [[0, 1, 2], [0, 2, 5], [0, 0, 2], [3, 3, 3], [1, 1, 2, 7, 7, 7, 9]])
def test_rows_survive_their_packing(rows):
    rows = np.array(rows, dtype=np.int64)
    assert unpack_rows(pack_rows(rows)).tolist() == rows.tolist()
    assert Extent(0, 0, rows).is_range == (rows.tolist() == list(range(rows[0], rows[0] + len(rows))))


def test_runs_take_less_than_a_number_per_token():
    assert len(pack_rows(np.repeat(np.arange(100), 50))) == 1 + 12 * 100


def test_a_record_is_never_divided_between_segments(tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "_MAX_SEGMENT_BYTES", 4 * 8 * 20)
    collection, texts = filled(tmp_path / "c")
    with collection:
        space = collection._store.generation.spaces["tokens"]
        assert len(space.segments) > 5
        held = [set(view.rows.tolist()) for view in space.segments]
        assert sum(map(len, held)) == len(set().union(*held)) == len(texts)
        collection.upsert(["long"], texts=[" ".join(["amber", "kelp"] * 20)])
        view = collection._store.generation.spaces["tokens"].segments[-1]
        assert len(view.rows) == 40 and len(set(view.rows.tolist())) == 1
        texts["long"] = " ".join(["amber", "kelp"] * 20)
        same(collection.search(QUERY, mode="tokens", k=61), by_hand(QUERY, texts))
    with reopened(tmp_path / "c") as again:
        same(again.search(QUERY, mode="tokens", k=61), by_hand(QUERY, texts))
        assert again.check().ok


def test_room_of_a_segment_is_filled_up_to_the_last_whole_record(tmp_path):
    folder = SegmentFolder(tmp_path, 2, None)
    rows = np.array([1, 1, 2, 2, 2, 3])
    for begun, room, fresh, expected in [(0, 6, False, 6), (0, 4, False, 2), (0, 5, False, 5), (2, 2, False, 0)]:
        assert folder._whole_rows(rows, begun, room, fresh=fresh) == expected
    assert folder._whole_rows(rows, 2, 2, fresh=True) == 3


def test_compaction_keeps_the_tokens_together_and_in_order(tmp_path, monkeypatch):
    from orthant.collection.storage import maintenance

    monkeypatch.setattr(maintenance, "_MINIMUM_SLOTS", 10)
    monkeypatch.setattr(maintenance, "_PART", 16)
    collection, texts = filled(tmp_path / "c")
    with collection:
        before = {
            key: r.vectors["tokens"] for key, r in zip(texts, collection.get(list(texts), vectors=True), strict=True)
        }
        numbers = {view.state.number for view in collection._store.generation.spaces["tokens"].segments}
        collection.delete([f"r{i}" for i in range(0, 60, 3)])
        space = collection._store.generation.spaces["tokens"]
        assert numbers.isdisjoint(view.state.number for view in space.segments)
        assert space.slots == sum(len(texts[f"r{i}"].split()) for i in range(60) if i % 3)
        left = {key: text for key, text in texts.items() if int(key[1:]) % 3}
        for key, record in zip(left, collection.get(list(left), vectors=True), strict=True):
            np.testing.assert_array_equal(record.vectors["tokens"], before[key])
        same(collection.search(QUERY, mode="tokens", k=60), by_hand(QUERY, left))
    with reopened(tmp_path / "c") as again:
        same(again.search(QUERY, mode="tokens", k=60), by_hand(QUERY, left))


def flip(path, offset=segments.HEADER_BYTES + 37):
    data = bytearray(path.read_bytes())
    data[offset] ^= 16
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_damaged_tokens_are_refused_and_encoded_again(tmp_path, dtype):
    collection, texts = filled(tmp_path / "c", dtype=dtype)
    collection.delete(["r0", "r9"])
    collection.close()
    (segment,) = (tmp_path / "c" / "vectors" / "tokens").glob("*.seg")
    flip(segment)
    with reopened(tmp_path / "c") as damaged:
        with pytest.raises(StoreCorruptedError, match="tokens"):
            damaged.search(QUERY, mode="tokens")
        assert damaged.search(QUERY, mode="lexical").ids
        assert not damaged.check().ok
        report = damaged.check(repair=True)
        assert report.ok and "encoded again" in report.problems[0].what
        left = {key: text for key, text in texts.items() if key not in ("r0", "r9")}
        same(damaged.search(QUERY, mode="tokens", k=60), by_hand(QUERY, left), 5e-3)


def test_a_repair_with_another_number_of_tokens_is_refused(tmp_path):
    filled(tmp_path / "c", count=5)[0].close()
    (segment,) = (tmp_path / "c" / "vectors" / "tokens").glob("*.seg")
    flip(segment)

    class Cutting(FakeTokenEncoder):
        def token_texts(self, items, *, role="document"):
            found = super().token_texts(items, role=role)
            return [row[:1] if len(items) == 5 else row for row in found]

    with orthant.open(tmp_path / "c", encoder=FakeEncoder()) as collection:
        collection.use_encoder("tokens", Cutting())
        report = collection.check(repair=True)
        assert not report.ok and "another number of tokens" in report.problems[0].what


def test_brought_tokens_cannot_be_made_again(tmp_path):
    with orthant.open(tmp_path / "c") as collection:
        collection.add_space("tokens", dim=4, kind="tokens")
        collection.upsert(["a"], texts=["amber"], vectors={"tokens": [np.ones((3, 4))]})
    flip(next((tmp_path / "c" / "vectors" / "tokens").glob("*.seg")))
    with orthant.open(tmp_path / "c") as collection:
        report = collection.check(repair=True)
        assert not report.ok and "brought by the user" in report.problems[0].what


def test_a_write_that_failed_leaves_no_tokens(tmp_path):
    collection, texts = filled(tmp_path / "c", count=10)
    with pytest.raises(InputError):
        collection.upsert(["x", "x"], texts=["amber", "amber"])
    segment = next((tmp_path / "c" / "vectors" / "tokens").glob("*.seg"))
    collection.close()
    size = segment.stat().st_size
    with open(segment, "ab") as handle:
        handle.write(b"never committed")
    with reopened(tmp_path / "c") as again:
        again.delete(["r0"])
        assert segment.stat().st_size == size
        same(again.search(QUERY, mode="tokens", k=60), by_hand(QUERY, {k: t for k, t in texts.items() if k != "r0"}))


def test_a_reader_follows_the_writer(tmp_path):
    writer, texts = filled(tmp_path / "c", count=10)
    reader = orthant.open(tmp_path / "c", encoder=FakeEncoder(), read_only=True)
    reader.use_encoder("tokens", FakeTokenEncoder())
    with writer, reader:
        for i in range(3):
            writer.upsert([f"new{i}"], texts=[QUERY + " kelp" * i])
            texts[f"new{i}"] = QUERY + " kelp" * i
            same(reader.search(QUERY, mode="tokens", k=20), by_hand(QUERY, texts))


def test_older_releases_refuse_a_collection_with_tokens(tmp_path, monkeypatch):
    from orthant.collection.storage import database

    orthant.open(tmp_path / "plain").close()
    filled(tmp_path / "c", count=2)[0].close()
    monkeypatch.setattr(database, "DATABASE_FORMAT", 1)
    orthant.open(tmp_path / "plain").close()
    with pytest.raises(StoreVersionError, match="format 2"):
        orthant.open(tmp_path / "c")


def test_a_damaged_list_of_rows_is_noticed(tmp_path):
    filled(tmp_path / "c", count=5)[0].close()
    with sqlite3.connect(tmp_path / "c" / "store.sqlite") as connection:
        (blob,) = connection.execute("SELECT rows FROM extents WHERE space = 'tokens'").fetchone()
        changed = blob[:-4] + bytes([blob[-4] ^ 1]) + blob[-3:]
        connection.execute("UPDATE extents SET rows = ? WHERE space = 'tokens'", (changed,))
    with pytest.raises(StoreCorruptedError, match="extent"):
        orthant.open(tmp_path / "c")


def test_snapshots_keep_tokens_and_bring_them_back(tmp_path):
    collection, texts = filled(tmp_path / "c", count=20, dtype="float16")
    with collection:
        collection.snapshot("then")
        collection.delete([f"r{i}" for i in range(0, 20, 2)])
        collection.upsert(["r1"], texts=["kelp"])
        with orthant.open(tmp_path / "c", encoder=FakeEncoder(), snapshot="then") as then:
            then.use_encoder("tokens", FakeTokenEncoder())
            same(then.search(QUERY, mode="tokens", k=20), by_hand(QUERY, texts), 5e-3)
        collection.restore("then")
        same(collection.search(QUERY, mode="tokens", k=20), by_hand(QUERY, texts), 5e-3)
        assert collection.check().ok


@pytest.mark.parametrize("name", ["folder", "archive.zip"])
def test_exports_bring_tokens_back_bit_by_bit(tmp_path, name):
    collection, texts = filled(tmp_path / "c", count=20)
    with collection:
        collection.upsert(["bare"], texts=["amber"], vectors={"tokens": [None]})
        collection.export(tmp_path / name)
        before = collection.get([*texts, "bare"], vectors=True)
    with orthant.open(tmp_path / "new", encoder=FakeEncoder()) as fresh:
        report = fresh.import_from(tmp_path / name)
        assert report.vectors["tokens"] == 20
        assert fresh.spaces["tokens"].kind == "tokens"
        for old, new in zip(before, fresh.get([*texts, "bare"], vectors=True), strict=True):
            assert old.vectors.keys() == new.vectors.keys()
            for space, X in old.vectors.items():
                np.testing.assert_array_equal(X, new.vectors[space])
        fresh.use_encoder("tokens", FakeTokenEncoder())
        same(fresh.search(QUERY, mode="tokens", k=20), by_hand(QUERY, texts))


def test_parquet_refuses_tokens_and_arrow_has_lists(tmp_path):
    pytest.importorskip("pyarrow")
    collection, texts = filled(tmp_path / "c", count=4)
    with collection:
        with pytest.raises(InputError, match="a folder or an archive"):
            collection.export(tmp_path / "x.parquet")
        assert not (tmp_path / "x.parquet").exists()
        table = collection.to_arrow()
        lists = table.column("vector_tokens").to_pylist()
        assert [len(row) for row in lists] == [len(text.split()) for text in texts.values()]
        np.testing.assert_allclose(lists[1], collection.get("r1", vectors=True).vectors["tokens"])


def test_marking_duplicates_keeps_tokens(tmp_path):
    collection, texts = filled(tmp_path / "c", count=10)
    with collection:
        collection.upsert(["twin"], texts=[texts["r1"]])
        report = collection.duplicates(threshold=0.999)
        assert report.mark() >= 1
        records = collection.get(["r1", "twin"], vectors=True)
        np.testing.assert_array_equal(records[0].vectors["tokens"], records[1].vectors["tokens"])
        assert any("duplicate_of" in record.metadata for record in records)


def test_a_segment_of_another_dtype_is_refused(tmp_path):
    collection, _ = filled(tmp_path / "c", count=3, dtype="float16")
    collection.close()
    folder = SegmentFolder(tmp_path / "c" / "vectors" / "tokens", 8, None)
    with pytest.raises(StoreCorruptedError, match="bytes a value"):
        folder.map(SegmentState(0, 1, (0,)))
