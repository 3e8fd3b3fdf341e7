"""The methods of a collection that explain and watch its searches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt

from orthant.collection.results import SearchResult
from orthant.collection.searching import Mode, Query, SearchOptions
from orthant.errors import InputError, message

if TYPE_CHECKING:
    from orthant.collection.insight.monitor import Monitor
    from orthant.collection.insight.outcome import WhyNot
    from orthant.collection.stages.options import StageOptions
    from orthant.collection.storage.store import Store

__all__ = ["Insight", "Observer"]

Observer = Callable[[Sequence[Query], SearchOptions, Sequence[SearchResult], float], None]
"""Called after every search with its queries, options, results and seconds."""


class Insight:
    """The part of :class:`Collection` that says why a record is not found, and watches queries."""

    _store: Store
    _observers: tuple[Observer, ...]

    if TYPE_CHECKING:
        # What CollectionReader brings.
        def _prepared(
            self,
            queries: Sequence[str | npt.ArrayLike | None],
            vectors: Sequence[npt.ArrayLike] | npt.ArrayLike | None,
            *,
            mode: Mode | None,
            space: str,
            k: int,
            stages: StageOptions | None = None,
            sparse: tuple[Any, str | None] = (None, None),
            steer: Mapping[str, Any] | None = None,
            **settings: Any,
        ) -> tuple[list[Query], SearchOptions | None]: ...

    def why_not(
        self,
        query: str | npt.ArrayLike | None,
        record_id: str,
        *,
        k: int = 10,
        mode: Mode | None = None,
        where: Mapping[str, Any] | None = None,
        vector: npt.ArrayLike | None = None,
        space: str = "default",
        sparse_vector: Any | None = None,
        sparse_space: str | None = None,
        offset: int = 0,
        min_score: float | None = None,
        weights: Mapping[str, float] | None = None,
        fusion: Literal["minmax", "rrf"] | None = None,
        depth: int | None = None,
        recall: float | None = None,
        effort: int | None = None,
        threads: int | None = None,
        syntax: Literal["operators", "plain"] | None = None,
        rerank: Any | None = None,
        rerank_depth: int | None = None,
        diversity: float | None = None,
        group_by: str | None = None,
        groups: int | None = None,
        per_group: int | None = None,
        steer: Mapping[str, Any] | None = None,
    ) -> WhyNot:
        """Explain why a search does not return a record, and find changes that would return it.

        Parameters
        ----------
        query : str or array-like of shape (dim,) or None
            As in ``search``.
        record_id : str
            The record that was expected.
        k, mode, where, vector, space, sparse_vector, sparse_space, offset, min_score
            As in ``search``.
        weights, fusion, depth, recall, effort, threads, syntax
            As in ``search``.
        rerank, rerank_depth, diversity, group_by, groups, per_group, steer
            As in ``search``, whose other arguments do not decide what is found.

        Returns
        -------
        WhyNot
            The stage that dropped the record, a sentence, figures of every stage, and changes that were tried.

        Raises
        ------
        InputError, FilterError
            As in ``search``; an id that is no text.

        Notes
        -----
        Every ``change`` was searched for on the same commit, so its rank is measured. Cost: a few searches; where no
        leg brings the record also one pass over the vectors, and where a graph missed it up to a dozen searches of it.
        With stages behind the ranking a search up to each of them; a reranker reads the same candidates once.
        """
        from orthant.collection.ingest import check_ids
        from orthant.collection.insight.steering import Steered
        from orthant.collection.insight.why_not import explain
        from orthant.collection.stages.options import check_stages

        (wanted,) = check_ids([record_id])
        stages = check_stages(
            k=k,
            space=space,
            rerank=rerank,
            rerank_depth=rerank_depth,
            diversity=diversity,
            group_by=group_by,
            groups=groups,
            per_group=per_group,
        )

        def ask(wishes: Mapping[str, Any] | None) -> tuple[list[Query], SearchOptions | None]:
            return self._prepared(
                [query],
                None if vector is None else [vector],
                mode=mode,
                space=space,
                sparse=(None if sparse_vector is None else [sparse_vector], sparse_space),
                k=k,
                where=where,
                offset=offset,
                min_score=min_score,
                weights=weights,
                method=fusion,
                depth=depth,
                recall=recall,
                effort=effort,
                threads=threads,
                explain=False,
                include_text=False,
                syntax=syntax,
                stages=stages,
                steer=wishes,
            )

        ready, options = ask(steer)
        if options is None:
            raise InputError(message("no query", "a text or a vector", "pass query='...' or vector=[...]"))
        steered = None if steer is None else Steered(steer, lambda wishes: ask(wishes)[0][0])
        return explain(self._store, ready[0], options, wanted, steered=steered)

    def monitor(
        self,
        path: str | Path | None = None,
        *,
        window: int = 200,
        false_alarm_rate: float = 0.005,
        check_every: int | None = 100,
        space: str = "default",
        canaries: Sequence[str] = (),
        keep_texts: int = 0,
        seed: int = 0,
    ) -> Monitor:
        """Monitor every search from now on, and report when the distribution of queries or answers changes.

        Parameters
        ----------
        path : str or Path, optional
            A small file that the figures are appended to and resumed from; None keeps them in memory.
        window : int, default 200
            Queries that are tested together, 20 to 2,000. Few find large changes soon, many find small ones late.
        false_alarm_rate : float, default 0.005
            Chance that a window of unchanged traffic is reported, from 0.0001 to 0.5. Smaller finds changes later.
        check_every : int, optional
            Of the queries that a graph answers, every n-th is repeated exactly to measure recall; default 100, None
            never. Fewer in between cost more scans.
        space : str, default "default"
            Space whose query vectors are watched.
        canaries : sequence of str, optional
            Texts searched for after every window; the share of their hits that became others is reported.
        keep_texts : int, default 0
            Texts of queries without hits to keep per window. With 0 no text of a query is stored anywhere.
        seed : int, default 0
            Of the projection and the tests.

        Returns
        -------
        Monitor
            Use it in ``with``, or ``close`` it; ``report()`` at any time.

        Raises
        ------
        InputError
            A setting out of range, or a file of other settings.
        NotFoundError
            No such space.

        Notes
        -----
        Memory: two windows of 20 numbers per query, and 500 summaries. Cost per query: ``16 x dim`` multiplications;
        per window two permutation tests of ``O(window^2)`` each; what it was is in ``report().overhead_s``.
        """
        from orthant.collection.insight.monitor import Monitor
        from orthant.collection.querying import check_space

        check_space(space, self._store.refreshed().spaces, default="default")
        return Monitor(
            self,  # type: ignore[arg-type]
            path=path,
            window=window,
            false_alarm_rate=false_alarm_rate,
            check_every=check_every,
            space=space,
            canaries=canaries,
            keep_texts=keep_texts,
            seed=seed,
        )
