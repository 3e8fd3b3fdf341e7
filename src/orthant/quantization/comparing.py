"""What compression costs on your vectors: bytes, recall and time of each choice, and the one to take."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message, quiet
from orthant.kernels.distances import exact_scores, norms, row_scale, tile_scores
from orthant.kernels.topk import top_k
from orthant.kernels.warmup import wait
from orthant.measures.neighbours import recall_per_query
from orthant.quantization.choices import BOOKS_FROM, Choice, coding_of, default_candidates, named_choice
from orthant.quantization.coding import CodedRows, Coding
from orthant.types import FloatArray, IdArray, Metric
from orthant.validate import as_vectors, check_count, check_fraction, check_metric

__all__ = ["Candidate", "CompressionReport", "report"]

# Recalls closer than this are the same on a sample of a few hundred queries.
_SAME_RECALL = 0.002
_TIMED_QUERIES = 15
# From here on a running process scores with compiled kernels.
_COMPILED_VALUES = 1 << 22


@dataclass(frozen=True)
class Candidate:
    """One way to store vectors, and what it costs.

    Attributes
    ----------
    name : str
        Such as ``"lvq4"`` or ``"leanvec96+lvq8"``; ``"graph"`` in a collection, for what searches read today.
    bytes_per_vector : int
        Size of a code, constants included. Rescoring needs the full vectors as well, in memory or on disk.
    recall : float
        Share of the true k nearest among the k best codes.
    recall_rescored : float
        The same after the best ``rescored_rows`` codes were scored again with the full vectors.
    recall_halfwidth : float
        Half of the 95 % interval of ``recall``.
    latency_ms, latency_rescored_ms : float
        Median time of one query over all codes, scanned.
    encode_s : float
        Seconds to encode all vectors.
    """

    name: str
    bytes_per_vector: int
    recall: float
    recall_rescored: float
    recall_halfwidth: float
    latency_ms: float
    latency_rescored_ms: float
    encode_s: float


@dataclass(frozen=True)
class CompressionReport:
    """What each way to compress costs on these vectors.

    Attributes
    ----------
    candidates : tuple of Candidate
        Smallest codes first; ``"float32"`` is no compression.
    recommended : str or None
        Name of the candidate to take; None where none meets the constraints.
    rescore : bool
        Whether the recommendation needs rescoring.
    reason : str
        One sentence on the recommendation.
    k, rescored_rows, rows, queries, dim : int
        Neighbours, rows rescored for each query, vectors and queries measured, dimension.
    metric : str
        The score.
    notes : tuple of str
        What limits the figures.
    """

    candidates: tuple[Candidate, ...]
    recommended: str | None
    rescore: bool
    reason: str
    k: int
    rescored_rows: int
    rows: int
    queries: int
    dim: int
    metric: str
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)

    def __getitem__(self, name: str) -> Candidate:
        """Return the candidate of that name."""
        for candidate in self.candidates:
            if candidate.name == name:
                return candidate
        raise InputError(
            message(f"candidate {name!r}", f"one of {', '.join(c.name for c in self.candidates)}", "check the name")
        )

    def __str__(self) -> str:
        """Return a table and the recommendation."""
        head = f"{self.rows} vectors of dimension {self.dim}, {self.queries} queries, {self.metric}"
        lines = [
            f"{head}; recall@{self.k}, with rescoring of {self.rescored_rows}",
            f"{'codes':<18}{'bytes':>7}{'recall':>9}{'rescored':>10}{'ms':>8}{'rescored':>10}",
        ]
        lines += [
            f"{c.name:<18}{c.bytes_per_vector:>7}{c.recall:>9.3f}{c.recall_rescored:>10.3f}"
            f"{c.latency_ms:>8.2f}{c.latency_rescored_ms:>10.2f}"
            for c in self.candidates
        ]
        return "\n".join([*lines, self.reason, *self.notes])

    __repr__ = __str__


@dataclass(frozen=True)
class _Task:
    """Everything an arm is measured against."""

    X: FloatArray
    Q: FloatArray
    metric: Metric
    k: int
    depth: int
    exact: FloatArray
    truth: IdArray


def report(
    X: npt.ArrayLike,
    queries: npt.ArrayLike | None = None,
    *,
    k: int = 10,
    metric: Metric = "cosine",
    budget_bytes: int | None = None,
    recall: float | None = None,
    rescoring: bool = True,
    rescored_rows: int = 50,
    candidates: Mapping[str, Choice] | Sequence[str] | None = None,
    beside: Sequence[Candidate] = (),
    sample_rows: int = 20_000,
    sample_queries: int = 200,
    seed: int = 0,
    advance: Callable[[float], None] | None = None,
) -> CompressionReport:
    """Measure how much accuracy each kind of compression loses on your vectors, and recommend one.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Database vectors, a thousand or more.
    queries : array-like of shape (q, d), optional
        Real queries. Left out, rows are held out of X: the figures then hold for queries that look like the data.
    k : int, default 10
        Neighbours wanted.
    metric : {"dot", "cosine", "l2"}, default "cosine"
        The score.
    budget_bytes : int, optional
        Bytes per vector that codes may take; the best recall within it is recommended.
    recall : float, optional
        Recall wanted, from 0 to 1; the smallest codes that reach it are recommended. With neither constraint 0.95.
    rescoring : bool, default True
        Whether the full vectors stay at hand, so that what needs rescoring may be recommended. It is measured anyway.
    rescored_rows : int, default 50
        Best codes that are scored again with the full vectors. More finds more and reads more.
    candidates : mapping of str to quantizer or (transform, quantizer), or sequence of str, optional
        What to compare, unfitted, or names such as ``"lvq4"`` and ``"leanvec96+lvq8"`` (see ``choices.named_choice``).
        Left out: SQ8, LVQ with 8 and 4 bits, alone and after LeanVec to a half and a quarter of the dimension; RaBitQ
        and recurrent binary codes, but for l2; from 4,096 vectors on product codes with and without a learned rotation,
        and residual codes; and with ``budget_bytes`` the sizes that fill it.
    beside : sequence of Candidate, default ()
        What was measured elsewhere, such as the index in use, to stand in the table; never recommended.
    sample_rows : int, default 20,000
        Vectors measured at most; fewer are easier to search, so a large collection's recall is a little lower.
    sample_queries : int, default 200
        Queries measured at most.
    seed : int, default 0
        Of the samples.
    advance : callable of float, optional
        Told after each candidate which share of the work that was; the shares sum to 1.

    Returns
    -------
    CompressionReport
        Prints as a table.

    Raises
    ------
    InputError
        Too few vectors, NaN or infinity, zero vectors under cosine, no candidates, or settings out of range.

    Notes
    -----
    Cost O(candidates * queries * n * d); on large inputs kernels are compiled first, once per
    machine. A tie of exact scores counts as found. Nothing is kept.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = (rng.standard_normal((1500, 16)) @ rng.standard_normal((16, 64))).astype(np.float32)
    >>> found = report(X, budget_bytes=40, rescoring=False)
    >>> found.recommended, found["lvq4"].bytes_per_vector
    ('leanvec16+lvq8', 36)
    """
    check_count(k, name="k")
    check_count(rescored_rows, name="rescored_rows", minimum=k)
    check_count(sample_rows, name="sample_rows")
    check_count(sample_queries, name="sample_queries")
    if budget_bytes is not None:
        check_count(budget_bytes, name="budget_bytes")
    if recall is not None:
        recall = check_fraction(recall, name="recall")
    base, probes, notes = _sampled(X, queries, check_metric(metric), sample_rows, sample_queries, seed)
    if len(base) <= k:
        raise InputError(message(f"{len(base)} vectors to search", f"more than k={k}", "pass more vectors"))
    if base.size >= _COMPILED_VALUES:
        # Times are those of a process that has been running for a while, not of its first searches.
        for group in ("rows", "codes", "binary", "clustering", "tables"):
            wait(group)
    task = _task(base, probes, metric, k, min(rescored_rows, len(base)))
    choices = _choices(candidates, base, metric, budget_bytes, notes)
    measured, fitted = [_uncompressed(task)], list[Coding]()
    for one, choice in choices.items():
        # What a candidate loses on these vectors is what the report measures.
        with quiet():
            fitted.append(coding_of(choice, dim=base.shape[1], metric=metric).fit(base, beside=fitted))
        measured.append(_measured(one, fitted[-1], task))
        if advance is not None:
            advance(1 / len(choices))
    measured.sort(key=lambda c: (c.bytes_per_vector, -c.recall))
    name, rescore, reason = _recommendation(measured, budget_bytes, recall, rescoring)
    rows = sorted([*measured, *beside], key=lambda c: (c.bytes_per_vector, -c.recall))
    counts = {"rows": len(base), "queries": len(probes), "dim": base.shape[1], "rescored_rows": task.depth}
    return CompressionReport(tuple(rows), name, rescore, reason, k=k, metric=metric, notes=tuple(notes), **counts)


def _choices(
    given: Mapping[str, Choice] | Sequence[str] | None,
    base: FloatArray,
    metric: Metric,
    budget_bytes: int | None,
    notes: list[str],
) -> Mapping[str, Choice]:
    dim = base.shape[1]
    if given is not None and not len(given):
        raise InputError(message("no candidates", "one at least", "name some, or leave them out for the usual ones"))
    if isinstance(given, Mapping):
        return given
    if isinstance(given, str):
        raise InputError(message(f"candidates={given!r}", "names in a list", f"write [{given!r}]"))
    if given is not None:
        return {name: named_choice(name, dim=dim, metric=metric) for name in given}
    if len(base) < BOOKS_FROM:
        notes.append(f"Product and residual codes need {BOOKS_FROM} vectors and were left out.")
    return default_candidates(dim, metric, rows=len(base), budget_bytes=budget_bytes)


def _sampled(
    X: npt.ArrayLike, queries: npt.ArrayLike | None, metric: Metric, most_rows: int, most_queries: int, seed: int
) -> tuple[FloatArray, FloatArray, list[str]]:
    matrix = as_vectors(X, nonzero=metric == "cosine")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(matrix))
    notes = []
    if queries is None:
        held = min(most_queries, len(matrix) // 10)
        if not held:
            raise InputError(message(f"{len(matrix)} vectors", "at least 10", "pass more vectors"))
        probes, order = matrix[order[:held]], order[held:]
        notes.append("The queries are held-out vectors; with queries of another kind, pass some.")
    else:
        given = as_vectors(queries, dim=matrix.shape[1], name="queries", nonzero=metric == "cosine")
        if not len(given):
            raise InputError(message("0 queries", "at least one", "pass some or leave them out"))
        probes = given[rng.permutation(len(given))[:most_queries]]
    if len(order) > most_rows:
        notes.append(f"Measured on {most_rows} of {len(matrix)} vectors; recall over all is a little lower.")
    return matrix[np.sort(order[:most_rows])], probes, notes


def _task(base: FloatArray, probes: FloatArray, metric: Metric, k: int, depth: int) -> _Task:
    if metric == "cosine":
        probes = (probes / norms(probes)[:, None]).astype(np.float32)
    exact = tile_scores(probes, base, row_scale(norms(base), metric), metric)
    return _Task(base, probes, metric, k, depth, exact, top_k(exact, k)[0])


def _recall(found: IdArray, task: _Task) -> npt.NDArray[np.float64]:
    scores = [np.take_along_axis(task.exact, np.maximum(ids, 0), axis=1) for ids in (found, task.truth)]
    return recall_per_query(found, task.truth, found_scores=scores[0], true_scores=scores[1], tolerance=1e-6)


def _rescored(ids: IdArray, task: _Task) -> IdArray:
    order = np.argsort(-np.take_along_axis(task.exact, ids, axis=1), axis=1, kind="stable")
    return np.take_along_axis(ids, order, axis=1)[:, : task.k]


def _uncompressed(task: _Task) -> Candidate:
    scale = row_scale(norms(task.X), task.metric)
    spent = _median_ms(lambda q: top_k(tile_scores(q, task.X, scale, task.metric), task.k), task)
    return Candidate("float32", 4 * task.X.shape[1], 1.0, 1.0, 0.0, spent, spent, 0.0)


def _measured(name: str, coding: Coding, task: _Task) -> Candidate:
    begun = time.perf_counter()
    codes = coding.encode(task.X)
    encode_s = time.perf_counter() - begun
    rows: CodedRows = coding.rows(codes)
    ids = rows.best(task.Q, task.depth)[0]
    plain = _recall(ids[:, : task.k], task)
    rescored = _recall(_rescored(ids, task), task)

    def search_again(query: FloatArray) -> Any:
        found = rows.best(query, task.depth)[0][0]
        return top_k(exact_scores(query, task.X[found], task.metric), task.k, ids=found)

    return Candidate(
        name,
        coding.code_size,
        float(plain.mean()),
        float(rescored.mean()),
        float(1.96 * plain.std() / np.sqrt(len(plain))),
        _median_ms(lambda query: rows.best(query, task.k), task),
        _median_ms(search_again, task),
        encode_s,
    )


def _median_ms(search: Any, task: _Task) -> float:
    search(task.Q[:1])
    spent = []
    for i in range(min(_TIMED_QUERIES, len(task.Q))):
        begun = time.perf_counter()
        search(task.Q[i : i + 1])
        spent.append(time.perf_counter() - begun)
    return float(np.median(spent) * 1000)


def _recommendation(
    candidates: list[Candidate], budget_bytes: int | None, recall: float | None, rescoring: bool
) -> tuple[str | None, bool, str]:
    target = 0.95 if recall is None and budget_bytes is None else recall
    options = [(c, False, c.recall) for c in candidates]
    options += [(c, True, c.recall_rescored) for c in candidates if rescoring]
    wanted = [] if budget_bytes is None else [f"at most {budget_bytes} bytes"]
    wanted += [] if target is None else [f"recall of at least {target:g}"]
    fitting = [o for o in options if budget_bytes is None or o[0].bytes_per_vector <= budget_bytes]
    if target is not None:
        fitting = [o for o in fitting if o[2] >= target]
    if not fitting:
        return None, False, f"Nothing measured has {' and '.join(wanted)}: relax one, or pass other candidates."
    if target is None:
        best = max(o[2] for o in fitting)
        fitting = [o for o in fitting if o[2] >= best - _SAME_RECALL]
    chosen, rescore, reached = min(fitting, key=lambda o: (o[0].bytes_per_vector, o[1], -o[2]))
    how = "with rescoring" if rescore else "without rescoring"
    return (
        chosen.name,
        rescore,
        f"Take {chosen.name} {how}: {chosen.bytes_per_vector} bytes, recall {reached:.3f} ({' and '.join(wanted)}).",
    )
