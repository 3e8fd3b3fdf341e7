"""Which effort keeps which recall: measured on a sample after a build, instead of guessed at every search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from orthant.measures.neighbours import recall_at_k
from orthant.types import FloatArray, IdArray
from orthant.validate import check_count

__all__ = ["EFFORTS", "KS", "Calibration", "measure", "recall_of", "self_recall"]

EFFORTS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536)
"""Beams that are tried."""

LISTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
"""Numbers of lists that are tried."""

KS = (1, 10, 100)
"""Numbers of neighbours that are calibrated; others take the next larger one."""

_Z = 1.645
"""Of a one-sided 95 % bound."""

_ROUNDING = 1e-5
"""Difference of scores that rounding may make."""

_MOST_CHOICES = 1024
"""Pairs of k and recall whose effort is remembered."""


@dataclass(frozen=True)
class Calibration:
    """Recall by effort.

    Attributes
    ----------
    source : {"queries", "held-out rows"}
        What was searched for. Queries that differ from the rows need more effort than held-out rows suggest.
    count : int
        How many.
    rows : int
        Vectors in the index at that time.
    table : mapping of int to tuple of (effort, mean recall, lower bound)
        By k; the bound is a one-sided 95 % bound of the mean.
    beams : bool, default True
        Whether an effort is the width of a beam, which is never below k; else it is a number of lists.
    """

    source: str
    count: int
    rows: int
    table: dict[int, tuple[tuple[int, float, float], ...]]
    beams: bool = True
    _chosen: dict[tuple[int, float], tuple[int, float]] = field(default_factory=dict, compare=False, repr=False)

    def choose(self, k: int, recall: float) -> tuple[int, float]:
        """Return the smallest effort whose recall is kept for k neighbours, and the recall expected of it.

        Parameters
        ----------
        k : int
            Neighbours wanted.
        recall : float
            Share of the true neighbours wanted, below 1.

        Returns
        -------
        effort : int
            Width of the beam, or lists; grows with k beyond the calibrated numbers.
        expected : float
            Mean recall measured at that effort.
        """
        # Searches ask for the same thing over and over.
        choice = self._chosen.get((k, recall))
        if choice is None:
            choice = self._choose(k, recall)
            if len(self._chosen) < _MOST_CHOICES:
                self._chosen[k, recall] = choice
        return choice

    def _choose(self, k: int, recall: float) -> tuple[int, float]:
        known = min((each for each in self.table if each >= k), default=max(self.table))
        points = self.table[known]
        chosen = points[-1]
        for i, (effort, mean, low) in enumerate(points):
            if low >= recall:
                chosen = (effort, mean, low)
                if i and points[i - 1][2] < recall:
                    # Recall rises smoothly between two efforts that were tried.
                    before = points[i - 1]
                    share = (recall - before[2]) / max(low - before[2], 1e-9)
                    between = int(np.ceil(before[0] + share * (effort - before[0])))
                    chosen = (between, before[1] + share * (mean - before[1]), recall)
                break
        return max(k if self.beams else 1, int(np.ceil(chosen[0] * max(1.0, k / known)))), chosen[1]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON and ``stats``."""
        table = {str(k): [list(point) for point in points] for k, points in self.table.items()}
        out = {"source": self.source, "count": self.count, "rows": self.rows, "table": table}
        return out if self.beams else {**out, "beams": False}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Calibration:
        """Return the calibration that a dictionary describes.

        Parameters
        ----------
        values : dict
            From ``as_dict``, perhaps by way of JSON.

        Returns
        -------
        Calibration
            Equal to the one described.
        """
        table = {
            int(k): tuple((int(e), float(mean), float(low)) for e, mean, low in points)
            for k, points in values["table"].items()
        }
        beams = bool(values.get("beams", True))
        return cls(str(values["source"]), int(values["count"]), int(values["rows"]), table, beams)


def recall_of(found: IdArray, truth: IdArray) -> FloatArray:
    """Return each query's share of true neighbours found, shape (q,).

    Parameters
    ----------
    found, truth : ndarray of shape (q, k), int64
        Ids, -1 where there is none.

    Returns
    -------
    ndarray of shape (q,), float32
        1 where there is nothing to find.
    """
    wanted = np.maximum((truth >= 0).sum(axis=1), 1)
    hits = [(np.isin(t[t >= 0], f)).sum() for f, t in zip(found, truth, strict=True)]
    out = np.array(hits, dtype=np.float32) / wanted
    out[(truth >= 0).sum(axis=1) == 0] = 1.0
    return out.astype(np.float32)


def self_recall(index: Any, sample: int, *, k: int, seed: int, threads: int | None) -> float:
    """Search for rows of an index as they are, at its default effort, and compare with an exact search.

    Parameters
    ----------
    index : Graph or IVF
        Has ``ids``, ``reconstruct`` and ``search``.
    sample : int
        Rows searched for at most.
    k : int
        Neighbours compared.
    seed : int
        Of the choice of rows.
    threads : int or None
        Threads.

    Returns
    -------
    float
        Mean share of the true neighbours found; 1 for an empty index.
    """
    count, ids = check_count(sample, name="sample"), index.ids()
    if not len(ids):
        return 1.0
    chosen = np.random.default_rng(seed).choice(ids, min(count, len(ids)), replace=False)
    queries = index.reconstruct(chosen)
    truth = index.search(queries, k, recall=1.0, threads=threads)
    found = index.search(queries, k, threads=threads)
    # Of equal vectors any will do.
    return recall_at_k(found.ids, truth.ids, found_scores=found.scores, true_scores=truth.scores, tolerance=_ROUNDING)


def _beams(k: int) -> tuple[int, ...]:
    """Return the beams to try for k neighbours; the least one possible may do, and those below it are known."""
    least = (k,) if k >= EFFORTS[0] else ()
    return (*least, *(each for each in EFFORTS if each > k))


def measure(
    search: Callable[[int, int], IdArray],
    truth: IdArray,
    *,
    ks: Sequence[int] = KS,
    source: str,
    rows: int,
    lists: int | None = None,
) -> Calibration:
    """Measure recall for growing efforts, until it no longer grows.

    Parameters
    ----------
    search : callable of (k, effort)
        Returns ids of shape (q, k).
    truth : ndarray of shape (q, m), int64
        True neighbours, nearest first.
    ks : sequence of int
        Neighbours to calibrate for; those beyond m are left out.
    source : str
        See ``Calibration``.
    rows : int
        See ``Calibration``.
    lists : int, optional
        Where an effort is a number of lists: how many there are.

    Returns
    -------
    Calibration
        The table.
    """
    table = {}
    for k in ks:
        if k > truth.shape[1]:
            continue
        points: list[tuple[int, float, float]] = []
        for effort in _beams(k) if lists is None else (*(each for each in LISTS if each < lists), lists):
            each = recall_of(search(k, effort), truth[:, :k])
            mean = float(each.mean())
            # A sample that found everything says no more than that misses are rare.
            spread = max(float(each.std()), 0.5 / np.sqrt(len(each) * k)) / np.sqrt(len(each))
            points.append((effort, mean, mean - _Z * spread))
            if points[-1][2] >= 0.9975 or (lists is None and effort > rows):
                break
        table[k] = tuple(points)
    return Calibration(source, len(truth), rows, table, lists is None)
