"""Places on a plane: edges pull their ends together, and pairs drawn at random push each other away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.kernels.compiling import kernel
from orthant.types import FloatArray, IdArray

__all__ = ["GROUP", "place"]

GROUP = "layout"
_PUSHES = 5
_PART = 10


def _examples() -> Iterator[tuple[Any, ...]]:
    ends, each = np.zeros(1, np.int64), np.ones(1, np.float32)
    yield np.zeros((1, 2), np.float32), ends, ends, each, each.copy(), np.ones(1, np.uint64), 0, 1, 1


@kernel()
def _next(state: Any) -> Any:
    """One step of the generator xorshift64."""
    x = state[0]
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    state[0] = x
    return x


@kernel()
def _bounded(value: Any) -> Any:
    return min(max(value, np.float32(-4)), np.float32(4))


@kernel(group=GROUP, examples=_examples)
def _move(P: Any, heads: Any, tails: Any, every: Any, due: Any, state: Any, begin: Any, end: Any, epochs: Any) -> None:
    n = np.uint64(len(P))
    one, small = np.float32(1), np.float32(0.001)
    for epoch in range(begin, end):
        rate = np.float32(1.0 - epoch / epochs)
        for e in range(len(heads)):
            if due[e] > epoch:
                continue
            due[e] += every[e]
            i, j = heads[e], tails[e]
            x, y = P[i, 0] - P[j, 0], P[i, 1] - P[j, 1]
            pull = np.float32(-2) / (one + x * x + y * y)
            x, y = rate * _bounded(pull * x), rate * _bounded(pull * y)
            P[i, 0] += x
            P[i, 1] += y
            P[j, 0] -= x
            P[j, 1] -= y
            for turn in range(2 * _PUSHES):
                # Both ends are pushed away from others, in turns.
                own = i if turn % 2 == 0 else j
                other = np.int64(_next(state) % n)
                if other == own:
                    continue
                x, y = P[own, 0] - P[other, 0], P[own, 1] - P[other, 1]
                square = x * x + y * y
                push = np.float32(2) / ((small + square) * (one + square))
                P[own, 0] += rate * _bounded(push * x)
                P[own, 1] += rate * _bounded(push * y)


def place(
    P: FloatArray,
    heads: IdArray,
    tails: IdArray,
    weights: npt.NDArray[np.float32],
    *,
    epochs: int,
    seed: int,
    progress: Callable[[float], None] | None = None,
) -> FloatArray:
    """Move points so that ends of edges come to lie close together, and others apart.

    Parameters
    ----------
    P : ndarray of shape (n, 2), float32
        Where the points begin; about 20 units across is a good scale.
    heads, tails : ndarray of shape (m,), int64
        Ends of the edges.
    weights : ndarray of shape (m,), float32
        Above 0; an edge pulls in a share of the epochs that is its weight over the largest.
    epochs : int
        Rounds; too few leave the start, many change little. 0 changes nothing.
    seed : int
        Of the random pairs.
    progress : callable of float, optional
        Told the share that is done.

    Returns
    -------
    ndarray of shape (n, 2), float32
        New places. Equal for equal input and seed.

    Notes
    -----
    Pairs are alike by ``1 / (1 + d^2)``; each pull is balanced by five pushes per end, and steps shrink to nothing.
    Cost: O(epochs m) in one thread.

    References
    ----------
    J. Tang, J. Liu, M. Zhang, Q. Mei: Visualizing Large-scale and High-dimensional Data, arXiv:1602.00370, section 3.2.

    Examples
    --------
    >>> P = np.array([[0, 0], [5, 0], [0, 5]], dtype=np.float32)
    >>> moved = place(P, np.array([0]), np.array([1]), np.ones(1, np.float32), epochs=50, seed=0)
    >>> near, far = np.linalg.norm(moved[0] - moved[1]), np.linalg.norm(moved[0] - moved[2])
    >>> bool(near < far)
    True
    """
    out = np.array(P, dtype=np.float32, order="C")
    if not len(heads) or epochs < 1:
        return out
    every = (weights.max() / weights).astype(np.float32)
    due = every.copy()
    # The generator never leaves 0.
    state = np.array([(seed * 0x9E3779B97F4A7C15 + 0x2545F4914F6CDD1D) % 2**64 or 1], dtype=np.uint64)
    for begin in range(0, epochs, _PART):
        end = min(begin + _PART, epochs)
        _move(out, heads, tails, every, due, state, begin, end, epochs)
        if progress is not None:
            progress(end / epochs)
    return out
