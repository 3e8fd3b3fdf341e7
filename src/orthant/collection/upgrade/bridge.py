"""The dense leg of a space of which only some records have been encoded again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from orthant.collection.upgrade.calibration import placed
from orthant.kernels import bitmaps
from orthant.types import BitmapArray, FloatArray, Hits, IdArray, SearchCost

if TYPE_CHECKING:
    from orthant.collection.dense import DenseIndex

__all__ = ["BridgedIndex"]

_CURVE = 200


class BridgedIndex:
    """Searches new vectors where a record has one and mapped old ones where not, as one list.

    Parameters
    ----------
    fresh : DenseIndex
        Over the vectors of the new encoder.
    mapped : DenseIndex
        Over the old vectors, brought to the new space.
    encoded : ndarray of uint64
        Bitmap of the live rows that the new encoder has encoded.
    both : ndarray of uint64
        Those of them that have a mapped vector as well.
    live : ndarray of uint64
        Live rows.
    dim : int
        Values of a vector of the new encoder; a longer query carries the old encoder's part behind it.
    mapped_dim : int
        Values of a mapped vector.

    Notes
    -----
    Scores are those of the mapped vectors; records encoded again take theirs by rank (see ``calibration``). Three
    searches in place of one.
    """

    graph: Any | None = None
    tail: Any | None = None
    dead = 0

    def __init__(
        self,
        fresh: DenseIndex,
        mapped: DenseIndex,
        *,
        encoded: BitmapArray,
        both: BitmapArray,
        live: BitmapArray,
        dim: int,
        mapped_dim: int,
    ) -> None:
        self._fresh, self._mapped, self._live = fresh, mapped, live
        self._encoded, self._both = encoded, both
        self._dim, self._mapped_dim = dim, mapped_dim
        count = bitmaps.count_bits(encoded)
        # Without a record that has both, all mapped ones tell how scores fall with the rank.
        self._reference = both if both.any() else None
        reference = bitmaps.count_bits(both if both.any() else live) - (0 if both.any() else count)
        self._share = reference / count if count else 1.0
        self.problem = fresh.problem or mapped.problem

    def _parts(self, Q: FloatArray) -> tuple[FloatArray, FloatArray]:
        fresh = np.ascontiguousarray(Q[:, : self._dim])
        missing = self._mapped_dim - Q.shape[1]
        if missing > 0:
            Q = np.concatenate([Q, np.zeros((len(Q), missing), dtype=np.float32)], axis=1)
        return fresh, np.ascontiguousarray(Q[:, : self._mapped_dim])

    def search(self, Q: FloatArray, k: int = 10, *, allowed: BitmapArray | None = None, **settings: Any) -> Hits:
        """Return the k best live, allowed rows of each query.

        Parameters
        ----------
        Q : ndarray of shape (q, dim), float32
            Queries by the new encoder, or by both.
        k : int, default 10
            Rows wanted.
        allowed : ndarray of uint64, optional
            Bitmap over rows.
        **settings
            ``effort``, ``recall`` and ``threads``, as for a space of one encoder.

        Returns
        -------
        Hits
            ``cost.plan`` names the plans of both parts.
        """
        began = time.perf_counter()
        near, far = self._parts(Q)
        words = len(self._live)
        may = self._live if allowed is None else self._live & bitmaps.resize(allowed, words)
        old = self._mapped.search(far, k, allowed=may & ~bitmaps.resize(self._encoded, words), **settings)
        new = self._fresh.search(near, k, allowed=allowed, **settings)
        reference = self._curve(far, k, **settings)
        ids = np.full((len(Q), k), -1, dtype=np.int64)
        scores = np.full((len(Q), k), -np.inf, dtype=np.float32)
        counts = np.zeros(len(Q), dtype=np.int64)
        known = self._known(near, k, **settings) if allowed is not None else new
        for i in range(len(Q)):
            own = new.scores[i, : new.counts[i]]
            ranks = _ranks(own, known.scores[i, : known.counts[i]])
            given = placed(ranks, reference.scores[i, : reference.counts[i]], share=self._share)
            rows = np.concatenate([old.ids[i, : old.counts[i]], new.ids[i, : new.counts[i]]])
            values = np.concatenate([old.scores[i, : old.counts[i]], given])
            order = np.lexsort((rows, -values))[:k]
            counts[i] = len(order)
            ids[i, : len(order)], scores[i, : len(order)] = rows[order], values[order]
        cost = SearchCost(
            plan=f"bridge({new.cost.plan}, {old.cost.plan})",
            distances=old.cost.distances + new.cost.distances + reference.cost.distances,
            seconds=time.perf_counter() - began,
            bytes_read=old.cost.bytes_read + new.cost.bytes_read + reference.cost.bytes_read,
            details={"encoded_again": bitmaps.count_bits(self._encoded)},
        )
        return Hits(ids, scores, counts, cost)

    def search_page(
        self, Q: FloatArray, k: int, *, first: int, allowed: BitmapArray | None = None, **settings: Any
    ) -> Hits:
        """Return k rows, as :meth:`search`; both parts are asked for whole lists.

        Parameters
        ----------
        Q : ndarray of shape (q, dim), float32
            Queries.
        k : int
            Rows wanted.
        first : int
            Size of the first page; without effect.
        allowed : ndarray of uint64, optional
            Bitmap over rows.
        **settings
            As for :meth:`search`.

        Returns
        -------
        Hits
            Best first.
        """
        return self.search(Q, k, allowed=allowed, **settings)

    def _known(self, near: FloatArray, k: int, **settings: Any) -> Hits:
        """The best new scores of all records, so that a filter does not move what passes it."""
        return self._fresh.search(near, max(k, _CURVE), **settings)

    def _curve(self, far: FloatArray, k: int, **settings: Any) -> Hits:
        size = max(k, _CURVE)
        reference = self._reference
        if reference is None:
            reference = self._live & ~bitmaps.resize(self._encoded, len(self._live))
        return self._mapped.search(far, size, allowed=bitmaps.resize(reference, len(self._live)), **settings)

    def score_ids(self, q: FloatArray, ids: IdArray) -> FloatArray:
        """Return one query's scores with given rows, in the unit of :meth:`search`.

        Parameters
        ----------
        q : ndarray of shape (dim,), float32
            The query.
        ids : ndarray of shape (m,), int64
            Rows.

        Returns
        -------
        ndarray of shape (m,), float32
            -inf where a row has no vector.
        """
        near, far = self._parts(q[None])
        out = self._mapped.score_ids(far[0], ids)
        again = np.flatnonzero(bitmaps.contains_rows(self._encoded, ids))
        if len(again):
            known, reference = self._known(near, 1), self._curve(far, 1)
            own = self._fresh.score_ids(near[0], ids[again])
            ranks = _ranks(own, known.scores[0, : known.counts[0]])
            out[again] = placed(ranks, reference.scores[0, : reference.counts[0]], share=self._share)
        return out


def _ranks(scores: FloatArray, known: FloatArray) -> FloatArray:
    """Return ranks from 0 among known best scores, non-increasing; below the last they go on by its distance."""
    if not len(known):
        return np.zeros(len(scores), dtype=np.float32)
    falling = -known.astype(np.float64)
    ranks = np.searchsorted(falling, -scores.astype(np.float64), side="left").astype(np.float64)
    span = max(float(falling[-1] - falling[0]), 1e-6)
    below = ranks >= len(known)
    # Far behind the list the rank is a guess that keeps the order.
    ranks[below] = len(known) + (-scores[below].astype(np.float64) - falling[-1]) / span * len(known)
    return ranks.astype(np.float32)
