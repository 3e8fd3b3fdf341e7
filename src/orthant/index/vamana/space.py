"""From a user's vectors to encoded ones: metric, centring, reduction, rotation.

Whatever the metric, the graph sees squared Euclidean distances of centred vectors:

* cosine: vectors are scaled to unit length;
* l2: as they are;
* dot: a last dimension ``sqrt(M^2 - |x|^2)`` gives all vectors the largest norm M, and queries get 0 there, so that
  the nearest vector is the one of largest product (Bachrach et al. 2014, "Speeding up the Xbox recommender system").

Then the leading principal directions are kept where there are more than ``dims``, and a random rotation spreads what is
left evenly, which both levels of codes need.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.kernels import sketch
from orthant.kernels.distances import norms as row_norms
from orthant.types import FloatArray, Metric

__all__ = ["Space", "fit_space"]

_SAMPLE = 20_000
"""Rows that the mean and the directions are estimated from: enough for 50 per dimension of the widest encoders here."""


@dataclass(frozen=True)
class Space:
    """A fitted map from full vectors to encoded ones.

    Attributes
    ----------
    metric : {"dot", "cosine", "l2"}
        The score.
    dim : int
        Dimension of full vectors.
    mean : ndarray of shape (e,), float32
        Centre, in the dimension after embedding (dim, or dim + 1 for dot).
    projection : ndarray of shape (e, d), float32
        Orthonormal columns: reduction and rotation in one product.
    largest : float
        Norm M given to all vectors under dot.
    kept : float
        Share of the variance that the kept dimensions hold; 1 without reduction.
    """

    metric: Metric
    dim: int
    mean: FloatArray
    projection: FloatArray
    largest: float
    kept: float

    @property
    def dims(self) -> int:
        """Dimensions of encoded vectors."""
        return int(self.projection.shape[1])

    @property
    def width(self) -> int:
        """Bytes of a code row."""
        return sketch.code_bytes(self.dims)

    def embed(self, X: FloatArray, *, query: bool = False) -> FloatArray:
        """Return vectors centred and prepared for squared Euclidean distances, shape (n, e), float32."""
        if self.metric == "l2":
            return X - self.mean
        norms = row_norms(X)
        if self.metric == "cosine":
            return (X / norms[:, None]).astype(np.float32) - self.mean
        out = np.zeros((len(X), self.dim + 1), dtype=np.float32)
        if query:
            # The order of products does not depend on the query's length; this one keeps distances of one size.
            out[:, :-1] = X * (self.largest / np.maximum(norms, 1e-30))[:, None]
        else:
            out[:, :-1] = X
            out[:, -1] = np.sqrt(np.maximum(self.largest**2 - norms**2, 0.0))
        out -= self.mean
        return out

    def encode(self, X: FloatArray, *, query: bool = False) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return sketches (n, 64) and code rows (n, width) of vectors, both uint8 at cache lines."""
        sketches = sketch.aligned_rows(len(X), sketch.SKETCH_BYTES)
        codes = sketch.aligned_rows(len(X), self.width)
        self.encode_into(X, sketches, codes, query=query)
        return sketches, codes

    def encode_into(
        self, X: FloatArray, sketches: npt.NDArray[Any], codes: npt.NDArray[Any], *, query: bool = False
    ) -> None:
        """Encode vectors into zeroed rows."""
        Z = self.embed(X, query=query)
        norms = np.einsum("ij,ij->i", Z, Z)
        sketch.encode_rows(np.ascontiguousarray(Z @ self.projection), norms, sketches, codes, 0, len(X))

    def query_rows(self, Q: FloatArray, margin: float) -> npt.NDArray[Any]:
        """Return query rows for the kernels, shape (q, width + 320), uint8."""
        sketches, codes = self.encode(Q, query=True)
        out = sketch.aligned_rows(len(Q), self.width + sketch.QUERY_EXTRA)
        sketch.query_rows(sketches, codes, self.dims, np.float32(margin), out)
        return out


def fit_space(sample: FloatArray, *, metric: Metric, dims: int | None, largest: float, seed: int) -> Space:
    """Fit a space to a sample of the vectors.

    Parameters
    ----------
    sample : ndarray of shape (m, dim), float32
        At least one vector; 20,000 are enough.
    metric : {"dot", "cosine", "l2"}
        The score.
    dims : int or None
        Dimensions to keep, at most 384. None keeps all up to 384.
    largest : float
        Largest norm of all vectors, for dot.
    seed : int
        Of the rotation.

    Returns
    -------
    Space
        The map.
    """
    dim = sample.shape[1]
    width = dim + 1 if metric == "dot" else dim
    raw = Space(metric, dim, np.zeros(width, np.float32), np.eye(width, 1, dtype=np.float32), largest, 1.0)
    Z = raw.embed(sample)
    mean = Z.mean(axis=0, dtype=np.float64)
    wanted = min(width, sketch.MOST_DIMS if dims is None else dims)
    kept = 1.0
    basis = np.eye(width)
    if wanted < width:
        centred = Z.astype(np.float64) - mean
        energy, vectors = np.linalg.eigh(centred.T @ centred)
        basis = vectors[:, ::-1][:, :wanted]
        kept = float(energy[::-1][:wanted].sum() / max(energy.sum(), 1e-300))
    gaussian = np.random.default_rng(seed).standard_normal((wanted, wanted))
    rotation, upper = np.linalg.qr(gaussian)
    rotation *= np.where(np.diag(upper) < 0, -1.0, 1.0)
    projection = np.ascontiguousarray((basis @ rotation).astype(np.float32))
    return Space(metric, dim, mean.astype(np.float32), projection, largest, kept)
