"""Whether the vectors of an inverted file are still like those that its lists were trained on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from orthant.quantization.inverted import IVFCodec
from orthant.types import CodeArray, FloatArray, IdArray

__all__ = ["Drift", "held_out", "imbalance_of", "row_errors"]

_MOST_HELD_OUT, _HELD_OUT_SHARE, _LEAST_ROWS = 1000, 10, 32
_ROWS_WATCHED = 1000
"""Rows of one call that are decoded again: enough to tell, and no burden on a large load."""

_ERROR_MARGIN, _SIGMAS, _IMBALANCE_MARGIN = 1.1, 3.0, 2.0


@dataclass(frozen=True)
class Drift:
    """How codes and lists do on later vectors, beside those they were trained on.

    Attributes
    ----------
    base_rows : int
        Rows that tell what is usual: kept out of the training, or the first ones given where a codec was brought along.
    base_error : float
        Their mean of ``|x - x'|^2 / |x|^2``, x' what the code stands for.
    base_spread : float
        Its standard deviation over rows.
    base_imbalance : float
        ``lists sum n_l^2 / n^2`` after the training: 1 for equal lists; a probe reads so many times more codes.
    rows : int
        Later rows that were looked at.
    error : float
        Their mean, as ``base_error``; 0 where there are none.
    spread : float
        Its standard deviation.
    imbalance : float
        As it is now.
    """

    base_rows: int
    base_error: float
    base_spread: float
    base_imbalance: float
    rows: int = 0
    error: float = 0.0
    spread: float = 0.0
    imbalance: float = 1.0

    @property
    def reasons(self) -> tuple[str, ...]:
        """What speaks for training anew; empty where nothing does.

        The error counts when it is a tenth above the usual one and by more than three standard errors, the imbalance
        when it has doubled.
        """
        out = []
        if self.base_rows >= _LEAST_ROWS and self.rows >= _LEAST_ROWS:
            noise = (self.base_spread**2 / self.base_rows + self.spread**2 / self.rows) ** 0.5
            above = self.error - self.base_error
            if self.error > _ERROR_MARGIN * self.base_error and above > _SIGMAS * noise:
                out.append(f"codes lose {self.error:.3f} of later vectors and {self.base_error:.3f} of earlier ones")
        if self.imbalance > _IMBALANCE_MARGIN * self.base_imbalance:
            out.append(f"imbalance of the lists rose from {self.base_imbalance:.2f} to {self.imbalance:.2f}")
        return tuple(out)

    @property
    def stale(self) -> bool:
        """Whether the index should be trained anew."""
        return bool(self.reasons)

    def seen(self, errors: FloatArray) -> Drift:
        """Return the same with some more rows.

        Parameters
        ----------
        errors : ndarray of shape (m,), float
            As ``row_errors`` gives.

        Returns
        -------
        Drift
            Counts and means of all.
        """
        if not len(errors):
            return self
        rows, error, spread = _joined((self.rows, self.error, self.spread), errors)
        return replace(self, rows=rows, error=error, spread=spread)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    @classmethod
    def starting(cls, errors: FloatArray, imbalance: float) -> Drift:
        """Return what later rows are compared with.

        Parameters
        ----------
        errors : ndarray of shape (m,), float
            Of rows that were not trained on.
        imbalance : float
            Of the lists as they are.

        Returns
        -------
        Drift
            Without later rows.
        """
        rows, error, spread = _joined((0, 0.0, 0.0), errors)
        return cls(rows, error, spread, imbalance, imbalance=imbalance)


def _joined(so_far: tuple[int, float, float], errors: FloatArray) -> tuple[int, float, float]:
    """Return count, mean and standard deviation with further values."""
    if not len(errors):
        return so_far
    count, mean, spread = so_far
    more, other, width = len(errors), float(errors.mean()), float(errors.std())
    total = count + more
    together = (count * mean + more * other) / total
    square = (count * (spread**2 + mean**2) + more * (width**2 + other**2)) / total - together**2
    return total, together, max(0.0, square) ** 0.5


def held_out(count: int, rng: np.random.Generator) -> IdArray:
    """Choose the rows that a training does not see.

    Parameters
    ----------
    count : int
        Rows at hand.
    rng : numpy.random.Generator
        Chooses.

    Returns
    -------
    ndarray of shape (m,), int64
        Ascending; a tenth, 1000 at most, and none where that is too few to tell anything.
    """
    wanted = min(_MOST_HELD_OUT, count // _HELD_OUT_SHARE)
    if wanted < _LEAST_ROWS:
        return np.zeros(0, np.int64)
    return np.sort(rng.choice(count, wanted, replace=False)).astype(np.int64)


def row_errors(codec: IVFCodec, X: FloatArray, labels: IdArray, codes: CodeArray) -> FloatArray:
    """Return the share of each vector that its code loses.

    Parameters
    ----------
    codec : IVFCodec
        What the codes mean.
    X : ndarray of shape (n, d), float32
        Checked vectors.
    labels : ndarray of shape (n,), int64
        Their lists.
    codes : ndarray of shape (n, code_size), uint8
        Their codes.

    Returns
    -------
    ndarray of shape (m,), float64
        ``|x - x'|^2 / |x|^2`` of evenly spaced rows, 1000 at most; rows of zeros are passed over.
    """
    chosen = np.unique(np.linspace(0, len(X) - 1, min(len(X), _ROWS_WATCHED)).astype(np.int64))
    rows = codec.prepare(X[chosen]).astype(np.float64)
    lost = np.square(rows - codec.decode(labels[chosen], codes[chosen])).sum(axis=1)
    lengths = np.square(rows).sum(axis=1)
    return lost[lengths > 0] / lengths[lengths > 0]


def imbalance_of(counts: IdArray) -> float:
    """Return how unequal lists are.

    Parameters
    ----------
    counts : ndarray of shape (lists,), int64
        Live vectors of each.

    Returns
    -------
    float
        ``lists sum n_l^2 / n^2``, at least 1; 1 without vectors.
    """
    total = int(counts.sum())
    if not total:
        return 1.0
    return float(len(counts) * np.square(counts.astype(np.float64)).sum() / total**2)
