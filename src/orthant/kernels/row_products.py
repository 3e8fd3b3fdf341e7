"""The product of many rows with one vector, which is what an exact scan spends its time on.

NumPy's product answers at once; a Numba kernel, which reads memory about a third faster, is compiled behind the first
few large products and takes over when it is ready. Both are within the same rounding bound.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any

import numpy as np

from orthant.kernels.compiling import kernel
from orthant.kernels.warmup import ensure_compiling, is_ready
from orthant.types import FloatArray

__all__ = ["GROUP", "dot_rows"]

GROUP = "scan"
"""The group of kernels that large scans use once it is compiled."""

# A process that searches a few times and ends should not start a compiler.
_PRODUCTS_BEFORE_COMPILING = 8
_LARGE = 1 << 20

_large_products = count(1)


def dot_rows(X: FloatArray, q: FloatArray) -> FloatArray:
    """Return the dot product of each row with a vector.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32, C-contiguous
        Rows.
    q : ndarray of shape (d,), float32
        The vector.

    Returns
    -------
    ndarray of shape (n,), float32
        Within ``d * eps`` of the truth relative to the norms, in whatever order the terms are added.

    Notes
    -----
    Cost: one pass over X. One thread is enough: a core reads memory about as fast as the machine delivers it.
    """
    if X.size < _LARGE or X.dtype != np.float32 or not X.flags.c_contiguous:
        return np.dot(X, q)
    if not is_ready(GROUP):
        _count()
        return np.dot(X, q)
    out = np.empty(len(X), dtype=np.float32)
    _dot_range(_plain(X), _plain(np.ascontiguousarray(q)), out)
    return out


def _plain(X: Any) -> Any:
    # One type for memory maps, read-only and writable arrays: otherwise each would be compiled anew.
    view = np.asarray(X).view()
    view.flags.writeable = False
    return view


def _count() -> None:
    if next(_large_products) >= _PRODUCTS_BEFORE_COMPILING:
        ensure_compiling(GROUP)


def _examples() -> Iterable[tuple[Any, ...]]:
    yield _plain(np.zeros((1, 1), np.float32)), _plain(np.zeros(1, np.float32)), np.zeros(1, np.float32)


@kernel(fastmath={"reassoc", "contract"}, group=GROUP, examples=_examples)
def _dot_range(X: Any, q: Any, out: Any) -> None:
    for i in range(X.shape[0]):
        total = np.float32(0.0)
        for j in range(X.shape[1]):
            total += X[i, j] * q[j]
        out[i] = total
