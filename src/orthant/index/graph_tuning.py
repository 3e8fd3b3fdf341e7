"""What a graph learns from sample queries."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.index.graph_reading import GraphReading
from orthant.index.vamana.query_sample import QuerySample
from orthant.index.vamana.query_tuning import QueryTuning, tune_state
from orthant.index.vamana.searching import run
from orthant.index.vamana.state import State
from orthant.kernels.warmup import wait
from orthant.types import FloatArray, Hits
from orthant.validate import as_vectors

__all__ = ["GraphTuning"]


class GraphTuning(GraphReading):
    """The part of ``Graph`` that suits it to queries; not made by itself."""

    def tune(self, queries: npt.ArrayLike | None = None, *, threads: int | None = None) -> QueryTuning | None:
        """Add the links that sample queries ask for, where that makes other queries cheaper, and calibrate on those.

        Walks go from vector to vector, so they suit queries that are like vectors. The neighbours of a query from
        elsewhere lie around it, far from each other; links among them, learned from three quarters of the queries, cut
        what a walk to the neighbours of others compares. A quarter judges: without a gain, links stay as they are.

        Parameters
        ----------
        queries : array-like of shape (q, dim), optional
            A sample of the queries to come, at least 64 distinct ones, better some thousands; 8,192 are learned from at
            most. Left out, those given before. Kept with the index, so that ``calibrate`` uses them as well.
        threads : int, optional
            Threads.

        Returns
        -------
        QueryTuning or None
            How far the queries lie outside and what it brought, also as ``tuning``; None while there is no graph:
            answers are exact, and the queries are kept for when there is one.

        Raises
        ------
        DimensionError, DtypeError, NonFiniteError, InputError
            Queries that do not fit, fewer than 64, or none given now or before.

        Notes
        -----
        Searches go on meanwhile. Links keep to the room that rows have, so the index does not grow; a full row gives up
        its last ones, and queries like the vectors may read a little more. Vectors added later get no such links: tune
        again when the index has grown much. The reduction stays; it is learned when an index is built with
        ``queries=``. Cost: about 2 ms for each query learned from, and an exact search for 400.
        """
        with self._writer:
            sample = self._sample if queries is None else self._sampled(queries)
            if sample is None:
                raise InputError(message("no queries, now or before", "a sample of them", "pass queries="))
            self._sample = sample
            if self._state is None:
                return None
            fresh = self._state.copy()
            return self._tune(fresh, sample, threads)

    def _sampled(self, queries: npt.ArrayLike) -> QuerySample:
        checked = as_vectors(queries, dim=self._dim, name="queries", nonzero=self._metric == "cosine")
        return QuerySample.of(checked, seed=self._settings.seed)

    def _parts_of_queries(self) -> tuple[FloatArray, FloatArray] | None:
        return None if self._sample is None else (self._sample.learned, self._sample.held)

    def _tune(self, state: State, sample: QuerySample, threads: int | None) -> QueryTuning:
        """Tune a state that nobody searches yet, and let it take the place of this index's."""
        wait("graph")
        walker = GraphReading(self._dim, self._metric, self._settings)

        def walk(queries: FloatArray, k: int, effort: int, skips: npt.NDArray[np.int32]) -> Hits:
            return run(state, walker._request(queries, k, effort, None, threads, state, skips))

        report, calibration = tune_state(state, self._settings, sample, walk, threads=threads)
        with self._lock.writing():
            self._state, self._calibration, self._tuning = state, calibration, report
            self._forget()
        return report
