"""The inverted file: recall by effort and by wish, filters, changes, codes alone, files, and what is refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from index.graph_data import clustered, flat_of, recall
from orthant.errors import DimensionError, InputError, NotFoundError
from orthant.index import IVF
from orthant.kernels import warmup
from orthant.kernels.clustering.list_rank import GROUP
from orthant.quantization import IVFCodec, ProductQuantizer, ResidualQuantizer

N, DIM = 5000, 48


def spread_out(n, seed):
    """Clusters that overlap, so that neighbours lie in several lists."""
    return clustered(n, seed=seed, spread=4.0)[0]


@pytest.fixture(scope="module")
def field():
    """An index with lists, its oracle, and queries that are no rows."""
    warmup.wait(GROUP)
    X, Q = spread_out(N, 41), spread_out(80, 42)
    index = IVF(DIM, "l2", lists=80)
    index.add(X)
    assert index.calibration is None
    index.search(Q[:1], recall=0.9)
    return index, flat_of(X, metric="l2"), X, Q


def test_more_lists_find_more_and_all_of_them_nearly_everything(field):
    index, oracle, _, Q = field
    found = [recall(index.search(Q, 10, effort=e), oracle.search(Q, 10)) for e in (1, 6, 80)]
    assert found[0] < found[1] < found[2] and found[2] > 0.97
    costs = [index.search(Q, 10, effort=e).cost for e in (1, 6, 80)]
    assert costs[0].distances < costs[1].distances < costs[2].distances
    assert costs[0].details["lists"] >= 1 and costs[2].details["lists"] == 80


def test_scores_are_those_of_full_vectors(field):
    index, oracle, _, Q = field
    hits, every = index.search(Q, 5, effort=80), oracle.search(Q, N)
    for row in range(len(Q)):
        known = dict(zip(every.ids[row].tolist(), every.scores[row].tolist(), strict=True))
        np.testing.assert_allclose(hits.scores[row], [known[i] for i in hits.ids[row].tolist()], rtol=1e-6)


def test_recall_is_kept_on_queries_that_calibration_has_not_seen(field):
    index, oracle, _, Q = field
    calibration = index.calibration
    assert calibration is not None and calibration.source == "held-out rows" and not calibration.beams
    for wanted in (0.7, 0.9):
        hits = index.search(Q, 10, recall=wanted)
        assert recall(hits, oracle.search(Q, 10)) >= wanted - 0.03
        assert hits.cost.details["expected_recall"] >= wanted
    few, many = (index.search(Q, 10, recall=r).cost.details["lists"] for r in (0.7, 0.95))
    assert few < many
    exact = index.search(Q, 10, recall=1.0)
    np.testing.assert_array_equal(exact.ids, oracle.search(Q, 10).ids)


@pytest.mark.parametrize("share", [0.002, 0.05, 0.5])
def test_filters_of_any_share(field, share):
    index, oracle, _, Q = field
    mask = np.random.default_rng(7).random(N) < share
    hits, truth = index.search(Q, 5, allowed=mask), oracle.search(Q, 5, allowed=mask)
    assert mask[hits.ids[hits.ids >= 0]].all() and (hits.counts == truth.counts).all()
    assert recall(hits, truth) >= 0.9
    assert hits.cost.plan == ("scan-allowed" if share < 0.01 else "lists-filtered")
    by_ids = index.search(Q, 5, allowed=np.flatnonzero(mask))
    np.testing.assert_array_equal(by_ids.ids, hits.ids)


def test_given_queries_are_calibrated_on():
    X, Q = spread_out(2000, 47), spread_out(40, 48)
    index = IVF(DIM, "dot", scan_below=3000)
    index.add(X)
    assert index.calibrate() is None and index.search(Q[:1], 3).cost.plan == "scan"
    index.add(X[:1000], np.arange(5000, 6000))
    assert index.calibrate(Q).source == "queries"
    assert index.search(Q, 5).cost.details["calibrated_on"] == "queries"


def test_lists_grow_and_shrink():
    X, Q = spread_out(N, 43), spread_out(60, 44)
    index = IVF(DIM, "cosine", lists=40, scan_below=2000)
    for start in range(0, N, 1500):
        index.add(X[start : start + 1500])
    index.remove(np.arange(0, N, 4))
    kept = np.setdiff1d(np.arange(N), np.arange(0, N, 4))
    oracle = flat_of(X[kept], kept, metric="cosine")
    assert len(index) == len(kept) == index.stats().count
    hits = index.search(Q, 10, effort=40)
    assert recall(hits, oracle.search(Q, 10)) > 0.95 and not np.isin(hits.ids, np.arange(0, N, 4)).any()
    index.add(X[:4], [0, 9001, 9002, 9003])
    assert index.search(X[:1], 1).ids.ravel().tolist() == [0]
    assert index.self_recall(200, k=1) > 0.98


def test_codes_alone_are_small_and_rank_by_codes():
    X, Q = spread_out(N, 45), spread_out(60, 46)
    for metric, quantizer in (  # every kind of code and of score
        ("l2", ProductQuantizer(m=12, bits=8, iterations=5)),
        ("cosine", ProductQuantizer(m=24, bits=4, iterations=5)),
        ("dot", ResidualQuantizer(levels=12, bits=4, iterations=3)),
    ):
        index = IVF(DIM, metric, lists=30, quantizer=quantizer, keep_vectors=False, rerank=8)
        index.add(X)
        stats = index.stats()
        assert stats.bytes_per_vector < 40 and stats.details["code_size"] <= 12 and not stats.details["keeps_vectors"]
        hits = index.search(Q, 10, effort=30)
        codec = index.codec
        held = index._lists.entries()
        labels, codes = codec.encode(X, held[0][np.argsort(held[2])])
        scores = codec.score(Q, labels, codes)
        best = np.sort(scores, axis=1)[:, ::-1][:, :10]
        np.testing.assert_allclose(hits.scores, best, rtol=1e-4, atol=2e-3 * np.abs(best).max())
        assert recall(hits, flat_of(X, metric=metric).search(Q, 10)) > 0.45
        for refused in (
            lambda i=index: i.search(Q, recall=0.9),
            index.calibrate,
            lambda i=index: i.score_ids(Q[0], [1]),
        ):
            with pytest.raises(InputError, match="without vectors"):
                refused()
        np.testing.assert_array_equal(index.reconstruct([5, 2]), codec.decode(labels[[5, 2]], codes[[5, 2]]))
        with pytest.raises(NotFoundError):
            index.reconstruct([N])
        with pytest.raises(InputError, match="already"):
            index.add(X[:1], [3])
        index.remove([3])
        assert len(index) == N - 1 and index.add(X[3:4], [3]).tolist() == [3]


def test_files_keep_answers_and_calibration(field, tmp_path):
    index, _, X, Q = field
    index.save(tmp_path / "a")
    for mmap in (True, False):
        back = IVF.load(tmp_path / "a", mmap=mmap)
        assert back.calibration == index.calibration
        for settings in ({"effort": 7}, {"recall": 0.8}):
            one, two = index.search(Q, 5, **settings), back.search(Q, 5, **settings)
            np.testing.assert_array_equal(one.ids, two.ids)
            np.testing.assert_array_equal(one.scores, two.scores)
        back.add(X[:1], [N + 5])
        back.remove([0])
        assert back.search(X[0], 1).ids.tolist() == [[N + 5]]
    light = IVF(DIM, "l2", codec=index.codec, keep_vectors=False)
    light.add(X)
    light.save(tmp_path / "b")
    again = IVF.load(tmp_path / "b")
    np.testing.assert_array_equal(again.search(Q, 5, effort=9).ids, light.search(Q, 5, effort=9).ids)
    assert again.stats().memory_bytes < X.nbytes / 4


def test_a_codec_is_used_as_it_is(field):
    index, _, X, Q = field
    other = IVF(DIM, "l2", codec=index.codec)
    assert other.codec is index.codec and other.search(Q, 3).counts.sum() == 0
    other.add(X)
    # Rows of a codec that was brought along stay in their nearest lists.
    held = other._lists.entries()
    np.testing.assert_array_equal(held[0][np.argsort(held[2])], index.codec.assign(X))
    found, known = other.search(Q, 5, effort=9).ids, index.search(Q, 5, effort=9).ids
    assert (found[:, :, None] == known[:, None, :]).any(2).mean() > 0.95


def test_answers_are_exact_while_kernels_are_compiled(field, monkeypatch):
    index, oracle, _, Q = field
    monkeypatch.setattr("orthant.index.ivf.reading.is_ready", lambda group: False)
    monkeypatch.setattr("orthant.index.ivf.reading.ensure_compiling", lambda group: None)
    np.testing.assert_array_equal(index.search(Q, 10, effort=1).ids, oracle.search(Q, 10).ids)


def test_memory_is_told_before(field):
    index, _, _, _ = field
    told = IVF.estimate_memory(N, DIM, lists=80)["total"]
    stats = index.stats()
    assert abs(told - stats.memory_bytes) < 0.1 * stats.memory_bytes
    assert IVF.estimate_memory(10**6, 384, code_size=16, keep_vectors=False)["total"] < 30 * 10**6


def test_what_does_not_fit_is_refused(field):
    index, _, _, Q = field
    codec = index.codec
    for settings in (
        {"lists": 0},
        {"rerank": 0},
        {"keep_vectors": 1},
        {"quantizer": "pq"},
        {"quantizer": ProductQuantizer(m=5)},
        {"quantizer": ProductQuantizer(m=8, bits=16)},
        {"codec": codec, "lists": 4},
        {"codec": "codec"},
    ):
        with pytest.raises(InputError):
            IVF(DIM, "l2", **settings)
    with pytest.raises(InputError, match="metric"):
        IVF(DIM, "cosine", codec=codec)
    with pytest.raises(DimensionError):
        IVF(DIM + 1, "l2", codec=codec)
    with pytest.raises(InputError, match="both"):
        index.search(Q, 3, effort=3, recall=0.5)
    with pytest.raises(InputError, match="no queries"):
        index.calibrate(np.zeros((0, DIM)))
    with pytest.raises(InputError):
        IVFCodec.train(np.zeros((0, 4)))


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_answers_are_the_same_before_and_after_addresses_are_at_hand(metric):
    X, Q = spread_out(N, 61), spread_out(300, 62)
    index = IVF(DIM, metric, lists=40)
    index.add(X)

    def searched():
        one = index.search(Q[:5], 10, effort=6)
        assert index._ready.addressed is None
        for _ in range(3):
            index.search(Q, 10, effort=6)
        assert index._ready.addressed is not None
        two = index.search(Q[:5], 10, effort=6)
        np.testing.assert_array_equal(one.ids, two.ids)
        np.testing.assert_array_equal(one.scores, two.scores)
        assert one.cost.details == two.cost.details
        alone = np.concatenate([index.search(q, 10, effort=6).ids for q in Q[:5]])
        np.testing.assert_array_equal(alone, two.ids)
        return two

    before = searched()
    gone = before.ids[:, 0]
    index.remove(np.unique(gone))
    assert not np.isin(searched().ids, gone).any()
    index.add(Q[:5], np.arange(90_000, 90_005))
    if metric != "dot":
        assert searched().ids[:, 0].tolist() == list(range(90_000, 90_005))


def test_more_lists_than_vectors_are_told_and_nothing_is_lost():
    X = np.random.default_rng(4).standard_normal((900, 8)).astype(np.float32)
    index = IVF(8, metric="l2", lists=400, scan_below=200)
    with pytest.warns(UserWarning, match=r"lists=400 with 300 vectors.*300 lists were made.*[Rr]etrain\(\)"):
        index.add(X[:300])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Where a warning is an error, what was added is there, and numbering goes on.
        with pytest.raises(UserWarning, match="lists=400"):
            index.retrain()
        assert index.add(X[300:]).tolist() == list(range(300, 900))
        index.retrain()
    assert index.codec.lists == 400
    index = IVF(8, metric="l2", lists=400, scan_below=200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="lists=400"):
            index.add(X[:300])
        assert len(index) == 300 and index.add(X[300:301]).tolist() == [300]
    # Without vectors there is nothing to retrain from.
    with pytest.warns(UserWarning, match=r"scan_below is at least 445"):
        IVF(8, metric="l2", lists=400, scan_below=200, keep_vectors=False).add(X[:300])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        IVF(8, metric="l2", lists=400, scan_below=445, keep_vectors=False).add(X)
