"""Learning a correction from pairs over a collection's own vectors, and judging it on queries kept apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from orthant.collection.adapting.report import AdaptReport
from orthant.collection.dense import dense_index
from orthant.collection.storage import tables
from orthant.errors import InputError, message
from orthant.index.flat import Flat
from orthant.kernels import bitmaps
from orthant.measures import paired_bootstrap, paired_randomisation, score_run
from orthant.transforms.adaptation.training import split

if TYPE_CHECKING:
    from orthant.collection.adapting.pairs import Pairs
    from orthant.collection.storage.generation import Generation
    from orthant.collection.storage.store import Store
    from orthant.transforms.adaptation.adapter import ResidualAdapter
    from orthant.types import FloatArray, IdArray

__all__ = ["LEAST_QUERIES", "Material", "gathered", "judged"]

LEAST_QUERIES = 20
"""Held-out queries below which nothing is decided."""
METRIC = "ndcg@10"
_OTHERS = 2000
_BLOCK = 8192


@dataclass(frozen=True)
class Material:
    """Pairs as vectors.

    Attributes
    ----------
    now : Generation
        What they belong to.
    Q : ndarray of shape (q, d), float32
        The queries.
    queries, rows : ndarray of shape (n,), int64
        For each pair the number of its query and the row of its record.
    C : ndarray of shape (n, d), float32
        For each pair the vector of its record.
    groups : ndarray of shape (n,), int64
        For each pair what is held out as a whole.
    left_out : dict of str to int
        Pairs that cannot serve.
    """

    now: Generation
    Q: FloatArray
    queries: IdArray
    rows: IdArray
    C: FloatArray
    groups: IdArray
    left_out: dict[str, int]


def gathered(store: Store, pairs: Pairs, Q: FloatArray, space: str, group_by: str | None) -> Material:
    """Look the records of the pairs up.

    Parameters
    ----------
    store : Store
        The opened collection.
    pairs : Pairs
        Checked.
    Q : ndarray of shape (q, d), float32
        The queries' vectors; rows of zeros are queries without a known word.
    space : str
        The space.
    group_by : str, optional
        Field whose values are held out whole; left out, records are.

    Returns
    -------
    Material
        The pairs that can serve.

    Raises
    ------
    InputError
        No pair of a stored record, or a field that none of the records has.
    """

    def look(connection: Any, now: Generation) -> Material:
        database = store.database
        found = tables.fetch_records(
            connection, database, tables.find_rows(connection, database, sorted(set(pairs.ids))).tolist()
        )
        row_of = {record[0]: row for row, record in found.items()}
        rows = np.array([row_of.get(key, -1) for key in pairs.ids], dtype=np.int64)
        queries = np.array(pairs.queries, dtype=np.int64)
        present, X = now.spaces[space].vectors_of(np.maximum(rows, 0))
        C = np.zeros((len(rows), Q.shape[1]), dtype=np.float32)
        C[present] = X
        known, asked = rows >= 0, np.any(Q[queries], axis=1)
        usable = known & asked & C.any(axis=1)
        left_out = {
            "without_record": int((~known).sum()),
            "without_query_vector": int((known & ~asked).sum()),
            "without_record_vector": int((known & asked & ~usable).sum()),
        }
        if not usable.any():
            given = f"{len(rows)} pairs, of which none has a stored record with a vector and a query with one"
            raise InputError(message(given, "ids of stored records", "check the ids"))
        queries, rows, C = queries[usable], rows[usable], C[usable]
        groups = rows if group_by is None else _field(found, rows, group_by)
        numbers = np.unique(groups, return_inverse=True)[1].reshape(-1).astype(np.int64)
        return Material(now, Q, queries, rows, C, numbers, left_out)

    return store.read(look)


def _field(found: dict[int, tuple[str, str | None, dict]], rows: IdArray, name: str) -> npt.NDArray[Any]:
    values = {row: record[2].get(name) for row, record in found.items()}
    if all(value is None for value in values.values()):
        raise InputError(
            message(f"group_by={name!r}, which none of the records has", "a field of the records", "check the name")
        )
    # A record without a value is a group of its own.
    return np.array([f"row {row}" if values[row] is None else f"value {values[row]!r}" for row in rows.tolist()])


def judged(
    material: Material, adapter: ResidualAdapter, *, space: str, held_out: float, seed: int, alpha: float, split_by: str
) -> AdaptReport:
    """Fit an adapter on some of the pairs and judge it on the others.

    Parameters
    ----------
    material : Material
        The pairs.
    adapter : ResidualAdapter
        Unfitted; fitted afterwards.
    space : str
        The space.
    held_out : float
        Share of the pairs that judge.
    seed : int
        Of the split and the tests.
    alpha : float
        Largest p-value of a recommendation.
    split_by : str
        For the report.

    Returns
    -------
    AdaptReport
        Not applied yet.

    Raises
    ------
    InputError
        Too few pairs, or groups, to teach and to judge.
    """
    m = material
    if int(m.groups.max()) == 0:
        raise InputError(
            message(f"pairs of one {split_by}", "at least two, of which one is held out", "add pairs of others")
        )
    rng = np.random.default_rng(seed)
    kept, out = split(m.groups, held_out, rng)
    # A question that is asked again would be judged by what was learned from it.
    taught = kept[~np.isin(m.queries[kept], m.queries[out])]
    asked = np.unique(m.queries[out])
    if len(asked) < LEAST_QUERIES or len(taught) < LEAST_QUERIES:
        given = f"{len(taught)} pairs to learn from and {len(asked)} held-out queries"
        raise InputError(message(given, f"at least {LEAST_QUERIES} of each", "bring more pairs, or set held_out"))
    groups = m.groups[taught]
    adapter.fit(
        m.Q[m.queries[taught]],
        m.C[taught],
        groups=groups if len(np.unique(groups)) > 1 else None,
        others=_others(m, space, rng),
    )
    left_out = {**m.left_out, "asked_in_both_parts": len(kept) - len(taught)}
    index = dense_index(m.now, space)
    moved = _moved(m, space, adapter) if adapter.sides_ == "both" else index
    values = [_values(m, asked, m.Q[asked], index), _values(m, asked, adapter.transform(m.Q[asked]), moved)]
    gain = values[1] - values[0]
    low, high = paired_bootstrap(*values, seed=seed)
    p_value = paired_randomisation(*values, seed=seed)[0]
    return AdaptReport(
        space=space,
        metric=METRIC,
        before=float(values[0].mean()),
        after=float(values[1].mean()),
        difference=float(gain.mean()),
        low=low,
        high=high,
        p_value=p_value,
        wins=int((gain > 0).sum()),
        ties=int((gain == 0).sum()),
        losses=int((gain < 0).sum()),
        queries=len(asked),
        trained_pairs=len(taught),
        sides=adapter.sides_,
        split_by=split_by,
        best_epoch=adapter.best_epoch_,
        validated=dict(adapter.validated_),
        recommended=bool(gain.mean() > 0 and p_value < alpha),
        applied=False,
        left_out=left_out,
    )


def _others(m: Material, space: str, rng: np.random.Generator) -> FloatArray | None:
    """Vectors of records that no pair names, as further wrong answers."""
    state = m.now.spaces[space]
    rows = bitmaps.to_rows(m.now.live & bitmaps.resize(state.rows_bitmap(), len(m.now.live)))
    rows = np.setdiff1d(rows, m.rows)
    if not len(rows):
        return None
    drawn = np.sort(rng.choice(rows, min(len(rows), _OTHERS), replace=False))
    X = state.vectors_of(drawn)[1]
    return X[X.any(axis=1)]


def _moved(m: Material, space: str, adapter: ResidualAdapter) -> Flat:
    """All records with the item side of a correction, in memory: nothing is stored before it is shown to be better."""
    state = m.now.spaces[space]
    rows = bitmaps.to_rows(m.now.live & bitmaps.resize(state.rows_bitmap(), len(m.now.live)))
    out = Flat(m.Q.shape[1], metric="cosine")
    for begin in range(0, len(rows), _BLOCK):
        part = rows[begin : begin + _BLOCK]
        out.add(adapter.transform_target(state.vectors_of(part)[1]), part)
    return out


def _values(m: Material, asked: IdArray, Q: FloatArray, index: Any) -> npt.NDArray[np.float64]:
    """The metric of each held-out query, over an exact search of all records."""
    hits = index.search(np.ascontiguousarray(Q), 10, recall=1.0)
    relevant: dict[int, list[int]] = {int(q): [] for q in asked}
    for q, row in zip(m.queries.tolist(), m.rows.tolist(), strict=True):
        if q in relevant:
            relevant[q].append(row)
    run = {int(q): hits.ids[i, : hits.counts[i]].tolist() for i, q in enumerate(asked)}
    scores = score_run(run, relevant, [METRIC])[METRIC]
    by_query = dict(zip(scores.queries, scores.values.tolist(), strict=True))
    return np.array([by_query[int(q)] for q in asked])
