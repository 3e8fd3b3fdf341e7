"""Why a search does not return a record: the stages in their order, the first that drops it, and what was tried."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np

from orthant.collection.columns.where import And
from orthant.collection.insight.causes import (
    dense_details,
    failed_clauses,
    lexical_details,
    passing_part,
    sparse_details,
    token_details,
)
from orthant.collection.insight.outcome import Change, Step, WhyNot
from orthant.collection.insight.wording import say
from orthant.collection.results import Hit, SearchResult
from orthant.collection.searching import Query, SearchOptions, execute
from orthant.collection.storage import tables
from orthant.collection.storage.database import Database
from orthant.collection.storage.generation import Generation
from orthant.collection.storage.store import Store
from orthant.types import FloatArray

__all__ = ["explain"]

_WEIGHTS = 41
_T = TypeVar("_T")


class _Pinned:
    """A store that shows one commit only, so that every search of an inquiry sees the same records."""

    def __init__(self, database: Database, connection: sqlite3.Connection, generation: Generation) -> None:
        self.database = database
        self.generation = generation
        self._connection = connection

    def read(self, function: Callable[[sqlite3.Connection, Generation], _T]) -> _T:
        return function(self._connection, self.generation)

    def refreshed(self) -> Generation:
        return self.generation


def explain(store: Store, query: Query, options: SearchOptions, record_id: str) -> WhyNot:
    """Find the stage of a search that drops a record.

    Parameters
    ----------
    store : Store
        The opened collection.
    query : Query
        The checked query.
    options : SearchOptions
        The search's settings.
    record_id : str
        The record asked about.

    Returns
    -------
    WhyNot
        The stage, the trail, and changes that were tried.
    """

    def run(connection: sqlite3.Connection, generation: Generation) -> WhyNot:
        pinned = _Pinned(store.database, connection, generation)
        return _Inquiry(pinned, query, replace(options, explain=False, include_text=False), record_id).run()

    return store.read(run)


class _Inquiry:
    def __init__(self, store: _Pinned, query: Query, options: SearchOptions, record_id: str) -> None:
        self.store = store
        self.now = store.generation
        self.query = query
        self.options = options
        self.id = record_id
        self.steps: list[Step] = []
        self.changes: list[Change] = []

    # ---- searches -------------------------------------------------------------------------------------------------

    def _search(self, options: SearchOptions) -> SearchResult:
        return execute(cast(Store, self.store), [self.query], options, encode_seconds=0.0)[0]

    def _whole(self, options: SearchOptions) -> SearchResult:
        """Return every ranked candidate of a search, before ``min_score`` and page."""
        reach = options.offset + options.k
        if options.mode == "hybrid":
            reach = options.reach
        elif options.mode in ("lexical", "sparse", "tokens"):
            reach = self.now.count
        return self._search(replace(options, offset=0, k=max(1, reach), min_score=None))

    def _hit(self, result: SearchResult) -> Hit | None:
        return next((hit for hit in result if hit.id == self.id), None)

    def _try(self, **settings: Any) -> bool:
        """Search with other settings; keep them, with a longer page where it takes one, if the record comes in."""
        options, settings = self._with(self.options, settings), dict(settings)
        found = self._hit(self._search(options))
        if found is None:
            ranked = self._hit(self._whole(options))
            if ranked is None:
                return False
            if options.min_score is not None and ranked.score < options.min_score:
                settings["min_score"] = ranked.score
            if ranked.rank <= options.offset:
                settings["offset"] = 0
            # A first page that begins at the top and ends at the record.
            start = settings.get("offset", options.offset)
            if ranked.rank > start + options.k:
                settings["k"] = ranked.rank - start
            found = self._hit(self._search(self._with(self.options, settings)))
            if found is None:
                return False
        if not any(change.settings == settings for change in self.changes):
            self.changes.append(Change(settings, found.rank))
        return True

    def _with(self, options: SearchOptions, settings: dict[str, Any]) -> SearchOptions:
        changed = dict(settings)
        if "where" in changed:
            kept = None if self.options.predicate is None else self._kept_filter()
            changed["predicate"] = kept
        if "recall" in changed:
            changed["effort"] = None
        elif "effort" in changed:
            changed["recall"] = None
        return replace(options, **changed)

    def _kept_filter(self) -> Any:
        return passing_part(self.options.predicate, self.now, self.row)  # type: ignore[arg-type]

    # ---- stages ---------------------------------------------------------------------------------------------------

    def run(self) -> WhyNot:
        rows = self.store.read(lambda connection, _: tables.find_rows(connection, self.store.database, [self.id]))
        self.steps.append(Step("record", bool(len(rows)), {"records": self.now.count}))
        if not len(rows):
            return self._end("missing")
        self.row = int(rows[0])
        self.text, metadata = self.store.read(
            lambda connection, _: tables.fetch_records(connection, self.store.database, [self.row])[self.row][1:]
        )
        hit = self._hit(self._search(self.options))
        if hit is not None:
            self.steps.append(Step("ranking", True, _said(hit)))
            return self._end("found", hit)
        if self.options.predicate is not None:
            failed = failed_clauses(self.options.predicate, self.now, self.row, metadata)
            self.steps.append(Step("filter", not failed, {"failed": [clause.to_dict() for clause in failed]}))
            if failed:
                kept = self._kept_filter()
                self._try(where=None if kept is None or kept == And(()) else kept.to_json())
                return self._end("filter", failed=failed)
        return self._ranked() or self._unranked()

    def _ranked(self) -> WhyNot | None:
        """Look for the record among the ranked candidates that the page leaves out."""
        result = self._whole(self.options)
        hit = self._hit(result)
        if hit is None:
            return None
        options, kept = self.options, True
        if options.min_score is not None:
            kept = hit.score >= options.min_score
        on_page = options.offset < hit.rank <= options.offset + options.k
        details = {**_said(hit), "offset": options.offset, "k": options.k, "min_score": options.min_score}
        self.steps.append(Step("ranking", False, details))
        if not kept:
            self._try(min_score=hit.score)
            return self._end("min_score", hit)
        if on_page:
            return self._end("later", hit)
        end = options.offset + options.k
        pushed_out = options.mode == "hybrid" and any(leg.rank and leg.rank <= end for leg in hit.legs.values())
        if options.mode == "hybrid" and hit.rank > end:
            self._try_weights(result, end)
        if hit.rank <= options.offset:
            self._try(offset=0)
        else:
            self._try(k=hit.rank - options.offset)
        return self._end("fusion" if pushed_out and hit.rank > end else "page", hit)

    def _try_weights(self, result: SearchResult, end: int) -> None:
        """Try the weights nearest to the present ones that bring the record in front of the page's end."""
        if set(result[0].legs) != {"dense", "lexical"}:
            return
        names = list(result[0].legs)
        legs = np.array([[hit.legs[name].normalized or 0.0 for name in names] for hit in result])
        own = [hit.id for hit in result].index(self.id)
        now = np.array([self.options.weights[name] for name in names])
        for weights_of in _weights_near(now):
            scores = legs @ weights_of
            if np.count_nonzero(scores > scores[own]) < end:
                weights = {name: round(value, 6) for name, value in zip(names, weights_of.tolist(), strict=True)}
                before = len(self.changes)
                if self._try(weights=weights) and "k" not in self.changes[before:][0].settings:
                    return
                del self.changes[before:]

    def _unranked(self) -> WhyNot:
        """Say why no leg brings the record, and what would make one bring it."""
        options = self.options
        size = options.depth if options.mode == "hybrid" else options.offset + options.k
        lost: dict[str, str] = {}
        true_ranks: list[int] = []
        if options.mode in ("lexical", "hybrid") and self.query.text is not None:
            words = lexical_details(self.now, self.query, options, self.row, self.text, size=size)
            self.steps.append(Step("lexical", words["lost"] is None, words))
            lost["lexical"] = words["lost"] or "later"
            true_ranks += [words["rank"]] if "rank" in words else []
            if words["lost"] == "condition":
                self._try(syntax="plain")
                return self._end("condition")
        if options.sparse_space is not None:
            terms = sparse_details(self.now, self.query, options, self.row, size=size)
            self.steps.append(Step("sparse", terms["lost"] is None, terms))
            lost["sparse"] = terms["lost"] or "later"
            true_ranks += [terms["rank"]] if "rank" in terms else []
        if options.tokens.leg is not None:
            tokens = token_details(self.now, self.query, options, self.row)
            self.steps.append(Step("tokens", False, tokens))
            lost["tokens"] = tokens["lost"]
            true_ranks += [tokens["true_rank"]] if "true_rank" in tokens else []
        if options.space is not None:
            vector = dense_details(self.now, self.query, options, self.row, size=min(size, self.now.count))
            self.steps.append(Step("dense", vector["lost"] is None, vector))
            lost["dense"] = vector["lost"] or "later"
            true_ranks += [vector["true_rank"]] if "true_rank" in vector else []
            self._try_dense(vector)
        told = [lost[leg] for leg in ("dense", "tokens", "lexical", "sparse") if leg in lost]
        stage = next((reason for reason in told if reason in ("beam", "codes", "later")), None)
        if stage is None and "depth" in lost.values():
            stage = "depth" if options.mode == "hybrid" else "page"
            nearest = min(true_ranks)
            if options.mode == "hybrid":
                self._try(depth=nearest)
            elif not self._try(k=nearest - options.offset) and options.space is not None:
                self._try(k=nearest - options.offset, recall=1.0)
        return self._end(stage or told[0])

    def _try_dense(self, vector: dict[str, Any]) -> None:
        if vector["lost"] not in ("beam", "codes"):
            return
        if vector["effort_needed"] is not None:
            self._try(effort=vector["effort_needed"])
        for recall in (0.99, 0.999):
            if (self.options.recall or 0.0) < recall and self._try(recall=recall):
                return
        self._try(recall=1.0)

    def _end(self, stage: str, hit: Hit | None = None, **more: Any) -> WhyNot:
        why = WhyNot(
            id=self.id,
            stage=stage,
            sentence="",
            rank=None if hit is None else hit.rank,
            score=None if hit is None else hit.score,
            steps=tuple(self.steps),
            changes=tuple(self.changes),
            mode=self.options.mode,
            generation=self.now.number,
        )
        return replace(why, sentence=say(why, self.options, **more))


def _weights_near(now: FloatArray) -> Iterator[FloatArray]:
    """Yield weights of legs, the nearest to the present ones first: one leg changes, the others share the rest."""
    tried: list[tuple[float, FloatArray]] = []
    # With two legs the second adds nothing to the first.
    for leg in range(len(now) if len(now) > 2 else 1):
        others = np.delete(now, leg)
        shares = others / others.sum() if others.sum() > 0 else np.full(len(others), 1.0 / len(others))
        for weight in np.linspace(0.0, 1.0, _WEIGHTS).tolist():
            tried.append((abs(weight - float(now[leg])), np.insert((1.0 - weight) * shares, leg, weight)))
    yield from (weights for _, weights in sorted(tried, key=lambda pair: pair[0]))


def _said(hit: Hit) -> dict[str, Any]:
    return {
        "rank": hit.rank,
        "score": hit.score,
        "legs": {name: {"score": leg.score, "rank": leg.rank} for name, leg in hit.legs.items()},
    }
