"""What the graph of a space costs and finds today: the row that codes are compared with."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from orthant.collection.dense import DEFAULT_RECALL
from orthant.kernels.warmup import wait
from orthant.measures.neighbours import recall_per_query
from orthant.types import FloatArray, IdArray

if TYPE_CHECKING:
    from orthant.collection.storage.generation import SpaceState
    from orthant.quantization.comparing import Candidate

__all__ = ["graph_candidate"]

_TIMED_QUERIES = 15


def graph_candidate(state: SpaceState, queries: FloatArray | None, *, k: int, most: int, seed: int) -> Candidate | None:
    """Measure the searches of a graph as they are, over all its rows.

    Parameters
    ----------
    state : SpaceState
        The space.
    queries : ndarray of shape (q, dim), float32, or None
        Real queries; None takes rows of the graph, each looked for as if it were not there.
    k : int
        Neighbours wanted.
    most : int
        Queries measured at most.
    seed : int
        Of the draw.

    Returns
    -------
    Candidate or None
        Named ``"graph"``, with the bytes of links, signs and codes for each row. Its answers are scored by full vectors
        in any case, so both recalls are the same. None where the space has no graph over its vectors.

    Notes
    -----
    Cost: one exact scan for all queries, and a search for each.
    """
    from orthant.quantization.comparing import Candidate

    if state.graph is None or state.graph.codes is not None:
        return None
    index = state.attached_graph()
    if index is None or len(index) <= k:
        return None
    wait("graph")
    rng = np.random.default_rng(seed)
    own: IdArray | None = None
    if queries is None:
        own = np.sort(rng.choice(index.ids(), min(most, len(index)), replace=False))
        queries = state.vectors_of(own)[1]
    else:
        queries = queries[rng.permutation(len(queries))[:most]]
    wanted = k if own is None else k + 1
    exact = index.search(queries, wanted, recall=1.0)
    # As searches of the collection ask, where nobody says otherwise.
    found = index.search(queries, wanted, recall=DEFAULT_RECALL)
    per_query = recall_per_query(
        *(_without(hits, own, k, part) for hits, part in ((found, "ids"), (exact, "ids"))),
        found_scores=_without(found, own, k, "scores"),
        true_scores=_without(exact, own, k, "scores"),
        tolerance=1e-6,
    )
    spent = []
    for i in range(min(_TIMED_QUERIES, len(queries))):
        began = time.perf_counter()
        index.search(queries[i : i + 1], k, recall=DEFAULT_RECALL, threads=1)
        spent.append(time.perf_counter() - began)
    share, latency = float(np.mean(per_query)), 1000 * float(np.median(spent))
    halfwidth = float(1.96 * np.std(per_query) / np.sqrt(len(per_query)))
    size = round(state.graph.bytes / max(1, state.graph.rows))
    return Candidate("graph", size, share, share, halfwidth, latency, latency, 0.0)


def _without(hits: Any, own: IdArray | None, k: int, part: str) -> Any:
    """Return ids or scores of k neighbours, the row that asks left out."""
    values = getattr(hits, part)
    if own is None:
        return values
    return np.stack([row[ids != one][:k] for row, ids, one in zip(values, hits.ids, own, strict=True)])
