"""Judged queries, and the value of every fusion setting on each of them."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.collection import fusion
from orthant.collection.searching import Query, SearchOptions, rank_queries
from orthant.collection.storage import tables
from orthant.collection.storage.database import Database
from orthant.collection.storage.generation import Generation
from orthant.errors import InputError, message
from orthant.measures.ranking import score_run
from orthant.types import FloatArray, IdArray

__all__ = ["Candidates", "Judged", "Setting", "check_judgements", "collect", "locate", "settings_of", "values_of"]

Judgements = Mapping[str, Any]

_MOST_POINTS = 250
_STEPS = (20, 10, 5, 4, 2, 1)


@dataclass(frozen=True)
class Judged:
    """Queries with what was judged of them.

    Attributes
    ----------
    texts : list of str
        The queries.
    grades : list of dict
        Per query the grade of every judged record, by id; by row once located.
    left_out : dict of str to int
        Queries and records that do not count, by reason.
    """

    texts: list[str]
    grades: list[dict[Any, float]]
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Setting:
    """One way to fuse.

    Attributes
    ----------
    method : str
        ``"minmax"`` or ``"rrf"``.
    weights : dict of str to float
        By leg, sum 1.
    """

    method: str
    weights: dict[str, float]


@dataclass(frozen=True)
class Candidates:
    """What the legs brought for one query.

    Attributes
    ----------
    rows : ndarray of shape (m,), int64
        Candidates, ascending, as a search breaks ties.
    scores : dict of str to ndarray of shape (m,), float32
        By leg, -inf where it has none.
    ranks : dict of str to ndarray of shape (m,), int64
        By leg, 0 where it did not bring the candidate.
    lists : dict of str to ndarray of shape (n,), int64
        By leg, its own rows, best first.
    """

    rows: IdArray
    scores: dict[str, FloatArray]
    ranks: dict[str, IdArray]
    lists: dict[str, IdArray]

    def of(self, legs: Collection[str]) -> tuple[IdArray, dict[str, dict[str, FloatArray]]]:
        """Return what a search by some of the legs has: its candidates, and their contributions.

        Parameters
        ----------
        legs : collection of str
            The legs that take part.

        Returns
        -------
        rows : ndarray of shape (n,), int64
            Candidates that one of them brought, ascending.
        parts : dict of str to dict of str to ndarray of shape (n,), float32
            By method and leg, the contribution to the fused score.
        """
        used = [leg for leg in self.ranks if leg in legs]
        brought = np.zeros(len(self.rows), dtype=bool)
        for leg in used:
            brought |= self.ranks[leg] > 0
        minmax = {leg: fusion.scaled(leg, self.scores[leg][brought]) for leg in used}
        reciprocal = {leg: fusion.reciprocal_ranks(self.ranks[leg][brought]) for leg in used}
        return self.rows[brought], {"minmax": minmax, "rrf": reciprocal}


def check_judgements(judgements: Judgements | None, queries: Mapping[str, str] | None, qrels: Any) -> Judged:
    """Bring both ways of giving judgements into one.

    Parameters
    ----------
    judgements : mapping, optional
        ``{query text: {record id: grade}}`` or ``{query text: [relevant id, ...]}``.
    queries : mapping of str to str, optional
        Text by query id, together with ``qrels``.
    qrels : mapping, optional
        ``{query id: {record id: grade}}`` or ``{query id: [relevant id, ...]}``.

    Returns
    -------
    Judged
        By record id; queries without a text or without a relevant record are counted and left out.

    Raises
    ------
    InputError
        Neither or both ways, or values of other types.
    """
    paired = queries is not None and qrels is not None
    if (judgements is not None) == paired or (queries is None) != (qrels is None):
        raise InputError(
            message("neither or both of judgements and queries with qrels", "one of them",
                    "pass {text: [ids]}, or queries={id: text} and qrels={id: {record: grade}}")
        )  # fmt: skip
    given: Any = qrels if paired else judgements
    for name, value in (("judgements", given), ("queries", queries if paired else {})):
        if not isinstance(value, Mapping):
            raise InputError(message(f"{name} of type {type(value).__name__}", "a mapping", "pass a dict"))
    out = Judged([], [], {"queries_without_text": 0, "queries_without_relevant": 0, "records_absent": 0})
    for key, held in given.items():
        text = queries.get(key) if paired and queries is not None else key
        if text is not None and not isinstance(text, str):
            raise InputError(message(f"a query of type {type(text).__name__}", "a text", "pass each as a str"))
        grades = _grades(key, held)
        if text is None or not text.strip():
            out.left_out["queries_without_text"] += 1
        elif not any(grade > 0 for grade in grades.values()):
            out.left_out["queries_without_relevant"] += 1
        else:
            out.texts.append(text)
            out.grades.append(grades)
    return out


def _grades(query: Any, held: Any) -> dict[str, float]:
    if isinstance(held, (str, bytes)) or not isinstance(held, (Mapping, Sequence, set, frozenset)):
        raise InputError(
            message(f"judgements {held!r} of query {query!r}", "{record id: grade} or [record id, ...]", "correct them")
        )
    pairs = held.items() if isinstance(held, Mapping) else ((key, 1) for key in held)
    out: dict[str, float] = {}
    for key, grade in pairs:
        number = isinstance(grade, (int, float, np.integer, np.floating)) and math.isfinite(grade)
        if not isinstance(key, str) or not number:
            raise InputError(
                message(f"judgement {key!r}: {grade!r} of query {query!r}", "an id and a finite number", "correct it")
            )
        out[key] = float(grade)
    return out


def locate(connection: sqlite3.Connection, database: Database, judged: Judged) -> tuple[Judged, list[int]]:
    """Replace record ids by rows.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.
    database : Database
        The database.
    judged : Judged
        By record id.

    Returns
    -------
    judged : Judged
        By row. Absent records are counted and left out, and with them queries that have no other relevant one.
    places : list of int
        Which of the queries remain.

    Raises
    ------
    InputError
        No judged record is in the collection.
    """
    wanted = list({key for grades in judged.grades for key in grades})
    rows = tables.find_rows(connection, database, wanted)
    row_of = {record[0]: row for row, record in tables.fetch_records(connection, database, rows.tolist()).items()}
    absent = [key for key in wanted if key not in row_of]
    tables.require_absent(connection, database, absent)
    if not row_of:
        shown = f", such as {absent[0]!r}" if absent else ""
        raise InputError(
            message(f"{len(absent)} judged ids of which none is a record's{shown}", "ids of this collection",
                    "check that judgements and collection belong together")
        )  # fmt: skip
    left_out = {**judged.left_out, "records_absent": len(absent)}
    found = [{row_of[key]: grade for key, grade in grades.items() if key in row_of} for grades in judged.grades]
    places = [i for i, grades in enumerate(found) if any(grade > 0 for grade in grades.values())]
    left_out["queries_without_relevant"] += len(found) - len(places)
    return Judged([judged.texts[i] for i in places], [found[i] for i in places], left_out), places


def collect(generation: Generation, queries: Sequence[Query], options: SearchOptions) -> list[Candidates]:
    """Return what the legs bring for some queries, from which every fusion can be computed.

    Parameters
    ----------
    generation : Generation
        What is seen.
    queries : sequence of Query
        Checked queries.
    options : SearchOptions
        Of a hybrid search with ``fusion="minmax"``.

    Returns
    -------
    list of Candidates
        One per query.
    """
    out = []
    for ranking in rank_queries(generation, queries, options):
        order = np.argsort(ranking.rows, kind="stable")
        ranks = {leg: said.ranks[order] for leg, said in ranking.legs.items()}
        scores = {leg: said.scores[order] for leg, said in ranking.legs.items()}
        rows = ranking.rows[order]
        lists = {}
        for leg, places in ranks.items():
            brought = np.flatnonzero(places)
            lists[leg] = rows[brought[np.argsort(places[brought])]]
        out.append(Candidates(rows, scores, ranks, lists))
    return out


def settings_of(legs: Sequence[str], methods: Sequence[str], present: Setting) -> list[Setting]:
    """Return every setting to be tried, the present one first and then those nearest to it.

    Parameters
    ----------
    legs : sequence of str
        Legs that can be weighted.
    methods : sequence of str
        Methods to try.
    present : Setting
        How the collection fuses now.

    Returns
    -------
    list of Setting
        Two legs are weighted in steps of 0.05; more legs in the finest steps that make at most 250 settings each.

    Examples
    --------
    >>> tried = settings_of(["dense", "lexical"], ["minmax"], Setting("minmax", {"dense": 0.4, "lexical": 0.6}))
    >>> len(tried), tried[1].weights
    (21, {'dense': 0.35, 'lexical': 0.65})
    """
    steps = next((n for n in _STEPS if math.comb(n + len(legs) - 1, len(legs) - 1) <= _MOST_POINTS), 1)
    points = [
        Setting(method, {leg: round(share / steps, 6) for leg, share in zip(legs, shares, strict=True)})
        for method in methods
        for shares in _compositions(steps, len(legs))
    ]

    def distance(setting: Setting) -> float:
        moved = sum(abs(setting.weights[leg] - present.weights.get(leg, 0.0)) for leg in legs)
        return round(moved + 2.0 * (setting.method != present.method), 9)

    return [present, *sorted((point for point in points if point != present), key=distance)]


def _compositions(total: int, parts: int) -> list[tuple[int, ...]]:
    if parts == 1:
        return [(total,)]
    return [(first, *rest) for first in range(total + 1) for rest in _compositions(total - first, parts - 1)]


def values_of(
    found: Sequence[Candidates],
    grades: Sequence[Mapping[int, float]],
    settings: Sequence[Setting],
    *,
    metric: str,
    depth: int,
) -> npt.NDArray[np.float64]:
    """Return the metric of every setting on every query.

    Parameters
    ----------
    found : sequence of Candidates, length q
        What the legs brought.
    grades : sequence of mapping, length q
        Grade of every judged row.
    settings : sequence of Setting, length s
        Ways to fuse.
    metric : str
        Such as ``"ndcg@10"``.
    depth : int
        Hits that are looked at.

    Returns
    -------
    ndarray of shape (s, q), float64
        Equal to what searching with these settings gives.

    Notes
    -----
    Cost: one sum over the candidates of every query and setting; nothing is searched again.
    """
    runs: list[dict[int, list[int]]] = [{} for _ in settings]
    active = [fusion.active_legs(setting.weights) for setting in settings]
    for query, candidates in enumerate(found):
        # A leg that a search leaves out brings it no candidates, and does not stretch the scale of the others.
        by_legs = {legs: candidates.of(legs) for legs in dict.fromkeys(active)}
        for run, setting, legs in zip(runs, settings, active, strict=True):
            rows, parts = by_legs[legs][0], by_legs[legs][1][setting.method]
            fused = fusion.weighted_sum(parts, setting.weights) if parts else np.zeros(0, np.float32)
            # Rows ascend, so a stable order breaks ties as a search does.
            run[query] = rows[np.argsort(-fused, kind="stable")[:depth]].tolist()
    judged = dict(enumerate(grades))
    return np.stack([score_run(run, judged, [metric])[metric].values for run in runs])
