"""The product of many rows with one vector, which is what an exact scan spends its time on.

NumPy's product answers at once; a Numba kernel, which reads memory about a third faster, is compiled behind the first
few large products and takes over when it is ready. Both are within the same rounding bound.
"""

from __future__ import annotations

from threading import Lock, Thread
from typing import Any

import numpy as np

from orthant.types import FloatArray

__all__ = ["dot_rows", "wait_until_compiled"]

# A process that searches a few times and ends should not start a compiler.
_PRODUCTS_BEFORE_COMPILING = 8
_LARGE = 1 << 20

_lock = Lock()
_large_products = 0
_compiler: Thread | None = None
_kernel: Any = None


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
    kernel = _kernel
    if kernel is None:
        _count()
        return np.dot(X, q)
    out = np.empty(len(X), dtype=np.float32)
    kernel(_plain(X), _plain(np.ascontiguousarray(q)), out)
    return out


def _plain(X: Any) -> Any:
    # One type for memory maps, read-only and writable arrays: otherwise each would be compiled anew.
    view = np.asarray(X).view()
    view.flags.writeable = False
    return view


def _count() -> None:
    global _large_products, _compiler
    with _lock:
        _large_products += 1
        if _large_products == _PRODUCTS_BEFORE_COMPILING and _compiler is None:
            # Not a daemon: a compiler that is torn down with the interpreter can take the process with it.
            _compiler = Thread(target=_compile, name="orthant-compiler")
            _compiler.start()


def _compile() -> None:
    global _kernel
    import numba

    kernel = numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})(_dot_range)
    kernel(_plain(np.zeros((1, 1), np.float32)), _plain(np.zeros(1, np.float32)), np.zeros(1, np.float32))
    _kernel = kernel


def wait_until_compiled() -> None:
    """Compile the kernel now and return when it is ready; for benchmarks and warm-up.

    Notes
    -----
    Takes about a second once per machine, then a fraction of it, which is Numba's own import.
    """
    global _compiler
    with _lock:
        if _compiler is None:
            _compiler = Thread(target=_compile, name="orthant-compiler")
            _compiler.start()
    _compiler.join()


def _dot_range(X: Any, q: Any, out: Any) -> None:
    for i in range(X.shape[0]):
        total = np.float32(0.0)
        for j in range(X.shape[1]):
            total += X[i, j] * q[j]
        out[i] = total
