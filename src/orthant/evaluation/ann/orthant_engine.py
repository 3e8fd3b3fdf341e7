"""Orthant's own index as an engine: the graph, over vectors where they lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.types import FloatArray, Hits, IdArray, Metric

Settings = dict[str, Any]
_EFFORTS = (10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)


class OrthantEngine:
    """The graph with its default settings.

    Attributes
    ----------
    index : Graph
        After ``build``.
    """

    name = "orthant"

    def __init__(self) -> None:
        self.index: Any = None

    def warm(self) -> None:
        """Compile all kernels now: a compiler that works behind the first searches would be measured with them."""
        from orthant.kernels.warmup import warm

        warm()

    def builds(self, n: int, dim: int) -> list[Settings]:
        """Return one candidate: users get the defaults, so they are what is judged."""
        return [{}]

    def build(self, X: FloatArray, metric: Metric, *, threads: int, settings: Settings) -> None:
        """Build over X without a copy of it."""
        from orthant.index.graph import Graph

        blocks = [(X, np.arange(len(X), dtype=np.int64))]
        self.index = Graph.over(blocks, dim=X.shape[1], metric=metric, threads=threads, **settings)

    def paths(self, k: int) -> list[list[Settings]]:
        """Rise in the beam."""
        return [[{"effort": e} for e in _EFFORTS if e >= k]]

    def search(self, Q: FloatArray, k: int, setting: Settings, *, threads: int) -> IdArray:
        """Search one batch."""
        return self.index.search(Q, k, threads=threads, **setting).ids

    def ask(self, Q: FloatArray, k: int, recall: float, *, threads: int) -> Hits:
        """Search by the recall wanted instead of by a setting.

        Parameters
        ----------
        Q : ndarray of shape (q, d), float32
            Queries.
        k : int
            Neighbours.
        recall : float
            From 0 to 1.
        threads : int
            CPU threads.

        Returns
        -------
        Hits
            As from the index.
        """
        return self.index.search(Q, k, recall=recall, threads=threads)

    def calibrate(self, queries: npt.NDArray[np.float32] | None) -> None:
        """Prepare the index for ``ask``, on given queries or on rows of its own.

        Parameters
        ----------
        queries : ndarray of shape (q, d), float32, or None
            Like those to come; None takes held-out rows.
        """
        self.index.calibrate(queries)

    def save(self, folder: Path) -> bool:
        """Return False: the code under test changes, so it is built anew."""
        return False

    def load(self, folder: Path, X: FloatArray, metric: Metric, *, settings: Settings) -> None:
        """Build, since nothing is saved."""
        self.build(X, metric, threads=1, settings=settings)

    def mapped_bytes(self) -> int:
        """Return bytes of codes and links in mapped files, as the index reports them."""
        return int(self.index.stats().details.get("mapped_code_bytes", 0))


class QueryAwareEngine(OrthantEngine):
    """The same graph, suited to queries from elsewhere that were logged before; none of them tunes or judges."""

    name = "orthant-query-aware"

    def learn(self, queries: FloatArray, *, threads: int) -> None:
        """Suit the graph to queries.

        Parameters
        ----------
        queries : ndarray of shape (q, d), float32
            A log of queries.
        threads : int
            CPU threads.
        """
        if len(queries):
            self.index.tune(queries, threads=threads)
