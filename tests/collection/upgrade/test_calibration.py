"""Two generations in one list: the ends are those of either, and no state between is worse than the worse of them."""

from __future__ import annotations

import numpy as np

from orthant.collection.upgrade.calibration import blend, calibrated, tail
from orthant.collection.upgrade.maps import fit_bridge
from orthant.measures import ndcg, run_from_arrays

SHARES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)


def states(fresh, older, value, *, draws=4):
    """The mean value at every share, over several draws of the records that were encoded again."""
    count, out = fresh.shape[1], []
    for share in SHARES:
        masks = [np.random.default_rng(seed).permutation(count) < round(share * count) for seed in range(draws)]
        out.append(float(np.mean([value(blend(fresh, older, mask)) for mask in masks])))
    return out


def test_the_ends_are_the_old_and_the_new_order():
    rng = np.random.default_rng(0)
    fresh, older = (rng.standard_normal((5, 60)).astype(np.float32) for _ in range(2))
    assert np.array_equal(blend(fresh, older, np.zeros(60, bool)), older)
    whole = blend(40 * fresh + 7, older, np.ones(60, bool))
    assert np.array_equal(np.argsort(whole, axis=1), np.argsort(fresh, axis=1))
    # The unit of the new scores is of no account.
    half = rng.random(60) < 0.5
    np.testing.assert_allclose(blend(40 * fresh + 7, older, half), blend(fresh, older, half), atol=1e-4)


def test_best_scores_meet_at_their_mean_and_spread():
    rng = np.random.default_rng(1)
    fresh, older = 5 + 3 * rng.random((2, 40)), rng.random((2, 40))
    moved = calibrated(fresh.astype(np.float32), fresh.astype(np.float32), older.astype(np.float32))
    np.testing.assert_allclose(moved.mean(axis=1), older.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(moved.std(axis=1), older.std(axis=1), atol=1e-5)
    flat = np.full((1, 4), 2.0, dtype=np.float32)
    assert np.isfinite(calibrated(flat, flat, older[:1].astype(np.float32))).all()
    assert (tail(0.0, 1000), tail(1.0, 1000), tail(1.0, 30)) == (20, 220, 30)


def test_a_record_is_scored_by_both_models_so_that_their_errors_do_not_add_up():
    rng = np.random.default_rng(2)
    fresh, older = (rng.standard_normal((400, 200)).astype(np.float32) for _ in range(2))
    rows = np.arange(400)
    right = rng.integers(200, size=400)
    fresh[rows, right] += 2.0
    older[rows, right] += 2.0

    def reciprocal(scores):
        return (1 / (1 + (scores > scores[rows, right][:, None]).sum(axis=1))).mean()

    found = states(fresh, older, reciprocal)
    worse = min(found[0], found[-1])
    assert min(found) >= worse - 1e-9
    # By the new score alone the middle would be as good as either end.
    assert found[3] > worse + 0.04


def test_a_mixed_state_of_real_vectors_is_no_worse_than_its_worse_end(data_root):
    from orthant.datasets import load
    from orthant.encoders.registry import load_encoder

    judged, encoder = load("cranfield"), load_encoder("static")
    C = encoder.encode([document.content for document in judged.corpus])
    names = list(judged.judged)
    Q = encoder.encode([judged.queries[query] for query in names], role="query")
    ids = [document.id for document in judged.corpus]
    known = C.any(axis=1)
    C, ids = C[known], [key for key, held in zip(ids, known, strict=True) if held]
    old, asked = (np.ascontiguousarray(X[:, :96]) for X in (C, Q))
    learned = np.random.default_rng(0).permutation(len(C))[: len(C) // 2]
    bridge = fit_bridge("joint", old[learned], C[learned])
    older = bridge.queries(Q, asked) @ bridge.documents(old).T

    def value(scores):
        top = np.argsort(-scores, axis=1, kind="stable")[:, :10]
        run = run_from_arrays(top, np.take_along_axis(scores, top, axis=1), query_ids=names, document_ids=ids)
        return ndcg(run, {query: judged.qrels[query] for query in names}, k=10).values.mean()

    found = states(Q @ C.T, older, value, draws=2)
    assert found[0] < found[-1]
    assert min(found) >= found[0] - 0.002
    assert found[-2] > found[0] + 0.5 * (found[-1] - found[0])
