"""Making ready what the first searches of a collection would otherwise make: its graphs and compiled code."""

from __future__ import annotations

from orthant.collection.dense import DenseIndex, dense_index
from orthant.collection.storage.generation import Generation
from orthant.kernels.retrieval.bm25 import GROUP
from orthant.kernels.warmup import ensure_compiling

__all__ = ["prepare_searches"]

_WORTH = 10_000
"""Records from which on words are worth compiled code before anybody asks; graphs exist for larger spaces only."""


def prepare_searches(generation: Generation) -> None:
    """Load the graphs of a collection, and begin to load or compile the code that walks them.

    Until that is ready, searches compare every vector: right, but at a hundredth of the rate. A process that is there
    to search, such as a server, calls this before anybody asks.

    Parameters
    ----------
    generation : Generation
        What searches see.

    Raises
    ------
    OrthantError
        The collection is damaged.

    Notes
    -----
    Returns once the graphs are checked and attached, at the rate at which their files are read; the compiler works on a
    thread of its own. Small collections need neither.
    """
    # All of them are loaded: no search shall wait for its graph.
    if [name for name in generation.spaces if _walked(generation, name)]:
        ensure_compiling("graph", after_s=0)
    if generation.count >= _WORTH:
        ensure_compiling(GROUP, after_s=0)


def _walked(generation: Generation, name: str) -> bool:
    if generation.spaces[name].definition.kind != "dense":
        return False
    index = dense_index(generation, name)
    # What is searched by a bridge, or by codes, has kernels of its own, which are small.
    return isinstance(index, DenseIndex) and index.graph is not None and not index.coded
