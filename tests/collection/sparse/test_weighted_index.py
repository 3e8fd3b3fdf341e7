"""Posting lists with weights against a dense oracle, through adds, removals, filters, compaction and files."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.collection.sparse.index import WeightedIndex
from orthant.encoders.sparse.rows import as_sparse_rows
from orthant.errors import StoreCorruptedError
from orthant.kernels.bitmaps import contains_rows, from_rows

DIM = 60


def weights(rng, n):
    dense = np.where(rng.random((n, DIM)) < 0.12, rng.gamma(1.0, size=(n, DIM)), 0).astype(np.float32)
    return dense, as_sparse_rows([dict(enumerate(row)) for row in dense], dim=DIM)


def check(index, held, queries, allowed=None):
    """Compare answers with dot products in float64 over what must be held."""
    rows = np.array(sorted(held), dtype=np.int64)
    X = np.array([held[row] for row in rows.tolist()]).reshape(-1, DIM).astype(np.float64)
    dense, parsed = queries
    for i, q in enumerate(dense):
        truth = X @ q.astype(np.float64)
        fits = (truth > 0) if allowed is None else (truth > 0) & contains_rows(allowed, rows)
        order = np.lexsort((rows[fits], -truth[fits]))
        for k in (1, 7, 10_000):
            found, scores = index.search(parsed[i], k=k, allowed=allowed)
            np.testing.assert_allclose(scores, truth[fits][order][:k], rtol=2e-6)
            assert len(found) == min(k, int(fits.sum())) and (np.diff(scores) <= 0).all()
            np.testing.assert_array_equal(scores, index.score_rows(parsed[i], found))
        if allowed is not None:
            assert contains_rows(index.found(parsed[i], allowed=allowed), rows).tolist() == fits.tolist()


def test_answers_are_exact_through_a_life(tmp_path):
    rng = np.random.default_rng(0)
    index, held, row = WeightedIndex(DIM), {}, 0
    queries = weights(rng, 6)
    for step in range(40):
        n = int(rng.integers(1, 60))
        dense, parsed = weights(rng, n)
        dense[0], parsed = 0, as_sparse_rows([None, *(dict(enumerate(x)) for x in dense[1:])], dim=DIM)
        rows = np.arange(row, row + n, dtype=np.int64)
        row += n + int(rng.integers(0, 3))
        index = index.with_batch(rows, parsed)
        held |= {int(r): x for r, x in zip(rows, dense, strict=True) if x.any()}
        if step % 3 == 2:
            gone = rng.choice(sorted(held), size=len(held) // 4, replace=False).astype(np.int64)
            index = index.without(np.append(gone, [10**6]))
            held = {r: x for r, x in held.items() if r not in set(gone.tolist())}
        assert len(index) == len(held) and index.rows().tolist() == sorted(held)
        if step % 8 == 7:
            check(index, held, queries)
            check(index, held, queries, from_rows(np.array(sorted(held)[::3])))
    assert index.has_rows(np.array([sorted(held)[0], 10**6])).tolist() == [True, False]
    kept = from_rows(np.array(sorted(held)[::2]))
    compact = index.compacted(kept)
    held = {r: x for r, x in held.items() if contains_rows(kept, np.array([r]))[0]}
    check(compact, held, queries)
    for saved in (index, compact):
        saved.save(tmp_path / "weights")
        loaded = WeightedIndex.load(tmp_path / "weights")
        assert loaded.rows().tolist() == saved.rows().tolist() and loaded.weights == saved.weights
        for i in range(len(queries[0])):
            for a, b in zip(loaded.search(queries[1][i], k=50), saved.search(queries[1][i], k=50), strict=True):
                np.testing.assert_array_equal(a, b)


def test_scores_do_not_depend_on_the_chunks():
    rng = np.random.default_rng(1)
    _, parsed = weights(rng, 500)
    rows = np.arange(500)
    whole = WeightedIndex(DIM).with_batch(rows, parsed)
    apart = WeightedIndex(DIM)
    for begin in range(0, 500, 7):
        part = np.arange(begin, min(500, begin + 7))
        apart = apart.with_batch(part, parsed.take(part))
    q = weights(rng, 1)[1][0]
    for a, b in zip(whole.search(q, k=300), apart.search(q, k=300), strict=True):
        np.testing.assert_array_equal(a, b)


def test_earlier_values_stay():
    rng = np.random.default_rng(2)
    _, parsed = weights(rng, 50)
    first = WeightedIndex(DIM).with_batch(np.arange(50), parsed)
    before = first.search(parsed[3], k=50)
    first.without(np.arange(0, 50, 2)).with_batch(np.arange(50, 100), parsed)
    for a, b in zip(before, first.search(parsed[3], k=50), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_damaged_file_is_noticed(tmp_path):
    _, parsed = weights(np.random.default_rng(3), 20)
    WeightedIndex(DIM).with_batch(np.arange(20), parsed).save(tmp_path / "w")
    data = bytearray((tmp_path / "w").read_bytes())
    data[-20] ^= 1
    (tmp_path / "w").write_bytes(data)
    with pytest.raises(StoreCorruptedError):
        WeightedIndex.load(tmp_path / "w").search(parsed[0], k=5)
