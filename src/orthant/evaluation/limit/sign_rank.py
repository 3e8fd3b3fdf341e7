"""How few dimensions a pattern of relevance needs: upper limits that come with vectors to check them by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, InputError, message
from orthant.validate import check_count

__all__ = ["SignRank", "curve_vectors", "sign_rank_upper_bound"]

Float64Array = npt.NDArray[np.float64]

_MOST_DOCUMENTS = 2_000
_MOST_EXACT_K = 4
_ROUNDING = 1e-9


@dataclass(frozen=True)
class SignRank:
    """An upper limit of the sign rank of a pattern.

    Attributes
    ----------
    bound : int
        The sign rank is at most this.
    dimensions : int
        Dimensions in which some vectors rank every relevant document above every other: one fewer than ``bound`` where
        it comes from a curve, since a number that is the same for all documents ranks nothing.
    certificate : tuple of ndarray, or None
        Queries (m, bound) and documents (n, bound) in float64 whose products are positive exactly where the pattern
        is 1. None where float64 cannot hold it, or where the bound is a side of the matrix.
    """

    bound: int
    dimensions: int
    certificate: tuple[Float64Array, Float64Array] | None


def sign_rank_upper_bound(A: npt.ArrayLike) -> SignRank:
    """Limit from above the dimensions that a pattern of relevance needs.

    Use it to see that few dimensions can suffice in principle; it says nothing about what training reaches.

    Parameters
    ----------
    A : array-like of shape (m, n)
        1 where document j is relevant to query i, else 0.

    Returns
    -------
    SignRank
        The least of both sides and of one more than the most changes of sign along a row, with rows read around a
        circle of documents where that is fewer.

    Raises
    ------
    DimensionError
        Not a matrix with a row and a column.
    InputError
        Other values than 0 and 1.

    Notes
    -----
    A row with c changes of sign is the sign of a trigonometric polynomial in c / 2 frequencies, or of an ordinary one
    of degree c, at the documents' places; so ``c + 1`` numbers per vector suffice. Cost: O(m n).

    References
    ----------
    N. Alon, P. Frankl, V. Rodl: Geometrical realization of set systems and probabilistic communication complexity,
    FOCS 1985. O. Weller et al., arXiv:2508.21038, section 3, for the sign rank and rankings:
    ``sign rank - 1 <= dimensions <= sign rank``.

    Examples
    --------
    >>> pairs = [[1, 1, 0, 0, 0], [1, 0, 0, 1, 0], [0, 1, 0, 0, 1]]
    >>> sign_rank_upper_bound(pairs).bound
    3
    """
    relevant = _rectangle(A, "A")
    if relevant.ndim != 2 or 0 in relevant.shape:
        raise DimensionError(message(f"A of shape {relevant.shape}", "(queries, documents)", "pass a matrix"))
    if not np.isin(relevant, (0, 1)).all():
        raise InputError(message("values other than 0 and 1", "0 or 1 each", "pass A > 0"))
    signs = relevant.astype(np.int8)
    m, n = signs.shape
    flips = np.count_nonzero(np.diff(signs, axis=1), axis=1)
    around = flips + (signs[:, 0] != signs[:, -1])
    line, circle = int(flips.max()) + 1, int(around.max()) + 1
    bound = min(m, n, line, circle)
    if bound < min(line, circle):
        return SignRank(bound, bound, None)
    return SignRank(bound, max(1, bound - 1), _certificate(signs, bound, circle=circle <= line))


def _rectangle(rows: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(rows)
    except ValueError as error:
        given = f"{name} with rows of unequal length"
        raise DimensionError(message(given, "rows of one length", "pass a matrix")) from error


def _certificate(signs: npt.NDArray[np.int8], bound: int, *, circle: bool) -> tuple[Float64Array, Float64Array] | None:
    """Return vectors of the curve that have these signs, or None where rounding spoils them."""
    n = signs.shape[1]
    if circle:
        documents = np.column_stack([np.ones(n), _circle(n, (bound - 1) // 2)])
        between = 2 * np.pi * (np.arange(n) + 0.5) / n
    else:
        places = np.linspace(-1, 1, n)
        documents = np.vander(places, bound, increasing=True)
        between = np.append((places[:-1] + places[1:]) / 2, 2.0)
    queries = np.zeros((len(signs), bound))
    for i, row in enumerate(signs):
        following = np.roll(row, -1) if circle else np.append(row[1:], row[-1])
        roots = between[np.flatnonzero(row != following)]
        values = _polynomial(roots, 2 * np.pi * np.arange(n) / n if circle else places, circle=circle)
        values *= 1.0 if (values[0] > 0) == bool(row[0]) else -1.0
        queries[i] = np.linalg.lstsq(documents, values, rcond=None)[0]
    products = queries @ documents.T
    scale = np.abs(queries) @ np.abs(documents.T)
    sound = ((products > 0) == (signs > 0)).all() and (np.abs(products) > _ROUNDING * scale).all()
    return (queries, documents) if sound else None


def _polynomial(roots: Float64Array, at: Float64Array, *, circle: bool) -> Float64Array:
    values = np.ones(len(at))
    for root in roots:
        values *= np.sin((at - root) / 2) if circle else at - root
    return values


def _circle(n: int, frequencies: int) -> Float64Array:
    angles = 2 * np.pi * np.arange(n)[:, None] / n * np.arange(1, frequencies + 1)
    return np.stack([np.cos(angles), np.sin(angles)], axis=2).reshape(n, -1)


def curve_vectors(n: int, sets: npt.ArrayLike) -> tuple[Float64Array, Float64Array]:
    """Return unit vectors in 2k dimensions under which given sets of k documents are the best k of their queries.

    It shows that pairs of any number of documents fit in four dimensions: what the free-vector experiment finds is a
    limit of the optimisation, its loss and its precision, not of the dimension.

    Parameters
    ----------
    n : int
        Documents, from 3 to 2,000; beyond, rounding in float64 leaves too little between neighbours.
    sets : array-like of int, shape (m, k)
        Distinct positions of documents per query, k from 1 to 4 and below n.

    Returns
    -------
    queries : ndarray of shape (m, 2k), float64
        Unit vectors.
    documents : ndarray of shape (n, 2k), float64
        Unit vectors.

    Raises
    ------
    DimensionError, InputError
        Sets of another form, positions out of range or repeated, or sizes beyond those that float64 carries.

    Notes
    -----
    Documents lie on the trigonometric moment curve ``(cos t, sin t, ..., cos kt, sin kt)``; a query is the polynomial
    ``-prod_j (1 - cos(t - t_j))`` without its constant, which is largest, namely zero, exactly at its documents.
    Rounding: a difference of scores is at least about ``(2 pi / n)^(2k)``. Cost: O(m k^2 + n k).

    References
    ----------
    D. Gale: Neighborly and cyclic polytopes, 1963. G. Ziegler: Lectures on Polytopes, 1995, lecture 0.

    Examples
    --------
    >>> Q, D = curve_vectors(100, [[3, 77], [0, 50]])
    >>> np.sort(np.argsort(-(Q @ D.T), axis=1)[:, :2]).tolist()
    [[3, 77], [0, 50]]
    """
    n = check_count(n, name="n", minimum=3)
    wanted = _rectangle(sets, "sets")
    if wanted.ndim != 2 or wanted.shape[1] == 0 or wanted.dtype.kind not in "iu":
        raise DimensionError(message(f"sets of shape {wanted.shape}", "integers (m, k)", "pass one row per query"))
    k = wanted.shape[1]
    if n > _MOST_DOCUMENTS or not k <= min(_MOST_EXACT_K, n - 1):
        raise InputError(
            message(f"n={n} and k={k}", f"n up to {_MOST_DOCUMENTS} and k up to {_MOST_EXACT_K}", "lower them")
        )
    ordered = np.sort(wanted, axis=1)
    if (ordered < 0).any() or (ordered >= n).any() or (np.diff(ordered, axis=1) == 0).any():
        raise InputError(
            message("repeated positions, or out of range", f"distinct ones of 0 to {n - 1}", "correct sets")
        )
    documents = _circle(n, k)
    # Coefficients of exp(i j t) for j = -k .. k, multiplied factor by factor.
    waves = np.zeros((len(wanted), 2 * k + 1), dtype=np.complex128)
    waves[:, k] = -1.0
    for column in wanted.T:
        turn = np.exp(-2j * np.pi * column / n)[:, None]
        waves = waves - 0.5 * (np.roll(waves, 1, axis=1) * turn + np.roll(waves, -1, axis=1) / turn)
    positive = 2 * waves[:, k + 1 :]
    queries = np.stack([positive.real, -positive.imag], axis=2).reshape(len(wanted), 2 * k)
    unit = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, documents))
    return next(unit), next(unit)
