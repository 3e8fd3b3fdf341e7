"""Regression from one space to another, with a rank and a ridge chosen on pairs that were held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.transforms.alignment.spaces import AffineMap, Float64Array, as_pairs
from orthant.validate import check_count, check_fraction

__all__ = ["LowRankMap"]

_KIND = "transform.low_rank_map"
_RIDGES = (1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 3.0)
_HELD_OUT = 0.2
_LEAST_TO_HOLD_OUT = 20
# A smaller rank is taken unless a larger one comes nearer by more than this mean cosine.
_WORTH = 1e-3
_EPSILON = float(np.finfo(np.float32).eps)
_TINY = float(np.finfo(np.float32).tiny)


class LowRankMap(AffineMap):
    """Map one space to another by an affine regression of limited rank, the nearest one when pairs are plenty.

    Unlike a rotation it can stretch, drop what the target does not know, and join spaces of any two widths. It shrinks
    directions that the pairs do not show; with fewer than about three pairs for each dimension no map is of use, and
    `Procrustes` is worth comparing on held-out pairs at any size.

    Parameters
    ----------
    rank : int, optional
        Largest rank of the map, from 1 to the smaller width. Too small merges what differs, too large follows noise.
        Left out, an eighth, a quarter, half or all of it, whichever does best on held-out pairs.
    ridge : float, optional
        Penalty on the map as a share of the mean variance of the source. 0 is least squares, which overfits below a
        few pairs for each dimension; 1 shrinks strongly. Left out, chosen on held-out pairs from 0.001 to 3.
    normalize : bool, optional
        Give mapped rows length 1; left out, as the target rows have it.
    seed : int, default 0
        Of the draw of held-out pairs.
    source, target : str, optional
        Fingerprints of the encoders of either side.

    Attributes
    ----------
    matrix_ : ndarray of shape (d_source, d_target), float32
        The map.
    source_mean_, target_mean_ : ndarray of shape (d_source,) and (d_target,), float32
        Means of the pairs.
    rank_ : int
        Rank kept.
    ridge_ : float
        Ridge used.
    held_out_cosine_ : float
        Mean cosine of mapped and true rows on the held-out pairs; -1 where nothing had to be chosen.
    normalizes_ : bool
        Whether mapped rows get length 1.

    Notes
    -----
    About the means, ``B = (X^T X / n + r I)^-1 X^T Y / n``; of rank k, ``B V V^T`` with V the k leading eigenvectors of
    ``B^T (X^T X / n + r I) B``. A fifth of the pairs is held out to choose, then all are used.
    Cost: O(n d^2 + 7 d^3) to fit, O(n d^2) to transform.

    References
    ----------
    Izenman: Reduced-rank regression for the multivariate linear model. Journal of Multivariate Analysis 5, 1975.
    Mukherjee, Zhu: Reduced rank ridge regression and its kernel extensions. Statistical Analysis and Data Mining 4,
    2011, section 2.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> old = rng.standard_normal((400, 6)).astype(np.float32)
    >>> new = old[:, :2] @ rng.standard_normal((2, 8)).astype(np.float32)
    >>> fitted = LowRankMap(rank=2).fit(old, new)
    >>> bool(np.allclose(fitted.transform(old), new, atol=0.01)), fitted.rank_
    (True, 2)
    """

    _kind: ClassVar[str] = _KIND
    _figures: ClassVar[tuple[str, ...]] = ("normalizes", "rank", "ridge", "held_out_cosine")

    rank_: int
    ridge_: float
    held_out_cosine_: float

    def __init__(
        self,
        *,
        rank: int | None = None,
        ridge: float | None = None,
        normalize: bool | None = None,
        seed: int = 0,
        source: str | None = None,
        target: str | None = None,
    ) -> None:
        super().__init__(normalize=normalize, source=source, target=target)
        self.rank = rank
        self.ridge = ridge
        self.seed = seed

    def fit(self, X: npt.ArrayLike, y: Any = None) -> LowRankMap:
        """Learn the map from pairs, forgetting what was fitted before.

        Parameters
        ----------
        X : array-like of shape (n, d_source)
            Rows of the source space; some thousand are enough for a few hundred dimensions.
        y : array-like of shape (n, d_target)
            The same items in the target space, in the same order.

        Returns
        -------
        LowRankMap
            Self.

        Raises
        ------
        InputError
            Fewer than two pairs, unequal lengths, NaN or infinity, or a rank or ridge out of range.
        """
        source, target = as_pairs(X, y, name="LowRankMap")
        most = min(source.shape[1], target.shape[1])
        ranks = _ranks(most) if self.rank is None else (self._checked_rank(most),)
        ridges = _RIDGES if self.ridge is None else (check_fraction(self.ridge, name="ridge", high=1e6),)
        wide, goal = source.astype(np.float64), target.astype(np.float64)
        self.rank_, self.ridge_, self.held_out_cosine_ = ranks[-1], ridges[len(ridges) // 2], -1.0
        if len(ranks) * len(ridges) > 1 and len(wide) >= _LEAST_TO_HOLD_OUT:
            order = np.random.default_rng(check_count(self.seed, name="seed", minimum=0)).permutation(len(wide))
            judged, fitted = np.split(order, [int(len(wide) * _HELD_OUT)])
            chosen = _choose(wide, goal, fitted, judged, ranks, ridges)
            self.rank_, self.ridge_, self.held_out_cosine_ = chosen
        solver = _Regression.of(wide, goal)
        self._keep(solver.map(self.ridge_, self.rank_), solver.source_mean, solver.target_mean, target)
        return self

    def _checked_rank(self, most: int) -> int:
        rank = check_count(self.rank, name="rank")
        if rank > most:
            raise InputError(message(f"rank={rank}", f"at most {most}, the smaller width", "lower it or leave it out"))
        return rank


@dataclass(frozen=True)
class _Regression:
    """Moments of the pairs in the eigenbasis of the source, from which a map of any ridge costs one product."""

    source_mean: Float64Array
    target_mean: Float64Array
    energies: Float64Array
    columns: Float64Array
    cross: Float64Array

    @classmethod
    def of(cls, wide: Float64Array, goal: Float64Array) -> _Regression:
        means = wide.mean(axis=0), goal.mean(axis=0)
        centred = wide - means[0]
        energies, columns = np.linalg.eigh(centred.T @ centred / len(wide))
        cross = columns.T @ (centred.T @ (goal - means[1])) / len(wide)
        return cls(*means, np.maximum(energies, 0.0), columns, cross)

    def directions(self, ridge: float) -> tuple[Float64Array, Float64Array]:
        """Return the full map, and the directions of the target that a smaller rank keeps, best first."""
        floor = _EPSILON * max(float(self.energies.max()), _TINY)
        weights = 1.0 / (self.energies + max(ridge * float(self.energies.mean()), floor))
        full = self.columns @ (weights[:, None] * self.cross)
        explained = (self.cross * weights[:, None]).T @ self.cross
        return full, np.linalg.eigh((explained + explained.T) / 2)[1][:, ::-1]

    def map(self, ridge: float, rank: int) -> Float64Array:
        full, kept = self.directions(ridge)
        return full if rank >= min(full.shape) else (full @ kept[:, :rank]) @ kept[:, :rank].T


def _ranks(most: int) -> tuple[int, ...]:
    return tuple(sorted({max(1, most // part) for part in (8, 4, 2, 1)}))


def _choose(
    wide: Float64Array,
    goal: Float64Array,
    fitted: npt.NDArray[np.int64],
    judged: npt.NDArray[np.int64],
    ranks: Sequence[int],
    ridges: Sequence[float],
) -> tuple[int, float, float]:
    """Return the rank, the ridge and the cosine on held-out pairs that is best, preferring small ranks."""
    solver = _Regression.of(wide[fitted], goal[fitted])
    found = []
    for ridge in ridges:
        full, kept = solver.directions(ridge)
        mapped = (wide[judged] - solver.source_mean) @ full
        for rank in ranks:
            cut = mapped if rank >= min(full.shape) else (mapped @ kept[:, :rank]) @ kept[:, :rank].T
            found.append((rank, ridge, _mean_cosine(cut + solver.target_mean, goal[judged])))
    best = max(cosine for _, _, cosine in found)
    smallest = min(rank for rank, _, cosine in found if cosine >= best - _WORTH)
    return max((entry for entry in found if entry[0] == smallest), key=lambda entry: entry[2])


def _mean_cosine(a: Float64Array, b: Float64Array) -> float:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1.0)).mean())
