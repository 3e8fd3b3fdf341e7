"""When graphs are built, extended, saved and dropped: upkeep of the writer, bounded per commit.

Rows written since the graph was made are its tail: searched by a scan, so they are found at once. Merging inserts them
into a copy of the graph, without the rows deleted since, saves it and publishes it as a generation of its own; searches
go on meanwhile on the graph they have.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from orthant.collection.storage import graphs
from orthant.collection.storage.files import storage_error
from orthant.collection.storage.generation import Generation, SpaceState, distinct
from orthant.collection.storage.settings.compression import StoredCompression, write_compression
from orthant.encoders.progress import progress_bar
from orthant.errors import quiet
from orthant.kernels import bitmaps
from orthant.kernels.files.rows import release
from orthant.types import FloatArray

if TYPE_CHECKING:
    from orthant.collection.storage.store import Store

__all__ = [
    "BREAK_EVEN",
    "CODED_FROM",
    "after_commit",
    "at_close",
    "before_compaction",
    "build",
    "drop",
    "finish",
    "least_vectors",
    "pending",
    "publish_index",
    "recode",
    "settle",
]

BREAK_EVEN = 20_000
"""Vectors from which a space gets a graph. A scan of 20,000 x 384 float32 reads 31 MB, about two milliseconds on one
core, is exact, costs nothing to build and never waits for a compiler; a graph search with its overhead is not twice as
quick there, and pulls ahead with every further row."""

CODED_FROM = 1000
"""Vectors from which a space can be compressed. Codes learned from fewer would not stand for those that follow."""

_TAIL_ROWS = 8192
_TAIL_SHARE = 0.05
_DEAD_SHARE = 0.20
_MOST_DEAD_SHARE = 0.40
_ROWS_PER_COMMIT = 32_768
_CLOSE_ROWS = 1024
_CLOSE_SHARE = 0.01
_CALIBRATED_GROWTH = 1.25
_REMOVAL_COST = 10
"""Inserted rows that a removed one is worth: everything that linked to it is linked anew."""
_REPAIR_PER_COMMIT = 4
"""Steps of insertions that a commit may spend on taking dead rows out."""


@dataclass(frozen=True)
class Pending:
    """What a space's graph lacks.

    Attributes
    ----------
    live : int
        Live vectors.
    graph : int
        Rows in the graph, dead ones included; 0 without a usable one.
    tail : int
        Live vectors that are not in it.
    dead : int
        Rows of the graph that are no longer live.
    coded : bool
        Whether it is codes that the space has, or should have, in place of a graph.
    least : int
        Vectors, or records of a space of tokens, up to which everything is compared.
    """

    live: int
    graph: int
    tail: int
    dead: int
    coded: bool = False
    least: int = BREAK_EVEN

    @property
    def wanted(self) -> bool:
        """Whether a space of this size has a graph; one that shrinks keeps it down to half the break-even."""
        return self.live > (self.least // 2 if self.graph else self.least)

    @property
    def cleaning(self) -> int:
        """Cost of a graph without dead rows, in inserted rows: repaired, or made anew where that is cheaper."""
        if self.coded:
            return self.tail
        return min(self.tail + _REMOVAL_COST * self.dead, self.live)

    def long(self, rows: int, share: float) -> bool:
        """Return whether the tail is more than is left to the scan."""
        return not self.graph or self.tail > max(rows, share * self.graph)

    def exceeds(self, rows: int, share: float, dead_share: float) -> bool:
        """Return whether tail or dead rows are more than is left to searches."""
        if not self.wanted:
            return self.graph > 0
        return not self.graph or self.tail > max(rows, share * self.graph) or self.dead > dead_share * self.graph


def pending(generation: Generation, name: str) -> Pending:
    """Count what a space's graph lacks.

    Parameters
    ----------
    generation : Generation
        The current one.
    name : str
        The space.

    Returns
    -------
    Pending
        Cost O(rows).
    """
    space = generation.spaces[name]
    # A graph over single tokens would find tokens, not records: these are what counts there.
    counted = space.live_records if space.definition.kind == "tokens" else space.live_count
    coded, least = space.compression is not None, least_vectors(space)
    live, graph = counted(generation.live), space.graph
    if graph is None or graph.problem is not None:
        return Pending(live, 0, live, 0, coded, least)
    held = counted(generation.live, below=graph.below)
    return Pending(live, graph.rows, live - held, graph.rows - held, coded, least)


def least_vectors(space: SpaceState) -> int:
    """Return the number of vectors, or of records with tokens, up to which a space is scanned.

    Parameters
    ----------
    space : SpaceState
        The space.

    Returns
    -------
    int
        Its break-even.
    """
    if space.definition.kind == "tokens":
        # An empty space has nothing to learn from.
        return sys.maxsize if space.codes is None else max(0, space.shortcut.exact_below - 1)
    return BREAK_EVEN if space.compression is None else CODED_FROM - 1


def _settled(generation: Generation) -> list[str]:
    """Return the spaces but those that an upgrade is filling: a graph would miss what comes below its watermark."""
    return [name for name in generation.spaces if name not in generation.upgrade.filling]


def after_commit(store: Store, *, removed: int) -> None:
    """Build or extend the graphs that are due, by at most 32,768 rows each.

    Parameters
    ----------
    store : Store
        The writer.
    removed : int
        Records that the commit removed.

    Notes
    -----
    A tail of 8,192 rows or 5 % is left to the scan. A backlog that is larger than one step, as after the loss of a
    graph file, is worked off by the commits that follow, or at once by ``finish`` and on ``close``.
    """
    for name in _settled(store.generation):
        space = store.generation.spaces[name]
        if not removed and not _may_be_due(space, store.generation.next_row):
            continue
        lacks = pending(store.generation, name)
        due = lacks.exceeds(_TAIL_ROWS, _TAIL_SHARE, _DEAD_SHARE)
        if due and (_affordable(lacks) or lacks.long(_TAIL_ROWS, _TAIL_SHARE)):
            _step(store, name, lacks, limit=_ROWS_PER_COMMIT)


def _affordable(lacks: Pending) -> bool:
    """Whether a commit may take dead rows out; else they stay masked until ``finish``, ``close``, or two in five."""
    bounded = lacks.cleaning <= _REPAIR_PER_COMMIT * _ROWS_PER_COMMIT
    return not lacks.wanted or bounded or lacks.dead > _MOST_DEAD_SHARE * lacks.graph


def _may_be_due(space: SpaceState, next_row: int) -> bool:
    """Look without counting: a commit of one record must not pass over all rows."""
    # Slots of tokens are more than their records, of which there are no more than rows.
    if space.graph is None or space.graph.problem is not None:
        return min(space.slots, next_row) > least_vectors(space)
    late = min(space.slots_from(space.graph.below), next_row - space.graph.below)
    return late > max(_TAIL_ROWS, _TAIL_SHARE * space.graph.rows)


def before_compaction(store: Store, name: str) -> bool:
    """Take dead rows out of a graph while their vectors are still there.

    Parameters
    ----------
    store : Store
        The writer.
    name : str
        The space whose segments are about to lose dead rows.

    Returns
    -------
    bool
        Whether the graph can do without their vectors; False where that is more work than a commit may bring.
    """
    lacks = pending(store.generation, name)
    if not lacks.graph or not lacks.dead:
        return True
    if _affordable(lacks):
        _step(store, name, lacks, limit=_ROWS_PER_COMMIT)
        return True
    return False


def settle(store: Store) -> None:
    """Merge what is due whole, as at the end of a bulk load.

    Parameters
    ----------
    store : Store
        The writer.
    """
    for name in _settled(store.generation):
        lacks = pending(store.generation, name)
        if lacks.exceeds(_TAIL_ROWS, _TAIL_SHARE, _DEAD_SHARE):
            _step(store, name, lacks, limit=None)


def at_close(store: Store) -> None:
    """Merge all but a tail that is not worth writing the graph for: 1,024 rows or 1 %.

    Parameters
    ----------
    store : Store
        The writer.
    """
    for name in _settled(store.generation):
        lacks = pending(store.generation, name)
        if lacks.exceeds(_CLOSE_ROWS, _CLOSE_SHARE, _TAIL_SHARE):
            _step(store, name, lacks, limit=None)


def finish(store: Store) -> dict[str, Pending]:
    """Merge every row of every space that has, or should have, a graph.

    Parameters
    ----------
    store : Store
        The writer.

    Returns
    -------
    dict of str to Pending
        Per space, what was merged.
    """
    out = {}
    for name in _settled(store.generation):
        store.generation.spaces[name].attached_graph()
        lacks = out[name] = pending(store.generation, name)
        if lacks.exceeds(0, 0.0, 0.0):
            _step(store, name, lacks, limit=None)
    return out


def drop(store: Store, name: str) -> None:
    """Forget a space's graph; it is scanned until the next one is made.

    Parameters
    ----------
    store : Store
        The writer.
    name : str
        The space.
    """
    with store.writer() as now:
        store.publish(_with_graph(now, name, None), lambda connection: None)
        graphs.keep_only(store.path, now.spaces[name].definition.place, -1)


def recode(store: Store, name: str, setting: StoredCompression | None, *, queries: FloatArray | None = None) -> None:
    """Change what a space is searched by, in one commit; searches go on meanwhile on what they have.

    Parameters
    ----------
    store : Store
        The writer.
    name : str
        The space.
    setting : StoredCompression or None
        Codes; None goes back to a graph or a scan.
    queries : ndarray of shape (q, dim), float32, optional
        What to calibrate recall with, in place of held-out rows.

    Notes
    -----
    Cost: that of learning codes and encoding every vector, or of building a graph.
    """
    with store.writer() as now, progress_bar(1, shown=store.show_progress, label="encoding") as advance:
        space = replace(now.spaces[name], compression=setting, graph=None)
        now = replace(now, spaces={**now.spaces, name: space}, _indexes={})
        saved = None
        try:
            if pending(now, name).wanted:
                index = build(now, space, now.next_row, advance)
                index.calibrate(queries)
                saved = graphs.save(
                    store.path,
                    space.definition,
                    index,
                    number=now.number,
                    below=now.next_row,
                    calibrated_rows=len(index),
                    files=store.files,
                    codes=space.codes,
                )
        except OSError as error:
            raise storage_error(error, store.path, "write") from error
        following = _with_graph(now, name, saved)
        place = space.definition.place
        store.publish(following, lambda connection: write_compression(connection, place, setting))
        graphs.keep_only(store.path, place, -1 if saved is None else saved.number)


def _step(store: Store, name: str, lacks: Pending, *, limit: int | None) -> None:
    began = time.perf_counter()
    try:
        with (
            store.writer() as now,
            progress_bar(1, shown=store.show_progress, label="building the graph") as advance,
        ):
            if lacks.wanted:
                _merge(store, now, name, lacks, limit, advance)
            else:
                drop(store, name)
    except OSError as error:
        raise storage_error(error, store.path, "write") from error
    finally:
        store.graph_seconds += time.perf_counter() - began


def _merge(
    store: Store, now: Generation, name: str, lacks: Pending, limit: int | None, advance: Callable[[float], None]
) -> None:
    space = now.spaces[name]
    below = now.next_row if limit is None else _watermark(space, limit)
    calibrated = 0 if space.graph is None else space.graph.calibrated_rows
    clean = limit is None or _affordable(lacks)
    # A graph that more than doubles is made anew, so that its reduction is learned from all; one that loses much, since
    # that is quicker than repairing it.
    anew = not lacks.graph or (limit is None and lacks.tail >= lacks.graph)
    # Codes without a row are the others as they are.
    anew = anew or (clean and not lacks.coded and lacks.tail + _REMOVAL_COST * lacks.dead > lacks.live)
    old = None if anew else space.attached_graph()
    index = None if old is None else _extended(now, space, old, below, clean=clean)
    if index is None:
        # A damaged file loses the queries it suited; then the graph is calibrated on rows again.
        known = space.attached_graph()
        queries = getattr(known, "queries", None)
        index = build(now, space, below, advance, queries=queries)
        calibrated = 0 if queries is None else len(index)
    if not calibrated or not calibrated / _CALIBRATED_GROWTH <= len(index) <= calibrated * _CALIBRATED_GROWTH:
        _calibrate(index)
        calibrated = len(index)
    publish_index(store, now, name, index, below=below, calibrated_rows=calibrated)


def _calibrate(index: Any) -> None:
    """Measure recall; a graph that suits sample queries is made to suit them again, since new rows lack their links."""
    if getattr(index, "queries", None) is None:
        index.calibrate()
    else:
        index.tune()


def publish_index(
    store: Store, now: Generation, name: str, index: Any, *, below: int, calibrated_rows: int
) -> graphs.SpaceGraph:
    """Save a graph and let it serve from a generation of its own on.

    Parameters
    ----------
    store : Store
        The writer.
    now : Generation
        What the graph was made of.
    name : str
        The space.
    index : Graph
        What to save.
    below : int
        Every live row below it that has a vector is in the graph.
    calibrated_rows : int
        Rows it had when it was last calibrated.

    Returns
    -------
    SpaceGraph
        The saved file.
    """
    saved = graphs.save(
        store.path,
        now.spaces[name].definition,
        index,
        number=now.number,
        below=below,
        calibrated_rows=calibrated_rows,
        files=store.files,
        codes=now.spaces[name].codes,
    )
    store.publish(_with_graph(now, name, saved), lambda connection: None)
    graphs.keep_only(store.path, now.spaces[name].definition.place, saved.number)
    # What is searched from now on is the mapped file and the mapped segments, as after opening; the copies that were
    # made on the way are given back.
    store.generation.spaces[name].attached_graph()
    for view in store.generation.spaces[name].segments:
        release(view.matrix(store.generation.spaces[name].folder))
    return saved


def _with_graph(now: Generation, name: str, graph: graphs.SpaceGraph | None) -> Generation:
    spaces = {**now.spaces, name: replace(now.spaces[name], graph=graph)}
    return replace(now, number=now.number + 1, spaces=spaces, _indexes={})


def _watermark(space: SpaceState, limit: int) -> int:
    """Return the row up to which at most ``limit`` stored vectors are not in the graph."""
    first = 0 if space.graph is None or space.graph.problem is not None else space.graph.below
    rows = [view.rows[int(np.searchsorted(view.rows, first)) :] for view in space.segments]
    late = np.sort(np.concatenate(rows)) if rows else np.zeros(0, np.int64)
    if space.definition.kind == "tokens":
        late = distinct(late)
    return int(late[min(limit, len(late)) - 1]) + 1 if len(late) else first


def build(
    now: Generation, space: SpaceState, below: int, advance: Callable[[float], None], *, queries: Any = None
) -> Any:
    """Build a graph over the live rows of a space.

    Parameters
    ----------
    now : Generation
        The current one.
    space : SpaceState
        The space.
    below : int
        Rows from here on are left out.
    advance : callable of float
        Told which share was done since the last call.
    queries : ndarray of shape (q, dim), float32, optional
        Queries that it is to suit.

    Returns
    -------
    Graph
        Calibrated where there are queries.
    """
    blocks, definition = space.blocks(stop_row=below), space.definition
    told = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal told
        advance(done / max(total, 1) - told)
        told = done / max(total, 1)

    if definition.kind == "tokens":
        method = space.shortcut.method
        return graphs.set_class().over(blocks, dim=definition.dim, method=method, live=now.live, progress=progress)
    if space.compression is not None:
        return graphs.code_class().over(
            blocks,
            dim=definition.dim,
            metric=definition.metric,
            live=now.live,
            progress=progress,
            codes=space.compression.codes,
            rescored_rows=space.compression.rescored_rows,
            recall=space.compression.recall,
        )
    # A collection has no degree or beam to raise: what its graph finds is measured and told by the plan of a search.
    with quiet():
        return graphs.graph_class().over(
            blocks,
            dim=definition.dim,
            metric=definition.metric,
            live=now.live,
            progress=progress,
            # How large a space must be for a graph was decided here.
            scan_below=0,
            **({} if queries is None else {"queries": queries}),
        )


def _extended(now: Generation, space: SpaceState, old: Any, below: int, *, clean: bool) -> Any:
    first = 0 if space.graph is None else space.graph.below
    fresh = [
        tuple(part[kept] for part in block)
        for block in space.blocks(first_row=first, stop_row=below)
        if (kept := bitmaps.contains_rows(now.live, block[1])).any()
    ]
    ids = old.ids()
    dead = ids[~bitmaps.contains_rows(now.live, ids)]
    return old.extended(fresh, removed=dead if clean else None)
