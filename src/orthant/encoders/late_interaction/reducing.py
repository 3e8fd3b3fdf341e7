"""Fewer vectors per text: the reducers that a saved model may bring, computed by NumPy and SciPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from orthant.encoders.late_interaction.rules import ReducerSettings
from orthant.types import FloatArray, Ragged

__all__ = ["hierarchical_pool", "make_reducer"]


def make_reducer(given: ReducerSettings) -> Callable[[Ragged], Ragged]:
    """Return the function from token vectors to fewer of them.

    Parameters
    ----------
    given : ReducerSettings
        What the folder says.

    Returns
    -------
    callable of Ragged
        Ragged to Ragged, text by text.
    """
    if given.kind == "cluster":
        from orthant.transforms.token_clustering import TokenClusterer

        return TokenClusterer(**given.settings).transform
    settings: dict[str, Any] = dict(given.settings)
    if given.kind in ("head", "tail", "stride"):
        k = int(settings["k"])
        which = {"head": slice(k), "tail": slice(-k, None), "stride": slice(None, None, k)}[given.kind]
        return lambda texts: _picked(texts, which)
    factor, protected = float(settings["pool_factor"]), int(settings["num_protected_tokens"])
    normalize = bool(settings["normalize_embeddings"])

    def reduce(texts: Ragged) -> Ragged:
        rows = [hierarchical_pool(texts[i], factor=factor, protected=protected) for i in range(len(texts))]
        values = np.concatenate([texts.values[:0], *rows])
        if normalize:
            values = values / np.maximum(np.sqrt(np.einsum("ij,ij->i", values, values))[:, None], np.float32(1e-12))
        return Ragged(values, np.cumsum([0, *(len(row) for row in rows)], dtype=np.int64))

    return reduce


def _picked(texts: Ragged, which: slice) -> Ragged:
    rows = [texts[i][which] for i in range(len(texts))]
    return Ragged(np.concatenate([texts.values[:0], *rows]), np.cumsum([0, *map(len, rows)], dtype=np.int64))


def hierarchical_pool(tokens: FloatArray, *, factor: float, protected: int = 1) -> FloatArray:
    """Replace tokens by the means of clusters that Ward's method forms by cosine distance.

    Parameters
    ----------
    tokens : ndarray of shape (t, d), float32
        Unit vectors of one text.
    factor : float
        One vector is kept per so many tokens; 1 keeps all.
    protected : int, default 1
        Leading tokens that stay as they are, such as [CLS].

    Returns
    -------
    ndarray of shape (kept, d), float32
        Protected tokens, then means in the order in which SciPy numbers the clusters.

    References
    ----------
    B. Clavié et al.: Reducing the Footprint of Multi-Vector Retrieval with Minimal Performance Impact via Token
    Pooling, arXiv:2409.14683, section 2.

    Examples
    --------
    >>> tokens = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    >>> hierarchical_pool(tokens, factor=1.5, protected=0)
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    rest = tokens[protected:]
    wanted = max(int(len(rest) // factor), 1)
    if wanted >= len(rest):
        return tokens
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    distances = np.clip(1 - rest @ rest.T, 0, 2)
    labels = fcluster(linkage(squareform(distances, checks=False), method="ward"), t=wanted, criterion="maxclust")
    _, found, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    means = np.zeros((len(sizes), tokens.shape[1]), dtype=np.float32)
    np.add.at(means, found, rest)
    return np.concatenate([tokens[:protected], means / sizes[:, None].astype(np.float32)])
