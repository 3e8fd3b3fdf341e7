"""Seeded vectors with a known structure, for claims that need to know the truth about their data."""

from __future__ import annotations

import numpy as np

from orthant.types import FloatArray
from orthant.validate import check_count

__all__ = ["subspace_sphere"]


def subspace_sphere(n: int, ambient_dim: int, intrinsic_dim: int, *, seed: int = 0) -> FloatArray:
    """Draw unit vectors that fill a sphere of chosen dimension inside a larger space.

    Use it to vary the intrinsic dimension while length, count and format of the vectors stay the same. Real data is
    neither uniform nor linear, so what is found here is to be confirmed there.

    Parameters
    ----------
    n : int
        How many vectors.
    ambient_dim : int
        Length of each vector.
    intrinsic_dim : int
        Dimension of the random subspace, 1 to ``ambient_dim``. The sphere in it has one dimension less.
    seed : int, default 0
        Of the subspace and of the points. A longer draw begins with the points of a shorter one.

    Returns
    -------
    ndarray of shape (n, ambient_dim), float32
        Rows of length 1.

    Raises
    ------
    InputError
        A count out of range.

    Notes
    -----
    Gaussian coordinates in an orthonormal basis (QR of a Gaussian matrix), then divided by their norm. Cost: O(n D t).

    References
    ----------
    The Impacts of Data, Ordering, and Intrinsic Dimensionality on Recall in Hierarchical Navigable Small Worlds,
    arXiv:2405.17813, on synthetic data of controlled dimension.

    Examples
    --------
    >>> import numpy as np
    >>> points = subspace_sphere(50, 32, 4, seed=0)
    >>> points.shape, int(np.linalg.matrix_rank(points, tol=1e-4))
    ((50, 32), 4)
    """
    n = check_count(n, name="n")
    ambient_dim = check_count(ambient_dim, name="ambient_dim")
    t = check_count(intrinsic_dim, name="intrinsic_dim", maximum=ambient_dim)
    basis_rng, point_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    basis, _ = np.linalg.qr(basis_rng.standard_normal((ambient_dim, t)))
    points = point_rng.standard_normal((n, t))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return (points @ basis.T).astype(np.float32)
