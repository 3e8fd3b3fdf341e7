"""Records packed by a dictionary: the same records, older rows beside them, and nothing wrong from damaged ones."""

from __future__ import annotations

import json
import sqlite3
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import orthant
from orthant.collection.storage import tables
from orthant.collection.storage.database import Database
from orthant.collection.storage.texts import dictionaries, records
from orthant.collection.storage.texts.dictionaries import Dictionary
from orthant.errors import StoreCorruptedError

WORDS = [a + b for a in ("amber", "birch", "cedar", "delta", "ember") for b in ("", "s", "ing", "wood", "land")]


def texts_of(count: int, seed: int = 0, words: int = 40) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, words)) + f" number {i}" for i in range(count)]


def about(count: int) -> list[dict]:
    return [{"source": "a source that all of them name", "place": i % 7, "odd": bool(i % 2)} for i in range(count)]


def column(path, name: str = "typeof(text)") -> list:
    connection = sqlite3.connect(f"file:{path / 'store.sqlite'}?mode=ro", uri=True)
    try:
        return [row[0] for row in connection.execute(f"SELECT {name} FROM records ORDER BY row")]
    finally:
        connection.close()


@pytest.fixture
def database(tmp_path):
    made = Database.create(tmp_path / "store.sqlite", tables.set_first_meta)
    yield made
    made.close()


def test_a_large_batch_is_packed_and_comes_back_whole(tmp_path):
    texts, metadata = texts_of(600), about(600)
    texts[5], texts[6] = "", None
    ids = [f"r{i}" for i in range(600)]
    with orthant.open(tmp_path / "c") as collection:
        collection.upsert(ids, texts=texts, metadata=metadata)
    kinds = column(tmp_path / "c")
    assert kinds.count("blob") >= 598
    held = sum(column(tmp_path / "c", "length(text)"))
    assert 2 * held < sum(len(json.dumps(m)) + len(t or "") for t, m in zip(texts, metadata, strict=True))
    with orthant.open(tmp_path / "c", read_only=True) as collection:
        for record, text, one in zip(collection.get(ids), texts, metadata, strict=True):
            assert (record.text, record.metadata) == (text, one)
        assert collection.search("number 77", mode="lexical", syntax="plain", k=1).ids == ["r77"]
        assert collection.check().ok


def test_few_records_stay_plain_and_readable_by_older_releases(tmp_path):
    with orthant.open(tmp_path / "c") as collection:
        collection.upsert([f"r{i}" for i in range(50)], texts=texts_of(50), metadata=about(50))
    assert set(column(tmp_path / "c")) == {"text"}
    connection = sqlite3.connect(tmp_path / "c" / "store.sqlite")
    assert connection.execute("SELECT value FROM meta WHERE key = 'minimum_reader'").fetchone() == ("1",)
    connection.close()


def test_a_dictionary_comes_once_there_are_enough_and_plain_rows_stay(tmp_path):
    texts = texts_of(900)
    with orthant.open(tmp_path / "c") as collection:
        for begin in range(0, 900, 100):
            part = range(begin, begin + 100)
            collection.upsert([f"r{i}" for i in part], texts=texts[begin : begin + 100])
            kinds = column(tmp_path / "c")
            assert set(kinds[:500]) == {"text"} and set(kinds[500:]) <= {"blob"}
        # A format that tokens need is lower, and must not take this one back.
        collection.add_space("late", dim=3, kind="tokens")
        collection.add_space("terms", dim=30, kind="sparse")
    with orthant.open(tmp_path / "c") as collection:
        assert [record.text for record in collection.get([f"r{i}" for i in range(900)])] == texts
        collection.upsert(["more"], texts=["amberwood of its own, number 900, amberland cedarwood birching"])
    assert column(tmp_path / "c")[-1] == "blob"
    connection = sqlite3.connect(tmp_path / "c" / "store.sqlite")
    assert connection.execute("SELECT value FROM meta WHERE key = 'minimum_reader'").fetchone() == ("3",)
    assert connection.execute("SELECT count(*) FROM dictionaries").fetchone() == (2,)
    connection.close()


def test_a_commit_that_fails_leaves_no_dictionary_behind(tmp_path, monkeypatch):
    texts, ids = texts_of(600), [f"r{i}" for i in range(600)]
    with orthant.open(tmp_path / "c") as collection:

        def refuse(connection, rows):
            dictionaries.insert(connection, rows.dictionary)
            raise OSError("full")

        with monkeypatch.context() as patched:
            patched.setattr(records.Packing, "insert", lambda self, connection: refuse(connection, self))
            with pytest.raises(OSError, match="full"):
                collection.upsert(ids, texts=texts)
        assert not collection._store.database.dictionaries
        # Other texts make another dictionary; the first one must not serve it.
        collection.upsert(ids, texts=texts_of(600, seed=9, words=60))
        assert [record.text for record in collection.get(ids)] == texts_of(600, seed=9, words=60)


