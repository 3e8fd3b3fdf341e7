"""Clustered vectors and recall for the tests of graphs."""

from __future__ import annotations

import numpy as np

from orthant.index import Flat


def clustered(n, dim=48, *, clusters=40, seed=0, spread=1.0, rank=16):
    """Vectors in clusters that lie near a common subspace, as embeddings do; clusters are the same for every seed."""
    fixed = np.random.default_rng(99)
    centres = fixed.standard_normal((clusters, dim))
    mixing = fixed.standard_normal((rank, dim)) / np.sqrt(rank)
    rng = np.random.default_rng(seed)
    label = rng.integers(0, clusters, n)
    X = centres[label] + spread * rng.standard_normal((n, rank)) @ mixing + 0.1 * rng.standard_normal((n, dim))
    return X.astype(np.float32), label


def outside(n, seed, dim=48):
    """Queries from few directions that the data hardly have: their neighbours lie far from each other."""
    fixed = np.random.default_rng(7)
    mixing, offset = fixed.standard_normal((4, dim)), 2.0 * fixed.standard_normal(dim)
    rng = np.random.default_rng(seed)
    return (offset + rng.standard_normal((n, 4)) @ mixing + 0.05 * rng.standard_normal((n, dim))).astype(np.float32)


def flat_of(X, ids=None, metric="cosine"):
    out = Flat(X.shape[1], metric)
    out.add(X, ids)
    return out


def recall(found, truth):
    """Mean share of the true ids found; equal scores at the end count as found."""
    return recall_each(found, truth).mean()


def recall_each(found, truth):
    out = []
    for ids, true, scores, worst in zip(found.ids, truth.ids, found.scores, truth.scores, strict=True):
        wanted = (true >= 0).sum()
        last = worst[wanted - 1] if wanted else np.inf
        got = np.isin(ids, true[true >= 0]) | ((ids >= 0) & (scores >= last))
        out.append(min(got.sum(), wanted) / max(wanted, 1) if wanted else 1.0)
    return np.array(out)
