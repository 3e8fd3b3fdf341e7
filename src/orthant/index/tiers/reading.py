"""What readers of a two-tier index may do: search, calibrate, look up."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, InputError, NotFoundError, message
from orthant.index.blocks import shown
from orthant.index.tiers.budget import graph_code_size, quantizer_bytes
from orthant.index.tiers.light import Light
from orthant.index.tiers.row_files import DiskRows
from orthant.index.tiers.searching import Asked, answer
from orthant.index.vamana.calibration import KS, Calibration, measure
from orthant.kernels.distances import exact_scores
from orthant.kernels.topk import check_answers
from orthant.types import BitmapArray, FloatArray, Hits, IdArray, IndexStats, Metric
from orthant.validate import as_allowed, as_ids, as_vectors, check_count, check_effort, check_metric

__all__ = ["TwoTierReading"]

_DEFAULT_EFFORT = 100
_CALIBRATION_QUERIES = 200


class TwoTierReading:
    """The half of ``TwoTier`` that changes no vectors; not made by itself.

    Parameters
    ----------
    dim : int
        Dimension.
    metric : {"cosine", "dot", "l2"}
        Score.
    """

    _readers: int
    _access: str
    _limit: int | None
    _way: str
    _sure: float | None

    def __init__(self, dim: int, metric: Metric) -> None:
        self._dim = check_count(dim, name="dim")
        self._metric = check_metric(metric)
        self._state = Light(DiskRows(self._dim), np.zeros(0, np.int64), np.zeros((0, 0), np.uint8))
        self._calibration: Calibration | None = None
        self._weight: tuple[Any, int] = (None, 0)

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        return self._dim

    @property
    def metric(self) -> Metric:
        """Score of the index."""
        return self._metric

    @property
    def calibration(self) -> Calibration | None:
        """Recall by effort as last measured; None before."""
        return self._calibration

    def __len__(self) -> int:
        """Return the number of live vectors."""
        return len(self._state)

    def __repr__(self) -> str:
        return f"TwoTier(dim={self._dim}, metric={self._metric!r}, {len(self)} vectors)"

    def search(
        self,
        Q: npt.ArrayLike,
        k: int = 10,
        *,
        allowed: BitmapArray | IdArray | npt.NDArray[np.bool_] | None = None,
        effort: int | None = None,
        recall: float | None = None,
        threads: int | None = None,
    ) -> Hits:
        """Return about the k nearest live, allowed vectors of each query.

        Parameters
        ----------
        Q : array-like of shape (q, dim) or (dim,)
            Queries; non-zero under cosine.
        k : int, default 10
            Neighbours wanted, at least 1. Where there are fewer, rows are padded.
        allowed : uint64 bitmap over ids, bool mask over ids, or array of ids, optional
            Restricts the answer before the search. Where no more than ``effort`` are allowed, those are all read.
        effort : int, optional
            Vectors read from disk for each query at most: more finds more and reads more. Below k it counts as k. Left
            out, 100 or 2 k, whichever is more.
        recall : float, optional
            Share of the true neighbours wanted, instead of ``effort``; 1 reads every vector. Kept by ``calibrate``,
            which runs by itself on held rows when it has not been called.
        threads : int, optional
            Direct reads under way at a time. Left out, ``readers``.

        Returns
        -------
        Hits
            ids (q, k) int64 padded with -1, scores (q, k) float32 padded with -inf, counts (q,). ``cost.plan`` is
            ``"codes"``, ``"graph"``, ``"graph-filtered"`` or ``"scan-allowed"`` (of a graph's codes),
            ``"vectors-allowed"`` or ``"vectors"``; ``cost.details`` has ``candidates``, ``reads`` (calls),
            ``reads_per_query``, ``rows_read`` and ``bytes_from_disk``.

        Raises
        ------
        InputError
            k or effort below 1, a zero query under cosine, or both effort and recall.
        DimensionError, DtypeError, NonFiniteError
            Q or ``allowed`` do not fit.
        StoreCorruptedError
            The file of vectors was cut while in use.
        """
        queries = as_vectors(Q, dim=self._dim, name="queries", nonzero=self._metric == "cosine", single=True)
        wanted = check_answers(k, queries=len(queries), held=len(self))
        check_effort(effort, recall, threads)
        readers = self._readers if threads is None else min(32, threads)
        rows = as_allowed(allowed)
        if recall is not None and recall < 1 and self._state.coded and self._calibration is None:
            self.calibrate()
        candidates = self._candidates(wanted, effort, recall)
        state = self._state
        return answer(state, self._asked(queries, wanted, candidates, readers), state.select(rows))

    def _asked(self, queries: FloatArray, k: int, candidates: int | None, readers: int) -> Asked:
        return Asked(queries, k, candidates, self._metric, readers, np.inf if self._sure is None else self._sure)

    def _candidates(self, k: int, effort: int | None, recall: float | None) -> int | None:
        if effort is not None:
            return max(k, effort)
        if recall is None:
            return max(_DEFAULT_EFFORT, 2 * k)
        if recall == 1.0 or self._calibration is None:
            return None
        return self._calibration.choose(k, recall)[0]

    def calibrate(self, queries: npt.ArrayLike | None = None, *, seed: int = 0) -> Calibration | None:
        """Measure recall by effort, so that ``recall=`` is kept from now on.

        Parameters
        ----------
        queries : array-like of shape (q, dim), optional
            Real queries, a few hundred. Left out, 200 held rows stand in, each without itself.
        seed : int, default 0
            Of the choice of rows.

        Returns
        -------
        Calibration or None
            The measurements, also as ``calibration``; None while searches are exact.

        Raises
        ------
        DimensionError, DtypeError, NonFiniteError, InputError
            Queries that do not fit, or none at all.

        Notes
        -----
        Reads every vector once.
        """
        state = self._state
        own: IdArray | None = None
        if queries is not None:
            asked = as_vectors(queries, dim=self._dim, name="queries", nonzero=self._metric == "cosine", single=True)
            if not len(asked):
                raise InputError(message("no queries", "at least one", "pass some, or leave queries out"))
        if not state.coded or len(state) < 2:
            return None
        if queries is None:
            alive = state.alive_rows()
            count = min(len(alive), _CALIBRATION_QUERIES)
            chosen = np.sort(np.random.default_rng(seed).choice(alive, count, replace=False))
            asked, own = state.rows.read(chosen, readers=self._readers)[0], state.ids[chosen]
        rows = state.select(None)

        def search(k: int, effort: int | None) -> IdArray:
            more = 0 if own is None else 1
            width = None if effort is None else effort + more
            found = answer(state, self._asked(asked, k + more, width, self._readers), rows).ids
            return found if own is None else _without(found, own)

        most = min(max(KS), len(state) - 1)
        source = "queries" if own is None else "held-out rows"
        self._calibration = measure(search, search(most, None), source=source, rows=len(state))
        return self._calibration

    def ids(self) -> IdArray:
        """Return the ids of all live vectors, shape (n,), int64, in the order of the rows."""
        state = self._state
        return state.ids[state.alive_rows()]

    def reconstruct(self, ids: npt.ArrayLike) -> FloatArray:
        """Return the stored vectors of given ids.

        Parameters
        ----------
        ids : array-like of shape (m,), int
            Distinct ids.

        Returns
        -------
        ndarray of shape (m, dim), float32
            Read from disk, exactly as added.

        Raises
        ------
        NotFoundError
            Ids that are not present (listed).
        """
        wanted, state = as_ids(ids), self._state
        rows = state.locate(wanted)
        if (rows < 0).any():
            given = f"ids {shown(wanted[rows < 0])}"
            raise NotFoundError(message(given, "ids in the index", "check them with score_ids"))
        return self._vectors(state, rows)

    def _vectors(self, state: Light, rows: IdArray) -> FloatArray:
        order = np.argsort(rows)
        out = np.empty((len(rows), self._dim), dtype=np.float32)
        out[order] = state.rows.read(rows[order], readers=self._readers)[0]
        return out

    def score_ids(self, q: npt.ArrayLike, ids: npt.ArrayLike) -> FloatArray:
        """Return one query's exact scores with given ids.

        Parameters
        ----------
        q : array-like of shape (dim,)
            The query; non-zero under cosine.
        ids : array-like of shape (m,), int
            Distinct ids.

        Returns
        -------
        ndarray of shape (m,), float32
            Scores in the order of ``ids``; -inf where the id is absent.

        Raises
        ------
        DimensionError, DtypeError, NonFiniteError, InputError
            The arguments do not fit.
        """
        query = as_vectors(q, dim=self._dim, name="query", nonzero=self._metric == "cosine", single=True)
        if len(query) != 1:
            raise DimensionError(message(f"{len(query)} queries", "one", "call score_ids once per query"))
        wanted, state = as_ids(ids), self._state
        rows = state.locate(wanted)
        out = np.full(len(wanted), -np.inf, dtype=np.float32)
        real = rows >= 0
        out[real] = exact_scores(query, self._vectors(state, rows[real]), self._metric)[0]
        return out

    def stats(self) -> IndexStats:
        """Return counts and bytes.

        Returns
        -------
        IndexStats
            ``memory_bytes`` counts codes, ids, marks, lookup and what the quantizer learned, and no vectors;
            ``details`` has ``disk_bytes``, ``code_size``, ``quantizer``, ``search``, ``access`` and
            ``memory_limit_bytes``, and of a graph ``dims``, ``bits`` and ``degree``.
        """
        state = self._state
        total = state.nbytes + self._quantizer_bytes(state.quantizer)
        return IndexStats(
            kind="TwoTier",
            count=len(state),
            dead=state.dead,
            dim=self._dim,
            metric=self._metric,
            memory_bytes=total,
            bytes_per_vector=total / len(state.ids) if len(state.ids) else 0.0,
            details={
                "disk_bytes": state.rows.nbytes,
                "code_size": state.codes.shape[1] if state.graph is None else graph_code_size(state.graph.plan),
                "quantizer": None if state.quantizer is None else type(state.quantizer).__name__,
                "search": self._way,
                **({} if state.graph is None else asdict(state.graph.plan)),
                "access": self._access,
                "memory_limit_bytes": self._limit,
            },
        )

    def _quantizer_bytes(self, quantizer: Any) -> int:
        if self._weight[0] is not quantizer:
            self._weight = (quantizer, quantizer_bytes(quantizer))
        return self._weight[1]


def _without(found: IdArray, own: IdArray) -> IdArray:
    """Return each row without its own id, or without its last where the own one was not found."""
    is_own = found == own[:, None]
    is_own[~is_own.any(axis=1), -1] = True
    return found[~is_own].reshape(len(found), found.shape[1] - 1)
