"""Exact neighbours: right under every metric, kept under their hash, refused for other data."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import InputError, StoreCorruptedError
from orthant.evaluation.ann.truth import Truth, ground_truth, read_truth, write_truth


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(3)
    return rng.standard_normal((300, 9)).astype(np.float32), rng.standard_normal((12, 9)).astype(np.float32)


def test_w70_ground_truth_of_other_data_is_refused(vectors, tmp_path):
    X, Q = vectors
    truth = ground_truth(X, Q, k=5, metric="dot", data_sha256="a" * 64, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    again = ground_truth(X, Q, k=5, metric="dot", data_sha256="a" * 64, folder=tmp_path)
    np.testing.assert_array_equal(again.ids, truth.ids)
    with pytest.raises(InputError, match="other neighbours means nothing"):
        read_truth(path, data_sha256="b" * 64)
    # The same file name with other contents, as after a copy between machines.
    write_truth(path, Truth(truth.ids, truth.scores, "c" * 64))
    with pytest.raises(InputError, match="ground truth"):
        ground_truth(X, Q, k=5, metric="dot", data_sha256="a" * 64, folder=tmp_path)


def test_a_cached_truth_is_used_not_made_again(vectors, tmp_path):
    X, Q = vectors
    ground_truth(X, Q, k=5, metric="l2", data_sha256="d" * 64, folder=tmp_path)
    again = ground_truth(X[::-1].copy(), Q, k=5, metric="l2", data_sha256="d" * 64, folder=tmp_path)
    np.testing.assert_array_equal(again.ids, ground_truth(X, Q, k=5, metric="l2", data_sha256="").ids)


def test_a_damaged_file_is_told(vectors, tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(b"not a zip")
    with pytest.raises(StoreCorruptedError, match="Delete the file"):
        read_truth(path, data_sha256="a")


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_recall_counts_rows_as_close_as_the_last_neighbour(vectors, metric):
    X, Q = vectors
    doubled = np.concatenate([X, X])
    truth = ground_truth(doubled, Q, k=6, metric=metric, data_sha256="")
    twins = (truth.ids + len(X)) % len(doubled)
    assert truth.recall(truth.ids, Q, doubled, metric).mean() == 1
    assert truth.recall(twins, Q, doubled, metric).mean() == 1
    far = np.tile(np.argsort(doubled @ Q[0])[:6], (len(Q), 1))
    far[0] = -1
    assert truth.recall(far, Q, doubled, metric)[0] == 0
