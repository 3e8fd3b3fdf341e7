"""Exports: everything comes back, damage is found, and a failed write leaves nothing that looks whole."""

from __future__ import annotations

import json
import os
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthant.datasets.export import manifest_sha256, write_export, write_jsonl, write_parquet
from orthant.datasets.imports import read_export
from orthant.datasets.records import Records, read_records
from orthant.errors import (
    DimensionError,
    InputError,
    NonFiniteError,
    NotFoundError,
    StoreCorruptedError,
    StoreError,
    StoreVersionError,
)

NAN = np.nan


def batches():
    """Two batches, two spaces, records with and without text and vectors."""
    yield Records(
        ["a", "line\nbreak", "ü/\u2028"],
        ["Sand.", None, ""],
        [{"year": 1965}, {}, {"deep": {"list": [1, 2.5, None, {"x": "\U0001f600"}]}, "null": None}],
        {"text": np.array([[1, 2], [NAN, NAN], [3, 4]], np.float32)},
    )
    yield Records(
        ["d"], ["x\r\ny\x00"], [{"metadata": {}}], {"text": np.ones((1, 2), "f4"), "im/age": np.ones((1, 3), "f4")}
    )


SPACES = {"text": {"dim": 2, "metric": "cosine"}, "im/age": {"dim": 3}}


def columns(parts, spaces=()):
    parts = list(parts)
    flat = {
        "ids": [key for part in parts for key in part.ids],
        "texts": [text for part in parts for text in part.texts],
        "metadata": [values for part in parts for values in part.metadata],
    }
    for space in spaces:
        flat[space] = [
            part.vectors[space][i].tobytes() if part.has_vector(space)[i] else None
            for part in parts
            for i in range(len(part))
        ]
    return flat


WRITERS = {"folder": (write_export, "x"), "parquet": (write_parquet, "x.parquet")}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("batch_size", [1, 3, 4096])
def test_export_and_import_give_the_same_records(tmp_path, kind, batch_size):
    write, name = WRITERS[kind]
    assert write(tmp_path / name, batches(), spaces=SPACES, details={"name": "books"}) == 4
    export = read_export(tmp_path / name)
    assert export.records == 4 and dict(export.spaces) == SPACES and export.details == {"name": "books"}
    got = list(export.batches(batch_size))
    assert max(len(part) for part in got) <= batch_size
    assert columns(got, SPACES) == columns(batches(), SPACES)
    assert columns(export.batches(), SPACES) == columns(batches(), SPACES), "a second pass differs"
    assert os.listdir(tmp_path) == [name]


def test_folder_layout_is_readable_without_orthant(tmp_path):
    write_export(tmp_path / "x", batches(), spaces=SPACES)
    names = sorted(str(path.relative_to(tmp_path / "x")) for path in (tmp_path / "x").rglob("*") if path.is_file())
    assert names == [
        "export.json",
        "records.jsonl",
        "vectors/im%2Fage.ids.jsonl",
        "vectors/im%2Fage.npy",
        "vectors/text.ids.jsonl",
        "vectors/text.npy",
    ]
    X = np.load(tmp_path / "x" / "vectors" / "text.npy", allow_pickle=False)
    ids = [json.loads(line) for line in (tmp_path / "x" / "vectors" / "text.ids.jsonl").read_bytes().splitlines()]
    assert X.dtype == np.float32 and dict(zip(ids, X.tolist(), strict=True)) == {
        "a": [1, 2],
        "ü/\u2028": [3, 4],
        "d": [1, 1],
    }
    lines = (tmp_path / "x" / "records.jsonl").read_bytes().splitlines()
    assert len(lines) == 4 and json.loads(lines[0]) == {"_id": "a", "text": "Sand.", "metadata": {"year": 1965}}


def test_w48_an_export_can_be_moved(tmp_path):
    write_export(tmp_path / "x", batches(), spaces=SPACES)
    assert str(tmp_path) not in (tmp_path / "x" / "export.json").read_text()
    os.rename(tmp_path / "x", tmp_path / "moved")
    assert columns(read_export(tmp_path / "moved").batches()) == columns(batches())


