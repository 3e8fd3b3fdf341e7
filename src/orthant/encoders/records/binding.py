"""Roles as rotations: binding, its exact inverse, and symbols that are the same on every machine."""

from __future__ import annotations

import hashlib
import threading
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, InputError, message
from orthant.kernels.rotations import haar, walsh_hadamard
from orthant.types import FloatArray
from orthant.validate import as_vectors, check_choice, check_count

__all__ = ["Binder", "Structure", "symbols"]

Structure = Literal["hadamard", "householder", "dense"]

_ROUNDS = 3
_REFLECTIONS = 4
_KEPT_BYTES = 64 << 20


def symbols(names: list[str], dim: int, seed: int) -> FloatArray:
    """Return a random direction for each name, always the same one.

    Parameters
    ----------
    names : list of str
        m names; equal names get equal rows.
    dim : int
        Values per row.
    seed : int
        Another seed gives unrelated rows.

    Returns
    -------
    ndarray of shape (m, dim), float32
        Values of plus or minus ``1 / sqrt(dim)``, from SHAKE-128 of seed and name.
    """
    size = -(-dim // 8)
    # Python's own hash differs from process to process.
    raw = b"".join(
        hashlib.shake_128(f"{seed}\x00{name}".encode("utf-8", "surrogatepass")).digest(size) for name in names
    )
    bits = np.unpackbits(np.frombuffer(raw, np.uint8).reshape(len(names), size), axis=1)[:, :dim]
    return ((bits.astype(np.float32) * 2 - 1) / np.float32(np.sqrt(dim))).astype(np.float32)


class Binder:
    """Random orthogonal operators by the name of a role, made when they are first used and never stored.

    An orthogonal operator keeps lengths and angles, so parts stay as comparable at any depth as they were, and its
    transpose takes it back. For records there is :class:`RecordEncoder`; this is the layer below.

    Parameters
    ----------
    dim : int
        Values per vector, at least 2. A few hundred serve a handful of parts; 1,024 to 10,000 are usual.
    structure : {"hadamard", "householder", "dense"}, default "hadamard"
        ``"hadamard"``: three rounds of random signs, a Walsh-Hadamard transform and a permutation; ``dim`` a power of
        two, the same bits on every machine. ``"householder"``: a signed permutation and four reflections; any
        ``dim``, the cheapest. ``"dense"``: a uniformly drawn matrix, ``4 dim^2`` bytes per role.
    seed : int, default 0
        Another seed gives unrelated operators.

    Raises
    ------
    InputError
        A dimension below 2, or no power of two with ``"hadamard"``; an unknown structure.

    Notes
    -----
    For roles r, s and rows x, y: ``<M_r x, M_r y> = <x, y>``, ``M_r^T M_r x = x``, and ``M_r M_s`` differs from
    ``M_s M_r``, so that the order of nested roles is not lost. Cost per row: O(dim log dim), O(dim), O(dim^2).

    References
    ----------
    S. I. Gallant, Orthogonal Matrices for MBAT Vector Symbolic Architectures, and a "Soft" VSA Representation for JSON,
    arXiv 2202.04771.

    Examples
    --------
    >>> binder = Binder(64)
    >>> x = np.eye(1, 64, dtype=np.float32)
    >>> bound = binder.bind("author", x)
    >>> bool(abs((bound @ x.T)[0, 0]) < 0.5), bool(np.allclose(binder.unbind("author", bound), x, atol=1e-6))
    (True, True)
    """

    def __init__(self, dim: int, *, structure: Structure = "hadamard", seed: int = 0) -> None:
        self.dim = check_count(dim, name="dim", minimum=2)
        self.structure = check_choice(structure, get_args(Structure), name="structure")
        self.seed = check_count(seed, name="seed", minimum=0)
        if structure == "hadamard" and dim & (dim - 1):
            way = f"use {1 << dim.bit_length()}, or structure='householder', which takes any dimension"
            raise InputError(message(f"dim={dim} with structure='hadamard'", "a power of two", way))
        self._made: dict[str, tuple[npt.NDArray[Any], ...]] = {}
        self._lock = threading.Lock()

    def bind(self, role: str, X: npt.ArrayLike) -> FloatArray:
        """Turn rows by the operator of a role.

        Parameters
        ----------
        role : str
            Any name.
        X : array-like of shape (n, dim)
            Rows.

        Returns
        -------
        ndarray of shape (n, dim), float32
            As long as before.

        Raises
        ------
        DimensionError, NonFiniteError
            Rows that do not fit.
        """
        return self._turned(role, as_vectors(X, dim=self.dim, name="X"), back=False)

    def unbind(self, role: str, X: npt.ArrayLike) -> FloatArray:
        """Turn rows back: exactly what ``bind`` was given, and noise from whatever was added to it since.

        Parameters
        ----------
        role : str
            Any name.
        X : array-like of shape (n, dim)
            Rows.

        Returns
        -------
        ndarray of shape (n, dim), float32
            As long as before.

        Raises
        ------
        DimensionError, NonFiniteError
            Rows that do not fit.
        """
        return self._turned(role, as_vectors(X, dim=self.dim, name="X"), back=True)

    def bundle(self, *parts: npt.ArrayLike) -> FloatArray:
        """Add parts: the sum resembles each of them, and of n unit parts each with a cosine of about 1/sqrt(n).

        Parameters
        ----------
        *parts : array-like of shape (n, dim)
            Rows of equal number.

        Returns
        -------
        ndarray of shape (n, dim), float32
            Their sum, not normalised.

        Raises
        ------
        DimensionError
            No part, or parts of different shapes.
        """
        rows = [as_vectors(part, dim=self.dim, name="a part") for part in parts]
        if not rows or len({len(part) for part in rows}) > 1:
            given = f"parts of {[len(part) for part in rows]} rows"
            raise DimensionError(
                message(given, "one part at least, and equal numbers of rows", "add what belongs together")
            )
        return np.asarray(np.sum(rows, axis=0, dtype=np.float32))

    def _turned(self, role: str, X: FloatArray, *, back: bool) -> FloatArray:
        parts = self._operator(role)
        if self.structure == "dense":
            return X @ (parts[0] if back else parts[0].T)
        if self.structure == "householder":
            return _reflected(X, *parts, back=back)
        return _mixed(X, *parts, back=back)

    def _operator(self, role: str) -> tuple[npt.NDArray[Any], ...]:
        found = self._made.get(role)
        if found is None:
            digest = hashlib.blake2b(f"{self.seed}\x00{role}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
            found = self._drawn(np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little"))))
            with self._lock:
                # Any key of any record may be a role: what is kept is bounded, and made again when it is needed.
                size = sum(part.nbytes for part in found)
                if len(self._made) * size > _KEPT_BYTES:
                    self._made.clear()
                self._made[role] = found
        return found

    def _drawn(self, rng: np.random.Generator) -> tuple[npt.NDArray[Any], ...]:
        if self.structure == "dense":
            return (haar(self.dim, rng).astype(np.float32),)
        rounds = _ROUNDS if self.structure == "hadamard" else 1
        signs = np.where(rng.random((rounds, self.dim)) < 0.5, np.float32(-1), np.float32(1))
        orders = np.stack([rng.permutation(self.dim) for _ in range(rounds)])
        if self.structure == "hadamard":
            return signs, orders
        normals = rng.standard_normal((_REFLECTIONS, self.dim))
        return signs, orders, (normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(np.float32)


def _mixed(X: FloatArray, signs: FloatArray, orders: npt.NDArray[Any], *, back: bool) -> FloatArray:
    if not back:
        for sign, order in zip(signs, orders, strict=True):
            X = np.ascontiguousarray(walsh_hadamard(X * sign)[:, order])
        return X
    for sign, order in zip(signs[::-1], orders[::-1], strict=True):
        Y = np.empty_like(X)
        Y[:, order] = X
        X = walsh_hadamard(Y) * sign
    return X


def _reflected(
    X: FloatArray, signs: FloatArray, orders: npt.NDArray[Any], normals: FloatArray, *, back: bool
) -> FloatArray:
    # A few reflections alone leave most of a vector where it was; the signed permutation moves it.
    Y = X.copy() if back else np.ascontiguousarray((X * signs[0])[:, orders[0]])
    for normal in normals[::-1] if back else normals:
        Y -= 2 * (Y @ normal)[:, None] * normal
    if back:
        X = np.empty_like(Y)
        X[:, orders[0]] = Y
        return X * signs[0]
    return Y