def test_a_snapshot_from_before_the_dictionary_and_one_from_after_are_restored(tmp_path):
    texts, ids = texts_of(700), [f"r{i}" for i in range(700)]
    with orthant.open(tmp_path / "c") as collection:
        collection.upsert(ids[:100], texts=texts[:100])
        collection.snapshot("plain")
        collection.upsert(ids[100:], texts=texts[100:])
        collection.snapshot("packed")
        collection.restore("plain")
        assert len(collection) == 100
        collection.restore("packed")
        assert [record.text for record in collection.get(ids)] == texts
        assert collection.check().ok
    assert set(column(tmp_path / "c")[100:]) == {"blob"}


def test_another_process_may_choose_the_dictionary(tmp_path):
    texts, ids = texts_of(600), [f"r{i}" for i in range(600)]
    with orthant.open(tmp_path / "c") as collection:
        collection.upsert(ids[:1], texts=texts[:1])
    with orthant.open(tmp_path / "c", read_only=True) as reader:
        assert reader.get("r0").text == texts[0]
        with orthant.open(tmp_path / "c") as collection:
            collection.upsert(ids[1:], texts=texts[1:])
            assert reader.get("r599").text == texts[599]


_MORE = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.none() | _MORE, st.dictionaries(_MORE, st.integers() | _MORE, max_size=3)), max_size=6))
def test_every_record_comes_back(rows):
    texts, metadata = [text for text, _ in rows], [json.dumps(m, ensure_ascii=False) for _, m in rows]
    ids = [f"id{i}" for i in range(len(rows))]
    dictionary = Dictionary(7, "amber \0 birch \1 cedar é {}".encode())
    contents = [records._content(t, m) for t, m in zip(texts, metadata, strict=True)]
    base = Database.__new__(Database)
    base.dictionaries = {7: dictionary.data}
    for used in (dictionary, None):
        encoded = records.encode(3, ids, texts, metadata, contents, used)
        for i, row in enumerate(encoded):
            assert row[4] == records.record_checksum(3 + i, ids[i], texts[i], metadata[i])
            assert records.decode(None, base, row) == (3 + i, ids[i], texts[i], rows[i][1])


def test_no_damaged_row_is_taken_for_a_record(database):
    texts, metadata = texts_of(3), [json.dumps(m) for m in about(3)]
    dictionary = Dictionary(1, b" number amberwood cedarland embers deltaing birches deltawood emberland cedars ")
    database.dictionaries[1] = dictionary.data
    contents = [records._content(t, m) for t, m in zip(texts, metadata, strict=True)]
    row = records.encode(0, ["a", "b", "c"], texts, metadata, contents, dictionary)[1]
    blob = row[2]
    assert isinstance(blob, bytes)
    rng = np.random.default_rng(3)
    with database.reading() as connection:
        assert records.decode(connection, database, row)[2] == texts[1]
        for other in (blob[:-1], blob + b"\0", b"", blob[1:], bytes([2]) + blob[1:]):
            with pytest.raises(StoreCorruptedError):
                records.decode(connection, database, (*row[:2], other, *row[3:]))
        refused = 0
        for _ in range(300):
            other = bytearray(blob)
            other[int(rng.integers(len(other)))] ^= 1 << int(rng.integers(8))
            try:
                # The last byte has bits that say nothing.
                assert records.decode(connection, database, (*row[:2], bytes(other), *row[3:]))[2] == texts[1]
            except StoreCorruptedError:
                refused += 1
        assert refused > 290
        for wrong in ((9, *row[1:]), (row[0], "other", *row[2:]), (*row[:3], "{}", row[4]), (*row[:4], row[4] ^ 1)):
            with pytest.raises(StoreCorruptedError):
                records.decode(connection, database, wrong)


def test_a_dictionary_has_what_records_share_and_nothing_that_is_one_records_own():
    rng = np.random.default_rng(4)
    own = [bytes(rng.integers(97, 123, 300).tolist()) for _ in range(400)]
    shared = [b'{"organization":"University of the North","kind":"letter"}' + part for part in own]
    found = dictionaries.train(shared)
    assert b"University of the North" in found and len(found) < 1000
    assert dictionaries.train(own) == b""
    assert dictionaries.train(shared[:20]) == b""
    assert dictionaries.train(shared) == found


def test_a_chosen_dictionary_beats_one_of_the_same_size_cut_from_the_records():
    rng = np.random.default_rng(5)
    phrases = [bytes(rng.integers(97, 123, 50).tolist()).decode() for _ in range(1500)]
    picks = rng.zipf(1.3, (3000, 4)) % len(phrases)
    rows = [(" ".join(phrases[i] for i in row) + f" {rng.integers(10**12)}").encode() for row in picks.tolist()]
    chosen = dictionaries.train(rows[:2000])

    def size(dictionary: bytes) -> int:
        total = 0
        for row in rows[2000:]:
            packer = zlib.compressobj(3, zlib.DEFLATED, -15, 8, zdict=dictionary)
            total += len(packer.compress(row) + packer.flush())
        return total

    cut = b"".join(rows[:2000])[: len(chosen)]
    assert 1000 < len(chosen) <= 32_000
    assert size(chosen) < 0.97 * size(cut) < size(b"")
