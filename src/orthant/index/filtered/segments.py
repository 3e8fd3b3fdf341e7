"""One graph for all ranges of an ordered attribute."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, NonFiniteError, message
from orthant.index.filtered.walk import FilteredWalk, check_rows
from orthant.index.vamana.searching import METRICS, rerank_count
from orthant.kernels import bitmaps
from orthant.kernels.graph import segments
from orthant.types import Hits, IdArray, Metric
from orthant.validate import as_vectors, check_metric

__all__ = ["SegmentGraph"]

_TOGETHER = 64
_LEAST = 64
"""Ranges of fewer slots get no links of their own: they are scanned."""


class SegmentGraph(FilteredWalk):
    """Links that know for which ranges of an attribute they hold: a graph of every range, stored once.

    For filters by one ordered attribute, such as a date or a price. It cannot be added to out of order, and serves no
    other attribute: ``Graph`` takes any filter.

    Parameters
    ----------
    X : array-like of shape (n, dim)
        Vectors.
    values : array-like of shape (n,)
        The attribute of each row: numbers, finite. Equal values are kept in the order of rows.
    metric : {"cosine", "dot", "l2"}, default "cosine"
        Score.
    degree : int, default 16
        Links kept of a full row. Rows hold up to twice as many for ranges that are open below, and four times as many
        for others; more are kept for ranges of the past.
    beam : int, default 64
        Candidates examined for the links of a row, in each of a few ranges that end at it.
    alpha : float, default 1.2
        As ``Graph``.
    seed : int, default 0
        Of the rotation.
    threads : int, optional
        Threads for encoding; links are chosen one row after another.

    Raises
    ------
    InputError, DimensionError, NonFiniteError
        Values that do not fit the vectors or are not finite, or parameters outside their range.

    Notes
    -----
    Rows are inserted in the order of the attribute. For ranges that are open below, the links that hold are exactly
    those of a graph built on the rows of the range: what later rows crowd out is kept with the time it ended. For
    others, each row is also linked within ranges of the last half, quarter, eighth and so on of the rows before it.
    The paper derives the lower ends from one pool of candidates by leaps instead, so this is a graph in its spirit, not
    its letter. Cost of building: one walk per row and power of two; of a search, that of a graph over the range.

    References
    ----------
    Zuo, Qiao, Zhou and others, "SeRF: Segment Graph for Range-Filtering Approximate Nearest Neighbor Search",
    SIGMOD 2024.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((400, 8)).astype(np.float32)
    >>> years = 1900 + np.arange(400) % 100
    >>> index = SegmentGraph(X, years, degree=8, beam=16)
    >>> found = index.search(X[:2], 5, low=1950, high=1979).ids
    >>> int(years[found].min()) >= 1950, int(years[found].max()) <= 1979
    (True, True)
    """

    def __init__(
        self, X: npt.ArrayLike, values: npt.ArrayLike, metric: Metric = "cosine", *, degree: int = 16, beam: int = 64,
        alpha: float = 1.2, seed: int = 0, threads: int | None = None,
    ) -> None:  # fmt: skip
        vectors = as_vectors(X, name="vectors", nonzero=check_metric(metric) == "cosine")
        attribute = np.asarray(values)
        if attribute.ndim != 1 or attribute.dtype.kind not in "iuf":
            raise InputError(message(f"values of dtype {attribute.dtype}", "one number per row", "pass numbers"))
        check_rows(vectors, len(attribute), "values")
        if not np.isfinite(attribute).all():
            raise NonFiniteError(message("values with NaN or infinity", "finite numbers", "drop those rows"))
        order = np.argsort(attribute, kind="stable").astype(np.int64)
        self._values = attribute[order]
        super().__init__(
            np.ascontiguousarray(vectors[order]), order, metric=metric, degree=degree, beam=beam, alpha=alpha,
            seed=seed, room=1, threads=threads,
        )  # fmt: skip
        self._first, self._table = self._grow(len(vectors))

    def _grow(self, count: int) -> tuple[IdArray, npt.NDArray[np.int32]]:
        """Link the first so many slots; returns where each one's links begin, and targets, lows and ends."""
        degree, room = self._settings.degree, 6 * self._settings.degree
        first = np.arange(count + 1, dtype=np.int64) * room
        alive = np.full((3, count * room), -1, np.int32)
        alive[2] = segments.FOREVER
        steps = max(1, int(np.log2(max(count, 2))))
        added = 2 * _TOGETHER * (degree + steps * degree)
        log = np.empty((4, added * (4 * degree + 1)), np.int32)
        words, past = bitmaps.words_for(self._state.capacity), [np.zeros((4, 0), np.int32)]
        visited, touched = np.zeros(words, np.uint64), np.empty(self._state.capacity + 64, np.int32)
        view = self._state.view(sketched=self._sketched)
        for start in range(0, count, _TOGETHER):
            logged = segments.grow(
                view, start, min(start + _TOGETHER, count), self._settings.beam, degree,
                np.float32(self._settings.alpha), np.float32(self._settings.margin), _LEAST, first, alive, log, visited,
                touched,
            )  # fmt: skip
            past.append(log[:, :logged].copy())
        return _compact(alive, room, np.concatenate(past, axis=1), count)

    @property
    def link_count(self) -> int:
        """Links of all ranges."""
        return self._table.shape[1]

    def bounds(self, low: float | None, high: float | None) -> tuple[int, int]:
        """Return the slots of a range: those from the first up to the second, which is not among them.

        Parameters
        ----------
        low, high : float or None
            Ends of the range, both inclusive; None leaves it open.

        Returns
        -------
        (int, int)
            Equal where no row fits.

        Raises
        ------
        InputError
            low above high, or NaN.
        """
        for end in (low, high):
            if end is not None and end != end:
                raise InputError(message("NaN as an end of a range", "a number or None", "leave the end open"))
        if low is not None and high is not None and low > high:
            raise InputError(message(f"low={low} above high={high}", "low at most high", "exchange them"))
        first = 0 if low is None else int(np.searchsorted(self._values, low, side="left"))
        last = len(self) if high is None else int(np.searchsorted(self._values, high, side="right"))
        return first, max(first, last)

    def search(
        self, Q: npt.ArrayLike, k: int = 10, *, low: float | None = None, high: float | None = None,
        effort: int | None = None,
    ) -> Hits:  # fmt: skip
        """Return about the k nearest vectors whose attribute lies in a range.

        Parameters
        ----------
        Q : array-like of shape (q, dim) or (dim,)
            Queries.
        k : int, default 10
            Neighbours wanted.
        low, high : float, optional
            Ends of the range, both inclusive; left out, open.
        effort : int, optional
            Width of the beam; left out, 64 or twice k.

        Returns
        -------
        Hits
            ids (q, k) int64 are rows; padded with -1 where fewer fit.

        Raises
        ------
        InputError
            low above high, or k or effort below 1.
        """
        queries, wanted, width = self._queries(Q, k, effort)
        first, last = self.bounds(low, high)
        allowed = np.arange(first, last, dtype=np.int32)

        def walk(part: Any, view: Any, rows: Any, full: Any, out: Any) -> None:
            visited = np.zeros(bitmaps.words_for(self._state.capacity), np.uint64)
            segments.search_range(
                view, rows, full, *part, wanted, width, rerank_count(self._state, wanted, width), METRICS[self.metric],
                self._first, self._table, first, last - 1, visited, np.empty(self._state.capacity + 64, np.int32), *out,
            )  # fmt: skip

        return self._run(queries, wanted, walk, allowed=allowed, plan="segment-graph", effort=width)

    def links_of_prefix(self, count: int) -> set[tuple[int, int]]:
        """Return the links that hold for the first so many slots.

        Parameters
        ----------
        count : int
            Slots, from the lowest value on.

        Returns
        -------
        set of (int, int)
            Pairs of slots, from and to.
        """
        table, sources = self._table, np.repeat(np.arange(len(self)), np.diff(self._first))
        holds = (sources < count) & (table[0] < count) & (table[1] <= 0) & (table[2] >= count - 1)
        return set(zip(sources[holds].tolist(), table[0][holds].tolist(), strict=True))


def _compact(
    alive: npt.NDArray[np.int32], room: int, past: npt.NDArray[np.int32], count: int
) -> tuple[IdArray, npt.NDArray[np.int32]]:
    """Lay links that hold to the end and links of the past out slot by slot."""
    present = np.flatnonzero(alive[0] >= 0)
    sources = np.concatenate([present // room, past[0]])
    table = np.concatenate([alive[:, present], past[1:]], axis=1)
    order = np.argsort(sources, kind="stable")
    first = np.searchsorted(sources[order], np.arange(count + 1)).astype(np.int64)
    return first, np.ascontiguousarray(table[:, order])
