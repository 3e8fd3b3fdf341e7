"""The rotation that brings one space nearest to another."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from orthant.transforms.alignment.spaces import AffineMap, Float64Array, as_pairs

__all__ = ["Procrustes"]

_KIND = "transform.procrustes"
_RIDGE = 1e-3
_TINY = float(np.finfo(np.float32).tiny)


class Procrustes(AffineMap):
    """Turn one space onto another by an orthogonal map, which keeps every angle of the source space.

    Nothing of what the old encoder knew is lost, and there is nothing to tune; it needs about three pairs for each
    dimension before it is of use. It cannot bend: where two encoders disagree about what is similar, `LowRankMap`
    comes nearer. Spaces of different width are joined by a map with orthonormal rows or columns.

    Parameters
    ----------
    center : bool, default True
        Subtract the means first and add the target's afterwards. Without it a common offset has to be turned as well.
    scale : bool, default False
        Fit one factor for the lengths; without effect on rankings by cosine where nothing is centred.
    whiten : bool, default False
        Turn in whitened coordinates: each side's covariance is undone first, and the target's restored afterwards.
        Helps where a few directions dominate one of the spaces; needs several pairs for each dimension, else noise
        is blown up.
    normalize : bool, optional
        Give mapped rows length 1; left out, as the target rows have it.
    source, target : str, optional
        Fingerprints of the encoders of either side.

    Attributes
    ----------
    matrix_ : ndarray of shape (d_source, d_target), float32
        The map, scale and whitening included.
    source_mean_, target_mean_ : ndarray of shape (d_source,) and (d_target,), float32
        Means; zeros without centring.
    scale_ : float
        The factor; 1 without ``scale``.
    normalizes_ : bool
        Whether mapped rows get length 1.

    Notes
    -----
    With ``U S V^T`` the singular value decomposition of ``X^T Y``, ``R = U V^T`` minimises ``|X R - Y|`` over
    orthogonal R, and ``trace(S) / |X R|^2`` is the best factor. Whitening puts ``(X^T X / n + r I)^(-1/2)`` on either
    side, r a thousandth of the mean variance.
    Cost: O(n d^2 + d^3) to fit, O(n d^2) to transform.

    References
    ----------
    Schönemann: A generalized solution of the orthogonal Procrustes problem. Psychometrika 31, 1966.
    Artetxe, Labaka, Agirre: Generalizing and improving bilingual word embedding mappings with a multi-step framework
    of linear transformations. AAAI 2018, sections 3.1 to 3.4.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> old = rng.standard_normal((50, 4)).astype(np.float32)
    >>> turn = np.linalg.qr(rng.standard_normal((4, 4)))[0].astype(np.float32)
    >>> bool(np.allclose(Procrustes().fit(old, old @ turn + 1).transform(old), old @ turn + 1, atol=1e-4))
    True
    """

    _kind: ClassVar[str] = _KIND
    _figures: ClassVar[tuple[str, ...]] = ("normalizes", "scale")

    scale_: float

    def __init__(
        self,
        *,
        center: bool = True,
        scale: bool = False,
        whiten: bool = False,
        normalize: bool | None = None,
        source: str | None = None,
        target: str | None = None,
    ) -> None:
        super().__init__(normalize=normalize, source=source, target=target)
        self.center = center
        self.scale = scale
        self.whiten = whiten

    def fit(self, X: npt.ArrayLike, y: Any = None) -> Procrustes:
        """Learn the rotation from pairs, forgetting what was fitted before.

        Parameters
        ----------
        X : array-like of shape (n, d_source)
            Rows of the source space; fewer than d leave some directions to chance.
        y : array-like of shape (n, d_target)
            The same items in the target space, in the same order.

        Returns
        -------
        Procrustes
            Self.

        Raises
        ------
        InputError
            Fewer than two pairs, unequal lengths, NaN or infinity.
        """
        source, target = as_pairs(X, y, name="Procrustes")
        wide, goal = source.astype(np.float64), target.astype(np.float64)
        means = [side.mean(axis=0) if self.center else np.zeros(side.shape[1]) for side in (wide, goal)]
        wide -= means[0]
        goal -= means[1]
        before, after = _whitening(wide, self.whiten)[0], _whitening(goal, self.whiten)
        left, _, right = np.linalg.svd((wide @ before).T @ (goal @ after[0]), full_matrices=False)
        matrix = before @ (left @ right) @ after[1]
        self.scale_ = _factor(wide @ matrix, goal) if self.scale else 1.0
        self._keep(matrix * self.scale_, means[0], means[1], target)
        return self


def _whitening(rows: Float64Array, wanted: bool) -> tuple[Float64Array, Float64Array]:
    """Return what undoes the covariance of rows, and what restores it."""
    if not wanted:
        return np.eye(rows.shape[1]), np.eye(rows.shape[1])
    energies, columns = np.linalg.eigh(rows.T @ rows / len(rows))
    floor = _RIDGE * max(float(energies.mean()), _TINY)
    deviations = np.sqrt(np.maximum(energies, 0) + floor)
    return (columns / deviations) @ columns.T, (columns * deviations) @ columns.T


def _factor(mapped: Float64Array, goal: Float64Array) -> float:
    energy = float((mapped * mapped).sum())
    return float((mapped * goal).sum()) / energy if energy > 0 else 1.0
