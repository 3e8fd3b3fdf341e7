"""Single rows of mapped files: read, not mapped, and never wrong where a read is not possible."""

from __future__ import annotations

import gc
import mmap
import os
import re
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

from orthant.index import Graph
from orthant.kernels.files import rows as files
from orthant.kernels.warmup import wait

HEADER = 4096
reads = pytest.mark.skipif(not files._reader(), reason="the system has no pread")


@pytest.fixture(scope="module")
def compiled():
    wait("graph")
    wait("build")


def make(tmp_path):
    X = np.random.default_rng(1).standard_normal((3000, 24)).astype(np.float32)
    path = tmp_path / "rows"
    path.write_bytes(b"h" * HEADER + X.tobytes())
    return X, mapped_rows(path, X.shape), path


def mapped_rows(path, shape):
    with open(path, "rb") as file:
        return files.map_rows(file, np.float32, HEADER, shape)


@pytest.fixture
def mapped(tmp_path):
    return make(tmp_path)


def _resident(path: Path) -> int:
    """Bytes of a file that this process has mapped and looked at."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.endswith(str(path))
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


@reads
def test_gathered_rows_are_those_of_the_map(mapped, compiled):
    X, matrix, _ = mapped
    for part, first in ((matrix, 0), (matrix[500:2000], 500), (np.asarray(matrix)[7:], 7)):
        rows = np.random.default_rng(2).integers(0, len(part), 200)
        np.testing.assert_array_equal(files.gather(part, rows), X[first + rows])
    np.testing.assert_array_equal(files.gather(X, rows), X[rows])
    assert files.gather(matrix, np.zeros(0, np.int64)).shape == (0, 24)
    # Columns of a map are no rows of a file.
    np.testing.assert_array_equal(files.gather(matrix[:, ::2], rows), X[rows, ::2])


@reads
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells it")
@pytest.mark.filterwarnings("ignore:.*find themselves:UserWarning")
def test_a_search_of_a_graph_maps_no_vectors(tmp_path, compiled):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((6000, 256)).astype(np.float32)
    path = tmp_path / "rows"
    path.write_bytes(b"h" * HEADER + X.tobytes())
    matrix = mapped_rows(path, X.shape)
    settings = {"degree": 24, "beam": 48, "scan_below": 0}
    plain = Graph.over([(np.array(X), np.arange(6000))], dim=256, metric="l2", **settings)
    graph = Graph.over([(matrix, np.arange(6000))], dim=256, metric="l2", **settings)
    # Building looks at every vector.
    files.release(matrix)
    Q = X[::30] + np.float32(0.1)
    few = np.arange(0, 6000, 400)
    for allowed in (None, few, np.arange(0, 6000, 2)):
        left, right = (one.search(Q, 5, effort=60, allowed=allowed) for one in (plain, graph))
        np.testing.assert_array_equal(left.ids, right.ids)
        np.testing.assert_array_equal(left.scores, right.scores)
    assert _resident(path) < 200_000
    assert _resident(path) < X[np.unique(left.ids)].nbytes / 4
    # The twin without the table looks at the map.
    graph._state.vectors.kept[:], kept = [], list(graph._state.vectors.kept)
    graph._view = None
    graph.search(Q, 5, effort=60)
    assert _resident(path) > 1_000_000
    files.release(kept[0][0])
    assert _resident(path) < 200_000


@reads
def test_a_file_that_was_cut_leaves_the_map_in_charge(mapped, compiled):
    X, matrix, _ = mapped
    rows = np.arange(5)
    np.testing.assert_array_equal(files.gather(matrix, rows), X[:5])
    held = files._map_of(matrix)
    begin, end, handle, offset = held.line
    held.line = begin, end, handle, offset + 10**9
    np.testing.assert_array_equal(files.gather(matrix, rows), X[:5])


@reads
def test_a_removed_file_is_read_on_and_closed_with_its_map(tmp_path, compiled):
    X, matrix, path = make(tmp_path)
    path.unlink()
    handle, view = files._map_of(matrix).line[2], matrix[100:]
    np.testing.assert_array_equal(files.gather(view, np.arange(9)), X[100:109])
    assert os.fstat(handle).st_size > 0
    del matrix, view
    gc.collect()
    with pytest.raises(OSError):
        os.fstat(handle)


@reads
def test_a_map_that_ends_leaves_its_addresses_to_the_next(tmp_path, compiled):
    X, matrix, _ = make(tmp_path)
    begin, end = matrix.ctypes.data, matrix.ctypes.data + matrix.nbytes
    other, Y, met = tmp_path / "other", -X[:1000], []
    other.write_bytes(b"h" * HEADER + Y.tobytes())

    def follow(_):
        # Runs when the memory is free and before anything else hears of it, as another thread may.
        rows = np.arange(0, 1000, 7)
        for _ in range(9):
            again = mapped_rows(other, Y.shape)
            inside = begin <= again.ctypes.data < end
            met.append((inside, np.array_equal(files.gather(again, rows), Y[rows]), again))
            plain = np.frombuffer(mmap.mmap(-1, Y.nbytes), np.float32).reshape(Y.shape)
            met.append((begin <= plain.ctypes.data < end, files.table_of([plain]) is None, plain))

    watch = weakref.ref(files._map_of(matrix), follow)
    del matrix
    gc.collect()
    assert watch() is None and len(met) == 18
    assert all(right for _, right, _ in met)
    if sys.platform.startswith("linux"):
        assert any(inside for inside, *_ in met)


def test_without_pread_everything_is_looked_at(mapped, monkeypatch):
    X, matrix, _ = mapped
    monkeypatch.setattr(files, "_reader", lambda: 0)
    assert files.table_of([matrix]) is None
    np.testing.assert_array_equal(files.gather(matrix, np.arange(9)), X[:9])
