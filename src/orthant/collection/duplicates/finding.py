"""Looking for near-duplicates: checks what was asked for, compares, groups, reports."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from orthant.collection.dense import dense_index
from orthant.collection.duplicates import near
from orthant.collection.duplicates.groups import RULES, Keep, Linkage, grouped, keep_order
from orthant.collection.duplicates.minhash import PERMUTATIONS, candidates, choose_bands, signatures
from orthant.collection.duplicates.near import PairRecall
from orthant.collection.duplicates.report import DuplicateGroup, DuplicatePair, DuplicateReport
from orthant.collection.duplicates.selecting import Compared, select
from orthant.collection.duplicates.shingles import jaccard, jaccard_pairs
from orthant.collection.duplicates.thresholds import (
    SimilarityHistogram,
    ThresholdChoice,
    choose_threshold,
    make_histogram,
)
from orthant.collection.ingest import check_ids
from orthant.collection.results import Record
from orthant.collection.storage import merging, tables
from orthant.collection.storage.generation import Generation
from orthant.collection.storage.store import Store
from orthant.encoders.progress import progress_bar
from orthant.errors import InputError, NotFoundError, message
from orthant.kernels import bitmaps
from orthant.types import FloatArray, IdArray
from orthant.validate import check_choice, check_count, check_fraction

__all__ = ["By", "Labelled", "find_duplicates"]

By = Literal["vectors", "text", "both"]
Labelled = Sequence[tuple[str, str, bool]]

_WIDTH = 3
_GRAPH_RECALL = 0.99
_LOOKED_AT = 2000
_LEAST_SIMILAR = 0.2
"""Less similar texts are not sought for the histogram: strangers would be candidates of each other."""


@dataclass(frozen=True)
class _Wish:
    by: By
    threshold: dict[str, float] | None
    labelled: list[tuple[str, str, bool]] | None
    space: str | None
    where: Mapping[str, Any] | None
    exact: bool
    keep: Keep
    order_field: str | None
    width: int | None
    linkage: Linkage
    seed: int
    progress: bool = False


def find_duplicates(
    store: Store,
    *,
    by: By,
    threshold: float | Mapping[str, float] | None,
    labelled: Labelled | None,
    space: str | None,
    where: Mapping[str, Any] | None,
    exact: bool,
    keep: Keep,
    order_field: str | None,
    shingle: int | None,
    linkage: Linkage,
    seed: int,
    progress: bool = False,
) -> DuplicateReport:
    """Look for near-duplicates; the parameters are those of ``Collection.duplicates``.

    Parameters
    ----------
    store : Store
        The collection's store.
    by, threshold, labelled, space, where, exact, keep, order_field, shingle, linkage, seed, progress
        As for ``Collection.duplicates``.

    Returns
    -------
    DuplicateReport
        Of the generation at the time of the call.

    Raises
    ------
    InputError
        Settings that do not fit together.
    NotFoundError
        An unknown space, or a judged id that is absent.
    """
    began = time.perf_counter()
    check_choice(by, ("vectors", "text", "both"), name="by")
    check_choice(linkage, ("kept", "components"), name="linkage")
    _check_keep(keep, order_field)
    if by == "vectors" and shingle is not None:
        raise InputError(message(f"shingle={shingle} with by='vectors'", "by='text' or 'both'", "leave shingle out"))
    if by == "text" and space is not None:
        raise InputError(message(f"space={space!r} with by='text'", "by='vectors' or 'both'", "leave space out"))
    wish = _Wish(
        by=by,
        threshold=_check_threshold(by, threshold, judged=labelled is not None),
        labelled=None if labelled is None else _check_labelled(labelled),
        space=None if by == "text" else space or "default",
        where=where,
        exact=bool(exact),
        keep=keep,
        order_field=order_field,
        width=None if by == "vectors" else check_count(_WIDTH if shingle is None else shingle, name="shingle"),
        linkage=linkage,
        seed=check_count(seed, name="seed", minimum=0),
        progress=bool(progress),
    )
    report = store.read(lambda connection, now: _find(connection, store, now, wish))
    report.seconds = time.perf_counter() - began
    return report


def _check_keep(keep: Keep, order_field: str | None) -> None:
    if not callable(keep):
        check_choice(keep, RULES, name="keep")
    if order_field is not None and keep not in ("oldest", "newest"):
        raise InputError(
            message(f"order_field={order_field!r} with keep={keep!r}", "keep='oldest' or 'newest'", "leave it out")
        )


def _check_threshold(by: By, threshold: float | Mapping[str, float] | None, *, judged: bool) -> dict[str, float] | None:
    names = ("vectors", "text") if by == "both" else (by,)
    if judged and (threshold is not None or by == "both"):
        given = "labelled with by='both'" if by == "both" else "both of threshold and labelled"
        raise InputError(message(given, "one of them, by vectors or by text", "choose each threshold on its own"))
    if threshold is None:
        if by == "both":
            raise InputError(
                message(
                    "by='both' without a threshold",
                    "threshold={'vectors': ..., 'text': ...}",
                    "choose each with by='vectors' and by='text' first",
                )
            )
        return None
    if not isinstance(threshold, Mapping):
        value = check_fraction(threshold, name="threshold", low=0.01)
        return dict.fromkeys(names, value)
    if set(threshold) != set(names):
        wanted = ", ".join(repr(name) for name in names)
        raise InputError(message(f"thresholds for {sorted(threshold)}", f"one for each of {wanted}", "name them so"))
    return {name: check_fraction(threshold[name], name=f"threshold[{name!r}]", low=0.01) for name in names}


def _check_labelled(labelled: Labelled) -> list[tuple[str, str, bool]]:
    if isinstance(labelled, (str, bytes)) or not isinstance(labelled, Iterable):
        given = f"labelled of type {type(labelled).__name__}"
        raise InputError(message(given, "a list of (id, id, bool)", "give two ids and the judgement of each pair"))
    out: list[tuple[str, str, bool]] = []
    for i, pair in enumerate(labelled):
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 3:
            raise InputError(message(f"labelled[{i}] = {pair!r}", "(id, id, bool)", "give two ids and the judgement"))
        first, second = check_ids([pair[0], pair[1]], distinct=False)
        if first == second or not isinstance(pair[2], (bool, np.bool_)):
            raise InputError(
                message(f"labelled[{i}] = {pair!r}", "two different ids and True or False", "correct the pair")
            )
        out.append((first, second, bool(pair[2])))
    return out


def _find(connection: sqlite3.Connection, store: Store, now: Generation, wish: _Wish) -> DuplicateReport:
    compared = select(connection, store, now, space=wish.space, width=wish.width, where=wish.where)
    choice = None if wish.labelled is None else _choose(connection, store, compared, wish)
    limits = wish.threshold if choice is None else {str(wish.by): choice.threshold}
    found = DuplicateReport(
        wish.by, wish.space, "scan", limits, choice, None, len(compared.rows), compared.left_out, None,
        (), (), 0, 0.0, store,
    )  # fmt: skip
    if limits is None:
        found.method, found.histogram = _look(compared, wish)
        return found
    found.method, found.recall, left, right = _pairs(now, compared, limits, wish)
    _describe(connection, store, compared, found, left, right, wish)
    return found


def _choose(connection: sqlite3.Connection, store: Store, compared: Compared, wish: _Wish) -> ThresholdChoice:
    pairs = wish.labelled or []
    ids = list({key for first, second, _ in pairs for key in (first, second)})
    rows = tables.find_rows(connection, store.database, ids)
    row_of = {record[0]: row for row, record in tables.fetch_records(connection, store.database, rows.tolist()).items()}
    absent = [key for key in ids if key not in row_of]
    if absent:
        raise NotFoundError(
            message(f"{len(absent)} judged ids such as {absent[0]!r}", "ids of stored records", "check the sample")
        )
    left = compared.positions(np.array([row_of[first] for first, _, _ in pairs], dtype=np.int64))
    right = compared.positions(np.array([row_of[second] for _, second, _ in pairs], dtype=np.int64))
    outside = np.flatnonzero((left < 0) | (right < 0))
    if len(outside):
        first, second, _ = pairs[int(outside[0])]
        raise InputError(
            message(
                f"{len(outside)} judged pairs with a record that is not compared, such as {first!r} and {second!r}",
                "records that match where and have a vector or words",
                "leave these pairs out",
            )
        )
    similarities = _similarity(compared, left, right, wish.by)
    return choose_threshold(similarities, np.array([same for _, _, same in pairs], dtype=bool), seed=wish.seed)


def _similarity(compared: Compared, left: IdArray, right: IdArray, by: str) -> Any:
    if by == "vectors" and compared.X is not None:
        return near.cosines(compared.X, left, right)
    return jaccard(compared.sets, left, right) if compared.sets is not None else np.zeros(len(left))


def _look(compared: Compared, wish: _Wish) -> tuple[str, SimilarityHistogram]:
    """Return how similar records are to their nearest other, copies with 1."""
    n = len(compared.rows)
    best = np.zeros(n)
    method = "scan"
    if compared.X is not None and n > 1:
        chosen = np.arange(n)
        if n > _LOOKED_AT:
            chosen = np.sort(np.random.default_rng(wish.seed).choice(n, size=_LOOKED_AT, replace=False))
        with progress_bar(len(chosen), shown=wish.progress, label="comparing") as advance:
            best = near.best_cosines(compared.X, chosen, advance=advance)
    elif compared.sets is not None:
        method = "shingles" if wish.exact else "minhash"
        left, right = _text_pairs(compared, _LEAST_SIMILAR, wish)
        nodes = np.zeros(len(compared.firsts))
        alike = jaccard(compared.sets, compared.firsts[left], compared.firsts[right])
        np.maximum.at(nodes, left, alike)
        np.maximum.at(nodes, right, alike)
        nodes[np.bincount(compared.nodes, minlength=len(nodes)) > 1] = 1.0
        best = nodes[compared.nodes]
    sought_from = 0.0 if method in ("scan", "graph") else _LEAST_SIMILAR
    return method, make_histogram(best if n > 1 else best[:0], sought_from=sought_from)


def _text_pairs(compared: Compared, threshold: float, wish: _Wish) -> tuple[IdArray, IdArray]:
    """Pairs of nodes whose texts reach a similarity, verified exactly."""
    if compared.sets is None or len(compared.firsts) < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    sets = compared.sets.take(compared.firsts)
    if wish.exact:
        with progress_bar(len(sets), shown=wish.progress, label="comparing") as advance:
            return jaccard_pairs(sets, threshold, advance=advance)
    with progress_bar(PERMUTATIONS, shown=wish.progress, label="hashing") as advance:
        marks = signatures(sets, seed=wish.seed, advance=advance)
    left, right = candidates(marks, choose_bands(threshold))
    alike = jaccard(sets, left, right) >= threshold
    return left[alike], right[alike]


def _pairs(
    now: Generation, compared: Compared, limits: Mapping[str, float], wish: _Wish
) -> tuple[str, PairRecall, IdArray, IdArray]:
    """Return the method, its recall, and pairs of nodes that reach the thresholds."""
    whole = PairRecall(1.0, 1.0, 1.0, 0)
    if wish.by == "vectors" and compared.X is not None and wish.space is not None:
        X, limit = compared.X[compared.firsts], limits["vectors"]
        search = None if wish.exact else _graph_search(now, compared, wish.space)
        with progress_bar(len(X), shown=wish.progress, label="comparing") as advance:
            if search is None:
                return "scan", whole, *near.cosine_pairs(X, limit, advance=advance)
            left, right = near.searched_pairs(X, limit, search, advance=advance)
        return "graph", near.measure_recall(X, limit, left, right, seed=wish.seed), left, right
    left, right = _text_pairs(compared, limits["text"], wish)
    if compared.X is not None:
        alike = near.cosines(compared.X, compared.firsts[left], compared.firsts[right]) >= limits["vectors"]
        left, right = left[alike], right[alike]
    if wish.exact:
        return "shingles", whole, left, right
    # Pairs above the threshold are found more often than those at it.
    chance = choose_bands(limits["text"]).chance(limits["text"])
    return "minhash", PairRecall(chance, chance, chance, 0), left, right


def _graph_search(now: Generation, compared: Compared, name: str) -> near.Search | None:
    rows = compared.rows[compared.firsts]
    # A graph of another metric finds other neighbours than those of the largest cosine.
    if now.spaces[name].definition.metric != "cosine" or len(rows) <= merging.BREAK_EVEN:
        return None
    index = dense_index(now, name)
    # Codes are all compared by every search, which for every row as a query is no less than comparing the vectors.
    if index.graph is None or index.coded:
        return None
    allowed = bitmaps.from_rows(rows)

    def search(Q: FloatArray, k: int) -> IdArray:
        ids = index.search(Q, k, allowed=allowed, recall=_GRAPH_RECALL).ids
        return np.where(ids < 0, -1, np.searchsorted(rows, ids))

    return search


def _describe(
    connection: sqlite3.Connection,
    store: Store,
    compared: Compared,
    found: DuplicateReport,
    left: IdArray,
    right: IdArray,
    wish: _Wish,
) -> None:
    """Fill pairs and groups in: ids and metadata are read for records that have a duplicate only."""
    crowded = np.bincount(compared.nodes, minlength=len(compared.firsts)) > 1
    crowded[left], crowded[right] = True, True
    positions = np.flatnonzero(crowded[compared.nodes])
    rows = compared.rows[positions].tolist()
    fetched = tables.fetch_records(connection, store.database, rows)
    records = [Record(*fetched[row]) for row in rows]
    ids = {int(position): record.id for position, record in zip(positions, records, strict=True)}
    copies = positions[compared.firsts[compared.nodes[positions]] != positions]
    first = np.concatenate([compared.firsts[left], compared.firsts[compared.nodes[copies]]])
    second = np.concatenate([compared.firsts[right], copies])
    cosine = None if compared.X is None else near.cosines(compared.X, first, second)
    common = None if compared.sets is None else jaccard(compared.sets, first, second)
    given = [part for part in (cosine, common) if part is not None]
    order = np.lexsort((second, first, -np.minimum.reduce(given)))
    found.pairs = tuple(
        DuplicatePair(
            ids[int(first[i])],
            ids[int(second[i])],
            None if cosine is None else float(cosine[i]),
            None if common is None else float(common[i]),
        )
        for i in order
    )
    groups = grouped(
        compared.nodes[positions], left, right, keep_order(records, wish.keep, order_field=wish.order_field),
        linkage=wish.linkage,
    )  # fmt: skip
    found.groups = tuple(
        DuplicateGroup(records[group[0]].id, tuple(records[i].id for i in group[1:])) for group in groups.groups
    )
    found.chained = groups.chained
    found._rows = {record.id: row for record, row in zip(records, rows, strict=True)}
