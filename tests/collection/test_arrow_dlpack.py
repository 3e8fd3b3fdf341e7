"""Tables by Arrow's C interface and tensors by DLPack, out and in, without copies where that is possible."""

from __future__ import annotations

import json

import numpy as np
import pytest

import orthant
from orthant.errors import DtypeError, FilterError

X = np.random.default_rng(7).normal(size=(5, 4)).astype(np.float32)


@pytest.fixture
def collection(tmp_path):
    with orthant.open(tmp_path / "c") as collection:
        collection.upsert(
            [f"r{i}" for i in range(5)],
            texts=[f"text {i}" for i in range(4)] + [None],
            metadata=[{"n": i, "deep": {"x": [i]}} for i in range(5)],
            vectors=[*X[:4], None],
        )
        yield collection


class Once:
    """A stream that can be taken once, from a library that is neither pyarrow, Polars nor pandas."""

    def __init__(self, table):
        self._table = table

    def __arrow_c_stream__(self, requested_schema=None):
        table, self._table = self._table, None
        return table.__arrow_c_stream__(requested_schema)


class Tensor:
    """The least that DLPack asks for: no NumPy protocol beside it."""

    def __init__(self, array):
        self._array = array
        self.shape = array.shape

    def __dlpack__(self, **settings):
        return self._array.__dlpack__(**settings)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


def test_to_arrow_holds_everything(collection):
    pa = pytest.importorskip("pyarrow")
    table = collection.to_arrow()
    assert table.schema.field("vector_default").type == pa.list_(pa.float32(), 4)
    assert table["id"].to_pylist() == [f"r{i}" for i in range(5)]
    assert table["text"].to_pylist()[3:] == ["text 3", None]
    assert json.loads(table["metadata"][2].as_py()) == {"n": 2, "deep": {"x": [2]}}
    assert table["vector_default"][4].as_py() is None
    np.testing.assert_array_equal(table["vector_default"][1].as_py(), X[1])
    assert hasattr(table, "__arrow_c_stream__")


def test_to_arrow_takes_a_filter_and_leaves_vectors_out(collection):
    pytest.importorskip("pyarrow")
    assert collection.to_arrow({"n": {"gte": 3}}, vectors=False).column_names == ["id", "text", "metadata"]
    assert collection.to_arrow({"n": {"gte": 3}})["id"].to_pylist() == ["r3", "r4"]
    assert collection.to_arrow({"n": 99}).num_rows == 0
    with pytest.raises(FilterError):
        collection.to_arrow({"n": {"near": 3}})


def test_polars_and_pandas_take_the_table(collection):
    pytest.importorskip("pyarrow")
    pl, pd = pytest.importorskip("polars"), pytest.importorskip("pandas")
    table = collection.to_arrow({"n": {"lt": 4}})
    frame = pl.DataFrame(table)
    assert frame["vector_default"].dtype == pl.Array(pl.Float32, 4)
    np.testing.assert_array_equal(frame["vector_default"].to_numpy(), X[:4])
    assert pd.DataFrame(table.to_pandas())["id"].tolist() == ["r0", "r1", "r2", "r3"]
    # The values are one block of float32, seen and not copied.
    values = table["vector_default"].chunk(0).flatten().to_numpy(zero_copy_only=True)
    np.testing.assert_array_equal(values.reshape(4, 4), X[:4])


@pytest.mark.parametrize("wrap", [lambda table: table, Once, "polars"], ids=["pyarrow", "once", "polars"])
def test_add_reads_any_arrow_stream(collection, tmp_path, wrap):
    pytest.importorskip("pyarrow")
    source = collection.to_arrow()
    source = pytest.importorskip("polars").DataFrame(source) if wrap == "polars" else wrap(source)
    with orthant.open(tmp_path / "again") as again:
        report = again.add(source, metadata_field="metadata", vector_field="vector_default")
        assert (report.records, report.vectors) == (5, {"default": 4})
        assert again.get("r2", vectors=True).metadata == {"n": 2, "deep": {"x": [2]}}
        np.testing.assert_array_equal(again.get("r2", vectors=True).vectors["default"], X[2])


def test_tensors_come_in(tmp_path):
    with orthant.open(tmp_path / "t") as collection:
        collection.upsert(list("abcde"), vectors=Tensor(X))
        assert collection.search(vector=Tensor(X[2]), k=1).ids == ["c"]
        assert collection.search(Tensor(X[2]), k=1).ids == ["c"]
        assert [r.ids for r in collection.search_many(Tensor(X[:2]), k=1)] == [["a"], ["b"]]
        report = collection.add_vectors(Tensor(X * 2), id_prefix="v")
        assert (report.records, len(collection)) == (5, 10)
        np.testing.assert_array_equal(collection.get("v3", vectors=True).vectors["default"], X[3] * 2)


def test_dlpack_views_and_does_not_copy():
    from orthant.validate import as_vectors

    assert np.shares_memory(as_vectors(Tensor(X)), X)


def test_tensors_go_out(tmp_path):
    torch = pytest.importorskip("torch")
    with orthant.open(tmp_path / "t") as collection:
        collection.upsert(list("abcde"), vectors=torch.from_numpy(X.copy()))
        held = collection.get("b", vectors=True).vectors["default"]
        tensor = torch.from_dlpack(held)
        np.testing.assert_array_equal(tensor.numpy(), X[1])
        encoded = orthant.load_encoder("static").encode(["a text"])
        assert torch.from_dlpack(encoded).shape == (1, encoded.shape[1])
        with pytest.raises(DtypeError, match="detach"):
            collection.upsert(["g"], vectors=torch.ones(1, 4, requires_grad=True))
        with pytest.raises(DtypeError, match="dtype"):
            collection.search(vector=torch.ones(4, dtype=torch.bfloat16))
        assert len(collection) == 5
