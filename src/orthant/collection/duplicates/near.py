"""Pairs of vectors above a cosine: by a scan, exactly, or through the graph of a space, with a measured recall."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.measures.intervals import wilson_interval
from orthant.types import FloatArray, IdArray

__all__ = ["PairRecall", "best_cosines", "cosine_pairs", "cosines", "measure_recall", "searched_pairs", "unit_rows"]

_TILE = 2048
_PAIRS_AT_ONCE = 1 << 15
_MAX_PAIRS = 50_000_000
_FIRST_K = 12
_LAST_K = 400
_DIGITS = 9

Search = Callable[[FloatArray, int], IdArray]
Advance = Callable[[float], None]


@dataclass(frozen=True)
class PairRecall:
    """How many of the true pairs were found.

    Attributes
    ----------
    share : float or None
        Found over true pairs; None where the sample has no true pair.
    low, high : float
        Interval of 95 %; 0 and 1 where nothing is known. Both equal ``share`` where it follows from the method.
    judged : int
        True pairs that it rests on; 0 where it follows from the method.
    """

    share: float | None
    low: float
    high: float
    judged: int


def unit_rows(X: FloatArray) -> FloatArray:
    """Return rows scaled to length 1.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Rows that are not zero.

    Returns
    -------
    ndarray of shape (n, d), float32
        A copy.
    """
    norms = np.sqrt(np.einsum("ij,ij->i", X, X, dtype=np.float64))
    return (X / norms[:, None]).astype(np.float32)


def cosines(X: FloatArray, left: IdArray, right: IdArray) -> npt.NDArray[np.float64]:
    """Return the cosines of given pairs of rows.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Rows that are not zero.
    left, right : ndarray of shape (m,), int64
        Positions of the two rows of each pair.

    Returns
    -------
    ndarray of shape (m,), float64
        Computed in float64 and rounded to nine digits, so that equal rows have exactly 1.
    """
    out = np.empty(len(left))
    for begin in range(0, len(left), _PAIRS_AT_ONCE):
        a = X[left[begin : begin + _PAIRS_AT_ONCE]].astype(np.float64)
        b = X[right[begin : begin + _PAIRS_AT_ONCE]].astype(np.float64)
        scale = np.sqrt(np.einsum("ij,ij->i", a, a) * np.einsum("ij,ij->i", b, b))
        out[begin : begin + len(a)] = np.einsum("ij,ij->i", a, b) / scale
    return np.round(out, _DIGITS)


def cosine_pairs(
    X: FloatArray, threshold: float, *, rows: IdArray | None = None, advance: Advance | None = None
) -> tuple[IdArray, IdArray]:
    """Return all pairs of rows with at least a cosine, by comparing every pair.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Rows that are not zero.
    threshold : float
        Least cosine.
    rows : ndarray of shape (m,), int64, optional
        Only pairs with one of these rows; each is compared with all.
    advance : callable of float, optional
        Told how many further rows are done.

    Returns
    -------
    left, right : ndarray of shape (p,), int64
        Positions, ``left < right``, each pair once.

    Raises
    ------
    InputError
        More than 50 million pairs: the threshold is too low for these vectors.

    Notes
    -----
    Cost: ``n * n * d / 2`` multiplications; tiles of 16 MiB. What float32 cannot decide is decided in float64.
    """
    U = unit_rows(X)
    slack = np.float32(threshold) - np.float32((X.shape[1] + 16) * np.finfo(np.float32).eps)
    n, own = len(U), np.arange(len(U)) if rows is None else rows
    keys: list[IdArray] = []
    total = 0
    for a in range(0, len(own), _TILE):
        mine = own[a : a + _TILE]
        for b in range(a if rows is None else 0, n, _TILE):
            i, j = np.nonzero(U[mine] @ U[b : b + _TILE].T >= slack)
            i, j = mine[i], j + b
            apart = i < j if rows is None else i != j
            i, j = i[apart], j[apart]
            keys.append(np.minimum(i, j) * n + np.maximum(i, j))
            total += len(i)
            _check_total(total)
        if advance is not None:
            advance(len(mine))
    return _sure(X, _joined(keys), threshold)


def searched_pairs(
    X: FloatArray, threshold: float, search: Search, *, advance: Advance | None = None
) -> tuple[IdArray, IdArray]:
    """Return pairs of rows with at least a cosine, as a search for the neighbours of each row finds them.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Rows that are not zero.
    threshold : float
        Least cosine.
    search : callable of (ndarray of shape (q, d), int)
        Returns positions of the nearest rows, shape (q, k), best first, -1 for none.
    advance : callable of float, optional
        Told how many further rows are done.

    Returns
    -------
    left, right : ndarray of shape (p,), int64
        Positions, ``left < right``, each pair once.

    Notes
    -----
    A row whose last neighbour still reaches the threshold is searched again for four times as many; one with more than
    400 is compared with every row.
    """
    keys: list[IdArray] = []
    n, waiting, k = len(X), np.arange(len(X)), _FIRST_K
    while len(waiting) and k <= _LAST_K and k < n:
        full: list[IdArray] = []
        for begin in range(0, len(waiting), _TILE):
            mine = waiting[begin : begin + _TILE]
            found = search(X[mine], k)
            i, j = np.repeat(mine, found.shape[1]), found.ravel()
            apart = (j >= 0) & (i != j)
            i, j = i[apart], j[apart]
            near = cosines(X, i, j) >= threshold
            counts = np.bincount(np.searchsorted(mine, i[near]), minlength=len(mine))
            full.append(mine[counts >= k - 1])
            keys.append(np.unique(np.minimum(i, j)[near] * n + np.maximum(i, j)[near]))
            if advance is not None and k == _FIRST_K:
                advance(len(mine))
        _check_total(sum(map(len, keys)))
        waiting, k = np.concatenate(full), 4 * k
    joined = _joined(keys)
    if len(waiting):
        left, right = cosine_pairs(X, threshold, rows=waiting)
        joined = np.union1d(joined, left * n + right)
    return joined // max(n, 1), joined % max(n, 1)


def measure_recall(
    X: FloatArray, threshold: float, left: IdArray, right: IdArray, *, sample: int = 500, seed: int = 0
) -> PairRecall:
    """Return the share of true pairs that were found, on rows drawn at random and compared with all.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Rows.
    threshold : float
        Least cosine.
    left, right : ndarray of shape (p,), int64
        The pairs found.
    sample : int, default 500
        Rows to draw. Few leave a wide interval where duplicates are rare.
    seed : int, default 0
        Of the drawing.

    Returns
    -------
    PairRecall
        With Wilson's interval.
    """
    n = len(X)
    rows = np.sort(np.random.default_rng(seed).choice(n, size=min(sample, n), replace=False))
    a, b = cosine_pairs(X, threshold, rows=rows)
    judged = len(a)
    if not judged:
        return PairRecall(None, 0.0, 1.0, 0)
    share = float(np.isin(a * n + b, left * n + right).mean())
    low, high = wilson_interval(share, judged)
    return PairRecall(share, low, high, judged)


def best_cosines(X: FloatArray, rows: IdArray, *, advance: Advance | None = None) -> npt.NDArray[np.float64]:
    """Return the cosine of some rows with the nearest other row.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        At least two rows that are not zero.
    rows : ndarray of shape (m,), int64
        Positions.
    advance : callable of float, optional
        Told how many further rows are done.

    Returns
    -------
    ndarray of shape (m,), float64
        To about six digits.
    """
    U = unit_rows(X)
    out = np.full(len(rows), -1.0)
    for a in range(0, len(rows), _TILE):
        mine = rows[a : a + _TILE]
        for b in range(0, len(U), _TILE):
            products = U[mine] @ U[b : b + _TILE].T
            inside = np.flatnonzero((mine >= b) & (mine < b + _TILE))
            products[inside, mine[inside] - b] = -1
            out[a : a + len(mine)] = np.maximum(out[a : a + len(mine)], products.max(axis=1))
        if advance is not None:
            advance(len(mine))
    return np.minimum(out, 1.0)


def _check_total(total: int) -> None:
    if total > _MAX_PAIRS:
        raise InputError(
            message(
                f"more than {_MAX_PAIRS:,} pairs of vectors above the threshold",
                "a threshold that few pairs reach",
                "raise it, or narrow the records with where",
            )
        )


def _joined(keys: list[IdArray]) -> IdArray:
    return np.unique(np.concatenate([np.zeros(0, np.int64), *keys]))


def _sure(X: FloatArray, keys: IdArray, threshold: float) -> tuple[IdArray, IdArray]:
    left, right = keys // max(len(X), 1), keys % max(len(X), 1)
    near = cosines(X, left, right) >= threshold
    return left[near], right[near]
