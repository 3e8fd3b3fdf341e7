"""Adding up records: leaves by path, turned key by key from the innermost outwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from orthant.encoders.records.binding import Binder
from orthant.encoders.records.rules import Path
from orthant.encoders.records.walking import Leaf
from orthant.types import FloatArray

__all__ = ["fold", "turn_back", "weighted_sums"]

_NEXT = "[]"


@dataclass
class _Node:
    """One place in the union of a batch's records."""

    children: dict[str | int, _Node] = field(default_factory=dict)
    owners: list[int] = field(default_factory=list)
    leaves: list[int] = field(default_factory=list)


def fold(
    batch: Sequence[Leaf],
    owners: Sequence[int],
    vectors: FloatArray,
    index: npt.NDArray[np.int64],
    *,
    count: int,
    binder: Binder,
) -> FloatArray:
    """Return the sums of a batch's records, not normalised.

    Parameters
    ----------
    batch : sequence of Leaf
        m leaves of all records.
    owners : sequence of int
        Record of each leaf, not decreasing.
    vectors : ndarray of shape (u, dim), float32
        Distinct leaf vectors.
    index : ndarray of shape (m,), int64
        Row of ``vectors`` of each leaf.
    count : int
        n records.
    binder : Binder
        Turns by roles.

    Returns
    -------
    ndarray of shape (n, dim), float32
        Zeros for a record without leaves.

    Notes
    -----
    Cost: one operator per record and key. Every sum is taken in the order of keys, so equal records give equal rows.
    """
    root = _Node()
    for i, leaf in enumerate(batch):
        node = root
        for step in leaf.path:
            node = node.children.setdefault(step, _Node())
        node.owners.append(owners[i])
        node.leaves.append(i)
    factors = np.array([leaf.factor for leaf in batch], np.float32)
    out = np.zeros((count, binder.dim), np.float32)
    rows, sums = _folded(root, factors, vectors, index, binder)
    out[rows] = sums
    return out


def _folded(
    node: _Node, factors: FloatArray, vectors: FloatArray, index: npt.NDArray[np.int64], binder: Binder
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    parts = []
    if node.leaves:
        at = np.array(node.leaves)
        parts.append(weighted_sums(np.array(node.owners), factors[at], vectors, index[at]))
    keys = sorted(key for key in node.children if isinstance(key, str))
    for key in keys:
        rows, sums = _folded(node.children[key], factors, vectors, index, binder)
        parts.append((rows, binder.bind(key_role(key), sums)))
    positions = sorted((key for key in node.children if isinstance(key, int)), reverse=True)
    if positions:
        parts.append(_sequence(node, positions, factors, vectors, index, binder))
    return _joined(parts, binder.dim)


def _sequence(
    node: _Node,
    positions: list[int],
    factors: FloatArray,
    vectors: FloatArray,
    index: npt.NDArray[np.int64],
    binder: Binder,
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Add items turned as often as their position, last one first, so that one operator serves any length."""
    held: tuple[npt.NDArray[np.int64], FloatArray] = _folded(
        node.children[positions[0]], factors, vectors, index, binder
    )
    for position in range(positions[0] - 1, -1, -1):
        turned = held[0], binder.bind(_NEXT, held[1])
        parts = [turned]
        if position in node.children:
            parts.insert(0, _folded(node.children[position], factors, vectors, index, binder))
        held = _joined(parts, binder.dim)
    return held


def _joined(
    parts: list[tuple[npt.NDArray[np.int64], FloatArray]], dim: int
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return np.zeros(0, np.int64), np.zeros((0, dim), np.float32)
    rows = np.unique(np.concatenate([part for part, _ in parts]))
    out = np.zeros((len(rows), dim), np.float32)
    for part, sums in parts:
        # Rows of a part are distinct, so nothing is lost by adding in place.
        out[np.searchsorted(rows, part)] += sums
    return rows, out


def weighted_sums(
    owners: npt.NDArray[np.int64], factors: FloatArray, vectors: FloatArray, index: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Add leaves of equal owners.

    Parameters
    ----------
    owners : ndarray of shape (m,), int64
        Not decreasing.
    factors : ndarray of shape (m,), float32
        What each leaf counts.
    vectors : ndarray of shape (u, dim), float32
        Distinct leaf vectors.
    index : ndarray of shape (m,), int64
        Row of each leaf.

    Returns
    -------
    rows : ndarray of shape (r,), int64
        Distinct owners.
    sums : ndarray of shape (r, dim), float32
        Their sums.
    """
    rows, starts = np.unique(owners, return_index=True)
    return rows, np.add.reduceat(factors[:, None] * vectors[index], starts, axis=0, dtype=np.float32)


def key_role(key: str) -> str:
    """Return the role of a key, which no list takes.

    Parameters
    ----------
    key : str
        Any.

    Returns
    -------
    str
        For the binder.
    """
    return f".{key}"


def turn_back(X: FloatArray, path: Path, binder: Binder) -> FloatArray:
    """Undo the turns of a path, outermost first.

    Parameters
    ----------
    X : ndarray of shape (n, dim), float32
        Vectors of records.
    path : tuple of (str or int)
        Keys and positions.
    binder : Binder
        Turns by roles.

    Returns
    -------
    ndarray of shape (n, dim), float32
        What stood at the path, and noise from everything else.
    """
    for step in path:
        roles = [key_role(step)] if isinstance(step, str) else [_NEXT] * step
        for role in roles:
            X = binder.unbind(role, X)
    return X