def test_parquet_is_readable_without_orthant(tmp_path):
    import pyarrow.parquet as pq

    write_parquet(tmp_path / "x.parquet", batches(), spaces=SPACES)
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.schema.names == ["id", "text", "metadata", "vector_text", "vector_im/age"]
    assert str(table.schema.field("vector_text").type) == "fixed_size_list<element: float>[2]"
    assert table["vector_text"].to_pylist() == [[1, 2], None, [3, 4], [1, 1]]
    assert table["vector_im/age"].null_count == 3
    assert json.loads(table["metadata"][0].as_py()) == {"year": 1965}


@pytest.mark.parametrize("kind", WRITERS)
def test_w28_empty_exports(tmp_path, kind):
    write, name = WRITERS[kind]
    for i, (parts, spaces) in enumerate([([], None), ([], SPACES), ([Records([], [], [])], None)]):
        path = tmp_path / f"{i}{name}"
        assert write(path, parts, spaces=spaces) == 0
        assert read_export(path).records == 0 and list(read_export(path).batches()) == []
        assert dict(read_export(path).spaces) == (spaces or {})


def test_spaces_whose_files_would_meet_get_their_own(tmp_path):
    X = np.ones((1, 1), "f4")
    names = ["text", "Text", "../up", "..", "con?", "n" * 300]
    batch = Records(["a"], [None], [{}], {name: X * i for i, name in enumerate(names)})
    write_export(tmp_path / "x", [batch])
    (got,) = read_export(tmp_path / "x").batches()
    assert {name: float(V[0, 0]) for name, V in got.vectors.items()} == {name: i for i, name in enumerate(names)}
    assert os.listdir(tmp_path) == ["x"]
    files = [name.casefold() for name in os.listdir(tmp_path / "x" / "vectors")]
    assert len(set(files)) == 2 * len(names), "two files differ only in case"


TEXT = st.text(st.characters(codec="utf-8"), max_size=10)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
RECORD = st.tuples(
    TEXT.filter(bool),
    st.none() | TEXT,
    st.dictionaries(TEXT, VALUE, max_size=3),
    st.none() | st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=2, max_size=2),
)


@settings(max_examples=25, derandomize=True, deadline=None)
@given(st.lists(RECORD, max_size=7, unique_by=lambda record: record[0]), st.integers(1, 4), st.integers(1, 4))
def test_any_records_come_back(tmp_path_factory, rows, written, read):
    parts = []
    for start in range(0, len(rows), written):
        part = rows[start : start + written]
        X = np.array([[NAN, NAN] if row[3] is None else row[3] for row in part], np.float32)
        parts.append(Records([r[0] for r in part], [r[1] for r in part], [r[2] for r in part], {"s": X}))
    folder = tmp_path_factory.mktemp("export")
    for write, name in WRITERS.values():
        write(folder / name, parts, spaces={"s": {"dim": 2}})
        got = columns(read_export(folder / name).batches(read), ["s"])
        assert got == columns(parts, ["s"])
        assert repr(got["metadata"]) == repr([row[2] for row in rows]), "a type changed"


# ---------------------------------------------------------------- JSON lines


def test_jsonl_layouts(tmp_path):
    part = Records(["a"], [None], [{"year": 1965}])
    assert write_jsonl(tmp_path / "n.jsonl", [part, part]) == 2
    assert write_jsonl(tmp_path / "f.jsonl.gz", [part], layout="flat") == 1
    (flat,) = read_records(tmp_path / "f.jsonl.gz")
    assert (flat.ids, flat.texts, flat.metadata) == (["a"], [None], [{"year": 1965}])
    assert (tmp_path / "f.jsonl.gz").read_bytes()[4:8] == bytes(4), "a time stamp makes equal exports differ"
    with pytest.raises(InputError, match="nested"):
        write_jsonl(tmp_path / "f.jsonl", [Records(["a"], [""], [{"text": 1}])], layout="flat")
    with pytest.raises(InputError, match="layout"):
        write_jsonl(tmp_path / "f.jsonl", [], layout="tall")
    assert sorted(os.listdir(tmp_path)) == ["f.jsonl.gz", "n.jsonl"]


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (Records(["a"], ["x"], [{"bad": {1, 2}}]), InputError),
        (Records(["a"], ["x"], [{"bad": NAN}]), NonFiniteError),
        (Records(["a"], ["\ud800"], [{}]), InputError),
        (Records(["\ud800"], ["x"], [{}]), InputError),
        (Records([5], ["x"], [{}]), InputError),
        (Records(["a"], [5], [{}]), InputError),
        (Records(["a"], ["x"], [{}], {"new": np.ones((1, 2), "f4")}), InputError),
        (Records(["a"], ["x"], [{}], {"text": np.ones((1, 3), "f4")}), DimensionError),
        (Records(["a"], ["x"], [{}], {"text": np.array([[1, NAN]], "f4")}), NonFiniteError),
    ],
)
def test_bad_records_leave_no_export(tmp_path, kind, part, expected):
    write, name = WRITERS[kind]
    with pytest.raises(expected):
        write(tmp_path / name, [*batches(), part], spaces=SPACES)
    assert os.listdir(tmp_path) == []


