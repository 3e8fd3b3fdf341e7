"""The dense leg of a space of which only some records have been encoded again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from orthant.collection.upgrade.calibration import calibrated, tail
from orthant.kernels import bitmaps
from orthant.types import BitmapArray, FloatArray, Hits, IdArray, SearchCost

if TYPE_CHECKING:
    from orthant.collection.dense import DenseIndex

__all__ = ["BridgedIndex"]

_POOL = 200


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
    placed : ndarray of uint64
        Bitmap of the live rows that have a mapped vector.
    live : ndarray of uint64
        Live rows.
    dim : int
        Values of a vector of the new encoder; a longer query carries the old encoder's part behind it.
    mapped_dim : int
        Values of a mapped vector.

    Notes
    -----
    Scores are in the unit of the mapped vectors; a record encoded again is scored by both (see ``calibration``). The
    best two hundred by either, or k where that is more, are compared. Four searches in place of one.
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
        placed: BitmapArray,
        live: BitmapArray,
        dim: int,
        mapped_dim: int,
    ) -> None:
        self._fresh, self._mapped, self._live = fresh, mapped, live
        self._encoded, self._placed = encoded, placed
        self._dim, self._mapped_dim = dim, mapped_dim
        either = bitmaps.count_bits(encoded | placed)
        self._share = bitmaps.count_bits(encoded) / either if either else 1.0
        both = encoded & placed
        # Without a record that has both, all of either kind tell how the scores relate.
        self._known = (both, both) if both.any() else (encoded, placed)
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
        pool = max(k, _POOL)
        new = self._fresh.search(near, pool, allowed=may & self._encoded, **settings)
        old = self._mapped.search(far, pool, allowed=may & self._placed, **settings)
        best = self._best(near, far, **settings)
        ids = np.full((len(Q), k), -1, dtype=np.int64)
        scores = np.full((len(Q), k), -np.inf, dtype=np.float32)
        counts = np.zeros(len(Q), dtype=np.int64)
        for i in range(len(Q)):
            rows = np.union1d(old.ids[i, : old.counts[i]], new.ids[i, : new.counts[i]])
            values = self._scored(near[i], far[i], rows, best[0].scores[i : i + 1], best[1].scores[i : i + 1])
            order = np.lexsort((rows, -values))[:k]
            counts[i] = len(order)
            ids[i, : len(order)], scores[i, : len(order)] = rows[order], values[order]
        parts = (new, old, *best)
        cost = SearchCost(
            plan=f"bridge({new.cost.plan}, {old.cost.plan})",
            distances=sum(part.cost.distances for part in parts),
            seconds=time.perf_counter() - began,
            bytes_read=sum(part.cost.bytes_read for part in parts),
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

    def _best(self, near: FloatArray, far: FloatArray, **settings: Any) -> tuple[Hits, Hits]:
        """The best scores of either kind over all records that tell, so that a filter does not move what passes it."""
        fresh, older = self._known
        sizes = [tail(self._share, bitmaps.count_bits(rows)) for rows in (fresh, older)]
        return (
            self._fresh.search(near, max(sizes[0], 1), allowed=fresh, **settings),
            self._mapped.search(far, max(sizes[1], 1), allowed=older, **settings),
        )

    def _scored(
        self, near: FloatArray, far: FloatArray, rows: IdArray, fresh: FloatArray, older: FloatArray
    ) -> FloatArray:
        """One query's scores with given rows; -inf where a row has no vector."""
        out = self._mapped.score_ids(far, rows)
        again = np.flatnonzero(bitmaps.contains_rows(self._encoded, rows))
        if len(again):
            known = [part[:, np.isfinite(part[0])] for part in (fresh, older)]
            own = calibrated(self._fresh.score_ids(near, rows[again])[None], known[0], known[1])[0]
            held = np.isfinite(out[again])
            # What has no mapped vector was written since, and its new score is all there is.
            mixed = self._share * own[held] + (1 - self._share) * out[again[held]]
            out[again] = own
            out[again[held]] = mixed
        return out

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
        fresh, older = self._best(near, far)
        return self._scored(near[0], far[0], ids, fresh.scores, older.scores)

    @property
    def exact(self) -> bool:
        """Scores of hits are calibrated over the list that they came in, so candidates are scored anew."""
        return False

    def score_lists(
        self,
        Q: Sequence[FloatArray],
        queries: Sequence[int],
        ids: IdArray,
        bounds: IdArray,
        out: FloatArray,
        *,
        threads: int | None = None,
    ) -> None:
        """Score a list of rows for each of several queries, one query after the other.

        Parameters
        ----------
        Q : sequence of ndarray of shape (dim,), float32, length m
            Queries.
        queries : sequence of int, length m
            Which list each query asks.
        ids, bounds : ndarray of int64
            The lists, back to back: list i is ``ids[bounds[i]:bounds[i + 1]]``.
        out : ndarray of shape (len(ids),), float32
            Receives the scores.
        threads : int, optional
            Not needed: a query is a few products.
        """
        for q, i in zip(Q, queries, strict=True):
            out[bounds[i] : bounds[i + 1]] = self.score_ids(q, ids[bounds[i] : bounds[i + 1]])
