"""Whether two models see the same structure in the same items."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.validate import as_vectors

__all__ = ["linear_cka"]


def linear_cka(X: npt.ArrayLike, Y: npt.ArrayLike, *, debiased: bool = False) -> float:
    """Compare two models' vectors of the same items, whatever their dimensions, rotation and scale.

    Parameters
    ----------
    X : array-like of float, shape (n, d1)
        One row per item, n of at least 2 (4 when debiased).
    Y : array-like of float, shape (n, d2)
        The same items in the same order.
    debiased : bool, default False
        Correct for chance agreement, which is large when n is below the dimensions. The corrected figure can be
        slightly negative.

    Returns
    -------
    float
        1.0 for equal geometry, about 0 for unrelated ones.

    Raises
    ------
    InputError
        Different or too few numbers of rows, or vectors that are all equal.
    DtypeError, DimensionError, NonFiniteError
        As for any vectors.

    Notes
    -----
    ``<K, L> / (|K| |L|)`` with K and L the centred Gram matrices X X^T and Y Y^T; debiased, the inner products are
    Song's unbiased estimates, from Gram matrices without diagonal. Time n^2 (d1 + d2), or n d1 d2 when that is less and
    nothing is corrected.

    References
    ----------
    Kornblith et al., Similarity of Neural Network Representations Revisited, arXiv 1905.00414, section 3. Nguyen et
    al., Do Wide and Deep Networks Learn the Same Things?, arXiv 2010.15327, section 3, for the unbiased estimate.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(20, 3))
    >>> round(linear_cka(X, 2 * X[:, ::-1]), 6)
    1.0
    """
    a, b = (as_vectors(each, name=name).astype(np.float64) for each, name in ((X, "X"), (Y, "Y")))
    least = 4 if debiased else 2
    if len(a) != len(b) or len(a) < least:
        raise InputError(
            message(
                f"{len(a)} and {len(b)} rows", f"the same number, at least {least}", "encode the same items with both"
            )
        )
    a -= a.mean(axis=0)
    b -= b.mean(axis=0)
    if not a.any() or not b.any():
        raise InputError(message("vectors that are all equal", "vectors that differ", "check the model"))
    if debiased:
        grams = [each @ each.T for each in (a, b)]
        cross, own, other = (_unbiased(grams[i], grams[j]) for i, j in ((0, 1), (0, 0), (1, 1)))
        return float(cross / np.sqrt(own * other)) if own > 0 and other > 0 else 0.0
    if len(a) < max(a.shape[1], b.shape[1]):
        grams = [each @ each.T for each in (a, b)]
        return float((grams[0] * grams[1]).sum() / (np.linalg.norm(grams[0]) * np.linalg.norm(grams[1])))
    shared = np.linalg.norm(a.T @ b) ** 2
    return float(shared / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)))


def _unbiased(K: npt.NDArray[np.float64], L: npt.NDArray[np.float64]) -> float:
    n = len(K)
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    middle = K.sum() * L.sum() / ((n - 1) * (n - 2))
    return float(((K * L).sum() + middle - 2 * (K.sum(axis=0) @ L.sum(axis=0)) / (n - 2)) / (n * (n - 3)))
