"""What is compared: the rows that a filter allows, their vectors and shingles, and copies as one node each."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.collection.columns.where import parse_where
from orthant.collection.duplicates.shingles import ShingleSets, shingle_sets
from orthant.collection.storage import tables
from orthant.collection.storage.generation import Generation
from orthant.collection.storage.store import Store
from orthant.errors import NotFoundError, message
from orthant.kernels import bitmaps
from orthant.types import FloatArray, IdArray

__all__ = ["Compared", "allowed_rows", "read_texts", "read_vectors", "require_space", "select"]


@dataclass(frozen=True)
class Compared:
    """Records that are compared, as of one generation.

    Attributes
    ----------
    rows : ndarray of shape (n,), int64
        Ascending rows.
    left_out : int
        Records that the filter allows, but that lack what is compared.
    X : ndarray of shape (n, d), float32, or None
        Their vectors.
    sets : ShingleSets or None
        Their shingles.
    nodes : ndarray of shape (n,), int64
        Equal for records that are equal in all that is compared; numbered by first occurrence.
    firsts : ndarray of shape (m,), int64
        Position of the first record of each node.
    """

    rows: IdArray
    left_out: int
    X: FloatArray | None
    sets: ShingleSets | None
    nodes: IdArray
    firsts: IdArray

    def positions(self, rows: IdArray) -> IdArray:
        """Return the positions of rows.

        Parameters
        ----------
        rows : ndarray of shape (m,), int64
            Any rows.

        Returns
        -------
        ndarray of shape (m,), int64
            -1 where a row is not compared.
        """
        if not len(self.rows):
            return np.full(len(rows), -1, dtype=np.int64)
        at = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        return np.where(self.rows[at] == rows, at, -1)


def require_space(now: Generation, space: str) -> None:
    """Refuse a space that does not exist.

    Parameters
    ----------
    now : Generation
        The generation.
    space : str
        Its name.

    Raises
    ------
    NotFoundError
        There is no such space.
    """
    if not isinstance(space, str) or space not in now.spaces:
        known = ", ".join(now.spaces) or "none"
        raise NotFoundError(
            message(f"space {space!r}", f"one of: {known}", "check the name, or compare texts with by='text'")
        )


def allowed_rows(now: Generation, where: Mapping[str, Any] | None) -> IdArray:
    """Return the live rows that a filter allows.

    Parameters
    ----------
    now : Generation
        The generation.
    where : mapping or None
        The filter.

    Returns
    -------
    ndarray of shape (n,), int64
        Ascending.
    """
    if where is None:
        return bitmaps.to_rows(now.live)
    return bitmaps.to_rows(now.columns.evaluate(parse_where(where), live=now.live).bitmap)


def read_vectors(
    now: Generation, space: str, rows: IdArray, *, directed: bool = True
) -> tuple[npt.NDArray[np.bool_], FloatArray]:
    """Return which rows have a vector, and these vectors.

    Parameters
    ----------
    now : Generation
        The generation.
    space : str
        The space.
    rows : ndarray of shape (n,), int64
        Rows.
    directed : bool, default True
        Pass over zero vectors, which have no cosine with anything.

    Returns
    -------
    present : ndarray of shape (n,), bool
        False where there is no vector, or one that was passed over.
    X : ndarray of shape (present.sum(), d), float32
        Copies.
    """
    now.spaces[space].hold()
    present, X = now.spaces[space].vectors_of(rows)
    if not directed:
        return present, X
    useful = X.any(axis=1)
    present[present] = useful
    return present, X[useful]


def read_texts(connection: sqlite3.Connection, store: Store, rows: IdArray) -> list[str]:
    """Return the texts of rows, empty where there is none.

    Parameters
    ----------
    connection : sqlite3.Connection
        Of the generation.
    store : Store
        The store.
    rows : ndarray of shape (n,), int64
        Rows that exist.

    Returns
    -------
    list of str
        In the order of the rows.
    """
    found = tables.fetch_records(connection, store.database, rows.tolist())
    lost = [row for row in rows.tolist() if row not in found]
    if lost:
        raise store.database.corrupted(f"row {lost[0]} is indexed but has no record")
    return [found[row][1] or "" for row in rows.tolist()]


def select(
    connection: sqlite3.Connection,
    store: Store,
    now: Generation,
    *,
    space: str | None,
    width: int | None,
    where: Mapping[str, Any] | None,
) -> Compared:
    """Read what is compared.

    Parameters
    ----------
    connection, store, now
        One view of the store.
    space : str or None
        Compare vectors of this space.
    width : int or None
        Compare shingles of so many words.
    where : mapping or None
        Only records that match.

    Returns
    -------
    Compared
        Vectors and shingles as asked for.
    """
    rows = allowed_rows(now, where)
    allowed = len(rows)
    X: FloatArray | None = None
    if space is not None:
        require_space(now, space)
        present, X = read_vectors(now, space, rows)
        rows = rows[present]
    sets: ShingleSets | None = None
    if width is not None:
        sets = shingle_sets(read_texts(connection, store, rows), analyzer=now.lexical.analyzer, width=width)
        worded = np.flatnonzero(sets.sizes)
        rows, sets = rows[worded], sets.take(worded)
        X = None if X is None else X[worded]
    keys: list[Iterable[Any]] = []
    if X is not None:
        keys.append(x.tobytes() for x in X)
    if sets is not None:
        keys.append(sets.identity().tolist())
    known: dict[Any, int] = {}
    parts = zip(*keys, strict=True)
    nodes = np.fromiter((known.setdefault(part, len(known)) for part in parts), dtype=np.int64, count=len(rows))
    firsts = np.unique(nodes, return_index=True)[1].astype(np.int64)
    return Compared(rows, allowed - len(rows), X, sets, nodes, firsts)
