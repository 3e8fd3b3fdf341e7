"""Codes with full vectors behind them: exact scores, kept recall, growth, and files that must fit together."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import InputError, StoreCorruptedError
from orthant.index import CodeIndex, Flat
from orthant.kernels import bitmaps

DIM = 24


def vectors(n: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((n, DIM)) * 0.9 ** np.arange(DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def X():
    return vectors(1500)


@pytest.fixture(scope="module")
def index(X):
    ids = np.arange(1500) * 2
    return CodeIndex.over([(X[:900], ids[:900]), (X[900:], ids[900:])], dim=DIM, codes="leanvec8+lvq4")


def test_scores_are_exact_and_more_rows_find_more(X, index):
    Q = vectors(40, 1)
    truth = Flat.over([(X, np.arange(1500) * 2)], dim=DIM).search(Q, 10)
    found = [index.search(Q, 10, effort=effort) for effort in (10, 60, 1500)]
    shares = [np.mean([np.isin(t, f).mean() for t, f in zip(truth.ids, hits.ids, strict=True)]) for hits in found]
    assert shares[0] < shares[1] < shares[2] == 1.0
    np.testing.assert_allclose(found[2].scores, truth.scores, rtol=1e-6)
    assert found[1].cost.plan == "codes" and found[1].cost.bytes_read == 40 * (1500 * 8 + 60 * 4 * DIM)


def test_recall_asked_for_is_kept_after_calibration(X):
    index = CodeIndex.over([(X, np.arange(1500))], dim=DIM, codes="leanvec8+lvq4", rescored_rows=20)
    assert index.search(X[:1]).cost.details == {"effort": 20, "expected_recall": None, "codes": "leanvec8+lvq4"}
    made = index.calibrate()
    assert made.count == 200 and index.calibration is made
    Q = vectors(100, 2)
    truth = Flat.over([(X, np.arange(1500))], dim=DIM).search(Q, 10).ids
    for asked in (0.8, 0.95):
        hits = index.search(Q, 10, recall=asked)
        share = np.mean([np.isin(t, f).mean() for t, f in zip(truth, hits.ids, strict=True)])
        assert share >= asked - 0.02 and share == pytest.approx(hits.cost.details["expected_recall"], abs=0.04)
    assert index.search(Q, 10).cost.details["expected_recall"] == pytest.approx(
        next(mean for effort, mean, _ in reversed(made.table[10]) if effort <= 20)
    )


def test_filters_and_growth(X, index):
    allowed = bitmaps.from_rows(np.arange(0, 3000, 20))
    hits = index.search(X[:3], 5, allowed=allowed, effort=200)
    assert (hits.ids % 20 == 0).all() and hits.cost.plan == "codes-filtered" and hits.cost.distances == 3 * 150
    more = vectors(100, 3)
    grown = index.extended([(more, 5000 + np.arange(100))], removed=[0, 2, 4])
    assert len(grown) == 1597 and len(index) == 1500 and grown.check() == []
    assert grown.search(more[7], 1, effort=200).ids[0, 0] == 5007
    assert not np.isin(grown.search(X[:3], 3, effort=1000).ids, [0, 2, 4]).any()
    with pytest.raises(InputError, match="ids"):
        grown.extended([(more[:1], np.array([5007]))])


def test_files_open_over_the_same_vectors_and_refuse_others(X, index, tmp_path):
    blocks = [(X, np.arange(1500) * 2)]
    index.calibrate()
    index.save_links(tmp_path / "c")
    again = CodeIndex.attach(tmp_path / "c", blocks)
    Q = vectors(10, 4)
    np.testing.assert_array_equal(again.search(Q).ids, index.search(Q).ids)
    assert again.calibration.as_dict() == index.calibration.as_dict() and again.stats().bytes_per_vector == 16
    part = CodeIndex.attach(tmp_path / "c", [(X[:100], np.arange(100) * 2)])
    assert len(part) == 100 and part.search(X[5], 1).ids[0, 0] == 10
    np.save(tmp_path / "c" / "codes.npy", np.zeros((1500, 5), np.uint8))
    with pytest.raises(StoreCorruptedError, match="fit together"):
        CodeIndex.attach(tmp_path / "c", blocks)


def test_refused(X, index):
    for settings in ({"k": 0}, {"effort": 0}, {"recall": 2}, {"effort": 5, "recall": 0.5}):
        with pytest.raises(InputError):
            index.search(X[:1], **settings)
    with pytest.raises(InputError):
        CodeIndex.over([], dim=DIM)


@pytest.mark.parametrize("wish", [{"effort": 8, "recall": 0.9}, {"effort": 0}, {"recall": 1.5}, {"threads": 0}])
def test_wishes_out_of_range_and_two_at_once_are_refused(wish):
    X = np.random.default_rng(0).standard_normal((1500, DIM)).astype(np.float32)
    index = CodeIndex.over([(X, np.arange(1500))], dim=DIM, codes="leanvec8+lvq4")
    with pytest.raises(InputError):
        index.search(X[:2], 3, **wish)
