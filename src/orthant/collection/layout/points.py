"""Places of a collection's records on a plane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from orthant.collection.diagnosis.sampling import live_rows, without
from orthant.collection.spaces import require_dense
from orthant.errors import NotFoundError, message
from orthant.kernels.layout.edges import neighbour_edges
from orthant.kernels.layout.forces import place
from orthant.types import FloatArray, IdArray
from orthant.validate import check_count

if TYPE_CHECKING:
    from orthant.collection.reading import CollectionReader
    from orthant.collection.storage.generation import Generation

__all__ = ["Layout", "field_of_rows", "lay_out", "records_of_rows"]

_NEIGHBOURS = 15
_REDUCED = 50
_EPOCHS = 120
_ACROSS = 10.0
_INNER = 0.85
# Shares of the work: neighbours are found in parts, so that a progress bar moves.
_PART = 2048
_FOUND = 0.5

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Layout:
    """Where records lie.

    Attributes
    ----------
    space : str
        Vector space that says what is close.
    rows : ndarray of shape (n,), int64
        Rows of the collection, ascending.
    places : ndarray of shape (n, 2), float32
        Centred, within -1 and 1.
    generation : int
        The commit that was seen.
    records : int
        Records with a vector in the space; more than n where a sample is shown.
    """

    space: str
    rows: IdArray
    places: FloatArray
    generation: int
    records: int


def lay_out(
    collection: CollectionReader,
    *,
    space: str = "default",
    limit: int = 20_000,
    seed: int = 0,
    epochs: int = _EPOCHS,
    progress: Progress | None = None,
) -> Layout:
    """Place the records of a collection on a plane, neighbours by their vectors close together.

    Distances between far groups mean little on such a map; look at what lies together. For figures use ``diagnose``.

    Parameters
    ----------
    collection : CollectionReader
        The opened collection.
    space : str, default "default"
        Vector space.
    limit : int, default 20,000
        Records at most, evenly chosen in the order of insertion. More cost time as their square.
    seed : int, default 0
        Of the random pairs.
    epochs : int, default 120
        Rounds of moving; 0 leaves the two principal components.
    progress : callable of (str, float), optional
        Told the stage and the share that is done of all.

    Returns
    -------
    Layout
        Rows with places; equal for equal vectors and seed.

    Raises
    ------
    NotFoundError
        No such space.
    InputError
        A space of tokens, or a limit below 1.

    Notes
    -----
    Vectors are reduced to 50 principal components; 15 nearest others become weighted edges, and the two leading
    components are where points begin. Cost: O(n^2 50) for the neighbours, O(n d^2) for the components.

    Examples
    --------
    >>> import tempfile, orthant
    >>> with orthant.open(tempfile.mkdtemp()) as collection:
    ...     _ = collection.upsert(["a", "b", "c"], vectors=[[1, 0], [0.9, 0.1], [0, 1]])
    ...     lay_out(collection).places.shape
    (3, 2)
    """
    check_count(limit, name="limit")

    def read(connection: Any, now: Generation) -> tuple[IdArray, FloatArray, int, int]:
        every = live_rows(now, _dense_space(now, space))
        chosen = every if len(every) <= limit else every[np.arange(limit) * len(every) // limit]
        present, X = now.spaces[space].vectors_of(chosen)
        return np.asarray(chosen)[present], X, now.number, len(every)

    rows, X, generation, records = collection._store.read(read)
    metric = collection.spaces[space].metric
    return Layout(space, rows, _places(X, metric, seed, epochs, progress), generation, records)


def _dense_space(now: Generation, space: str) -> str:
    if space not in now.spaces:
        known = ", ".join(map(repr, now.spaces)) or "none"
        raise NotFoundError(message(f"space {space!r}", f"one of {known}", "check the name"))
    require_dense(now.spaces[space].definition)
    return space


def _places(X: FloatArray, metric: str, seed: int, epochs: int, progress: Progress | None) -> FloatArray:
    from orthant.transforms.moments import SecondMoments, leading_directions

    n, dim = X.shape
    if n < 2:
        return np.zeros((n, 2), dtype=np.float32)
    if metric == "cosine":
        X = (X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), np.finfo(np.float32).tiny)).astype(np.float32)
    moments = SecondMoments(dim)
    moments.update(X)
    directions, _ = leading_directions(moments.matrix(centred=True))
    reduced = (X - moments.mean.astype(np.float32)) @ directions[: min(_REDUCED, dim)].T.astype(np.float32)
    start = np.zeros((n, 2), dtype=np.float32)
    start[:, : min(2, dim)] = reduced[:, :2]
    start *= _ACROSS / max(float(np.abs(start).max()), 1e-9)
    if n > 2 and epochs:
        edges = neighbour_edges(*_nearest(reduced, progress))

        def told(share: float) -> None:
            if progress is not None:
                progress("placing points", _FOUND + (1 - _FOUND) * share)

        # Equal vectors would otherwise lie on one point for ever.
        start += np.random.default_rng(seed).normal(scale=1e-3, size=start.shape).astype(np.float32)
        start = place(start, *edges, epochs=epochs, seed=seed, progress=told)
    return _framed(start)


def _nearest(X: FloatArray, progress: Progress | None) -> tuple[IdArray, npt.NDArray[np.float64]]:
    from orthant.index.flat import Flat

    n = len(X)
    index = Flat.over([(np.ascontiguousarray(X), np.arange(n, dtype=np.int64))], dim=X.shape[1], metric="l2")
    k = min(_NEIGHBOURS, n - 1)
    lists, squares = [], []
    for begin in range(0, n, _PART):
        hits = index.search(X[begin : begin + _PART], k + 1)
        ids, kept = without(hits.ids, np.arange(begin, begin + len(hits.ids), dtype=np.int64))
        lists.append(ids)
        squares.append(-np.take_along_axis(hits.scores.astype(np.float64), kept, axis=1))
        if progress is not None:
            progress("finding neighbours", _FOUND * min(1.0, (begin + _PART) / n))
    return np.concatenate(lists), np.sqrt(np.maximum(np.concatenate(squares), 0.0))


def _framed(P: FloatArray) -> FloatArray:
    """Centred, and as large as fits: the few that lie far out come nearer, or the others would be a dot."""
    low, high = np.percentile(P, (2, 98), axis=0)
    P = (P - (low + high) / 2) / max(float((high - low).max()) / 2, 1e-9) * _INNER
    over = np.maximum(np.abs(P) - _INNER, 0.0) / (1 - _INNER)
    return np.clip(np.where(over > 0, np.sign(P) * (1 - (1 - _INNER) * np.exp(-over)), P), -1.0, 1.0).astype(np.float32)


def records_of_rows(collection: CollectionReader, rows: IdArray) -> list[str | None]:
    """Return the ids of rows.

    Parameters
    ----------
    collection : CollectionReader
        The opened collection.
    rows : ndarray of shape (n,), int64
        Rows.

    Returns
    -------
    list of (str or None)
        None where the record was removed or replaced since.
    """
    from orthant.collection.storage import tables

    def run(connection: Any, now: Generation) -> list[str | None]:
        found = tables.fetch_records(connection, collection._store.database, rows.tolist())
        return [found[row][0] if row in found else None for row in rows.tolist()]

    return collection._store.read(run)


def field_of_rows(collection: CollectionReader, field: str, rows: IdArray) -> list[Any]:
    """Return a metadata field's value of rows.

    Parameters
    ----------
    collection : CollectionReader
        The opened collection.
    field : str
        Dotted path.
    rows : ndarray of shape (n,), int64
        Rows.

    Returns
    -------
    list of length n
        None where it is missing, or the row is gone.
    """
    return collection._store.refreshed().columns.values(field, rows)
