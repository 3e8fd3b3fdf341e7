"""The method of a collection that diagnoses it: it checks and delegates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.validate import as_vectors, check_count

if TYPE_CHECKING:
    from orthant.collection.diagnosis.report import Diagnosis
    from orthant.collection.space_encoders import SpaceEncoders
    from orthant.collection.statistics import CollectionStats
    from orthant.collection.storage.store import Store

__all__ = ["DiagnosisMethods"]

_SAMPLE = 1_000


class DiagnosisMethods:
    """The part of :class:`Collection` that says what its vectors are like."""

    path: Path
    _store: Store
    _encoders: SpaceEncoders

    def stats(self) -> CollectionStats:
        """Return counts, bytes, spaces, fields and what maintenance would do.

        Returns
        -------
        CollectionStats
            A record with ``to_dict``.
        """
        from orthant.collection.statistics import collect

        return collect(self._store)

    def diagnose(
        self,
        space: str = "default",
        *,
        queries: Sequence[str] | npt.ArrayLike | None = None,
        sample: int = _SAMPLE,
        order: bool = True,
        seed: int = 0,
        progress: Callable[[str], None] | None = None,
    ) -> Diagnosis:
        """Measure properties of a space's vectors, what searches miss and cost, and give advice.

        Parameters
        ----------
        space : str, default "default"
            Vector space.
        queries : sequence of str, or array-like of shape (q, dim), optional
            Real queries, at least 40 to be of use. Left out, sampled records stand for them, which are easier than
            queries of another kind.
        sample : int, default 1000
            Records whose neighbours are found exactly, 50 or more. Few give wide intervals; above 100,000 vectors it
            is lowered so that the scan takes seconds.
        order : bool, default True
            Also build small graphs in several orders of insertion; False saves about half of the time.
        seed : int, default 0
            Of every draw.
        progress : callable of str, optional
            Called with the name of every part that is done.

        Returns
        -------
        Diagnosis
            Print it, or write ``to_html()`` to a file.

        Raises
        ------
        InputError
            Fewer than 50 vectors, no such space, or a sample below 50.
        DimensionError, NonFiniteError
            Query vectors of another form.

        Notes
        -----
        Cost: ``sample`` scans of the space, four of groups of 2,000 rows, and five graphs over 4,000 rows. Exact
        figures of a sample, with 95 % intervals: bootstrap over rows, Wilson's for shares, Student's over the groups.

        References
        ----------
        As for `orthant.measures.local_dimension`, `hubness`, `isotropy` and `capacity_bound`.
        """
        from orthant.collection.diagnosis.measuring import measure

        check_count(sample, name="sample", minimum=50)
        check_count(seed, name="seed", minimum=0)
        now = self._store.refreshed()
        if not isinstance(space, str) or space not in now.spaces:
            known = ", ".join(now.spaces) or "none"
            raise InputError(
                message(f"space {space!r}", f"a vector space (there are: {known})", "add records, or name one")
            )
        asked = None if queries is None else self._query_rows(queries, space, now.spaces[space].definition)
        return measure(
            str(self.path), now, space, queries=asked, sample=sample, order=order, seed=seed, progress=progress
        )

    def _query_rows(self, queries: Any, space: str, definition: Any) -> Any:
        nonzero = definition.metric == "cosine"
        if not isinstance(queries, str) and isinstance(queries, Sequence) and all(isinstance(q, str) for q in queries):
            from orthant.collection.querying import encode_queries

            ready = encode_queries(
                queries, None, mode="dense", space=space, definition=definition, encoders=self._encoders
            )
            rows = [query.vector for query in ready if query.vector is not None]
            queries = np.array(rows, dtype=np.float32).reshape(len(rows), definition.dim)
        found = as_vectors(queries, dim=definition.dim, name="queries")
        if nonzero:
            found = found[(found != 0).any(axis=1)]
        if not len(found):
            raise InputError(
                message("no query with a vector", "at least one", "pass texts or vectors, or leave queries out")
            )
        return found
