"""The identity plus a low-rank term, forwards and backwards: a thin product, or a memory of soft prototypes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orthant.types import FloatArray

__all__ = ["Residual", "unit_backward"]

_SHARPNESS = 10.0


@dataclass
class Residual:
    """``x + (x down') up`` or ``x + softmax(x down') up``; with ``up`` of zeros it is the identity.

    Attributes
    ----------
    kind : str
        ``"linear"`` or ``"memory"``.
    down : ndarray of shape (r, d), float32
        Directions that are looked at, or keys.
    up : ndarray of shape (r, d), float32
        What each of them adds.

    Notes
    -----
    Cost of both ways: O(n d r).
    """

    kind: str
    down: FloatArray
    up: FloatArray

    @classmethod
    def identity(cls, kind: str, rows: FloatArray, rank: int, rng: np.random.Generator) -> Residual:
        """Return one that changes nothing yet.

        Parameters
        ----------
        kind : str
            ``"linear"`` or ``"memory"``.
        rows : ndarray of shape (n, d), float32
            Vectors of length 1 that it will be trained on; keys start at some of them, since keys around zero would
            all answer alike and stay alike.
        rank : int
            Rows of either matrix.
        rng : Generator
            Of the directions, or of the choice of keys.

        Returns
        -------
        Residual
            With ``up`` of zeros.
        """
        d = rows.shape[1]
        if kind == "memory":
            down = _SHARPNESS * rows[rng.choice(len(rows), rank, replace=len(rows) < rank)]
        else:
            down = rng.standard_normal((rank, d)) / np.sqrt(d)
        return cls(kind, down.astype(np.float32), np.zeros((rank, d), dtype=np.float32))

    def copy(self) -> Residual:
        """Return one with its own matrices.

        Returns
        -------
        Residual
            Equal to this one.
        """
        return Residual(self.kind, self.down.copy(), self.up.copy())

    def inner(self, X: FloatArray) -> FloatArray:
        """Return how strongly each row calls each of the r directions or prototypes.

        Parameters
        ----------
        X : ndarray of shape (n, d), float32
            Vectors.

        Returns
        -------
        ndarray of shape (n, r), float32
            Weights of the rows of ``up``.
        """
        z = X @ self.down.T
        if self.kind == "linear":
            return z
        np.exp(z - z.max(axis=1, keepdims=True), out=z)
        return z / z.sum(axis=1, keepdims=True)

    def forward(self, X: FloatArray) -> FloatArray:
        """Return corrected rows.

        Parameters
        ----------
        X : ndarray of shape (n, d), float32
            Vectors.

        Returns
        -------
        ndarray of shape (n, d), float32
            Of any length.
        """
        return X + self.inner(X) @ self.up

    def backward(self, X: FloatArray, gradient: FloatArray) -> list[FloatArray]:
        """Return the gradients of both matrices.

        Parameters
        ----------
        X : ndarray of shape (n, d), float32
            What went in.
        gradient : ndarray of shape (n, d), float32
            Of the loss by what came out.

        Returns
        -------
        list of ndarray of shape (r, d), float32
            By ``down`` and by ``up``.
        """
        weights = self.inner(X)
        by_weight = gradient @ self.up.T
        if self.kind == "memory":
            by_weight = weights * (by_weight - (weights * by_weight).sum(axis=1, keepdims=True))
        return [by_weight.T @ X, weights.T @ gradient]


def unit_backward(raw: FloatArray, gradient: FloatArray) -> FloatArray:
    """Return the gradient by vectors from the gradient by the same vectors at length 1.

    Parameters
    ----------
    raw : ndarray of shape (n, d), float32
        Before they were brought to length 1.
    gradient : ndarray of shape (n, d), float32
        By the vectors of length 1.

    Returns
    -------
    ndarray of shape (n, d), float32
        Without the part along each vector, over its length.
    """
    lengths = np.maximum(np.sqrt(np.einsum("ij,ij->i", raw, raw))[:, None], 1e-12)
    unit = raw / lengths
    return (gradient - unit * np.einsum("ij,ij->i", unit, gradient)[:, None]) / lengths
