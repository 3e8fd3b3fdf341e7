"""Learning fusion weights from judged queries: candidates once, every setting by arithmetic, a tested choice."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.collection import fusion
from orthant.collection.searching import Query, SearchOptions
from orthant.collection.storage.generation import Generation
from orthant.collection.storage.store import Store
from orthant.collection.tuning.crossvalidation import HeldOut, chance_of_choice, cross_validated
from orthant.collection.tuning.judging import Candidates, Judged, Setting, collect, locate, settings_of, values_of
from orthant.collection.tuning.report import FusionReport, conclude
from orthant.errors import InputError, message
from orthant.measures.ranking import check_metric_name, score_run
from orthant.measures.significance import Comparison, compare_arms, holm
from orthant.validate import check_choice, check_count, check_fraction

__all__ = ["LEAST_QUERIES", "Wish", "check_wish", "tune"]

LEAST_QUERIES = 20
"""With fewer judged queries an interval of the gain is too narrow, and hardly any gain can be shown."""

_BATCH = 128
_DEPTH = 100


@dataclass(frozen=True)
class Wish:
    """What is to be learned.

    Attributes
    ----------
    metric : str
        What is maximised.
    folds : int
        Parts of the queries.
    methods : tuple of str
        Ways of fusing that are tried.
    seed : int
        Of folds and tests.
    alpha : float
        Level of the tests.
    """

    metric: str
    folds: int
    methods: tuple[str, ...]
    seed: int
    alpha: float


def check_wish(judged: Judged, *, metric: str, folds: int, methods: Sequence[str], seed: int, alpha: float) -> Wish:
    """Check what is to be learned, before anything is encoded.

    Parameters
    ----------
    judged : Judged
        The queries.
    metric, folds, methods, seed, alpha
        As for ``Collection.tune_fusion``.

    Returns
    -------
    Wish
        Checked.

    Raises
    ------
    InputError
        Too few queries, or a setting out of range.
    """
    check_metric_name(metric)
    _require_enough(judged)
    folds = check_count(folds, name="folds", minimum=2)
    if folds > len(judged.texts):
        raise InputError(
            message(f"folds={folds} for {len(judged.texts)} judged queries", "at most one per query", "use 5")
        )
    if isinstance(methods, str) or not methods:
        raise InputError(message(f"methods={methods!r}", "a list of 'minmax' and 'rrf'", "name one or both"))
    for method in methods:
        check_choice(method, ("minmax", "rrf"), name="a method")
    level = check_fraction(alpha, name="alpha", low=1e-6, high=0.5)
    return Wish(metric, folds, tuple(dict.fromkeys(methods)), check_count(seed, name="seed", minimum=0), level)


def _require_enough(judged: Judged) -> None:
    if len(judged.texts) < LEAST_QUERIES:
        left = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in judged.left_out.items() if count)
        given = f"{len(judged.texts)} judged queries with a relevant record{f' (left out: {left})' if left else ''}"
        raise InputError(message(given, f"at least {LEAST_QUERIES}", "judge more queries; until then keep the default"))


def tune(
    store: Store,
    queries: Sequence[Query],
    options: SearchOptions,
    judged: Judged,
    wish: Wish,
    *,
    advance: Callable[[int], None] | None = None,
) -> FusionReport:
    """Learn weights and test them.

    Parameters
    ----------
    store : Store
        The opened collection.
    queries : sequence of Query
        Those of ``judged``, ready to run.
    options : SearchOptions
        Of a hybrid search as the collection makes it now.
    judged : Judged
        By record id.
    wish : Wish
        What is to be learned.
    advance : callable of int, optional
        Told how many further queries are searched.

    Returns
    -------
    FusionReport
        Nothing is stored.

    Raises
    ------
    InputError
        Judged records that are not there, too few queries, or one leg only.
    """

    def run(connection: sqlite3.Connection, generation: Generation) -> tuple[Judged, list[Candidates]]:
        located, places = locate(connection, store.database, judged)
        _require_enough(located)
        found: list[Candidates] = []
        # The scaled scores of one search give every other fusion by arithmetic.
        scaled = replace(options, fusion="minmax")
        for begin in range(0, len(places), _BATCH):
            part = [queries[i] for i in places[begin : begin + _BATCH]]
            found += collect(generation, part, scaled)
            if advance is not None:
                advance(len(part))
        return located, found

    located, found = store.read(run)
    legs = _legs(found, options)
    present = Setting(options.fusion, dict(options.weights))
    settings = settings_of(legs, wish.methods, present)
    depth = check_metric_name(wish.metric)[1] or _DEPTH
    values = values_of(found, located.grades, settings, metric=wish.metric, depth=depth)
    held = cross_validated(values, folds=min(wish.folds, values.shape[1]), seed=wish.seed)
    others = {"present": values[0]}
    others |= {f"{leg} alone": _alone(found, located, leg, wish.metric, depth) for leg in legs}
    return _report(wish, located, settings, values, held, others)


def _legs(found: Sequence[Candidates], options: SearchOptions) -> list[str]:
    legs = [leg for leg in options.weights if any(len(one.lists.get(leg, ())) for one in found)]
    if len(legs) < 2:
        given = f"queries for which only the {legs[0]} leg finds records" if legs else "queries that find nothing"
        raise InputError(
            message(given, "two legs to weigh", "add records with texts and vectors, or search with one mode")
        )
    return legs


def _alone(found: Sequence[Candidates], judged: Judged, leg: str, metric: str, depth: int) -> npt.NDArray[np.float64]:
    run = {i: one.lists[leg][:depth].tolist() if leg in one.lists else [] for i, one in enumerate(found)}
    return score_run(run, dict(enumerate(judged.grades)), [metric])[metric].values


def _report(
    wish: Wish,
    judged: Judged,
    settings: Sequence[Setting],
    values: npt.NDArray[np.float64],
    held: HeldOut,
    others: dict[str, npt.NDArray[np.float64]],
) -> FusionReport:
    comparisons = _compared(wish, held.values, others)
    chosen, present = _plain(settings[held.chosen]), _plain(settings[0])
    weighed = {leg: weight for leg, weight in settings[0].weights.items() if weight}
    default = settings[0].method == "minmax" and weighed == dict(fusion.DEFAULT_WEIGHTS)
    p_value = chance_of_choice(values, seed=wish.seed)
    recommended, sentence = conclude(chosen, present, comparisons, p_value=p_value, alpha=wish.alpha, default=default)
    return FusionReport(
        recommended=recommended,
        sentence=sentence,
        metric=wish.metric,
        queries=len(judged.texts),
        left_out=dict(judged.left_out),
        chosen=chosen,
        present=present,
        held_out=float(held.values.mean()),
        in_sample=float(values[held.chosen].mean()),
        values={name: float(arm.mean()) for name, arm in others.items()},
        p_value=p_value,
        comparisons=comparisons,
        by_fold=tuple(_plain(settings[i]) for i in held.by_fold),
        alpha=wish.alpha,
    )


def _compared(
    wish: Wish, held: npt.NDArray[np.float64], others: dict[str, npt.NDArray[np.float64]]
) -> tuple[Comparison, ...]:
    tuned = dict(enumerate(held.tolist()))
    found = [
        compare_arms(
            {name: dict(enumerate(arm.tolist())), "learned": tuned}, baseline=name, metric=wish.metric, seed=wish.seed
        ).comparisons[0]
        for name, arm in others.items()
    ]
    adjusted = holm([one.p_value for one in found])
    return tuple(
        replace(one, p_adjusted=float(p), comparisons=len(found)) for one, p in zip(found, adjusted, strict=True)
    )


def _plain(setting: Setting) -> dict[str, Any]:
    return {"fusion": setting.method, "weights": dict(setting.weights)}
