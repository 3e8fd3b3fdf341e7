"""The searches of an inquiry: one pinned commit, other settings, and changes that are kept only where they work."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from orthant.collection.columns.predicates import kind_of
from orthant.collection.insight.causes import passing_part
from orthant.collection.insight.outcome import Change, Step
from orthant.collection.querying import DEFAULT_DEPTH
from orthant.collection.results import Group, Hit, SearchResult
from orthant.collection.searching import Query, SearchOptions, execute
from orthant.collection.stages.grouping import Key, group_keys
from orthant.collection.stages.options import DEFAULT_RERANK_DEPTH, StageOptions, check_stages
from orthant.collection.storage.database import Database
from orthant.collection.storage.generation import Generation
from orthant.collection.storage.store import Store
from orthant.collection.tokens.index import token_index
from orthant.collection.tokens.reranking import StoredTokens

__all__ = ["Pinned", "Trying"]

_GROUPS = 64
_T = TypeVar("_T")


class Pinned:
    """A store that shows one commit only, so that every search of an inquiry sees the same records.

    Parameters
    ----------
    database : Database
        The database.
    connection : sqlite3.Connection
        Inside a read transaction.
    generation : Generation
        Of the same commit.
    """

    def __init__(self, database: Database, connection: sqlite3.Connection, generation: Generation) -> None:
        self.database = database
        self.generation = generation
        self._connection = connection

    def read(self, function: Callable[[sqlite3.Connection, Generation], _T]) -> _T:
        """Run a function on the pinned commit.

        Parameters
        ----------
        function : callable of (sqlite3.Connection, Generation)
            Reads only.

        Returns
        -------
        object
            What it gives.
        """
        return function(self._connection, self.generation)

    def refreshed(self) -> Generation:
        """Return the pinned generation."""
        return self.generation


class _Remembered:
    """A reranker that is asked once for the same candidates, however many searches an inquiry takes."""

    def __init__(self, reranker: Any) -> None:
        self._reranker = reranker
        self._known: dict[tuple[str, ...], Any] = {}

    def score(self, query: Any, records: Sequence[Any]) -> npt.NDArray[Any]:
        key = tuple(record.id for record in records)
        if key not in self._known:
            self._known[key] = self._reranker.score(query, records)
        return self._known[key]


class Trying:
    """Searches for one query with other settings.

    Parameters
    ----------
    store : Pinned
        The commit.
    query : Query
        The query.
    options : SearchOptions
        The search's own settings.
    record_id : str
        The record asked about; ``row`` is set once it is known.
    """

    row: int

    def __init__(self, store: Pinned, query: Query, options: SearchOptions, record_id: str) -> None:
        self.store = store
        self.now = store.generation
        self.query = query
        reranker = options.stages.reranker
        # Stored tokens are bound to rows by the search itself, and cost little.
        if reranker is not None and not isinstance(reranker, StoredTokens):
            options = replace(options, stages=replace(options.stages, reranker=_Remembered(reranker)))
        self.options = options
        self.id = record_id
        self.steps: list[Step] = []
        self.changes: list[Change] = []

    def search(self, options: SearchOptions) -> SearchResult:
        """Search on the pinned commit.

        Parameters
        ----------
        options : SearchOptions
            Any settings.

        Returns
        -------
        SearchResult
            As a user would get it.
        """
        return execute(cast(Store, self.store), [self.query], options, encode_seconds=0.0)[0]

    def window(self, options: SearchOptions) -> int:
        """Return how many candidates the stages behind the ranking start from.

        Parameters
        ----------
        options : SearchOptions
            With stages.

        Returns
        -------
        int
            At most.
        """
        if options.stages.reranker is not None:
            return options.stages.rerank_depth
        return options.reach if options.mode == "hybrid" else options.depth

    def base(self, options: SearchOptions) -> SearchResult:
        """Return every ranked candidate of a search, before ``min_score``, page and what follows the ranking.

        Parameters
        ----------
        options : SearchOptions
            Any settings.

        Returns
        -------
        SearchResult
            In the order of the ranking.
        """
        reach = options.offset + options.k
        if options.stages.ordered:
            reach = max(reach, self.window(options))
        if options.mode == "hybrid":
            reach = options.reach
        elif options.mode in ("lexical", "sparse") or self._compares_all_tokens(options):
            reach = self.now.count
        plain = check_stages(k=1, space=options.stages.space)
        return self.search(replace(options, offset=0, k=max(1, reach), min_score=None, stages=plain))

    def _compares_all_tokens(self, options: SearchOptions) -> bool:
        """Whether a longer list of the token leg begins as a shorter one does; candidates grow with the list."""
        leg = options.tokens.leg
        return options.mode == "tokens" and leg is not None and token_index(self.now, leg).codes is None

    def staged(self, options: SearchOptions) -> SearchResult:
        """Return every candidate in the order that rerank and diversity give it, before page and groups.

        Parameters
        ----------
        options : SearchOptions
            With a reranker or diversity.

        Returns
        -------
        SearchResult
            Its ranks are those of the last stage.
        """
        stages = replace(options.stages, group_by=None)
        return self.search(replace(options, offset=0, k=max(1, self.window(options)), stages=stages))

    def hit(self, result: SearchResult) -> Hit | None:
        """Return the record's hit.

        Parameters
        ----------
        result : SearchResult
            Of any search.

        Returns
        -------
        Hit or None
            None where it is not there.
        """
        return next((hit for hit in result if hit.id == self.id), None)

    def attempt(self, **settings: Any) -> bool:
        """Search with other settings; keep them, with a longer page where it takes one, if the record comes in.

        Parameters
        ----------
        **settings
            Arguments of ``search`` to add or replace.

        Returns
        -------
        bool
            Whether they bring the record in.
        """
        options = self.with_settings(self.options, settings)
        found = self.hit(self.search(options))
        if found is None:
            more = self._page_for(options)
            if more is None:
                return False
            settings = {**settings, **more}
            found = self.hit(self.search(self.with_settings(self.options, settings)))
            if found is None:
                return False
        if not any(change.settings == settings for change in self.changes):
            self.changes.append(Change(settings, found.rank))
        return True

    def _page_for(self, options: SearchOptions) -> dict[str, Any] | None:
        """Return what else has to change so that a ranked record is on the page; None where it is not ranked."""
        stages, more = options.stages, {}
        unlimited = replace(options, min_score=None)
        ranked = self.hit(self.staged(unlimited) if stages.closed else self.base(options))
        if ranked is not None and options.min_score is not None and ranked.score < options.min_score:
            more["min_score"] = ranked.score
        if stages.group_by is not None:
            place = self.group_place(replace(options, min_score=more.get("min_score", options.min_score)))
            return None if place is None else {**more, **group_settings(options, *place)}
        if ranked is None:
            return None
        if ranked.rank <= options.offset:
            more["offset"] = 0
        # A first page that begins at the top and ends at the record.
        start = more.get("offset", options.offset)
        if ranked.rank > start + options.k:
            more["k"] = ranked.rank - start
        return more

    def with_settings(self, options: SearchOptions, settings: Mapping[str, Any]) -> SearchOptions:
        """Return options with arguments of ``search`` replaced.

        Parameters
        ----------
        options : SearchOptions
            The present ones.
        settings : mapping of str to object
            Arguments; None for one stage or depth means its default.

        Returns
        -------
        SearchOptions
            For `search`.
        """
        changed = dict(settings)
        names = {"rerank": "reranker", "rerank_depth": "rerank_depth", "diversity": "diversity"}
        names |= {"groups": "groups", "per_group": "per_group"}
        stages = {own: changed.pop(given) for given, own in names.items() if given in changed}
        if stages.get("rerank_depth", 0) is None:
            stages["rerank_depth"] = DEFAULT_RERANK_DEPTH
        if stages:
            changed["stages"] = replace(options.stages, **stages)
        if changed.get("depth", 0) is None:
            changed["depth"] = DEFAULT_DEPTH
        if "where" in changed:
            changed["predicate"] = None if self.options.predicate is None else self.kept_filter()
        if "recall" in changed:
            changed["effort"] = None
        elif "effort" in changed:
            changed["recall"] = None
        return replace(options, **changed)

    def kept_filter(self) -> Any:
        """Return the part of the filter that the record passes."""
        return passing_part(self.options.predicate, self.now, self.row)  # type: ignore[arg-type]

    # ---- groups -----------------------------------------------------------------------------------------------------

    def group_key(self, stages: StageOptions) -> Key:
        """Return the group of the record.

        Parameters
        ----------
        stages : StageOptions
            With ``group_by``.

        Returns
        -------
        Key
            Family and value.
        """
        return group_keys(self.now, stages.group_by or "", np.array([self.row], dtype=np.int64))[0]

    def group_place(self, options: SearchOptions) -> tuple[int, int] | None:
        """Return the rank of the record's group among all groups, and the record's place in it.

        Parameters
        ----------
        options : SearchOptions
            With ``group_by``.

        Returns
        -------
        tuple of (int, int) or None
            From 1; None where the search finds no such group, or not this record of it.

        Notes
        -----
        Cost: searches for four times as many groups each, until it is among them or there are no more.
        """
        key, stages, wanted = self.group_key(options.stages), options.stages, max(_GROUPS, options.stages.groups)
        while True:
            # Pages of groups need no hits behind the first of each.
            found = self.search(replace(options, offset=0, stages=replace(stages, groups=wanted, per_group=1)))
            own = next((group for group in found.groups if self._is_own(group, key)), None)
            if own is not None or len(found.groups) < wanted:
                break
            wanted *= 4
        if own is None:
            return None
        whole = replace(stages, groups=1, per_group=max(1, own.count))
        members = self.search(replace(options, offset=own.rank - 1, stages=whole)).ids
        return (own.rank, members.index(self.id) + 1) if self.id in members else None

    def _is_own(self, group: Group, key: Key) -> bool:
        if key[0] == "row" or group.value is None:
            return group.value is None and group.hits[0].id == self.id
        return (kind_of(group.value), group.value) == key


def group_settings(options: SearchOptions, rank: int, place: int) -> dict[str, Any]:
    """Return what has to change so that a place in a group is shown.

    Parameters
    ----------
    options : SearchOptions
        With ``group_by``.
    rank : int
        Of the group, from 1.
    place : int
        Within the group, from 1.

    Returns
    -------
    dict
        Some of ``offset``, ``groups`` and ``per_group``.
    """
    out: dict[str, Any] = {}
    if rank <= options.offset:
        out["offset"] = 0
    start = out.get("offset", options.offset)
    if rank > start + options.stages.groups:
        out["groups"] = rank - start
    if place > options.stages.per_group:
        out["per_group"] = place
    return out
