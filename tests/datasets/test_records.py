"""Reading records: every source gives the same records, and every fault has a place and a way out."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import gzip
import json
import os
import subprocess
import sys
import uuid
from collections import UserDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.records import ROWS, check_parts, jsonl, whole
from orthant.datasets.export import write_jsonl
from orthant.datasets.records import Records, read_records, scan_records
from orthant.errors import DimensionError, DtypeError, InputError, MissingExtraError, NonFiniteError, NotFoundError

# ---------------------------------------------------------------- sources


def sources(tmp_path):
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    jsonl(tmp_path / "x.jsonl", ROWS)
    with gzip.open(tmp_path / "x.ndjson.gz", "wt", encoding="utf-8") as handle:
        handle.write("\n\n".join(json.dumps(row) for row in ROWS))
    frame = pd.DataFrame(ROWS)
    frame.to_csv(tmp_path / "x.csv", index=False)
    frame.to_csv(tmp_path / "x.tsv.gz", index=False, sep="\t")
    table = pa.Table.from_pylist(ROWS)
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=2)
    return {
        "jsonl": tmp_path / "x.jsonl",
        "jsonl as str": str(tmp_path / "x.jsonl"),
        "ndjson.gz": tmp_path / "x.ndjson.gz",
        "csv": tmp_path / "x.csv",
        "tsv.gz": tmp_path / "x.tsv.gz",
        "parquet": tmp_path / "x.parquet",
        "pandas": frame,
        "pandas, named index": frame.set_index("id"),
        "arrow table": table,
        "arrow batch": table.to_batches()[0],
        "arrow stream": pa.RecordBatchReader.from_batches(table.schema, table.to_batches()),
        "list": ROWS,
        "iterator": iter(ROWS),
        "mappings": tuple(UserDict(row) for row in ROWS),
    }


@pytest.mark.parametrize("batch_size", [1, 2, 4096])
def test_every_source_gives_the_same_records(tmp_path, batch_size):
    for name, source in sources(tmp_path).items():
        got = whole(source, batch_size=batch_size)
        assert got.ids == ["a", "b", "c"], name
        assert got.texts == ["Dune\nSand.", "Ice\nCold.", "Salt\nSea."], name
        assert got.metadata == [{"year": row["year"], "genre": row["genre"]} for row in ROWS], name
        assert all(type(values["year"]) is int for values in got.metadata), name


def test_polars_frames_are_recognised_without_importing_polars():
    polars = pytest.importorskip("polars")
    rows = [{**row, "when": datetime.date(2020, 1, 2), "v": [1.0, float(i)]} for i, row in enumerate(ROWS)]
    got = whole(polars.DataFrame(rows), vector_field="v", batch_size=2)
    assert got.ids == ["a", "b", "c"]
    assert got.metadata[0] == {"year": 1965, "genre": "novel", "when": "2020-01-02"}
    assert got.vectors["v"].tolist() == [[1, 0], [1, 1], [1, 2]]
    with pytest.raises(InputError, match="collect"):
        read_records(polars.DataFrame(ROWS).lazy())


def test_w44_reading_files_loads_no_table_library(tmp_path):
    path = jsonl(tmp_path / "x.jsonl", ROWS)
    code = (
        "import sys; from orthant.datasets.records import scan_records\n"
        f"assert scan_records({str(path)!r}).records == 3\n"
        "heavy = {'pandas', 'pyarrow', 'polars', 'h5py', 'numba', 'scipy', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )


def test_missing_pyarrow_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"orthant\[arrow\]"):
        read_records(tmp_path / "x.parquet")


def test_folder_of_texts(tmp_path):
    (tmp_path / "b" / "ü").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "b" / "ü" / "note.MD").write_bytes(b"\xef\xbb\xbf# Caf\xc3\xa9\r\n")
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "skipped.py").write_text("x")
    (tmp_path / ".hidden" / "c.txt").write_text("x")
    os.utime(tmp_path / "a.txt", (0, 0))
    got = whole(tmp_path)
    assert got.ids == ["a.txt", "b/ü/note.MD"]
    assert got.texts == ["", "# Café\r\n"]
    assert got.metadata[0] == {"path": "a.txt", "suffix": ".txt", "size": 0, "modified": "1970-01-01T00:00:00+00:00"}
    assert got.metadata[1]["suffix"] == ".md" and got.metadata[1]["size"] == 12
    (tmp_path / "bad.txt").write_bytes(b"\xff")
    with pytest.raises(InputError) as error:
        whole(tmp_path)
    check_parts(error, "bad.txt", "utf-8")


# ---------------------------------------------------------------- fields


def test_text_convention():
    rows = [
        {"_id": "1", "title": "T", "text": "x"},
        {"_id": "2", "title": "", "text": "x"},
        {"_id": "3", "text": "x"},
        {"_id": "4", "title": "T", "text": None},
        {"_id": "5", "title": None},
        {"_id": "6", "title": "", "text": ""},
        {"_id": "7"},
    ]
    assert whole(rows).texts == ["T\nx", "x", "x", "T", None, "", None]
    assert scan_records(rows).without_text == 2


def test_fields_can_be_chosen():
    got = whole(ROWS, id_field="title", text_fields=("genre", "text"), metadata_fields=("title", "year", "absent"))
    assert got.ids == ["Dune", "Ice", "Salt"]
    assert got.texts[0] == "novel\nSand."
    assert got.metadata[0] == {"title": "Dune", "year": 1965}
    assert whole(ROWS, text_fields="genre").texts == ["novel", "novel", "memoir"]
    assert whole(ROWS, text_fields=()).texts == [None] * 3
    assert whole([{"_id": "x", "id": 3, "text": "t"}]).metadata == [{"id": 3}]


def test_ids_by_hash_and_number():
    rows = [{"text": "x", "n": 1}, {"text": "y"}]
    assert whole(rows, ids="number", batch_size=1).ids == ["0", "1"]
    one, two = whole(rows, ids="hash").ids
    assert len(one) == 32 and whole(rows[::-1], ids="hash").ids == [two, one]
    assert whole([{"n": 1, "text": "x"}], ids="hash").ids == [one]
    with pytest.raises(InputError, match="ids='hash'"):
        read_records(rows)
    with pytest.raises(InputError, match="number"):
        scan_records([rows[0], rows[0]], ids="hash")


def test_whole_numbers_are_ids_and_nothing_else_is():
    assert whole([{"id": 7, "text": ""}, {"id": np.int64(-8), "text": ""}, {"id": "007", "text": ""}]).ids == [
        "7",
        "-8",
        "007",
    ]
    for bad in (1.0, True, None, ["a"], {"a": 1}, "", b"a", float("nan")):
        with pytest.raises(InputError) as error:
            whole([{"id": "x", "text": ""}, {"id": bad, "text": ""}])
        check_parts(error, "record 1", "id")
    with pytest.raises(InputError, match="no id in field"):
        whole([{"id": "x", "text": ""}, {"text": ""}])


def test_unknown_fields_are_refused_with_the_known_ones(tmp_path):
    path = jsonl(tmp_path / "x.jsonl", ROWS)
    for options in (
        {"id_field": "key"},
        {"text_fields": "body"},
        {"text_fields": ("body", "abstract")},
        {"vector_field": "v"},
        {"metadata_field": "m"},
    ):
        with pytest.raises(InputError) as error:
            read_records(path, **options)
        check_parts(error, "x.jsonl", "title, text, year")
    with pytest.raises(InputError, match="text_fields="):
        read_records([{"id": "a", "body": "x"}])
    import pandas as pd

    with pytest.raises(InputError, match="yeer"):
        read_records(pd.DataFrame(ROWS), metadata_fields=["yeer"])
    with pytest.raises(InputError, match="tekst"):
        read_records(pd.DataFrame(ROWS), text_fields=["title", "tekst"])


def test_w75_settings_without_effect_are_refused(tmp_path):
    path = jsonl(tmp_path / "x.jsonl", ROWS)
    for source, options in (
        (ROWS, {"format": "jsonl"}),
        (ROWS, {"encoding": "latin-1"}),
        (path, {"types": {"year": "int"}}),
        (path, {"quote": None}),
        (path, {"delimiter": ";"}),
        (path, {"id_field": "id", "ids": "hash"}),
        (path, {"metadata_field": "year", "metadata_fields": ["year"]}),
        (path, {"format": "xml"}),
        (path, {"ids": "uuid"}),
        (path, {"batch_size": 0}),
    ):
        with pytest.raises(InputError):
            read_records(source, **options)


def test_nested_metadata_field():
    rows = [{"_id": "a", "text": "x", "metadata": {"k": None}}, {"_id": "b", "text": "y", "metadata": None}]
    assert whole(rows, metadata_field="metadata").metadata == [{"k": None}, {}]
    with pytest.raises(InputError, match="extra"):
        whole([{**rows[0], "extra": 1}], metadata_field="metadata")
    with pytest.raises(InputError, match="object"):
        whole([{**rows[0], "metadata": [1]}], metadata_field="metadata")


# ---------------------------------------------------------------- values


def test_metadata_values_become_json():
    import pandas as pd

    row = {
        "id": "a",
        "text": "x",
        "when": datetime.datetime(2020, 1, 2, 3, 4, tzinfo=datetime.UTC),
        "day": datetime.date(2020, 1, 2),
        "took": datetime.timedelta(seconds=90),
        "price": decimal.Decimal("1.5"),
        "key": uuid.UUID(int=1),
        "small": np.float32(0.5),
        "flag": np.True_,
        "word": np.str_("w"),
        "list": (1, np.int8(2), [None, {"deep": np.arange(2)}]),
        "stamp": pd.Timestamp("2020-01-02"),
        "null": None,
    }
    values = whole([row]).metadata[0]
    assert values == {
        "when": "2020-01-02T03:04:00+00:00",
        "day": "2020-01-02",
        "took": 90.0,
        "price": 1.5,
        "key": "00000000-0000-0000-0000-000000000001",
        "small": 0.5,
        "flag": True,
        "word": "w",
        "list": [1, 2, [None, {"deep": [0, 1]}]],
        "stamp": "2020-01-02T00:00:00",
        "null": None,
    }
    assert json.loads(json.dumps(values)) == values
    assert row["list"][0] == 1 and isinstance(row["list"], tuple), "the caller's record was changed"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (float("nan"), NonFiniteError),
        ([1, {"x": float("inf")}], NonFiniteError),
        (b"bytes", InputError),
        ({1, 2}, InputError),
        (1j, InputError),
        ({1: 2}, InputError),
        ("\ud800", InputError),
        (["\ud800"], InputError),
        ({"\ud800": 1}, InputError),
    ],
)
def test_values_without_a_json_form_are_refused(value, kind):
    with pytest.raises(kind) as error:
        whole([ROWS[0], {"id": "z", "text": "x", "odd": value}])
    check_parts(error, "record 1")


def test_missing_table_cells_are_absent():
    import pandas as pd
    import pyarrow as pa

    frame = pd.DataFrame(
        {
            "id": ["a", "b"],
            "text": ["x", None],
            "n": [1.5, float("nan")],
            "m": pd.array([1, None], dtype="Int64"),
            "t": pd.to_datetime(["2020-01-02", None]),
            "o": ["s", None],
        }
    )
    for source in (frame, pa.Table.from_pandas(frame)):
        got = whole(source)
        assert got.texts == ["x", None]
        assert got.metadata == [{"n": 1.5, "m": 1, "t": "2020-01-02T00:00:00", "o": "s"}, {}]


def test_table_columns_must_have_distinct_names():
    import pandas as pd
    import pyarrow as pa

    for table in (
        pd.DataFrame([[1, 2]], columns=["id", "id"]),
        pd.DataFrame([[1, 2]]),
        pa.table([pa.array([1]), pa.array([2])], names=["id", "id"]),
    ):
        with pytest.raises(InputError):
            read_records(table)


# ---------------------------------------------------------------- paths


def test_paths_that_cannot_be_read(tmp_path):
    with pytest.raises(NotFoundError, match="none"):
        read_records(tmp_path / "none.jsonl")
    with pytest.raises(NotFoundError):
        read_records(tmp_path / "none.jsonl", format="jsonl")
    with pytest.raises(InputError, match="folder"):
        read_records(tmp_path, format="jsonl")
    with pytest.raises(InputError, match=r"no \.txt or \.md"):
        read_records(tmp_path)
    odd = jsonl(tmp_path / "x.dat", ROWS)
    with pytest.raises(InputError, match="format='jsonl'"):
        read_records(odd)
    assert len(whole(odd, format="jsonl")) == 3
    with pytest.raises(InputError, match="no folder"):
        read_records(odd, format="folder")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 but not really PAR1")
    with pytest.raises(InputError, match=r"x\.parquet"):
        read_records(tmp_path / "x.parquet")


def test_objects_that_are_no_records():
    for bad in (5, {"id": "a"}, b"bytes", None, ["text"], [ROWS[0], 3]):
        with pytest.raises(InputError):
            list(read_records(bad))


@pytest.mark.parametrize("empty", ["list", "iterator", "jsonl", "csv"])
def test_w28_empty_sources_give_no_batch(tmp_path, empty):
    (tmp_path / "x.jsonl").write_text("\n")
    (tmp_path / "x.csv").write_text("id,text\n")
    source = {"list": [], "iterator": iter([]), "jsonl": tmp_path / "x.jsonl", "csv": tmp_path / "x.csv"}[empty]
    assert list(read_records(source)) == []
    if empty != "iterator":
        assert scan_records(source).records == 0


# ---------------------------------------------------------------- vectors


def test_vectors_from_every_source(tmp_path):
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    vectors = [[1.0, 2.0], None, [3.0, 4.5]]
    rows = [{"id": str(i), "text": "x", "v": v, "k": i} for i, v in enumerate(vectors)]
    (tmp_path / "x.csv").write_text('id,text,v,k\n0,x,"[1, 2]",0\n1,x,,1\n2,x,"[3, 4.5]",2\n')
    columns = {"id": ["0", "1", "2"], "text": ["x"] * 3, "k": [0, 1, 2]}
    found = {"list": rows, "jsonl": jsonl(tmp_path / "x.jsonl", rows), "csv": tmp_path / "x.csv"}
    for kind in (pa.list_(pa.float32()), pa.list_(pa.float64(), 2), pa.large_list(pa.float16())):
        table = pa.table({**columns, "v": pa.array(vectors, pa.list_(pa.float64())).cast(kind)})
        found[f"arrow {kind}"] = table
        if kind.value_type != pa.float16():
            pq.write_table(table, tmp_path / "x.parquet")
            found[f"parquet {kind}"] = tmp_path / "x.parquet"
    found["pandas"] = pd.DataFrame({**columns, "v": [None if v is None else np.array(v) for v in vectors]})
    for name, source in found.items():
        got = whole(source, vector_field={"space": "v"})
        assert got.vectors["space"].dtype == np.float32, name
        np.testing.assert_array_equal(got.vectors["space"], [[1, 2], [np.nan] * 2, [3, 4.5]], err_msg=name)
        assert got.has_vector("space").tolist() == [True, False, True], name
        assert got.metadata == [{"k": 0}, {"k": 1}, {"k": 2}], name
        report = scan_records(source, vector_field="v", batch_size=1)
        assert (report.vectors, report.dims) == ({"v": 2}, {"v": 2}), name


def test_vectors_alone_need_no_text():
    got = whole([{"id": "a", "v": [1, 2]}], vector_field="v")
    assert got.texts == [None]
    assert got.vectors["v"].tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        ([1.0], DimensionError),
        ([[1.0, 2.0]], DimensionError),
        ([], DimensionError),
        (3.0, DimensionError),
        ([1.0, float("nan")], NonFiniteError),
        ([1.0, 1e300], NonFiniteError),
        (["1", "2"], DtypeError),
        ([1.0, None], DtypeError),
        ([1.0, [2.0]], DtypeError),
        ("12", DtypeError),
    ],
)
@pytest.mark.parametrize("batch_size", [1, 10])
def test_bad_vectors_name_the_record(bad, kind, batch_size):
    rows = [{"id": str(i), "v": [1.0, 2.0]} for i in range(3)]
    rows[2]["v"] = bad
    with pytest.raises(kind) as error:
        scan_records(rows, vector_field="v", batch_size=batch_size)
    check_parts(error, "record 2")


def test_bad_arrow_vectors_name_the_row():
    import pyarrow as pa

    for values, kind in (
        ([[1.0, 2.0], None, [1.0]], DimensionError),
        ([[1.0, 2.0], None, [1.0, None]], DtypeError),
        ([[1.0, 2.0], None, [1.0, float("nan")]], NonFiniteError),
    ):
        with pytest.raises(kind) as error:
            scan_records(pa.table({"id": ["a", "b", "c"], "v": values}), vector_field="v")
        check_parts(error, "row 2")
    with pytest.raises(DtypeError, match="'v'"):
        scan_records(pa.table({"id": ["a"], "v": ["text"]}), vector_field="v")


def test_columns_of_records_must_agree():
    with pytest.raises(InputError, match="texts"):
        Records(["a"], [], [{}])
    with pytest.raises(InputError, match="vectors"):
        Records(["a"], [None], [{}], {"s": np.zeros((2, 3), np.float32)})


# ---------------------------------------------------------------- scan and properties


def test_scan_report(tmp_path):
    report = scan_records(jsonl(tmp_path / "x.jsonl", [*ROWS, {"id": "d", "year": 3}]))
    assert (report.records, report.without_text) == (4, 1)
    assert report.characters == sum(len(row["title"]) + 1 + len(row["text"]) for row in ROWS)
    assert report.fields == {"year": 4, "genre": 3}
    assert report.schema.id_field == "id" and report.schema.text_fields == ("title", "text")


def test_scan_refuses_what_can_be_read_only_once():
    with pytest.raises(InputError, match="only once"):
        scan_records(iter(ROWS))


TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
RECORD = st.tuples(TEXT.filter(bool), st.none() | TEXT, st.dictionaries(TEXT, VALUE, max_size=4))


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.lists(RECORD, max_size=6, unique_by=lambda record: record[0]), st.integers(1, 7))
def test_jsonl_round_trip_of_any_record(tmp_path_factory, rows, batch_size):
    path = tmp_path_factory.getbasetemp() / "round.jsonl.gz"
    ids, texts, metadata = [list(column) for column in zip(*rows, strict=True)] if rows else ([], [], [])
    write_jsonl(path, [Records(ids, texts, metadata)])
    got = whole(path, metadata_field="metadata", batch_size=batch_size)
    assert (got.ids, got.texts, got.metadata) == (ids, texts, metadata)
    assert repr(got.metadata) == repr(metadata), "a type changed"
    assert scan_records(path, metadata_field="metadata").records == len(rows)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_give_anything_but_records_or_an_input_error(tmp_path_factory, tail):
    for name in ("fuzz.jsonl", "fuzz.csv", "fuzz.jsonl.gz"):
        path = tmp_path_factory.getbasetemp() / name
        path.write_bytes(b'{"id": "a", "text": "x"}\n' + tail if name == "fuzz.jsonl" else b"id,text\n" + tail)
        with contextlib.suppress(InputError):
            scan_records(path)


def test_real_corpora_pass_the_scan(data_root):
    report = scan_records(data_root / "cranfield" / "corpus.jsonl.gz")
    assert report.records == 1400
    assert set(report.fields) >= {"author", "year"}
