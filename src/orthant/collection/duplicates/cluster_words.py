"""The words that tell one cluster from the others, counted in the postings that search by words uses."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orthant.collection.lexical.index import Lexical
from orthant.types import IdArray

__all__ = ["cluster_words"]

_FRACTION = 0.5
"""Added to the records with and without a word, so that one seen nowhere else is not infinitely telling."""


def cluster_words(
    lexical: Lexical, rows: IdArray, labels: IdArray, count: int, *, top: int = 8
) -> list[tuple[str, ...]]:
    """Return the most telling words of each cluster.

    Parameters
    ----------
    lexical : Lexical
        Postings of the texts.
    rows : ndarray of shape (n,), int64
        Ascending rows of the clustered records.
    labels : ndarray of shape (n,), int64
        Their clusters; -1 for none, which counts as elsewhere.
    count : int
        Number of clusters.
    top : int, default 8
        Words per cluster at most.

    Returns
    -------
    list of tuple of str
        One per cluster, the most telling first. A word stands for all forms with its stem.

    Notes
    -----
    A word's weight is ``p * log(p / q)``: p the share of the cluster's records with it, q the share of the others.
    Words in a single record of a larger cluster are left out. Cost: one pass over the postings.
    """
    terms, owners, counts = _counted(lexical, rows, labels, count)
    if not len(terms):
        return [()] * count
    kinds, at = np.unique(terms, return_inverse=True)
    total = np.bincount(at, weights=counts)
    clustered = owners < count
    at, owners, counts = at[clustered], owners[clustered], counts[clustered].astype(np.float64)
    sizes = np.bincount(labels[labels >= 0], minlength=count).astype(np.float64)
    inside = counts / sizes[owners]
    smoothed = (counts + _FRACTION) / (sizes[owners] + 2 * _FRACTION)
    outside = (total[at] - counts + _FRACTION) / (len(rows) - sizes[owners] + 2 * _FRACTION)
    weight = inside * np.log(smoothed / outside)
    weight[(counts < 2) & (sizes[owners] > 3)] = 0
    out: list[tuple[str, ...]] = []
    for label in range(count):
        mine = np.flatnonzero((owners == label) & (weight > 0))
        mine = mine[np.lexsort((kinds[at[mine]], -weight[mine]))[:top]]
        out.append(tuple(lexical.spelling(int(kinds[at[i]])) for i in mine))
    return out


def _counted(
    lexical: Lexical, rows: IdArray, labels: IdArray, count: int
) -> tuple[IdArray, IdArray, npt.NDArray[np.int64]]:
    """Return term, cluster and number of records of every combination that occurs; cluster ``count`` is none."""
    width = count + 1
    own = np.where(labels < 0, count, labels)
    keys: list[IdArray] = []
    for chunk in lexical.chunks:
        numbers = chunk.find(rows)
        held = numbers >= 0
        label_of = np.full(len(chunk.documents.rows), -1, dtype=np.int64)
        label_of[numbers[held]] = own[held]
        postings = chunk.documents.postings
        entry = label_of[postings.docs]
        term = np.repeat(postings.terms.astype(np.int64), np.diff(postings.indptr))
        keys.append((term * width + entry)[entry >= 0])
    found, sizes = np.unique(np.concatenate([np.zeros(0, np.int64), *keys]), return_counts=True)
    return found // width, found % width, sizes
