"""More like this against a scan by hand, in every metric; the examples never come back."""

from __future__ import annotations

import numpy as np
import pytest

from collection.fakes import naive_scores
from orthant.collection.collection import Collection
from orthant.errors import DimensionError, InputError, NotFoundError

METRICS = ["cosine", "dot", "l2"]
DIM = 6


@pytest.fixture(scope="module", params=METRICS)
def filled(request, tmp_path_factory):
    rng = np.random.default_rng(5)
    X = rng.standard_normal((300, DIM)).astype(np.float32)
    with Collection(tmp_path_factory.mktemp("similar") / "c", metric=request.param) as collection:
        ids = [f"r{i}" for i in range(300)]
        collection.upsert(ids, vectors=X, metadata=[{"n": i} for i in range(300)])
        collection.upsert(["bare"], texts=["no vector"])
        yield collection, X, request.param


def average_by_hand(P, N, metric):
    P, N = P.astype(np.float64), N.astype(np.float64)
    if metric == "cosine":
        P = P / np.linalg.norm(P, axis=1, keepdims=True)
        N = N / np.linalg.norm(N, axis=1, keepdims=True)
    return P.mean(axis=0) if not len(N) else 2 * P.mean(axis=0) - N.mean(axis=0)


@pytest.mark.parametrize("negative", [[], [3, 40]])
def test_average_is_a_search_around_the_mean(filled, negative):
    collection, X, metric = filled
    positive = [10, 20, 30]
    q = average_by_hand(X[positive], X[negative], metric)
    scores = naive_scores(q, X, metric)
    scores[positive + negative] = -np.inf
    expected = np.argsort(-scores, kind="stable")[:12]
    result = collection.similar([f"r{i}" for i in positive], [f"r{i}" for i in negative], k=12)
    assert result.ids == [f"r{i}" for i in expected]
    np.testing.assert_allclose([hit.score for hit in result], scores[expected], rtol=2e-4, atol=1e-4)


@pytest.mark.parametrize("negative", [[], [3, 40], list(range(100, 160))])
@pytest.mark.parametrize("where", [None, {"n": {"gte": 150}}])
def test_best_is_the_closest_example_without_what_is_closer_to_a_negative_one(filled, negative, where):
    collection, X, metric = filled
    positive = [10, 20, 30]
    wanted = np.max([naive_scores(X[i], X, metric) for i in positive], axis=0)
    unwanted = np.max([naive_scores(X[i], X, metric) for i in negative], axis=0) if negative else np.full(300, -np.inf)
    usable = wanted > unwanted
    usable[positive + negative] = False
    if where:
        usable[:150] = False
    order = [i for i in np.argsort(-wanted, kind="stable") if usable[i]]
    for k in (1, 20, 400):
        ids = [[f"r{i}" for i in rows] for rows in (positive, negative)]
        result = collection.similar(*ids, k=k, where=where, strategy="best")
        assert result.ids == [f"r{i}" for i in order[:k]]
    if where:
        assert result.plan.allowed == 150


def test_vectors_serve_as_examples_and_leave_nothing_out(filled):
    collection, X, _ = filled
    assert collection.similar(X[7], k=3).ids == collection.search(X[7], k=3).ids
    assert collection.similar(X[7].tolist(), k=3).ids == collection.search(X[7], k=3).ids
    assert collection.similar([X[7], "r9"], k=500).ids == collection.similar(["r9", X[7]], k=500).ids
    assert "r9" not in collection.similar([X[7], "r9"], k=500).ids
    assert len(collection.similar([X[7], "r9"], k=500)) == 299


@pytest.mark.parametrize("strategy", ["average", "best"])
def test_w79_pages_and_least_scores(filled, strategy):
    collection, _, _ = filled
    whole = collection.similar(["r1", "r2"], ["r3"], k=40, strategy=strategy)
    pages = [collection.similar(["r1", "r2"], ["r3"], k=8, offset=o, strategy=strategy) for o in range(0, 40, 8)]
    assert [key for page in pages for key in page.ids] == whole.ids
    assert [hit.rank for page in pages for hit in page] == list(range(1, 41))
    least = whole[6].score
    assert collection.similar(["r1", "r2"], ["r3"], k=40, strategy=strategy, min_score=least).ids == whole.ids[:7]


def test_refusals(filled):
    collection, X, metric = filled
    with pytest.raises(InputError, match="positive"):
        collection.similar([])
    with pytest.raises(NotFoundError, match="'zz'"):
        collection.similar(["r1", "zz"])
    with pytest.raises(NotFoundError, match="negative id 'zz'"):
        collection.similar("r1", "zz")
    with pytest.raises(InputError, match="'bare' without a vector"):
        collection.similar("bare")
    with pytest.raises(NotFoundError, match="images"):
        collection.similar("r1", space="images")
    with pytest.raises(InputError, match="strategy"):
        collection.similar("r1", strategy="mean")
    with pytest.raises(DimensionError):
        collection.similar([X[0][:3]])
    with pytest.raises(InputError, match="ids or vectors"):
        collection.similar(7)
    if metric == "cosine":
        with pytest.raises(InputError, match="no direction"):
            collection.similar([X[0], -X[0]])
        with pytest.raises(InputError):
            collection.similar(np.zeros(DIM))


def test_best_goes_deeper_where_a_negative_example_takes_all_that_is_near(tmp_path):
    near = [[0.001 * i, 1.0] for i in range(20)]
    X = np.array([*near, [-2, 0], [100, 5]], dtype=np.float32)
    with Collection(tmp_path / "c", metric="l2") as collection:
        collection.upsert([f"r{i}" for i in range(22)], vectors=X)
        result = collection.similar([[0, 0], [100, 0]], [[0, 1]], k=1, strategy="best")
        # The first sixteen around (0, 0) are all closer to (0, 1); the next one is closer than any around (100, 0).
        assert result.ids == ["r20"] and result.plan.legs[0].details["searches"] == 2
