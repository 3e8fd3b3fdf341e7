"""Vector files: exact layouts, memory maps, and refusal of bytes that do not add up."""

from __future__ import annotations

import os
import struct
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from orthant.datasets.vector_files import describe_vectors, read_vectors, write_vectors
from orthant.errors import (
    DimensionError,
    DtypeError,
    InputError,
    MissingExtraError,
    NonFiniteError,
    NotFoundError,
    StoreError,
)

STORED = {".fvecs": "f4", ".bvecs": "u1", ".ivecs": "i4", ".fbin": "f4", ".u8bin": "u1", ".i8bin": "i1", ".ibin": "i4"}


def matrix(dtype, n=7, d=5):
    X = np.random.default_rng(3).normal(size=(n, d)) * 20
    return np.abs(X).astype(dtype) if np.dtype(dtype).kind == "u" else X.astype(dtype)


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("suffix", STORED)
def test_round_trip_of_every_binary_format(tmp_path, suffix, mmap):
    X = matrix(STORED[suffix])
    path = tmp_path / f"x{suffix}"
    write_vectors(path, X)
    got = read_vectors(path, mmap=mmap)
    assert got.dtype == X.dtype
    np.testing.assert_array_equal(got, X)
    info = describe_vectors(path)
    assert (info.format, info.count, info.dim, info.dtype) == (suffix[1:], 7, 5, str(X.dtype))
    assert list(tmp_path.iterdir()) == [path], "a temporary file was left"


def test_layouts_are_the_published_ones(tmp_path):
    X = np.array([[1, 2], [3, 4]])
    write_vectors(tmp_path / "x.fvecs", X)
    assert (tmp_path / "x.fvecs").read_bytes() == struct.pack("<i2fi2f", 2, 1, 2, 2, 3, 4)
    write_vectors(tmp_path / "x.bvecs", X)
    assert (tmp_path / "x.bvecs").read_bytes() == struct.pack("<i2Bi2B", 2, 1, 2, 2, 3, 4)
    write_vectors(tmp_path / "x.fbin", X)
    assert (tmp_path / "x.fbin").read_bytes() == struct.pack("<2I4f", 2, 2, 1, 2, 3, 4)
    write_vectors(tmp_path / "x.u8bin", X)
    assert (tmp_path / "x.u8bin").read_bytes() == struct.pack("<2I4B", 2, 2, 1, 2, 3, 4)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u1", "i1", "i4", "i8", ">f4"])
def test_w30_npy_keeps_every_dtype_and_order(tmp_path, dtype):
    X = matrix(dtype)
    for name, array in (("c", X), ("f", np.asfortranarray(X)), ("strided", np.repeat(X, 2, axis=0)[::2])):
        np.save(tmp_path / f"{name}.npy", array)
        for mmap in (True, False):
            got = read_vectors(tmp_path / f"{name}.npy", mmap=mmap)
            assert got.dtype == X.dtype
            np.testing.assert_array_equal(got, X)
        write_vectors(tmp_path / "out.npy", array)
        written = np.load(tmp_path / "out.npy", allow_pickle=False)
        assert written.dtype == X.dtype.newbyteorder("=")
        np.testing.assert_array_equal(written, X)


def test_maps_are_maps_and_read_only(tmp_path):
    for suffix in (".npy", ".fvecs", ".fbin"):
        path = tmp_path / f"x{suffix}"
        write_vectors(path, matrix("f4"))
        mapped = read_vectors(path)
        assert not mapped.flags.owndata and not mapped.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            mapped[0, 0] = 1
        loaded = read_vectors(path, mmap=False)
        assert loaded.flags.owndata and loaded.flags.writeable


def test_an_open_map_survives_that_its_file_is_replaced(tmp_path):
    path = tmp_path / "x.npy"
    write_vectors(path, np.ones((2, 2)))
    mapped = read_vectors(path)
    write_vectors(path, np.zeros((2, 2)))
    assert mapped.tolist() == [[1, 1], [1, 1]] and read_vectors(path).tolist() == [[0, 0], [0, 0]]


def test_no_rows(tmp_path):
    for suffix in (".npy", ".fbin", ".ibin"):
        path = tmp_path / f"x{suffix}"
        write_vectors(path, np.zeros((0, 4), dtype=np.int32))
        assert read_vectors(path).shape == (0, 4)
        assert describe_vectors(path).count == 0
    with pytest.raises(InputError, match="no rows"):
        write_vectors(tmp_path / "x.fvecs", np.zeros((0, 4), np.float32))


