"""Moving in: everything or a reason, nothing half-done, and a report that adds up."""

from __future__ import annotations

import datetime
import decimal
import json
import math
import uuid

import numpy as np
import pytest

import orthant
from fixtures.foreign.stand_ins import (
    HERE,
    Database,
    expected,
    qdrant,
    stand_in_lance,
    stand_in_postgres,
    unpack,
    vectors,
)
from orthant.collection.importers import moving
from orthant.collection.importers.sorting import Sorter, Target
from orthant.collection.importers.spool import Spool
from orthant.datasets.foreign.contents import ForeignBatch
from orthant.datasets.record_batches import Records
from orthant.errors import EncoderMismatchError, InputError, StoreError


@pytest.fixture
def collection(tmp_path):
    with orthant.open(tmp_path / "c") as opened:
        yield opened


def test_a_chroma_folder_moves_in_whole(tmp_path, collection):
    wanted = expected("chroma")["notes"]
    report = collection.import_foreign(unpack("chroma", tmp_path), table="notes", batch_size=3)
    assert (report.kind, report.table, report.found, report.records) == ("chroma", "notes", 10, 10)
    assert not report.lost and report.without_text == 1 and report.vectors == {"default": 10}
    assert report.metrics == {"default": {"source": "cosine", "space": "cosine"}}
    for i, key in enumerate(wanted["ids"]):
        record = collection.get(key, vectors=True)
        assert (record.text, dict(record.metadata)) == (wanted["texts"][i], wanted["metadata"][i])
        np.testing.assert_allclose(record.vectors["default"], wanted["vectors"][i], rtol=1e-6)
    assert collection.search("violin", mode="lexical").ids[0] == "n4"
    assert json.loads(json.dumps(report.to_dict()))["records"] == 10


def test_the_metric_of_the_source_is_kept_or_told(tmp_path, collection):
    folder = unpack("chroma", tmp_path)
    report = collection.import_foreign(folder, table="log")
    assert collection.spaces["default"].metric == "l2"
    assert report.metrics["default"] == {"source": "l2", "space": "l2"}
    collection.import_foreign(folder, table="notes", space="notes", metric="dot")
    assert collection.spaces["notes"].metric == "dot" and len(collection) == 12
    with pytest.raises(InputError, match=r"metric='l2' for space 'notes'"):
        collection.import_foreign(folder, table="notes", space="notes", metric="l2")


def test_what_cannot_be_carried_refuses_by_default_and_is_counted_on_request(tmp_path, collection, monkeypatch):
    pytest.importorskip("pyarrow")
    stand_in_lance(monkeypatch)
    folder = unpack("lance", tmp_path)
    with pytest.raises(InputError, match=r"field 'thumb': a value of type bytes: 5 \(such as n0"):
        collection.import_foreign(folder)
    assert len(collection) == 0 and not collection.spaces
    report = collection.import_foreign(folder, on_unknown="report")
    assert report.lost == {"field 'thumb': a value of type bytes": 5} and report.records == 5
    assert report.converted == {"dates and times, written as ISO text": 5} and report.without_text == 1
    assert collection.get("n1").metadata["when"] == "2020-01-02T00:00:00"
    assert [r.id for r in collection.find({"author.age": {"gte": 34}})] == ["n4", "n5"]


def sort(batch, dim=None, metric="cosine"):
    sorter = Sorter({"": Target("default", dim, metric)})
    return sorter.sort(batch), sorter.tally


def test_every_kind_of_value_has_a_place_or_a_reason():
    fields = {
        "date": datetime.date(2020, 1, 2),
        "price": decimal.Decimal("1.50"),
        "exact": decimal.Decimal("0.12345678901234567890123"),
        "large": decimal.Decimal("1e400"),
        "took": datetime.timedelta(minutes=1),
        "none": decimal.Decimal("NaN"),
        "key": uuid.UUID(int=7),
        "set": {"b", "a"},
        "array": np.arange(2),
        "nested": {"list": [1, {"when": datetime.time(9)}]},
        "raw": b"x",
        "nan": math.nan,
        "object": object(),
        "huge": 2**2000,
        7: "seven",
        "a.b": 1,
        "a": {"b": 2},
    }
    batch = ForeignBatch(["x"], [b"text"], [fields], {"": [[1.0, 2.0]]})
    records, tally = sort(batch)
    assert records.texts == [None] and tally.lost["text of type bytes"] == 1
    assert records.metadata == [
        {
            "date": "2020-01-02",
            "price": 1.5,
            "exact": "0.12345678901234567890123",
            "large": "1E+400",
            "took": 60.0,
            "key": str(uuid.UUID(int=7)),
            "set": ["a", "b"],
            "array": [0, 1],
            "nested": {"list": [1, {"when": "09:00:00"}]},
            "a.b": 1,
        }
    ]
    assert {reason.split(":")[0] for reason in tally.lost if reason.startswith("field")} == {
        "field 'raw'",
        "field 'nan'",
        "field 'none'",
        "field 'object'",
        "field 'huge'",
        "field '7'",
        "field 'a'",
    }
    assert sum(tally.converted.values()) == 7