def test_bad_spaces_and_targets(tmp_path):
    for spaces in ({"s": {"dim": 0}}, {"s": {}}, {"s": 3}, {"": {"dim": 1}}, {"s": {"dim": 2, "odd": {1}}}):
        with pytest.raises(InputError):
            write_export(tmp_path / "x", [], spaces=spaces)
    with pytest.raises(NotFoundError, match="folder"):
        write_export(tmp_path / "none" / "x", batches(), spaces=SPACES)
    with pytest.raises(NotFoundError, match="folder"):
        write_jsonl(tmp_path / "none" / "x.jsonl", batches())
    (tmp_path / "empty").mkdir()
    assert write_export(tmp_path / "empty", batches(), spaces=SPACES) == 4
    with pytest.raises(InputError, match="holds something"):
        write_export(tmp_path / "empty", batches(), spaces=SPACES)
    assert columns(read_export(tmp_path / "empty").batches()) == columns(batches())


@pytest.mark.parametrize("target", ["x", "x.parquet", "x.jsonl", "x.jsonl.gz"])
def test_a_full_disk_leaves_nothing(tmp_path, target):
    """The operating system itself refuses the write, as it does when the disk is full."""
    resource = pytest.importorskip("resource")
    rng = np.random.default_rng(0)

    def many():
        for i in range(50):
            yield Records([str(i)], [rng.bytes(2000).hex()], [{}], {"s": rng.normal(size=(1, 500)).astype("f4")})

    write = {"x": write_export, "x.parquet": write_parquet}.get(target, write_jsonl)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        with pytest.raises(StoreError, match="cannot be written") as error:
            write(tmp_path / target, many())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "too large" in str(error.value)
    assert os.listdir(tmp_path) == []
    assert write(tmp_path / target, many()) == 50


@pytest.mark.parametrize("target", ["x", "x.parquet", "x.jsonl"])
def test_errors_of_the_source_are_not_blamed_on_the_target(tmp_path, target):
    def broken():
        yield from batches()
        raise FileNotFoundError(2, "segment is gone")

    write = {"x": write_export, "x.parquet": write_parquet}.get(target, write_jsonl)
    with pytest.raises(FileNotFoundError, match="segment is gone"):
        write(tmp_path / target, broken(), **({} if target == "x.jsonl" else {"spaces": SPACES}))
    assert os.listdir(tmp_path) == []


def test_an_export_cut_short_is_not_taken_for_a_whole_one(tmp_path):
    write_export(tmp_path / "x", batches(), spaces=SPACES)
    os.remove(tmp_path / "x" / "export.json")
    with pytest.raises(NotFoundError, match=r"export\.json"):
        read_export(tmp_path / "x")
    with pytest.raises(NotFoundError):
        read_export(tmp_path / "nothing")


# ---------------------------------------------------------------- damage


def test_w26_every_flipped_byte_and_every_truncation_is_found(tmp_path):
    write_export(tmp_path / "x", batches(), spaces=SPACES, details={"note": "x"})
    rng = np.random.default_rng(1)
    for path in sorted(p for p in (tmp_path / "x").rglob("*") if p.is_file()):
        data = path.read_bytes()
        for position in rng.integers(0, len(data), 25).tolist():
            changed = bytearray(data)
            changed[position] ^= 1 << int(rng.integers(8))
            for content in (bytes(changed), data[:position]):
                path.write_bytes(content)
                try:
                    export = read_export(tmp_path / "x")
                    got = columns(export.batches(), SPACES)
                except (StoreCorruptedError, StoreVersionError):
                    continue
                # Only white space of export.json may change without changing what it says.
                assert path.name == "export.json" and got == columns(batches(), SPACES)
                assert export.spaces == SPACES and export.details == {"note": "x"}
        os.remove(path)
        with pytest.raises((StoreCorruptedError, NotFoundError)):
            read_export(tmp_path / "x")
        path.write_bytes(data)
    assert columns(read_export(tmp_path / "x").batches(), SPACES) == columns(batches(), SPACES)