def test_npz_members(tmp_path):
    X = matrix("f4")
    np.savez(tmp_path / "two.npz", a=X, b=np.zeros(3))
    np.savez_compressed(tmp_path / "one.npz", only=X)
    np.testing.assert_array_equal(read_vectors(f"{tmp_path}/two.npz:a"), X)
    np.testing.assert_array_equal(read_vectors(tmp_path / "one.npz"), X)
    assert describe_vectors(tmp_path / "one.npz:only").count == 7
    with pytest.raises(InputError, match="a, b"):
        read_vectors(tmp_path / "two.npz")
    with pytest.raises(NotFoundError, match="'c'"):
        read_vectors(f"{tmp_path}/two.npz:c")
    with pytest.raises(DimensionError, match=r"two\.npz:b"):
        read_vectors(f"{tmp_path}/two.npz:b")


def test_hdf5_data_sets(tmp_path):
    h5py = pytest.importorskip("h5py")
    X, neighbours = matrix("f4"), matrix("i4")
    path = tmp_path / "set.hdf5"
    with h5py.File(path, "w") as file:
        file["train"] = X
        file["neighbors"] = neighbours
        file.create_dataset("group/packed", data=X, compression="gzip", chunks=(2, 5))
        file.create_dataset("never_written", shape=(3, 4), dtype="f4")
        file["words"] = ["text"]
        file["line"] = np.zeros(3)
    train = read_vectors(f"{path}:train")
    assert isinstance(train, np.memmap) and not isinstance(read_vectors(f"{path}:train", mmap=False), np.memmap)
    np.testing.assert_array_equal(train, X)
    np.testing.assert_array_equal(read_vectors(f"{path}:neighbors"), neighbours)
    np.testing.assert_array_equal(read_vectors(f"{path}:group/packed"), X)
    np.testing.assert_array_equal(read_vectors(f"{path}:/never_written"), np.zeros((3, 4)))
    info = describe_vectors(f"{path}:train")
    assert (info.count, info.dim, info.dtype, info.mappable) == (7, 5, "float32", True)
    assert not describe_vectors(f"{path}:group/packed").mappable
    with pytest.raises(InputError, match="group/packed"):
        read_vectors(path)
    with pytest.raises(NotFoundError):
        read_vectors(f"{path}:test")
    with pytest.raises(DtypeError):
        read_vectors(f"{path}:words")
    with pytest.raises(DimensionError):
        read_vectors(f"{path}:line")
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(InputError, match=r"set\.hdf5"):
        read_vectors(f"{path}:train")


def test_missing_h5py_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "x.hdf5").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"orthant\[hdf5\]"):
        read_vectors(tmp_path / "x.hdf5")


@pytest.mark.parametrize("suffix", [".npy", *STORED])
def test_w26_any_truncation_is_refused_with_both_sizes(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    write_vectors(path, matrix(STORED.get(suffix, "f4")))
    data = path.read_bytes()
    stride = 4 + 5 * np.dtype(STORED.get(suffix, "f4")).itemsize
    for size in [*range(0, len(data), 3), len(data) - 1]:
        if suffix.endswith("vecs") and size and size % stride == 0:
            continue  # a whole number of rows: nothing in the file tells
        path.write_bytes(data[:size])
        for function in (read_vectors, describe_vectors):
            with pytest.raises(InputError) as error:
                function(path)
            assert "x." in str(error.value) and "expected" in str(error.value)
    assert f"{len(data)} bytes" in str(error.value) and f"{len(data) - 1} bytes" in str(error.value)
    path.write_bytes(data + b"\0")
    with pytest.raises(InputError):
        read_vectors(path)


def test_row_headers_must_agree(tmp_path):
    path = tmp_path / "x.fvecs"
    write_vectors(path, matrix("f4", n=40_000))
    data = bytearray(path.read_bytes())
    data[39_000 * 24 : 39_000 * 24 + 4] = struct.pack("<i", 6)
    path.write_bytes(data)
    with pytest.raises(InputError, match="row 39000 of dimension 6"):
        read_vectors(path)
    path.write_bytes(struct.pack("<i", -1) + data[4:])
    with pytest.raises(InputError, match="dimension -1"):
        describe_vectors(path)


def test_w50_pickled_objects_are_never_loaded(tmp_path):
    marker = tmp_path / "executed"

    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(marker),))

    objects = np.array([[Trap()]], dtype=object)
    np.save(tmp_path / "x.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "x.npz", a=objects, allow_pickle=True)
    for path in (tmp_path / "x.npy", f"{tmp_path}/x.npz:a"):
        with pytest.raises(DtypeError, match="pickled"):
            read_vectors(path)
    assert not marker.exists()


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros((2, 2, 2)), np.zeros((2, 0))])
def test_what_is_no_matrix(tmp_path, array):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(DimensionError):
        read_vectors(tmp_path / "x.npy")
    with pytest.raises(DimensionError):
        write_vectors(tmp_path / "y.npy", array)