def test_ids_are_carried_once_or_told():
    values = ["a", 7, uuid.UUID(int=1), None, "", "a", "x" * 600, True, 2.5, "\ud800"]
    count = len(values)
    records, tally = sort(ForeignBatch(values, [None] * count, [{}] * count, {"": [[1.0]] * count}))
    assert records.ids == ["a", "7", str(uuid.UUID(int=1))]
    assert tally.lost == {
        "record without an id": 1,
        "record whose id is no text of 1 to 512 bytes": 5,
        "record whose id came before": 1,
    }
    assert tally.found == count


def test_vectors_that_do_not_fit_are_told():
    rows = [[1.0, 2.0], [1.0, 2.0, 3.0], [math.nan, 1.0], [0.0, 0.0], None, "no", [[1.0, 2.0]], []]
    batch = ForeignBatch([f"r{i}" for i in range(len(rows))], ["t"] * len(rows), [{}] * len(rows), {"": rows})
    records, tally = sort(batch)
    assert records.has_vector("default").tolist() == [True] + [False] * 7 and tally.without_vector == 7
    assert tally.lost == {
        "vector of 3 dimensions for space 'default' of 2": 1,
        "vector with NaN or infinity": 1,
        "vector of zeros, which has no cosine": 1,
        "vector that is no list of numbers": 3,
    }
    assert "vector of zeros, which has no cosine" not in sort(batch, metric="l2")[1].lost


def test_several_vectors_need_a_space_each(collection):
    with qdrant() as server:
        with pytest.raises(InputError, match=r"space=\{'title': 'title', 'body': 'body'\}"):
            collection.import_foreign(server.address, table="notes")
        spaces = {"title": "default", "body": "body"}
        with pytest.raises(InputError, match="sparse vector 'words': 1"):
            collection.import_foreign(server.address, table="notes", space=spaces)
        assert len(collection) == 0 and not collection.spaces
        report = collection.import_foreign(server.address, table="notes", space=spaces, on_unknown="report")
        assert report.vectors == {"default": 2, "body": 1} and report.without_vector == 0
        assert report.lost == {"sparse vector 'words'": 1, "several vectors per record in 'tokens'": 1}
        assert collection.spaces["body"].metric == "l2" and collection.spaces["default"].metric == "dot"
        assert collection.get("9").text.startswith("Bread")
        left = collection.import_foreign(server.address, table="plain", space={"": "default"}, id_field="key")
        assert left.records == 5 and len(collection) == 7
        for space in ({"no": "x"}, {"title": "x", "body": "x"}):
            with pytest.raises(InputError, match="to different spaces"):
                collection.import_foreign(server.address, table="notes", space=space)


def test_a_server_that_breaks_off_leaves_nothing(collection, monkeypatch):
    monkeypatch.setattr("orthant.datasets.foreign.web.time.sleep", lambda seconds: None)
    with qdrant() as server:
        server.failures = [0, 0, 0, 500, 500, 500]
        with pytest.raises(InputError, match="status 500"):
            collection.import_foreign(server.address, table="plain", batch_size=2)
        assert len(collection) == 0 and not collection.spaces
        collection.import_foreign(server.address, table="plain", batch_size=2)
        # Read once, though looked through before it is written.
        assert sum("scroll" in path for _, path, _ in server.calls) == 2 + 2 + 3
        assert len(collection) == 5