def test_parquet_damage_is_found(tmp_path):
    path = tmp_path / "x.parquet"
    write_parquet(path, batches(), spaces=SPACES)
    data = path.read_bytes()
    rng = np.random.default_rng(2)
    found = 0
    for position in rng.integers(0, len(data), 60).tolist():
        changed = bytearray(data)
        changed[position] ^= 1 << int(rng.integers(8))
        for content in (bytes(changed), data[:position]):
            path.write_bytes(content)
            try:
                export = read_export(path)
                got = columns(export.batches(), export.spaces)
            except (StoreCorruptedError, StoreVersionError, InputError):
                found += 1
            else:
                # The footer carries no sum: the name of a space may change unseen, the records may not.
                assert list(got.values()) == list(columns(batches(), SPACES).values())
    assert found >= 60


def test_one_flipped_bit_among_parquet_vectors_is_found(tmp_path):
    path = tmp_path / "x.parquet"
    X = np.random.default_rng(5).normal(size=(50, 400)).astype("f4")
    write_parquet(path, [Records([str(i) for i in range(50)], [None] * 50, [{}] * 50, {"s": X})])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreCorruptedError):
        list(read_export(path).batches())


def manifest(folder, change):
    record = json.loads((folder / "export.json").read_text())
    change(record)
    record["sha256"] = manifest_sha256(record)
    (folder / "export.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda m: m.update(format=3), StoreVersionError),
        (lambda m: m.update(kind="other"), StoreCorruptedError),
        (lambda m: m.pop("spaces"), StoreCorruptedError),
        (lambda m: m["files"].pop("records.jsonl"), StoreCorruptedError),
        (lambda m: m["spaces"]["text"].update(vectors="../x.npy"), StoreCorruptedError),
        (lambda m: m.update(records=5), StoreCorruptedError),
        (lambda m: m["spaces"]["text"].update(count=2), StoreCorruptedError),
        (lambda m: m["spaces"]["text"]["definition"].update(dim=7), StoreCorruptedError),
        (lambda m: m["spaces"]["text"].update(ids="vectors/im%2Fage.ids.jsonl"), StoreCorruptedError),
    ],
)
def test_manifests_that_do_not_fit_are_refused(tmp_path, change, expected):
    write_export(tmp_path / "x", batches(), spaces=SPACES)
    manifest(tmp_path / "x", change)
    with pytest.raises(expected):
        list(read_export(tmp_path / "x").batches())


@pytest.mark.parametrize("absolute", [False, True])
def test_an_export_cannot_point_outside_itself(tmp_path, absolute):
    write_export(tmp_path / "x", batches(), spaces=SPACES)
    (tmp_path / "out.npy").write_bytes((tmp_path / "x" / "vectors" / "text.npy").read_bytes())
    name = str(tmp_path / "out.npy") if absolute else "../out.npy"

    def point_outside(m):
        m["files"][name] = m["files"]["vectors/text.npy"]
        m["spaces"]["text"]["vectors"] = name

    manifest(tmp_path / "x", point_outside)
    with pytest.raises(StoreCorruptedError, match="inside the export"):
        read_export(tmp_path / "x")


def test_foreign_parquet_is_sent_to_read_records(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": ["a"], "text": ["x"]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="read_records"):
        read_export(tmp_path / "x.parquet")
    (tmp_path / "x.parquet").write_bytes(b"no parquet")
    with pytest.raises(StoreCorruptedError):
        read_export(tmp_path / "x.parquet")


@pytest.mark.parametrize("kind", WRITERS)
def test_only_a_batch_is_in_memory(tmp_path, kind):
    write, name = WRITERS[kind]

    def many(count):
        for i in range(count):
            yield Records([str(i)], ["x" * 50_000], [{}], {"s": np.full((1, 5_000), i, "f4")})

    write(tmp_path / f"warm{name}", many(2))
    peaks = []
    for count in (20, 400):
        tracemalloc.start()
        write(tmp_path / f"{count}{name}", many(count))
        for part in read_export(tmp_path / f"{count}{name}").batches(1):
            assert len(part) == 1
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2_000_000, peaks
