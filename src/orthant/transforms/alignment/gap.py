"""Two kinds of items in one space, and the distance between their two clouds."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from orthant.estimator import check_is_fitted
from orthant.measures.compatibility import counterpart_ranks
from orthant.transforms.alignment.mean_shift import MeanShift
from orthant.transforms.alignment.spaces import SpaceMap, as_pairs, unit_rows
from orthant.types import FloatArray
from orthant.validate import as_vectors, check_count, check_fraction

__all__ = ["GapAlignment"]

_KIND = "transform.gap_alignment"
_STRENGTHS = tuple(round(-1 + 0.2 * i, 1) for i in range(11))
_MOST_JUDGED = 2_000


class GapAlignment(SpaceMap):
    """Move two kinds of vectors in one space, such as images and texts, towards each other along their means.

    A joint model often keeps images and texts in separate regions, so that any text is nearer to any other text than
    to its own image. This closes part of that gap with d numbers. Measure before you keep it: closing the gap does
    not always help, and an index that holds one kind only cannot gain much.

    Parameters
    ----------
    strength : float, optional
        Share of the gap that is closed, from -2 to 2: 0 changes nothing, at 1 both means coincide before rows are
        brought back to length 1, below 0 the gap widens. Left out, the one from -1 to 1 under which halves of the
        pairs, held out in turn, find their counterparts best among rows of both kinds; 0 where nothing beats it.
    seed : int, default 0
        Of the halves.
    source, target : str, optional
        Fingerprints of the encoders of either side.

    Attributes
    ----------
    shift_ : ndarray of shape (d,), float32
        Mean of the target rows less mean of the source rows, all at length 1.
    gap_norm_ : float
        Its length.
    separability_ : float
        Share of the fitted rows that lie on their own side of the plane between the means; 0.5 for no gap, 1 for two
        separate regions.
    strength_ : float
        Strength in use.

    Notes
    -----
    ``source' = unit(source + strength / 2 shift)`` and ``target' = unit(target - strength / 2 shift)``, rows at length
    1 throughout. Fit on training rows only. Cost: O(n d); choosing the strength O(11 min(n, 2000)^2 d).

    References
    ----------
    Multimodal Deep Learning for Low-Resource Settings: A Vector Embedding Alignment Approach for Healthcare
    Applications. arXiv 2406.02601, 2024.
    Liang, Zhang, Kwon, Yeung, Zou: Mind the gap. NeurIPS 2022, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> texts = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)
    >>> images = texts + np.float32(3)
    >>> aligned = GapAlignment(strength=1.0).fit(images, texts)
    >>> closer = aligned.transform(images).mean(axis=0) - aligned.transform_target(texts).mean(axis=0)
    >>> bool(np.linalg.norm(closer) < 0.5 * aligned.gap_norm_)
    True
    """

    _kind: ClassVar[str] = _KIND
    _arrays: ClassVar[tuple[str, ...]] = ("shift",)
    _figures: ClassVar[tuple[str, ...]] = ("gap_norm", "separability", "strength")

    shift_: FloatArray
    gap_norm_: float
    separability_: float
    strength_: float

    def __init__(
        self, *, strength: float | None = None, seed: int = 0, source: str | None = None, target: str | None = None
    ) -> None:
        super().__init__(source=source, target=target)
        self.strength = strength
        self.seed = seed

    def fit(self, X: npt.ArrayLike, y: Any = None) -> GapAlignment:
        """Measure the gap, and choose the strength where it is left out; forgets what was fitted before.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows of one kind, such as images.
        y : array-like of shape (n, d)
            Their counterparts of the other kind, in the same order.

        Returns
        -------
        GapAlignment
            Self.

        Raises
        ------
        InputError
            Fewer than two pairs, unequal lengths or widths, a row of length 0, NaN or infinity, or a strength out of
            range.
        """
        source, target = as_pairs(X, y, name="GapAlignment")
        as_vectors(source, name="source vectors", nonzero=True)
        as_vectors(target, name="target vectors", nonzero=True)
        self.shift_ = MeanShift(unit="before").fit(source, target).shift_
        self.gap_norm_ = float(np.linalg.norm(self.shift_))
        source, target = unit_rows(source), unit_rows(target)
        along = source @ self.shift_, target @ self.shift_
        middle = (along[0].mean(dtype=np.float64) + along[1].mean(dtype=np.float64)) / 2
        self.separability_ = float(((along[0] < middle).mean() + (along[1] > middle).mean()) / 2)
        if self.strength is None:
            self.strength_ = _best_strength(source, target, check_count(self.seed, name="seed", minimum=0))
        else:
            self.strength_ = check_fraction(self.strength, name="strength", low=-2.0, high=2.0)
        self.n_features_in_ = self.n_features_out_ = len(self.shift_)
        return self

    def transform(self, X: npt.ArrayLike) -> FloatArray:
        """Return rows of the first kind, moved towards the second.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors of the kind that ``fit`` got first.

        Returns
        -------
        ndarray of shape (n, d), float32
            Rows of length 1.
        """
        return self._moved(X, 0.5)

    def transform_target(self, Y: npt.ArrayLike) -> FloatArray:
        """Return rows of the second kind, moved towards the first.

        Parameters
        ----------
        Y : array-like of shape (n, d)
            Vectors of the kind that ``fit`` got second.

        Returns
        -------
        ndarray of shape (n, d), float32
            Rows of length 1.
        """
        return self._moved(Y, -0.5)

    def _moved(self, X: npt.ArrayLike, share: float) -> FloatArray:
        check_is_fitted(self)
        rows = unit_rows(as_vectors(X, dim=self.n_features_in_))
        return unit_rows(rows + np.float32(share * self.strength_) * self.shift_)


def _best_strength(source: FloatArray, target: FloatArray, seed: int) -> float:
    order = np.random.default_rng(seed).permutation(len(source))[: 2 * _MOST_JUDGED]
    halves = np.array_split(order, 2)
    if min(map(len, halves)) < 2:
        return 0.0
    found = dict.fromkeys(_STRENGTHS, 0.0)
    for fitted, judged in (halves, halves[::-1]):
        gap = target[fitted].mean(axis=0) - source[fitted].mean(axis=0)
        for strength in found:
            moved = (side[judged] + np.float32(sign * strength) * gap for side, sign in ((source, 0.5), (target, -0.5)))
            found[strength] += float((1 / counterpart_ranks(*moved, mixed=True)).mean())
    # A tie with doing nothing is no reason to do something.
    return max(found, key=lambda strength: (found[strength], -abs(strength)))