def test_an_interrupted_import_is_resumed_by_id(tmp_path, collection):
    folder = unpack("chroma", tmp_path)
    real, calls = collection.upsert, []

    def failing(*args, **settings):
        calls.append(1)
        if len(calls) == 3:
            raise StoreError("the disk is full")
        return real(*args, **settings)

    collection.upsert = failing
    with pytest.raises(StoreError):
        collection.import_foreign(folder, table="notes", batch_size=3)
    collection.upsert = real
    assert len(collection) == 6
    collection.upsert(["n0"], texts=["changed since"])
    done = []
    report = collection.import_foreign(folder, table="notes", batch_size=3, existing="skip", advance=done.append)
    assert (report.records, report.skipped, report.replaced, report.found) == (4, 6, 0, 10)
    assert sum(done) == 10 and len(collection) == 10 and collection.get("n0").text == "changed since"
    report = collection.import_foreign(folder, table="notes")
    assert report.replaced == 10 and collection.get("n0").text.startswith("The ferry")


def test_vectors_of_another_encoder_are_refused_for_its_space(tmp_path):
    folder = unpack("chroma", tmp_path)
    with orthant.open(tmp_path / "c", encoder="static") as collection:
        dim = collection._encoders.given("default").dim
        rng = np.random.default_rng(0)
        texts = [f"a text about whales and boats number {i}" for i in range(5)]
        fields = [{"id": f"k{i}", "text": text} for i, text in enumerate(texts)]
        hnsw = pytest.importorskip("hnswlib", reason="hnswlib is not installed")
        for name, X in (
            ("other", rng.normal(size=(5, dim))),
            ("same", collection._encoders.given("default").encode(texts)),
        ):
            index = hnsw.Index(space="ip", dim=dim)
            index.init_index(max_elements=5)
            index.add_items(X, np.arange(5))
            index.save_index(str(tmp_path / name))
        with pytest.raises(EncoderMismatchError, match="space='imported'"):
            collection.import_foreign(tmp_path / "other", records=fields)
        assert len(collection) == 0
        assert collection.import_foreign(tmp_path / "same", records=fields).records == 5
        # Kept apart, the texts are encoded beside the vectors that came along.
        report = collection.import_foreign(folder, table="notes", space="imported")
        assert report.vectors["imported"] == 10 and report.vectors["default"] == 9
        with pytest.raises(InputError, match="vectors of 4 dimensions for space 'default'"):
            collection.import_foreign(folder, table="notes")


def test_texts_are_encoded_anew_on_request(tmp_path):
    folder = unpack("chroma", tmp_path)
    with orthant.open(tmp_path / "c", encoder="static") as collection:
        report = collection.import_foreign(folder, table="notes", vectors=False)
        assert report.vectors == {"default": 9} and not report.metrics and report.without_vector == 0


def test_postgres_rows_move_in_and_a_password_stays_hidden(collection, monkeypatch):
    rows = [(uuid.UUID(int=i), f"text {i}", 1990 + i, {"a": 1}, f"[{i + 1},1,2.5,3]", None) for i in range(5)]
    stand_in_postgres(monkeypatch, Database(rows))
    source = "postgresql://user:hidden@host/data?sslmode=off"
    settings = {"table": "notes", "space": {"embedding": "default"}}
    with pytest.raises(InputError, match="column 'words' of type sparsevec: 5") as refused:
        collection.import_foreign(source, **settings)
    report = collection.import_foreign(source, **settings, on_unknown="report", batch_size=2)
    assert "hidden" not in str(refused.value) and report.source == "postgresql://host/data"
    assert report.records == 5 and report.converted["vector field 'half', left out by space="] == 5
    assert collection.spaces["default"].metric == "dot"


def test_a_file_of_bare_vectors_becomes_records(collection):
    report = collection.import_foreign(HERE / "nine.hnsw", metric="l2")
    assert report.records == 8 and report.without_text == 8
    np.testing.assert_array_equal(collection.get("108", vectors=True).vectors["default"], vectors()[8])


def test_settings_are_checked_before_anything_is_read(collection):
    for name in ("on_unknown", "existing", "metric"):
        with pytest.raises(InputError, match=name):
            collection.import_foreign("nowhere", **{name: "perhaps"})
    with pytest.raises(InputError, match="batch_size"):
        collection.import_foreign("nowhere", batch_size=0)


def test_the_spool_gives_back_what_it_was_given():
    X = np.array([[1, 2], [np.nan, np.nan]], dtype=np.float32)
    with Spool() as spool:
        spool.append(Records(["a", "b"], ["é", None], [{"x": [1]}, {}], {"s/p": X}))
        spool.append(Records(["c"], [None], [{}]))
        first, second = list(spool)
        folder = spool._folder.name
    assert first.ids == ["a", "b"] and first.texts == ["é", None] and second.vectors is None
    np.testing.assert_array_equal(first.vectors["s/p"], X)
    assert not list(moving.Path(folder).parent.glob(moving.Path(folder).name))
