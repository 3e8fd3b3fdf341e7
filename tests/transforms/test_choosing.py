from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import InputError
from orthant.transforms import LeanVec, Reduction, choose_dim
from orthant.transforms.choosing import recall_ceiling
from quantization.vectors import real


def spread(decay: float, n: int = 3000, dim: int = 160, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, dim)) * np.exp(-decay * np.arange(dim))).astype(np.float32)


def ceiling(X: np.ndarray, Q: np.ndarray, dim: int) -> float:
    made = LeanVec(dim=dim, metric="cosine").fit(X)
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (Q, X)]
    truth = np.argsort(-(unit[0] @ unit[1].T), axis=1)[:, :10]
    found = np.argsort(-(made.transform_queries(Q) @ made.transform(X).T), axis=1)[:, :50]
    return recall_ceiling(found, truth)


def test_the_answer_is_the_smallest_multiple_that_reaches_the_target():
    X = spread(0.01)
    dim = choose_dim(X)
    assert dim in (64, 96, 128)
    base, held = X[200:], X[:200]
    assert ceiling(base, held, dim) >= 0.985 and ceiling(base, held, dim - 32) < 0.995, "within the sample's spread"


@pytest.mark.parametrize("metric", ["dot", "cosine", "l2"])
def test_faster_decay_needs_fewer_dimensions(metric):
    assert choose_dim(spread(0.2), metric=metric) == 32 < choose_dim(spread(0.02), metric=metric)


def test_limits():
    X = spread(0.0)
    assert choose_dim(X) == 160, "nothing can be left out: all of them"
    assert choose_dim(X, maximum=96) == 96
    assert choose_dim(X, target=0.0) == 32 and choose_dim(X[:, :20]) == 20
    assert choose_dim(X[:, :60], target=0.0, multiple=8) == 8
    assert choose_dim(X[:30]) == 160, "too few rows to tell"
    assert Reduction().fit(spread(0.2)).dim_ == LeanVec().fit(spread(0.2)).dim_ == 32


def test_queries_of_another_kind_need_more():
    X = spread(0.2)
    assert choose_dim(X, queries=np.ascontiguousarray(X[:100, ::-1]), metric="dot") > choose_dim(X, metric="dot")


def test_only_euclidean_search_spends_no_dimension_on_the_mean():
    rng = np.random.default_rng(0)
    flat = np.zeros((3000, 128))
    flat[:, :32] = rng.standard_normal((3000, 32))
    flat[:, 40] = 100
    assert choose_dim(flat, metric="l2", depth=10, target=0.99) == 32
    # About the origin, as LeanVec is by default, the mean takes one of the directions.
    assert choose_dim(flat, metric="dot", depth=10, target=0.99) == 64


def test_seeded():
    X = spread(0.03)
    assert choose_dim(X, seed=1) == choose_dim(X, seed=1)


@pytest.mark.parametrize("settings", [{"k": 0}, {"depth": 0}, {"target": 2}, {"multiple": 0}, {"metric": "x"}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError):
        choose_dim(spread(0.1, 100, 40), **settings)
    with pytest.raises(InputError):
        choose_dim(np.zeros((0, 4)))


def test_real_sentence_vectors_need_192(data_root):
    assert choose_dim(real(data_root, 8_000)) in (160, 192)
