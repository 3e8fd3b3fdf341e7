"""What is on its way into the store, and what follows from it in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from orthant.collection.columns.table import Columns
from orthant.collection.lexical.index import Lexical
from orthant.collection.storage.generation import Generation
from orthant.encoders.sparse.rows import SparseRows
from orthant.kernels import bitmaps
from orthant.types import BitmapArray, FloatArray, IdArray

__all__ = ["Batch", "Commit", "derive"]


@dataclass(frozen=True)
class Batch:
    """Checked records on their way into the store.

    Attributes
    ----------
    ids : list of str
        Distinct record ids.
    texts : list of str or None
        One per id.
    metadata : list of dict
        One per id.
    encoded : list of str
        The metadata as JSON texts.
    vectors : dict of str to (ndarray, ndarray)
        Per space, positions of shape (m,) within the batch, ascending, and vectors of shape (m, dim). A record with
        several vectors stands once for each.
    sparse : dict of str to (ndarray, SparseRows)
        Per sparse space, positions in the same way, and m rows.
    """

    ids: list[str]
    texts: list[str | None]
    metadata: list[dict]
    encoded: list[str]
    vectors: dict[str, tuple[IdArray, FloatArray]] = field(default_factory=dict)
    sparse: dict[str, tuple[IdArray, SparseRows]] = field(default_factory=dict)


@dataclass(frozen=True)
class Commit:
    """What a commit changed.

    Attributes
    ----------
    generation : int
        Its number.
    added : int
        Records written.
    removed : int
        Records that went, replaced ones included.
    graph_s : float
        Seconds that building or extending graphs took on the way.
    """

    generation: int
    added: int
    removed: int
    graph_s: float = 0.0


def derive(now: Generation, batch: Batch, rows: IdArray, gone: IdArray) -> tuple[Columns, Lexical, BitmapArray]:
    """Return columns, postings and live rows of the generation that follows.

    Parameters
    ----------
    now : Generation
        The current one.
    batch : Batch
        What is written.
    rows : ndarray of shape (n,), int64
        Rows of the batch.
    gone : ndarray of shape (m,), int64
        Rows that are replaced or removed.

    Returns
    -------
    columns : Columns
        New value.
    lexical : Lexical
        New value.
    live : ndarray of uint64
        New bitmap.
    """
    columns, lexical, live = now.columns, now.lexical, now.live
    if len(gone):
        lexical = lexical.without(gone)
        live = bitmaps.clear_rows(live, gone)
    if len(rows):
        columns = columns.with_batch(rows, batch.metadata)
        lexical = lexical.with_batch(rows, ["" if text is None else text for text in batch.texts])
        live = bitmaps.set_rows(live, rows)
    return columns, lexical, live
