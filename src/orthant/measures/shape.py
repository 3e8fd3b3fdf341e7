"""The shape of a cloud of vectors: hubs that are everybody's neighbour, and directions that everything shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, InputError, message
from orthant.types import FloatArray, IdArray
from orthant.validate import as_vectors, check_count

__all__ = ["Hubness", "Isotropy", "hubness", "isotropy"]


@dataclass(frozen=True)
class Hubness:
    """How unevenly neighbour lists name points.

    Attributes
    ----------
    skewness : float
        Of the number of lists that name a point; 0 for an even spread, above about 1 hubs dominate.
    robin_hood : float
        Share of all entries that would have to move for an even spread, in [0, 1].
    antihubs : float
        Share of points that no list names; they cannot be found except by a query at the point itself.
    largest : int
        Lists that name the greatest hub.
    """

    skewness: float
    robin_hood: float
    antihubs: float
    largest: int


@dataclass(frozen=True)
class Isotropy:
    """How evenly vectors fill their space.

    Attributes
    ----------
    mean_cosine : float
        Mean cosine of two different vectors; 0 when directions cancel, near 1 when all share one.
    partition_ratio : float
        Smallest over largest partition function along the principal axes, in (0, 1]; 1 is isotropic.
    effective_dimension : float
        Participation ratio of the covariance's eigenvalues: d when all are equal, 1 when one holds everything.
    """

    mean_cosine: float
    partition_ratio: float
    effective_dimension: float


def hubness(neighbours: IdArray, *, count: int | None = None) -> Hubness:
    """Measure hubness from neighbour lists.

    Use it on the lists of exact search over the data itself, each point's own entry left out; a high value explains
    why some records turn up for every query.

    Parameters
    ----------
    neighbours : ndarray of shape (n, k), integers
        Positions of each point's neighbours, 0 to ``count`` - 1; -1 stands for none.
    count : int, optional
        Points in the data, at least n; default n.

    Returns
    -------
    Hubness
        The figures.

    Raises
    ------
    DimensionError, InputError
        Another shape, or positions out of range.

    Notes
    -----
    Cost: O(n k).

    References
    ----------
    Radovanovic, Nanopoulos, Ivanovic: Hubs in space, JMLR 11, 2010, section 3. Feldbauer et al.: Fast approximate
    hubness reduction for large high-dimensional data, ICBK 2018, for the Robin Hood index.

    Examples
    --------
    >>> hubness(np.array([[1], [0], [1], [1]])).largest
    3
    """
    lists = np.asarray(neighbours)
    if lists.ndim != 2 or lists.size == 0 or lists.dtype.kind not in "iu":
        raise DimensionError(
            message(f"neighbours of shape {lists.shape}, {lists.dtype}", "integers of shape (n, k)", "pass Hits.ids")
        )
    size = len(lists) if count is None else check_count(count, name="count", minimum=len(lists))
    named = lists[lists >= 0]
    if len(named) == 0 or int(named.max()) >= size or int(lists.min()) < -1:
        raise InputError(
            message("positions out of range, or no neighbour at all", f"0 to {size - 1}", "map ids to positions first")
        )
    times = np.bincount(named.reshape(-1), minlength=size).astype(np.float64)
    spread = times - times.mean()
    deviation = float(np.sqrt(np.mean(spread**2)))
    skewness = 0.0 if deviation == 0 else float(np.mean(spread**3)) / deviation**3
    return Hubness(
        skewness=skewness,
        robin_hood=float(0.5 * np.abs(spread).sum() / times.sum()),
        antihubs=float(np.mean(times == 0)),
        largest=int(times.max()),
    )


def isotropy(X: npt.ArrayLike) -> Isotropy:
    """Measure how evenly vectors fill their space.

    Use it to see whether a common direction swamps similarities, and whether a reduction to fewer dimensions would
    lose much.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Vectors, none of them zero; n of at least 2. A sample of ten thousand is enough.

    Returns
    -------
    Isotropy
        The figures.

    Raises
    ------
    DimensionError, NonFiniteError, InputError
        Fewer than two vectors, zero vectors, or not a finite matrix.

    Notes
    -----
    Vectors are scaled to unit length first. ``Z(c) = sum over x of exp(c . x)`` for every eigenvector c of X^T X, both
    signs. Cost: O(n d^2 + d^3).

    References
    ----------
    Mu, Viswanath: All-but-the-top, ICLR 2018, section 2.2, for the partition ratio.

    Examples
    --------
    >>> isotropy(np.vstack([np.eye(3), -np.eye(3)])).partition_ratio
    1.0
    """
    vectors: FloatArray = as_vectors(X, name="X", nonzero=True)
    n = len(vectors)
    if n < 2:
        raise InputError(message(f"{n} vectors", "at least 2", "pass more vectors"))
    unit = vectors.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    total = unit.sum(axis=0)
    mean_cosine = float(total @ total - n) / (n * (n - 1))
    _, axes = np.linalg.eigh(unit.T @ unit)
    products = unit @ axes
    partition = np.concatenate([np.exp(products).sum(axis=0), np.exp(-products).sum(axis=0)])
    centred = unit - total / n
    spectrum = np.maximum(np.linalg.eigvalsh(centred.T @ centred / n), 0.0)
    squares = float(spectrum @ spectrum)
    effective = 0.0 if squares == 0 else float(spectrum.sum() ** 2 / squares)
    return Isotropy(mean_cosine, float(partition.min() / partition.max()), effective)
