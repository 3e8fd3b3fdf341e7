"""What a collection offers to suit its graphs to its queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from orthant.collection.spaces import require_dense
from orthant.errors import NotFoundError, message
from orthant.types import FloatArray
from orthant.validate import as_texts, as_vectors

if TYPE_CHECKING:
    from orthant.collection.space_encoders import SpaceEncoders
    from orthant.collection.storage.store import Store
    from orthant.index.vamana.query_tuning import QueryTuning

__all__ = ["QueryMethods"]


class QueryMethods:
    """The part of a collection that learns from its queries; see :class:`Collection`."""

    _store: Store
    _encoders: SpaceEncoders

    def tune(
        self,
        queries: Sequence[str] | npt.ArrayLike,
        *,
        space: str = "default",
        progress: bool = False,
    ) -> QueryTuning:
        """Tune the graph of a space to sample queries, and measure the gain on held-out ones.

        Use it where queries are unlike what is stored, such as short questions against passages: a graph finds their
        neighbours late, and learning from some of them makes others cheaper. Queries like the records gain nothing;
        then the links stay as they are.

        Parameters
        ----------
        queries : sequence of str, or array-like of shape (q, dim)
            A sample of the queries to come, such as those of a log: texts or vectors, at least 64 distinct ones, better
            some thousands. Three quarters are learned from, at most 8,192; of the others at most 400 judge.
        space : str, default "default"
            The vector space.
        progress : bool, default False
            Show when a graph is built anew.

        Returns
        -------
        QueryTuning
            How far the queries lie outside, what a query read before and after at equal recall, and whether anything
            was gained. From then on ``recall=`` is kept for queries like these; the queries are stored with the graph,
            and used again when it has grown by a quarter or is built anew.

        Raises
        ------
        InputError
            Fewer than 64 distinct queries, or a space that is too small for a graph.
        NotFoundError
            No such space.
        EncoderMismatchError
            Texts were given, and the encoder is not that of the space.
        StoreError
            Opened read-only, written by another process, or a failing disk; the graph in use stays.

        Notes
        -----
        The result is a generation of its own: searches go on meanwhile, readers in other processes pick it up, and a
        crash leaves the graph as it was. Where vectors of more than 384 dimensions are reduced, a graph is also built
        with directions learned from the queries, and taken if it is the cheaper one. Cost: about 2 ms for each query
        learned from and an exact search for 400; building anew costs what building costs. Stored queries take 4 bytes
        per dimension, and are lost with a damaged graph file: tune again then. In a graph that suits other queries,
        those like the records read some tenths more.
        """
        from orthant.collection.storage.suiting import require_graph, suit_queries

        with self._store.writer() as now:
            spaces = now.spaces
        if space not in spaces:
            raise NotFoundError(message(f"space {space!r}", f"one of {sorted(spaces)}", "add it, or name another"))
        require_dense(spaces[space].definition, remedy="make searches by tokens cheaper with index_tokens")
        # Refused before queries are encoded, not after it.
        require_graph(now, space)
        vectors = self._query_vectors(queries, space, spaces[space].definition.dim)
        cosine = spaces[space].definition.metric == "cosine"
        checked = as_vectors(vectors, dim=spaces[space].definition.dim, name="queries", nonzero=cosine)
        return suit_queries(self._store, space, checked, progress=progress)

    def _query_vectors(self, queries: Sequence[str] | npt.ArrayLike | Any, space: str, dim: int) -> npt.ArrayLike:
        if isinstance(queries, (list, tuple)) and not queries:
            return np.zeros((0, dim), dtype=np.float32)
        if isinstance(queries, (list, tuple)) and isinstance(queries[0], str):
            texts = as_texts(queries, name="queries")
        else:
            return queries
        encoder = self._encoders.require(space)
        found: FloatArray = as_vectors(
            encoder.encode(list(dict.fromkeys(texts)), role="query"), dim=dim, name="queries"
        )
        # What has no word that the encoder knows has no direction, and no neighbours.
        return found[np.any(found != 0, axis=1)]
