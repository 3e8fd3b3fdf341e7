"""Making the graph of a space suit queries, under the writer's lock and as a generation of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orthant.collection.storage import merging
from orthant.collection.storage.files import storage_error
from orthant.encoders.progress import progress_bar
from orthant.errors import InputError, message
from orthant.types import FloatArray

if TYPE_CHECKING:
    from orthant.collection.storage.generation import Generation
    from orthant.collection.storage.store import Store
    from orthant.index.vamana.query_tuning import QueryTuning

__all__ = ["require_graph", "suit_queries"]


def suit_queries(store: Store, name: str, queries: FloatArray, *, progress: bool = False) -> QueryTuning:
    """Learn links, and directions where vectors are reduced, from queries; publish what others of them gain by.

    Parameters
    ----------
    store : Store
        The writer.
    name : str
        The space.
    queries : ndarray of shape (q, dim), float32
        Checked queries.
    progress : bool, default False
        Show when a graph is built anew.

    Returns
    -------
    QueryTuning
        What was found. Where nothing was gained the links stay, and only the calibration is that of the queries.

    Raises
    ------
    InputError
        The space has no graph, or there are fewer than 64 distinct queries.
    StoreError
        The disk is full or failing; the graph in use stays.
    """
    with store.writer() as now:
        require_graph(now, name)
        merging.finish(store)
        now = store.generation
        try:
            index, report = _suited(now, name, queries, progress)
            below = now.spaces[name].graph.below  # type: ignore[union-attr]
            merging.publish_index(store, now, name, index, below=below, calibrated_rows=len(index))
        except OSError as error:
            raise storage_error(error, store.path, "write") from error
        return report


def require_graph(now: Generation, name: str) -> None:
    """Refuse a space that has, and will get, no graph to tune.

    Parameters
    ----------
    now : Generation
        The current one.
    name : str
        A space of vectors.

    Raises
    ------
    InputError
        Codes take the place of a graph, or there are too few vectors for one.
    """
    lacks = merging.pending(now, name)
    if lacks.coded:
        given, expected = f"a space {name!r} that is searched by codes", "one with a graph"
        raise InputError(message(given, expected, "take the codes back first, by compress(undo=True)"))
    if not lacks.wanted:
        raise InputError(
            message(
                f"a space {name!r} of {lacks.live} vectors",
                f"more than {merging.BREAK_EVEN}, from which on there is a graph",
                "there is nothing to tune: a scan compares everything, whatever the queries are like",
            )
        )


def _suited(now: Generation, name: str, queries: FloatArray, progress: bool) -> tuple[Any, QueryTuning]:
    space = now.spaces[name]
    held: Any = space.attached_graph()
    # The graph in use serves searches meanwhile: what changes is a copy.
    index = held.extended([])
    report = index.tune(queries)
    if report.reduction == "none":
        return index, report
    # What is reduced may be reduced otherwise, which takes a new graph: its price must be lower than that of the links.
    with progress_bar(1, shown=progress, label="building the graph") as advance:
        other = merging.build(now, space, space.graph.below, advance, queries=queries)  # type: ignore[union-attr]
    fresh = other.tuning
    if fresh.reduction != "queries" or fresh.after["bytes"] >= report.after["bytes"] or fresh.recall < report.recall:
        return index, report
    return other, replace(fresh, before=report.before, gained=True)
