"""Why a search does not return a record: the stages in their order, the first that drops it, and what was tried."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from orthant.collection.columns.where import And
from orthant.collection.insight.behind import drop_behind, said
from orthant.collection.insight.causes import (
    dense_details,
    failed_clauses,
    lexical_details,
    sparse_details,
    token_details,
)
from orthant.collection.insight.outcome import Step, WhyNot
from orthant.collection.insight.steering import Steered, moved_out
from orthant.collection.insight.trying import Pinned, Trying
from orthant.collection.insight.wording import say
from orthant.collection.results import Hit, SearchResult
from orthant.collection.searching import Query, SearchOptions
from orthant.collection.storage import tables
from orthant.collection.storage.generation import Generation
from orthant.collection.storage.store import Store
from orthant.types import FloatArray

__all__ = ["explain"]

_WEIGHTS = 41


def explain(
    store: Store,
    query: Query,
    options: SearchOptions,
    record_id: str,
    *,
    steered: Steered | None = None,
) -> WhyNot:
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
    steered : Steered, optional
        How the query was moved, and the query otherwise.

    Returns
    -------
    WhyNot
        The stage, the trail, and changes that were tried.
    """

    def run(connection: sqlite3.Connection, generation: Generation) -> WhyNot:
        pinned = Pinned(store.database, connection, generation)
        return _Inquiry(pinned, query, replace(options, explain=False, include_text=False), record_id).run(steered)

    return store.read(run)


class _Inquiry(Trying):
    # ---- stages ---------------------------------------------------------------------------------------------------

    def run(self, steered: Steered | None) -> WhyNot:
        rows = self.store.read(lambda connection, _: tables.find_rows(connection, self.store.database, [self.id]))
        told: dict[str, Any] = {"records": self.now.count}
        if not len(rows):
            # Groups and passages show the ids of documents, whose records are their chunks.
            chunk = f"{self.id}#0"
            if len(self.store.read(lambda connection, _: tables.find_rows(connection, self.store.database, [chunk]))):
                told["chunk"] = chunk
        self.steps.append(Step("record", bool(len(rows)), told))
        if not len(rows):
            return self._end("missing")
        self.row = int(rows[0])
        self.text, metadata = self.store.read(
            lambda connection, _: tables.fetch_records(connection, self.store.database, [self.row])[self.row][1:]
        )
        hit = self.hit(self.search(self.options))
        if hit is not None:
            self.steps.append(Step("ranking", True, said(hit)))
            return self._end("found", hit)
        if self.options.predicate is not None:
            failed = failed_clauses(self.options.predicate, self.now, self.row, metadata)
            self.steps.append(Step("filter", not failed, {"failed": [clause.to_dict() for clause in failed]}))
            if failed:
                kept = self.kept_filter()
                self.attempt(where=None if kept is None or kept == And(()) else kept.to_json())
                return self._end("filter", failed=failed)
        if steered is not None and moved_out(self, steered):
            return self._end("steer")
        if self.options.stages.ordered:
            behind = drop_behind(self)
            return self._unranked() if behind is None else self._end(*behind)
        return self._ranked() or self._unranked()

    def _ranked(self) -> WhyNot | None:
        """Look for the record among the ranked candidates that the page leaves out."""
        result = self.base(self.options)
        hit = self.hit(result)
        if hit is None:
            return None
        options, kept = self.options, True
        if options.min_score is not None:
            kept = hit.score >= options.min_score
        on_page = options.offset < hit.rank <= options.offset + options.k
        details = {**said(hit), "offset": options.offset, "k": options.k, "min_score": options.min_score}
        self.steps.append(Step("ranking", False, details))
        if not kept:
            self.attempt(min_score=hit.score)
            return self._end("min_score", hit)
        if on_page:
            return self._end("later", hit)
        end = options.offset + options.k
        pushed_out = options.mode == "hybrid" and any(leg.rank and leg.rank <= end for leg in hit.legs.values())
        if options.mode == "hybrid" and hit.rank > end:
            self._try_weights(result, end)
        if hit.rank <= options.offset:
            self.attempt(offset=0)
        else:
            self.attempt(k=hit.rank - options.offset)
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
                if self.attempt(weights=weights) and "k" not in self.changes[before:][0].settings:
                    return
                del self.changes[before:]

    def _unranked(self) -> WhyNot:
        """Say why no leg brings the record, and what would make one bring it."""
        options = self.options
        size = options.depth if options.mode == "hybrid" else options.offset + options.k
        if options.mode != "hybrid" and options.stages.ordered:
            size = self.window(options)
        lost: dict[str, str] = {}
        true_ranks: list[int] = []
        if options.mode in ("lexical", "hybrid") and self.query.text is not None:
            words = lexical_details(self.now, self.query, options, self.row, self.text, size=size)
            self.steps.append(Step("lexical", words["lost"] is None, words))
            lost["lexical"] = words["lost"] or "later"
            true_ranks += [words["rank"]] if "rank" in words else []
            if words["lost"] == "condition":
                self.attempt(syntax="plain")
                return self._end("condition")
        if options.sparse_space is not None:
            terms = sparse_details(self.now, self.query, options, self.row, size=size)
            self.steps.append(Step("sparse", terms["lost"] is None, terms))
            lost["sparse"] = terms["lost"] or "later"
            true_ranks += [terms["rank"]] if "rank" in terms else []
        if options.tokens.leg is not None:
            tokens = token_details(self.now, self.query, options, self.row, size=min(size, self.now.count))
            self.steps.append(Step("tokens", False, tokens))
            lost["tokens"] = tokens["lost"]
            true_ranks += [tokens["true_rank"]] if "true_rank" in tokens else []
            self._try_effort(tokens)
        if options.space is not None:
            vector = dense_details(self.now, self.query, options, self.row, size=min(size, self.now.count))
            self.steps.append(Step("dense", vector["lost"] is None, vector))
            lost["dense"] = vector["lost"] or "later"
            true_ranks += [vector["true_rank"]] if "true_rank" in vector else []
            self._try_effort(vector)
        told = [lost[leg] for leg in ("dense", "tokens", "lexical", "sparse") if leg in lost]
        stage = next((reason for reason in told if reason in ("beam", "codes", "later")), None)
        if stage is None and "depth" in lost.values():
            nearest = min(true_ranks)
            stage = "depth" if options.mode == "hybrid" or options.stages.ordered else "page"
            if options.mode != "hybrid" and options.stages.reranker is not None:
                stage = "rerank-depth"
                self.attempt(rerank_depth=nearest)
            elif stage == "depth":
                self.attempt(depth=nearest)
            elif not self.attempt(k=nearest - options.offset) and options.space is not None:
                self.attempt(k=nearest - options.offset, recall=1.0)
        return self._end(stage or told[0])

    def _try_effort(self, vector: dict[str, Any]) -> None:
        if vector["lost"] not in ("beam", "codes"):
            return
        if vector["effort_needed"] is not None:
            self.attempt(effort=vector["effort_needed"])
        for recall in (0.99, 0.999):
            if (self.options.recall or 0.0) < recall and self.attempt(recall=recall):
                return
        self.attempt(recall=1.0)

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
