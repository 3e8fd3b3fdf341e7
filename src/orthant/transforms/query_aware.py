"""Projections that keep inner products with given queries: a search among eigenvectors, and Frank-Wolfe descent.

Both minimise ``f(A, B) = Tr(A K_Q A^T B K_X B^T) + Tr(K_Q K_X) - 2 Tr(K_Q A^T B K_X)``, the mean squared error of inner
products, from two second moments; what they cost does not depend on how many vectors those were gathered from.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orthant.transforms.moments import leading_directions

__all__ = ["eigen_search", "frank_wolfe", "moment_loss"]

Float64Array = npt.NDArray[np.float64]

_GRID = 17
_BRENT_STEPS = 12
_EXPONENTS = (1.0, 0.8, 0.6)
"""How fast steps shrink. Which one descends furthest depends on the spectrum: at 0.3 it may end far above 1.0."""
_TOLERANCE = 1e-3
_MOST_STEPS = 200
_RANK = 1e-13
"""Squared singular values below this share of the largest are rounding: their directions may take any value."""


def moment_loss(A: Float64Array, B: Float64Array, k_x: Float64Array, k_q: Float64Array) -> float:
    """Return the mean squared error of inner products.

    Parameters
    ----------
    A, B : ndarray of shape (dim, d), float64
        Projections of queries and of the database.
    k_x, k_q : ndarray of shape (d, d), float64
        Second moments of database and queries.

    Returns
    -------
    float
        f; cost O(d^2 dim).
    """
    queries, database = A @ k_q, B @ k_x
    kept = np.sum((queries @ A.T) * (database @ B.T).T)
    return float(kept + np.sum(k_q * k_x.T) - 2 * np.sum(queries * database))


def eigen_search(k_x: Float64Array, k_q: Float64Array, dim: int) -> tuple[Float64Array, float]:
    """Find the best leading eigenvectors among mixtures of both second moments.

    Parameters
    ----------
    k_x, k_q : ndarray of shape (d, d), float64
        Second moments; brought to equal traces first, so that the mixture does not depend on their units.
    dim : int
        Directions to keep.

    Returns
    -------
    directions : ndarray of shape (dim, d), float64
        Orthonormal rows P; never worse than those of ``k_x`` alone, which are tried.
    beta : float
        Share of the queries in the mixture, from 0 to 1.

    Notes
    -----
    Minimises ``f(P, P)`` for the leading eigenvectors P of ``(1 - beta) K_X + beta K_Q``: seventeen values, then
    Brent's method between the neighbours of the best. Cost: some thirty eigendecompositions, O(d^3) each.
    """
    scale_x, scale_q = (max(float(np.trace(part)), 1e-300) for part in (k_x, k_q))
    database, queries = k_x / scale_x, k_q / scale_q

    def directions_at(beta: float) -> Float64Array:
        return leading_directions((1 - beta) * database + beta * queries)[0][:dim]

    def loss(beta: float) -> float:
        found = directions_at(beta)
        return moment_loss(found, found, database, queries)

    grid = np.linspace(0.0, 1.0, _GRID)
    losses = [loss(beta) for beta in grid]
    at = int(np.argmin(losses))
    best, beta = losses[at], float(grid[at])
    from scipy.optimize import minimize_scalar

    bounds = (float(grid[max(0, at - 1)]), float(grid[min(_GRID - 1, at + 1)]))
    refined = minimize_scalar(loss, bounds=bounds, method="bounded", options={"maxiter": _BRENT_STEPS})
    if float(refined.fun) < best:
        beta = float(refined.x)
    return directions_at(beta), beta


def frank_wolfe(
    k_x: Float64Array, k_q: Float64Array, start: Float64Array
) -> tuple[Float64Array, Float64Array, list[float]]:
    """Descend from one projection for both sides to one for each.

    Parameters
    ----------
    k_x, k_q : ndarray of shape (d, d), float64
        Second moments of database and queries.
    start : ndarray of shape (dim, d), float64
        Orthonormal rows.

    Returns
    -------
    A, B : ndarray of shape (dim, d), float64
        For queries and database; of operator norm at most 1, about orthonormal. Never worse than the start.
    losses : list of float
        Loss before each step of the best run, relative to keeping nothing, and after the last.

    Notes
    -----
    Block coordinate descent on the convex hull of the orthonormal matrices: the linear step is ``U V^T`` of minus the
    gradient ``U S V^T``, first for A, then for B at the new A, with weight ``1 / (t + 1)^a``. Several exponents a are
    tried and the best kept. Stops when a step changes the loss by less than a thousandth. Cost: O(d^2 dim) for
    each step, of which there are at most 200 for each exponent.
    """
    scale_x, scale_q = (max(float(np.trace(part)), 1e-300) for part in (k_x, k_q))
    database, queries = k_x / scale_x, k_q / scale_q
    nothing = max(float(np.sum(database * queries)), 1e-300)
    runs = [_descend(database, queries, start, exponent) for exponent in _EXPONENTS]
    A, B, losses = min(runs, key=lambda run: min(run[2]))
    return A, B, [loss / nothing for loss in losses]


def _descend(
    k_x: Float64Array, k_q: Float64Array, start: Float64Array, exponent: float
) -> tuple[Float64Array, Float64Array, list[float]]:
    A = B = start
    cross = k_x @ k_q
    losses = [moment_loss(A, B, k_x, k_q)]
    best = A, B
    for step in range(1, _MOST_STEPS + 1):
        weight = 1.0 / (step + 1) ** exponent
        gradient = (B @ k_x @ B.T) @ (A @ k_q) - B @ cross
        A = (1 - weight) * A + weight * _extreme(-gradient)
        # The other side descends from where this one has come to.
        gradient = (A @ k_q @ A.T) @ (B @ k_x) - A @ cross.T
        B = (1 - weight) * B + weight * _extreme(-gradient)
        losses.append(moment_loss(A, B, k_x, k_q))
        if losses[-1] <= min(losses):
            best = A, B
        if abs(losses[-1] - losses[-2]) < _TOLERANCE * max(losses[-2], 1e-300):
            break
    return *best, losses


def _extreme(matrix: Float64Array) -> Float64Array:
    """Return the matrix of operator norm 1 whose product with another is largest."""
    # (M M^T)^(-1/2) M: an eigendecomposition of (dim, dim), which costs a tenth of the singular value decomposition.
    energies, columns = np.linalg.eigh(matrix @ matrix.T)
    kept = energies > energies[-1] * _RANK
    shrunk = np.where(kept, 1.0 / np.sqrt(np.where(kept, energies, 1.0)), 0.0)
    out: Float64Array = (columns * shrunk) @ (columns.T @ matrix)
    return out
