"""The claim of the `leanvec` row about learning from queries: its measurements."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.papers.record import Figures, Trial

__all__ = ["queries_outside"]

Array = npt.NDArray[Any]

_KINDS = ("banking77", "stackoverflow")
_ROWS = 10_000
_HELD = 400
_DIM = 96
_DEPTH, _K = 50, 10
_SHARES = (0.25, 0.5, 0.75)


def queries_outside(seed: int) -> Trial:
    """Measure how many true neighbours of other queries of the same kind reduced vectors keep among the best 50.

    Parameters
    ----------
    seed : int
        Of the rows, and of which queries are learned from.

    Returns
    -------
    Trial
        Means over both kinds of queries.
    """
    found: dict[str, list[float]] = {}
    for rows, learned, held in _sets(seed):
        truth = _nearest(rows, held, _K)
        for name, (database, queries) in _arms(rows, learned, seed).items():
            seen = _nearest(rows @ database.T, held @ queries.T, _DEPTH)
            share = float((truth[:, :, None] == seen[:, None, :]).any(axis=2).mean())
            found.setdefault(name, []).append(share)
    figures: dict[str, Figures] = {name: {"recall@10 of 50": float(np.mean(each))} for name, each in found.items()}
    return Trial(
        measured=figures.pop("measured"),
        ablated=figures.pop("ablated"),
        baseline=figures.pop("LeanVec without queries"),
        alternatives=figures,
    )


def _arms(rows: Array, learned: Array, seed: int) -> dict[str, tuple[Array, Array]]:
    """Return projections of database and queries by name; every arm that learns gets the same queries."""
    from orthant.transforms import LeanVec

    def lean(mode: str, queries: Array) -> tuple[Array, Array]:
        made = LeanVec(dim=_DIM, mode=mode).fit(rows, queries=queries)
        return made.components_x_, made.components_q_

    instead = rows[np.random.default_rng(seed).choice(len(rows), len(learned), replace=False)]
    centred = _leading(np.cov(rows.T))
    alone = _leading(learned.T.astype(float) @ learned)
    mixed = _best_mixture(rows, learned)
    return {
        "measured": lean("es+fw", learned),
        "ablated": lean("es+fw", instead),
        "LeanVec without queries": lean("id", learned),
        "eigen-search alone": lean("es", learned),
        "principal components about the mean": (centred, centred),
        "principal components of the queries": (alone, alone),
        "principal components of both, at the best of three weights": (mixed, mixed),
    }


def _best_mixture(rows: Array, learned: Array) -> Array:
    """Choose the weight of the queries by recall on a quarter of those that are learned from."""
    database = rows.T.astype(float) @ rows / len(rows)
    tune, rest = learned[::4], np.delete(learned, np.s_[::4], axis=0)
    truth = _nearest(rows, tune, _K)

    def mixture(share: float, queries: Array) -> Array:
        return _leading((1 - share) * database + share * (queries.T.astype(float) @ queries / len(queries)))

    def recall(share: float) -> float:
        kept = mixture(share, rest)
        seen = _nearest(rows @ kept.T, tune @ kept.T, _DEPTH)
        return float((truth[:, :, None] == seen[:, None, :]).any(axis=2).mean())

    return mixture(max(_SHARES, key=recall), learned)


def _leading(matrix: Array) -> Array:
    return np.ascontiguousarray(np.linalg.eigh(matrix)[1][:, ::-1][:, :_DIM].T.astype(np.float32))


def _sets(seed: int) -> list[tuple[Array, Array, Array]]:
    from orthant.datasets import load

    found = load("minilm_short_texts")
    rng = np.random.default_rng(seed)
    rows = _unit(found.base[rng.choice(len(found.base), _ROWS, replace=False)])
    kinds = np.array([record["source"] for record in found.query_records["out"]])
    out = []
    for kind in _KINDS:
        asked = _unit(found.queries["out"][rng.permutation(np.flatnonzero(kinds == kind))])
        out.append((rows, asked[_HELD:], asked[:_HELD]))
    return out


def _nearest(rows: Array, queries: Array, k: int) -> Array:
    from orthant.index import Flat

    index = Flat(rows.shape[1], "dot")
    index.add(rows)
    return index.search(queries, k).ids


def _unit(rows: Array) -> Array:
    wide = rows.astype(np.float64)
    return (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)