def test_what_is_no_number(tmp_path):
    for array in (np.array([["a"]]), np.array([[True]]), np.array([[1j]]), np.array([["2020-01-01"]], "M8[D]")):
        np.save(tmp_path / "x.npy", array)
        with pytest.raises(DtypeError):
            read_vectors(tmp_path / "x.npy")
        with pytest.raises(DtypeError):
            write_vectors(tmp_path / "y.npy", array)


def test_paths(tmp_path):
    with pytest.raises(NotFoundError, match="none"):
        read_vectors(tmp_path / "none.npy")
    (tmp_path / "dir.npy").mkdir()
    with pytest.raises(InputError):
        read_vectors(tmp_path / "dir.npy")
    (tmp_path / "x.vec").write_text("x")
    with pytest.raises(InputError, match="ending"):
        read_vectors(tmp_path / "x.vec")
    with pytest.raises(InputError, match="ending"):
        write_vectors(tmp_path / "x.vec", np.zeros((1, 1)))
    with pytest.raises(NotFoundError, match="folder"):
        write_vectors(tmp_path / "none" / "x.npy", np.zeros((1, 1)))
    (tmp_path / "x.npz").write_bytes(b"PK no archive")
    with pytest.raises(InputError, match="archive"):
        read_vectors(tmp_path / "x.npz")


def test_values_that_a_format_cannot_hold(tmp_path):
    for suffix in (".bvecs", ".u8bin", ".ivecs"):
        with pytest.raises(DtypeError, match="integers"):
            write_vectors(tmp_path / f"x{suffix}", matrix("f4"))
    with pytest.raises(DtypeError, match="256"):
        write_vectors(tmp_path / "x.bvecs", np.array([[256]]))
    with pytest.raises(DtypeError, match="-1"):
        write_vectors(tmp_path / "x.u8bin", np.array([[-1]]))
    for value in (np.nan, np.inf, 1e300):
        with pytest.raises(NonFiniteError):
            write_vectors(tmp_path / "x.fvecs", np.array([[value]]))
    with pytest.raises(NonFiniteError):
        write_vectors(tmp_path / "x.npy", np.array([[np.nan]]))
    assert list(tmp_path.iterdir()) == []
    write_vectors(tmp_path / "x.npy", np.array([[1e300]]))


def test_a_failing_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.npy"
    write_vectors(path, np.ones((2, 2)))
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        write_vectors(path, np.zeros((9, 9)))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".hdf5", ".fvecs", ".fbin"])
def test_w26_damaged_bytes_give_an_array_or_an_input_error(tmp_path, suffix):
    path, X = tmp_path / f"x{suffix}", matrix("f4")
    if suffix == ".npz":
        np.savez_compressed(path, x=X)
    elif suffix == ".hdf5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file["x"] = X
    else:
        write_vectors(path, X)
    data = path.read_bytes()
    rng = np.random.default_rng(4)
    refused = 0
    for _ in range(250):
        changed = bytearray(data)
        changed[rng.integers(len(data))] = rng.integers(256)
        path.write_bytes(changed)
        try:
            np.array(read_vectors(path))
        except (InputError, NotFoundError):
            refused += 1
    assert refused > 0


@settings(max_examples=40, derandomize=True, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 9), st.integers(1, 9)),
        elements=st.floats(allow_nan=False, allow_infinity=False, width=32),
    )
)
def test_floats_survive_every_float_format_bit_by_bit(tmp_path_factory, X):
    for suffix in (".npy", ".fvecs", ".fbin"):
        path = tmp_path_factory.getbasetemp() / f"x{suffix}"
        write_vectors(path, X)
        assert np.array(read_vectors(path)).tobytes() == X.tobytes()


def test_real_vectors(data_root):
    info = describe_vectors(data_root / "minilm_short_texts" / "base.npy")
    X = read_vectors(data_root / "minilm_short_texts" / "base.npy")
    assert X.shape == (info.count, info.dim) and info.mappable
