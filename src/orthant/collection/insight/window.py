"""One window of watched queries: bounded arrays that fill up, and the figures they are summed up to."""

from __future__ import annotations

import base64
import math
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.collection.results import SearchResult
from orthant.types import FloatArray

__all__ = ["SIGNALS", "Sample", "Window", "quantiles_of"]

SIGNALS = ("dense_score", "lexical_score", "margin", "hits")
"""What is kept of a query's hits: the best raw score of each leg, how far the first hit is ahead, and their number."""

_BINS_PER_DECADE = 40
_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class Sample:
    """Projections and signals of some queries, for comparison with others.

    Parameters
    ----------
    projections : ndarray of shape (n, p), float32
        NaN rows where a query had no vector.
    signals : ndarray of shape (n, 4), float32
        In the order of ``SIGNALS``; NaN where there is none.
    """

    def __init__(self, projections: FloatArray, signals: FloatArray) -> None:
        self.projections = projections
        self.signals = signals

    def to_dict(self) -> dict[str, Any]:
        """Return the sample as JSON values.

        Returns
        -------
        dict
            Shapes, and float32 bytes in base 64.
        """
        return {
            name: [list(array.shape), base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode()]
            for name, array in (("projections", self.projections), ("signals", self.signals))
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Sample:
        """Return what ``to_dict`` wrote.

        Parameters
        ----------
        stored : dict
            From ``to_dict``.

        Returns
        -------
        Sample
            Equal arrays.
        """
        arrays = (
            np.frombuffer(base64.b64decode(stored[name][1]), "<f4").reshape(stored[name][0])
            for name in ("projections", "signals")
        )
        return cls(*arrays)


class Window:
    """Collects queries until it is full.

    Parameters
    ----------
    size : int
        Queries it holds.
    directions : int
        Numbers per projected vector.
    began : float
        Seconds since the epoch.
    keep_texts : int
        Texts of queries without hits to keep.
    """

    def __init__(self, size: int, directions: int, *, began: float, keep_texts: int = 0) -> None:
        self.size = size
        self.count = 0
        self.began = began
        self._projections = np.full((size, directions), np.nan, dtype=np.float32)
        self._signals = np.full((size, len(SIGNALS)), np.nan, dtype=np.float32)
        self._seconds = np.zeros(size)
        self._modes: Counter[str] = Counter()
        self._empty = 0
        self._recalls: list[float] = []
        self._keep_texts = keep_texts
        self._texts: list[str] = []

    @property
    def full(self) -> bool:
        """Whether no query fits any more."""
        return self.count == self.size

    @property
    def sample(self) -> Sample:
        """What the window holds so far."""
        return Sample(self._projections[: self.count].copy(), self._signals[: self.count].copy())

    def add(
        self, result: SearchResult, projection: FloatArray | None, *, mode: str, seconds: float, text: str | None
    ) -> None:
        """Take in one query.

        Parameters
        ----------
        result : SearchResult
            Its hits.
        projection : ndarray of shape (p,), float32, or None
            Its projected vector.
        mode : str
            How it was searched.
        seconds : float
            What it took.
        text : str or None
            Kept only where that was asked for.
        """
        i = self.count
        if projection is not None:
            self._projections[i] = projection
        self._signals[i] = _signals(result)
        self._seconds[i] = seconds
        self._modes[mode] += 1
        if not result.hits:
            self._empty += 1
            if text is not None and len(self._texts) < self._keep_texts:
                self._texts.append(text)
        self.count += 1

    def add_recall(self, share: float) -> None:
        """Take in the outcome of one exact check.

        Parameters
        ----------
        share : float
            Of the exact hits that were found.
        """
        self._recalls.append(share)

    def summary(self) -> dict[str, Any]:
        """Return the window's figures as JSON values.

        Returns
        -------
        dict
            Counts, latency, moments of every signal and of the projections, recall.
        """
        signals = self._signals[: self.count].astype(np.float64)
        projections = self._projections[: self.count].astype(np.float64)
        projections = projections[~np.isnan(projections).any(axis=1)]
        bins = Counter(map(_bin, self._seconds[: self.count].tolist()))
        return {
            "queries": self.count,
            "began": round(self.began, 3),
            "modes": dict(self._modes),
            "no_hits": self._empty,
            "latency_s": {name: float(np.quantile(self._seconds[: self.count], q)) for name, q in _QUANTILES.items()},
            "latency_bins": {str(place): count for place, count in sorted(bins.items())},
            "signals": {name: _moments(signals[:, i]) for i, name in enumerate(SIGNALS)},
            "vectors": len(projections),
            "mean": _rounded(projections.mean(axis=0)) if len(projections) else None,
            "second_moment": _rounded((projections**2).mean(axis=0)) if len(projections) else None,
            "recall": {"checked": len(self._recalls), "mean": _mean(self._recalls)},
            **({"texts": list(self._texts)} if self._keep_texts else {}),
        }


def _signals(result: SearchResult) -> tuple[float, ...]:
    hits = result.hits
    best = {"dense": math.nan, "lexical": math.nan}
    for hit in hits:
        for leg, seen in hit.legs.items():
            if leg in best and seen.score is not None and not seen.score <= best[leg]:
                best[leg] = seen.score
    margin = hits[0].score - hits[1].score if len(hits) > 1 else math.nan
    return best["dense"], best["lexical"], margin, float(len(hits))


def _moments(values: npt.NDArray[np.float64]) -> dict[str, float] | None:
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    return {"mean": float(values.mean()), "std": float(values.std()), "count": len(values)}


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _rounded(values: npt.NDArray[np.float64]) -> list[float]:
    return [float(f"{value:.5g}") for value in values.tolist()]


def _bin(seconds: float) -> int:
    return round(math.log10(max(seconds, 1e-7)) * _BINS_PER_DECADE)


def quantiles_of(bins: Counter[int]) -> dict[str, float] | None:
    """Return quantiles of latencies that were counted in bins.

    Parameters
    ----------
    bins : Counter of int
        Queries by bin.

    Returns
    -------
    dict of str to float, or None
        Seconds, right to 3 %: a bin is a fortieth of a factor of ten. None where nothing was counted.
    """
    total = sum(bins.values())
    if not total:
        return None
    places = sorted(bins)
    reached = np.cumsum([bins[place] for place in places])
    last = len(places) - 1
    return {
        name: 10.0 ** (places[min(last, int(np.searchsorted(reached, q * total)))] / _BINS_PER_DECADE)
        for name, q in _QUANTILES.items()
    }
