"""From a user's vectors to encoded ones: metric, centring, reduction, rotation.

Whatever the metric, the graph sees squared Euclidean distances of centred vectors:

* cosine: vectors are scaled to unit length;
* l2: over the largest norm M, so that squares stay in range;
* dot: over M, with a last dimension ``sqrt(1 - |x / M|^2)`` that gives all vectors unit length; queries get 0 there, so
  that the nearest vector is the one of largest product (Bachrach et al. 2014, "Speeding up the Xbox recommender").

Then the leading principal directions are kept where there are more than ``dims``, or those of a mixture of data and
queries (LeanVec, Tepper et al. 2024) where sample queries find more of their neighbours by them; and a random rotation
spreads what is left evenly, which both levels of codes need.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.kernels.distances import norms as row_norms
from orthant.kernels.graph import sketch
from orthant.kernels.graph.queries import (
    BY_LARGEST,
    BY_LENGTH,
    UNIT,
    embed_queries,
    encode_queries,
    prepare_queries,
)
from orthant.kernels.rotations import kronecker_factors, rotate_rows
from orthant.kernels.topk import top_k
from orthant.transforms.choosing import recall_ceiling
from orthant.transforms.query_aware import eigen_search
from orthant.types import FloatArray, IdArray, Metric

__all__ = ["SAMPLE_ROWS", "Space", "fit_space"]

SAMPLE_ROWS = 20_000
"""Rows that the mean and the directions are estimated from: enough for 50 per dimension of the widest encoders here."""

_NEIGHBOURS, _DEPTH = 10, 50
"""Neighbours that held queries look for, and candidates among which reduced vectors must have them."""

_FARTHEST = 1e6
"""Largest norms from the origin that a vector is encoded at."""

_SCALINGS = {"cosine": UNIT, "dot": BY_LENGTH, "l2": BY_LARGEST}


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
    basis : ndarray of shape (e, d), float32, or None
        Leading principal directions; None keeps all dimensions.
    rotation : tuple of ndarray
        Signs and factors; see ``kernels.rotations.kronecker_factors``.
    largest : float
        Largest norm M; 1 for cosine.
    kept : float
        Share of the variance that the kept dimensions hold; 1 without reduction.
    bits : int
        Bits per dimension of a code row, 8 or 4.
    query_aware : bool
        Whether the kept directions were learned from queries too.
    """

    metric: Metric
    dim: int
    mean: FloatArray
    basis: FloatArray | None
    rotation: tuple[FloatArray, FloatArray, FloatArray]
    largest: float
    kept: float
    bits: int = 8
    query_aware: bool = False

    @property
    def dims(self) -> int:
        """Dimensions of encoded vectors."""
        return len(self.rotation[0])

    @property
    def width(self) -> int:
        """Bytes of a code row."""
        return sketch.code_bytes(self.dims, self.bits)

    def embed(self, X: FloatArray, *, query: bool = False) -> FloatArray:
        """Scale and centre vectors for squared Euclidean distances.

        Parameters
        ----------
        X : ndarray of shape (n, dim), float32
            Checked vectors; non-zero for cosine.
        query : bool, default False
            Whether they are queries, which dot treats differently.

        Returns
        -------
        ndarray of shape (n, e), float32
            Copies; e is dim, or dim + 1 for dot.
        """
        norms = row_norms(X)
        if self.metric == "cosine":
            scale = 1.0 / norms
        elif query and self.metric == "dot":
            # The order of products does not depend on a query's length; unit length keeps distances of one size.
            scale = 1.0 / np.maximum(norms, 1e-300)
        else:
            # So far outside, the order of distances depends on the direction alone.
            scale = np.minimum(1.0 / self.largest, _FARTHEST / np.maximum(norms, 1e-300))
        if self.metric != "dot":
            out = X * scale.astype(np.float32)[:, None]
        else:
            out = np.zeros((len(X), self.dim + 1), dtype=np.float32)
            np.multiply(X, scale.astype(np.float32)[:, None], out=out[:, :-1])
            if not query:
                out[:, -1] = np.sqrt(np.maximum(1.0 - (norms * scale) ** 2, 0.0))
        out -= self.mean
        return out

    def encode(self, X: FloatArray) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Encode vectors to be stored.

        Parameters
        ----------
        X : ndarray of shape (n, dim), float32
            Checked vectors.

        Returns
        -------
        sketches : ndarray of shape (n, 64), uint8
            Signs and constants.
        codes : ndarray of shape (n, width), uint8
            Code rows.
        """
        return self._encoded(self.embed(X), self.bits)

    def _encoded(self, Z: FloatArray, bits: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        sketches = np.zeros((len(Z), sketch.SKETCH_BYTES), np.uint8)
        codes = np.zeros((len(Z), sketch.code_bytes(self.dims, bits)), np.uint8)
        norms = np.einsum("ij,ij->i", Z, Z)
        reduced = Z if self.basis is None else Z @ self.basis
        Y = np.empty_like(reduced)
        rotate_rows(reduced, *self.rotation, Y)
        sketch.encode_rows(Y, norms, sketches, codes, bits, 0, len(Z))
        return sketches, codes

    @property
    def query_bytes(self) -> int:
        """Bytes of a query's row."""
        return -(-self.dims // 128) * 128 + sketch.QUERY_EXTRA

    def query_rows(self, Q: FloatArray, margin: float) -> npt.NDArray[Any]:
        """Encode queries.

        Parameters
        ----------
        Q : ndarray of shape (q, dim), float32
            Checked queries.
        margin : float
            As ``sketch.query_row``.

        Returns
        -------
        ndarray of shape (q, signed + 320), uint8
            Rows for the kernels.
        """
        out = np.zeros((len(Q), self.query_bytes), np.uint8)
        self.prepare(Q, margin, np.empty_like(Q) if self.metric == "cosine" else Q, out)
        return out

    def prepare(self, Q: FloatArray, margin: float, full: FloatArray, rows: npt.NDArray[Any]) -> None:
        """Encode queries into rows that are there, and bring full ones to what full vectors are compared with.

        Parameters
        ----------
        Q : ndarray of shape (q, dim), float32
            Checked queries.
        margin : float
            As ``sketch.query_row``.
        full : ndarray of shape (q, dim), float32
            Under cosine receives the queries at unit length; else not looked at.
        rows : ndarray of shape (q, signed + 320), uint8
            Written; zeroed before.
        """
        Q, scaling, slack = _writable(Q), _SCALINGS[self.metric], np.float32(margin)
        if self.basis is None:
            prepare_queries(Q, scaling, self.largest, _FARTHEST, self.mean, *self.rotation, slack, full, rows)
            return
        embedded, squares = self._embedded(Q, full)
        encode_queries(embedded @ self.basis, squares, *self.rotation, slack, rows)

    def full_queries(self, Q: FloatArray) -> FloatArray:
        """Return what full vectors are compared with: under cosine the queries at unit length, else the queries.

        Parameters
        ----------
        Q : ndarray of shape (q, dim), float32
            Checked queries.

        Returns
        -------
        ndarray of shape (q, dim), float32
            Those that ``prepare`` makes.
        """
        if self.metric != "cosine":
            return Q
        full = np.empty_like(Q)
        self._embedded(_writable(Q), full)
        return full

    def _embedded(self, Q: FloatArray, full: FloatArray) -> tuple[FloatArray, FloatArray]:
        out, squares = np.empty((len(Q), len(self.mean)), np.float32), np.empty(len(Q), np.float32)
        embed_queries(Q, _SCALINGS[self.metric], self.largest, _FARTHEST, self.mean, full, out, squares)
        return out, squares


def _writable(Q: FloatArray) -> FloatArray:
    """Return an array of the kind that kernels are compiled for; another would make a search wait for a compiler."""
    return Q if Q.flags.writeable else Q.copy()


def fit_space(
    sample: FloatArray, *, metric: Metric, dims: int | None, bits: int, largest: float, seed: int,
    queries: tuple[FloatArray, FloatArray] | None = None,
) -> Space:  # fmt: skip
    """Fit a space to a sample of the vectors.

    Parameters
    ----------
    sample : ndarray of shape (m, dim), float32
        At least one vector; 20,000 are enough.
    metric : {"dot", "cosine", "l2"}
        The score.
    dims : int or None
        Dimensions to keep, at most 384. None keeps all up to 384.
    bits : {8, 4}
        Bits per dimension of a code row.
    largest : float
        Largest norm of all vectors.
    seed : int
        Of the rotation.
    queries : tuple of ndarray of shape (m, dim) and (h, dim), float32, optional
        Queries to learn directions from, where some are left out, and others to judge by.

    Returns
    -------
    Space
        The map.
    """
    dim = sample.shape[1]
    width = dim + 1 if metric == "dot" else dim
    wanted = min(width, sketch.MOST_DIMS if dims is None else dims)
    rotation = kronecker_factors(wanted, np.random.default_rng(seed))
    space = Space(metric, dim, np.zeros(width, np.float32), None, rotation, largest, 1.0, bits)
    Z = space.embed(sample)
    mean = Z.mean(axis=0, dtype=np.float64)
    space = replace(space, mean=mean.astype(np.float32))
    if wanted == width:
        return space
    centred = Z.astype(np.float64) - mean
    moment = centred.T @ centred / len(centred)
    energy, vectors = np.linalg.eigh(moment)
    basis = np.ascontiguousarray(vectors[:, ::-1][:, :wanted].astype(np.float32))
    kept = float(energy[::-1][:wanted].sum() / max(energy.sum(), 1e-300))
    space = replace(space, basis=basis, kept=kept)
    return space if queries is None else _with_queries(space, sample, moment, queries)


def _with_queries(
    space: Space, sample: FloatArray, moment: npt.NDArray[np.float64], queries: tuple[FloatArray, FloatArray]
) -> Space:
    """Return the space with directions that suit queries too, where held queries find more by them."""
    learned, held = (space.embed(part, query=True) for part in queries)
    asked = learned.T.astype(np.float64) @ learned / len(learned)
    directions, _ = eigen_search(moment, asked, space.dims)
    kept = float(np.sum((directions @ moment) * directions) / max(np.trace(moment), 1e-300))
    other = replace(space, basis=np.ascontiguousarray(directions.T, dtype=np.float32), kept=kept, query_aware=True)
    rows = other.embed(sample)
    return other if _ceiling(other, rows, held) > _ceiling(space, rows, held) else space


def _ceiling(space: Space, rows: FloatArray, held: FloatArray) -> float:
    """Return the share of true neighbours among the best by reduced vectors, as a walk would order them."""
    squares = np.einsum("ij,ij->i", rows, rows)

    def nearest(vectors: FloatArray, queries: FloatArray, k: int) -> IdArray:
        return top_k(2 * (queries @ vectors.T) - squares, min(k, len(vectors)))[0]

    basis = np.eye(rows.shape[1], dtype=np.float32) if space.basis is None else space.basis
    seen, asked = rows @ basis, held @ basis
    return recall_ceiling(nearest(seen, asked, _DEPTH), nearest(rows, held, _NEIGHBOURS))
