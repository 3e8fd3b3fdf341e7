"""Lists and codes: what they stand for, what training does, files, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.artifact import load_artifact
from orthant.errors import DimensionError, InputError
from orthant.quantization import IVFCodec, ProductQuantizer, ResidualQuantizer


def rows(n=900, dim=16, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((12, dim)) * 2
    return (centres[rng.integers(0, 12, n)] + 0.4 * rng.standard_normal((n, dim))).astype(np.float32)


@pytest.mark.parametrize("metric", ["dot", "cosine", "l2"])
def test_codes_are_of_what_centroids_leave_over(metric):
    X = rows()
    codec = IVFCodec.train(X, lists=12, metric=metric)
    labels, codes = codec.encode(X)
    seen = X / np.linalg.norm(X, axis=1, keepdims=True) if metric == "cosine" else X
    gaps = ((seen[:, None] - codec.centroids_) ** 2).sum(axis=2)
    np.testing.assert_array_equal(labels, gaps.argmin(axis=1))
    np.testing.assert_array_equal(codec.assign(X), labels)
    error = ((codec.decode(labels, codes) - seen) ** 2).sum()
    assert error < 0.5 * ((codec.centroids_[labels] - seen) ** 2).sum()


def test_keys_choose_the_list_and_centroids_stand_for_it():
    X = rows()
    codec = IVFCodec.train(X, lists=12, metric="l2")
    moved = IVFCodec(codec.centroids_ + 0.1, codec.quantizer_, keys=codec.centroids_, metric="l2")
    np.testing.assert_array_equal(moved.assign(X), codec.assign(X))
    labels, codes = moved.encode(X)
    np.testing.assert_allclose(
        moved.decode(labels, codes) - codec.quantizer_.decode(codes), moved.centroids_[labels], 1e-5
    )


@pytest.mark.parametrize(
    "quantizer",
    [
        ProductQuantizer(m=4, bits=4),
        ProductQuantizer(m=4, bits=8, rotation="opq", iterations=3),
        ResidualQuantizer(levels=3, bits=4, beam=2, iterations=3),
    ],
    ids=["product4", "opq", "residual"],
)
def test_files_keep_every_code(quantizer, tmp_path):
    X = rows()
    codec = IVFCodec.train(X, lists=7, quantizer=quantizer, metric="cosine")
    codec.save(tmp_path)
    back = load_artifact(tmp_path)
    assert isinstance(back, IVFCodec) and (back.metric, back.lists, back.code_size) == ("cosine", 7, codec.code_size)
    for one, two in zip(codec.encode(X), back.encode(X), strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(codec.decode(*codec.encode(X)), back.decode(*codec.encode(X)))


def test_equal_seeds_give_equal_codecs():
    one, two = (IVFCodec.train(rows(), lists=9, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.centroids_, two.centroids_)
    np.testing.assert_array_equal(one.quantizer_.codebooks_, two.quantizer_.codebooks_)


def test_l2_scores_are_distances_to_what_is_stood_for():
    X = rows()
    codec = IVFCodec.train(X, lists=5, metric="l2")
    labels, codes = codec.encode(X[:40])
    wide = codec.decode(labels, codes).astype(np.float64)
    expected = -((X[:3, None].astype(np.float64) - wide) ** 2).sum(axis=2)
    np.testing.assert_allclose(codec.score(X[:3], labels, codes), expected, rtol=1e-5, atol=1e-5)


def test_what_does_not_fit_is_refused():
    X, codec = rows(), IVFCodec.train(rows(), lists=4)
    with pytest.raises(InputError, match="lists"):
        IVFCodec.train(X[:10], lists=11)
    with pytest.raises(InputError, match="fitted"):
        IVFCodec(codec.centroids_, ProductQuantizer())
    with pytest.raises(InputError, match="16 bits"):
        IVFCodec(codec.centroids_, ProductQuantizer.from_codebooks(np.zeros((4, 300, 4))))
    with pytest.raises(DimensionError):
        IVFCodec(codec.centroids_, codec.quantizer_, keys=codec.centroids_[:2])
    with pytest.raises(InputError, match="labels"):
        codec.decode(np.array([4]), codec.encode(X[:1])[1])
    with pytest.raises(InputError, match="zero"):
        codec.encode(np.zeros((1, 16)))
