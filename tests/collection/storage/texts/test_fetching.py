"""Records by row: one step of SQLite for many of them, the same records as one by one, and damage told by its row."""

from __future__ import annotations

import json

import numpy as np
import pytest

from orthant.collection.storage import tables
from orthant.collection.storage.database import Database
from orthant.collection.storage.texts import records
from orthant.collection.storage.texts.dictionaries import Dictionary
from orthant.collection.storage.texts.fetching import fetch_raw
from orthant.errors import StoreCorruptedError

TEXTS = ["amber", None, "", 'a "quoted" \\ line\n', "nul \0 inside", "žluťoučký 🦎", "birch cedar " * 30]
ABOUT = [{"n": i, "words": ["é", None, 0.1, 2**60], "deep": {"x": {}}} for i in range(len(TEXTS))]


@pytest.fixture
def database(tmp_path):
    made = Database.create(tmp_path / "store.sqlite", tables.set_first_meta)
    yield made
    made.close()


def fill(database, count, *, packed=False):
    texts = [TEXTS[i % len(TEXTS)] for i in range(count)]
    about = [json.dumps(ABOUT[i % len(TEXTS)], ensure_ascii=False, separators=(",", ":")) for i in range(count)]
    ids = [f'key "{i}" é' for i in range(count)]
    contents = [records._content(text, one) for text, one in zip(texts, about, strict=True)]
    dictionary = Dictionary(7, b"birch cedar amber words deep" * 3) if packed else None
    if packed:
        database.dictionaries[7] = dictionary.data
    with database.writing() as connection:
        rows = records.encode(1, ids, texts, about, contents, dictionary)
        connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?)", rows)
    assert any(isinstance(row[2], bytes) for row in rows) == packed
    return {i + 1: (ids[i], texts[i], about[i]) for i in range(count)}


@pytest.mark.parametrize("packed", [False, True])
def test_many_rows_are_a_few_steps_of_sqlite(database, packed):
    held = fill(database, 300, packed=packed)
    rows = np.random.default_rng(0).permutation(320).tolist()
    asked: list[str] = []
    with database.reading() as connection:
        connection.set_trace_callback(asked.append)
        found = fetch_raw(connection, database, rows)
        connection.set_trace_callback(None)
    assert found == {row: held[row] for row in rows if row in held}
    assert len(asked) == 3
    assert all("json_group_array" in one for one in asked)


def test_metadata_is_read_where_it_is_wanted_as_values(database):
    held = fill(database, 20)
    with database.reading() as connection:
        found = tables.fetch_records(connection, database, list(held))
    assert found == {row: (key, text, json.loads(about)) for row, (key, text, about) in held.items()}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE records SET text = CAST(x'ff00fe' AS TEXT) WHERE row = 7",
        "UPDATE records SET text = x'07ff00' WHERE row = 7",
        "UPDATE records SET metadata = x'ff' WHERE row = 7",
        "UPDATE records SET metadata = metadata || ' ' WHERE row = 7",
        "UPDATE records SET crc = crc + 1 WHERE row = 7",
        "UPDATE records SET crc = 'x' WHERE row = 7",
    ],
)
def test_damage_is_told(database, damage, packed):
    fill(database, 20, packed=packed)
    with database.writing() as connection:
        connection.execute(damage)
    with database.reading() as connection:
        assert 6 in fetch_raw(connection, database, [6])
    with pytest.raises(StoreCorruptedError, match=r"row 7\b|UTF-8"), database.reading() as connection:
        fetch_raw(connection, database, list(range(1, 21)))


def test_the_way_for_what_is_damaged_reads_what_is_sound_as_well(database, monkeypatch):
    from orthant.collection.storage.texts import fetching

    held = fill(database, 20)
    monkeypatch.setattr(fetching, "_AT_ONCE", "SELECT 'no JSON', ?")
    with database.reading() as connection:
        assert fetch_raw(connection, database, list(held)) == held
