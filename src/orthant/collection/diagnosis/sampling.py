"""The rows that a diagnosis looks at, and their exact neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orthant.collection.spaces import require_dense
from orthant.collection.storage.generation import Generation
from orthant.index.flat import Flat
from orthant.kernels import bitmaps
from orthant.types import FloatArray, IdArray

__all__ = ["Sample", "distances_to", "draw", "live_rows", "without"]

_NEIGHBOURS = 100


@dataclass(frozen=True)
class Sample:
    """Rows, and what lies around them.

    Attributes
    ----------
    rows : ndarray of shape (m,), int64
        Rows of the collection; -1 for a query that is no record.
    vectors : ndarray of shape (m, dim), float32
        Their vectors.
    neighbours : ndarray of shape (m, k), int64
        Exact nearest other rows, nearest first.
    distances : ndarray of shape (m, k), float64
        Euclidean distances to them; of unit vectors under cosine.
    """

    rows: IdArray
    vectors: FloatArray
    neighbours: IdArray
    distances: npt.NDArray[np.float64]


def live_rows(generation: Generation, space: str) -> IdArray:
    """Return the rows that have a vector in a space.

    Parameters
    ----------
    generation : Generation
        What is seen.
    space : str
        Name of the space.

    Returns
    -------
    ndarray of shape (n,), int64
        Live rows, ascending.
    """
    parts = [view.rows for view in generation.spaces[space].segments]
    rows = np.concatenate([np.zeros(0, np.int64), *parts])
    return np.sort(rows[bitmaps.contains_rows(generation.live, rows)])


def distances_to(generation: Generation, space: str) -> Flat:
    """Return an index whose scores are distances: the space's own, or the Euclidean one where it scores by products.

    Parameters
    ----------
    generation : Generation
        What is seen.
    space : str
        Name of the space.

    Returns
    -------
    Flat
        Of metric cosine or l2.
    """
    state = generation.spaces[space]
    require_dense(state.definition)
    if state.definition.metric != "dot":
        return generation.index(space)
    return Flat.over(state.blocks(), dim=state.definition.dim, metric="l2", live=generation.live)


def draw(index: Flat, rows: IdArray, vectors: FloatArray, *, threads: int | None = None) -> Sample:
    """Find the nearest other rows of some vectors, exactly.

    Parameters
    ----------
    index : Flat
        As `distances_to` makes it.
    rows : ndarray of shape (m,), int64
        Their rows, or -1.
    vectors : ndarray of shape (m, dim), float32
        Vectors.
    threads : int, optional
        Of the scan.

    Returns
    -------
    Sample
        With up to 100 neighbours each.
    """
    k = min(_NEIGHBOURS, len(index) - 1)
    hits = index.search(vectors, k + 1, threads=threads)
    neighbours, kept = without(hits.ids, rows)
    scores = np.take_along_axis(hits.scores.astype(np.float64), kept, axis=1)
    squares = 2.0 - 2.0 * scores if index.metric == "cosine" else -scores
    # Rounding in float32 makes distances below this of equal vectors.
    squares[squares < 1e-6 * max(1.0, float(np.median(squares)))] = 0.0
    return Sample(rows, vectors, neighbours, np.sort(np.sqrt(squares), axis=1))


def without(ids: IdArray, own: IdArray) -> tuple[IdArray, IdArray]:
    """Leave the row itself out of every list, or the last entry where it is not in it.

    Parameters
    ----------
    ids : ndarray of shape (m, k + 1), int64
        Lists.
    own : ndarray of shape (m,), int64
        Rows themselves, or -1.

    Returns
    -------
    lists : ndarray of shape (m, k), int64
        Without them.
    kept : ndarray of shape (m, k), int64
        Columns that were kept.
    """
    drop = np.where((ids == own[:, None]).any(axis=1), np.argmax(ids == own[:, None], axis=1), ids.shape[1] - 1)
    columns = np.arange(ids.shape[1] - 1)[None, :]
    kept = columns + (columns >= drop[:, None])
    return np.take_along_axis(ids, kept, axis=1), kept
