"""From weights of all concepts to the strongest ones of each text, at unit length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.types import FloatArray

__all__ = ["check_concepts", "joined_names", "split_names", "strongest"]


def check_concepts(concepts: Any) -> list[str]:
    """Return the names of concepts, all different.

    Parameters
    ----------
    concepts : sequence of str
        At least two.

    Returns
    -------
    list of str
        The same.

    Raises
    ------
    InputError
        Fewer than two, one twice, or one that is no text.
    """
    if isinstance(concepts, (str, bytes)) or not isinstance(concepts, Sequence) or len(concepts) < 2:
        raise InputError(message("fewer than two concepts", "a list of at least two names", "name what texts speak of"))
    seen: set[str] = set()
    for name in concepts:
        # Names are stored one per line.
        if not isinstance(name, str) or not name.strip() or "\n" in name:
            raise InputError(message(f"the concept {name!r}", "a name on one line", "call it something"))
        if name in seen:
            raise InputError(message(f"the concept {name!r} twice", "different names", "join both"))
        seen.add(name)
    return list(concepts)


def strongest(weights: FloatArray, keep: int) -> Any:
    """Keep the largest weights of each row and bring it to unit length.

    Parameters
    ----------
    weights : ndarray of shape (n, m), float32
        Of 0 or more.
    keep : int
        Concepts per row at most.

    Returns
    -------
    scipy.sparse.csr_matrix of shape (n, m), float32
        Concepts ascending; a row of zeros has none.

    Notes
    -----
    Cost: O(n m) and a sort of what is kept. Of equal weights the first concepts are kept.
    """
    from scipy.sparse import csr_matrix

    n, m = weights.shape
    if keep < m:
        order = np.sort(np.argsort(-weights, axis=1, kind="stable")[:, :keep], axis=1)
    else:
        order = np.broadcast_to(np.arange(m), (n, m))
    values = np.take_along_axis(weights, order, axis=1).astype(np.float64)
    norms = np.sqrt(np.einsum("ij,ij->i", values, values))
    values = (values / np.where(norms > 0, norms, 1.0)[:, None]).astype(np.float32)
    used = values > 0
    indptr = np.concatenate([[0], np.cumsum(used.sum(axis=1))])
    return csr_matrix((values[used], order[used].astype(np.int32), indptr), shape=(n, m))


def joined_names(names: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Return names as an array that an artefact can hold.

    Parameters
    ----------
    names : sequence of str
        Without line breaks.

    Returns
    -------
    ndarray of shape (b,), uint8
        UTF-8, one per line.
    """
    return np.frombuffer("\n".join(names).encode(), dtype=np.uint8).copy()


def split_names(array: npt.NDArray[Any]) -> list[str]:
    """Return the names that ``joined_names`` joined.

    Parameters
    ----------
    array : ndarray of shape (b,), uint8
        What it returned.

    Returns
    -------
    list of str
        In their order.
    """
    return array.tobytes().decode().split("\n")
