"""Vectors and queries: halves that share nothing, files that engines can map, hashes that follow the data."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.datasets.vector_files import read_vectors
from orthant.errors import DimensionError, InputError, NotFoundError
from orthant.evaluation.ann.inputs import named_inputs, prepare_inputs, read_inputs


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    return rng.standard_normal((50, 4)).astype(np.float32), rng.standard_normal((30, 4)).astype(np.float32)


def test_halves_share_no_query(vectors, tmp_path):
    X, Q = vectors
    made = prepare_inputs("x", X, {"in": Q}, metric="l2", folder=tmp_path, tune=8, judge=100)
    split = made.queries["in"]
    assert (len(split.tune), len(split.judge)) == (8, 22)
    assert not {row.tobytes() for row in split.tune} & {row.tobytes() for row in split.judge}


def test_cosine_writes_unit_rows_and_leaves_a_fitting_file_alone(vectors, tmp_path):
    X, Q = vectors
    made = prepare_inputs("x", X, {"q": Q}, metric="cosine", folder=tmp_path / "a")
    np.testing.assert_allclose(np.linalg.norm(made.base, axis=1), 1, rtol=1e-6)
    mapped = read_vectors(made.base_path)
    again = prepare_inputs("x", mapped, {"q": Q}, metric="cosine", folder=tmp_path / "b")
    assert again.base_path == made.base_path and not (tmp_path / "b").exists()
    assert again.data_sha256 == made.data_sha256
    np.save(tmp_path / "raw.npy", X)
    changed = prepare_inputs("x", read_vectors(tmp_path / "raw.npy"), {"q": Q}, metric="cosine", folder=tmp_path / "c")
    assert changed.base_path == tmp_path / "c" / "base.npy"
    part = prepare_inputs("x", mapped[:20], {"q": Q}, metric="cosine", folder=tmp_path / "d")
    assert part.base_path == tmp_path / "d" / "base.npy" and part.base.shape == (20, 4)


def test_the_hash_follows_base_queries_and_metric(vectors, tmp_path):
    X, Q = vectors
    hashes = {
        prepare_inputs("x", base, {"q": queries}, metric=metric, folder=tmp_path).data_sha256
        for base, queries, metric in ((X, Q, "l2"), (X[:-1], Q, "l2"), (X, Q[:-1], "l2"), (X, Q, "dot"))
    }
    assert len(hashes) == 4


def test_what_does_not_fit_is_refused(vectors, tmp_path):
    X, Q = vectors
    with pytest.raises(DimensionError, match="queries of 3 columns"):
        prepare_inputs("x", X, {"q": Q[:, :3]}, metric="l2", folder=tmp_path)
    with pytest.raises(InputError, match="at least two"):
        prepare_inputs("x", X, {"q": Q[:1]}, metric="l2", folder=tmp_path)
    with pytest.raises(InputError, match="zero"):
        prepare_inputs("x", X * 0, {"q": Q}, metric="cosine", folder=tmp_path)
    with pytest.raises(NotFoundError, match="minilm_short_texts"):
        named_inputs("nothing", folder=tmp_path)


def test_own_files_in_any_float_or_uint8(tmp_path):
    rng = np.random.default_rng(1)
    np.save(tmp_path / "x.npy", rng.integers(0, 255, (40, 4)).astype(np.uint8))
    np.savez(tmp_path / "q.npz", a=rng.standard_normal((10, 4)), b=np.zeros(3))
    made = read_inputs(str(tmp_path / "x.npy"), f"{tmp_path}/q.npz:a", metric="l2", folder=tmp_path / "f", limit=25)
    assert made.base.shape == (25, 4) and made.base.dtype == np.float32 and list(made.queries) == ["queries"]
