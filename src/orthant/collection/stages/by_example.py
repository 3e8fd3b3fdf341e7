"""The method of a collection that searches by examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from orthant.collection.results import SearchResult
from orthant.collection.stages.similar import Strategy, check_similar, run_similar
from orthant.collection.storage.store import Store

__all__ = ["SearchByExample"]


class SearchByExample:
    """What every collection can do with examples in place of a query."""

    _store: Store

    def similar(
        self,
        positive: str | npt.ArrayLike | Sequence[str | npt.ArrayLike],
        negative: str | npt.ArrayLike | Sequence[str | npt.ArrayLike] = (),
        *,
        k: int = 10,
        where: Mapping[str, Any] | None = None,
        space: str = "default",
        strategy: Strategy = "average",
        offset: int = 0,
        min_score: float | None = None,
        recall: float | None = None,
        include_text: bool = True,
    ) -> SearchResult:
        """Find records similar to some examples and dissimilar to others; the examples are left out.

        Parameters
        ----------
        positive : str, array-like of shape (dim,), or a sequence of them
            Ids of records or vectors, at least one.
        negative : str, array-like of shape (dim,), or a sequence of them, default ()
            The same for what is not wanted.
        k : int, default 10
            Hits wanted.
        where : mapping, optional
            Only records that match.
        space : str, default "default"
            Vector space that says what is alike.
        strategy : {"average", "best"}, default "average"
            One query at the mean of the positive examples, moved as far again away from the mean of the negative ones:
            right for examples of one thing. Or by the closest positive example, without records that are at least as
            close to a negative one: right for examples of several things.
        offset : int, default 0
            Hits to skip.
        min_score : float, optional
            Drop hits below it, by the space's metric.
        recall : float, optional
            As in :meth:`search`.
        include_text : bool, default True
            Leave texts out of the hits with False.

        Returns
        -------
        SearchResult
            Best first.

        Raises
        ------
        NotFoundError
            No such id or space.
        InputError
            No positive example, one without a vector, or examples whose average has no direction.
        FilterError
            A malformed filter.

        Notes
        -----
        Cost: one dense search, or with ``"best"`` one per positive example, repeated twice as deep where negative
        examples took too many.
        """
        options = check_similar(
            positive,
            negative,
            k=k,
            offset=offset,
            where=where,
            space=space,
            strategy=strategy,
            min_score=min_score,
            recall=recall,
            include_text=include_text,
        )
        return run_similar(self._store, options)
