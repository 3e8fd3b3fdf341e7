"""Ranking metrics over graded judgements: nDCG, recall, precision, MRR, MAP, success, bpref, judged share.

Values equal trec_eval's. Array functions stand first; the public functions below read runs and judgements.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, NotFoundError, message
from orthant.measures.runs import AlignedRun, Qrels, Run, align
from orthant.validate import check_choice, check_count

__all__ = [
    "RankingScores",
    "average_precision",
    "bpref",
    "check_metric_name",
    "ndcg",
    "precision",
    "recall",
    "reciprocal_rank",
    "score_run",
    "success",
]

Floats = npt.NDArray[np.float64]

# Array functions: grades (q, depth) in rank order and ideal (q, judged), descending, both padded with -inf.


def _gains(grades: Floats, exponential: bool) -> Floats:
    clipped = np.maximum(grades, 0.0)
    return np.exp2(clipped) - 1.0 if exponential else clipped


def _dcg(grades: Floats, k: int | None, exponential: bool) -> Floats:
    gains = _gains(grades[:, :k], exponential)
    return gains @ (1.0 / np.log2(np.arange(2, gains.shape[1] + 2)))


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0)


def _ndcg(grades: Floats, ideal: Floats, k: int | None, level: float) -> Floats:
    return _ratio(_dcg(grades, k, False), _dcg(ideal, k, False))


def _ndcg_exponential(grades: Floats, ideal: Floats, k: int | None, level: float) -> Floats:
    return _ratio(_dcg(grades, k, True), _dcg(ideal, k, True))


def _recall(grades: Floats, ideal: Floats, k: int | None, level: float) -> Floats:
    return _ratio((grades[:, :k] >= level).sum(1).astype(float), (ideal >= level).sum(1).astype(float))


def _precision(grades: Floats, ideal: Floats, k: int | None, level: float) -> Floats:
    return (grades[:, :k] >= level).sum(1) / float(k or 1)


def _reciprocal_rank(grades: Floats, ideal: Floats, k: int | None, level: float) -> Floats:
    relevant = grades[:, :k] >= level
    return np.where(relevant.any(1), 1.0 / (relevant.argmax(1) + 1.0), 0.0)


def _average_precision(grades: Floats, ideal: Floats, k: int | None, level: float) -> Floats:
    relevant = grades[:, :k] >= level
    precisions = relevant.cumsum(1) / np.arange(1, relevant.shape[1] + 1)
    return _ratio((precisions * relevant).sum(1), (ideal >= level).sum(1).astype(float))


def _success(grades: Floats, ideal: Floats, k: int | None, level: float) -> Floats:
    return (grades[:, :k] >= level).any(1).astype(float)


def _bpref(grades: Floats, ideal: Floats, k: int | None, level: float) -> Floats:
    relevant = grades >= level
    # Negative grades mean "outside the pool" to trec_eval: neither relevant nor judged.
    above = ((grades >= 0) & ~relevant).cumsum(1)
    total = (ideal >= level).sum(1)[:, None]
    bound = np.minimum(((ideal >= 0) & (ideal < level)).sum(1)[:, None], total)
    penalty = np.minimum(above, total) / np.maximum(bound, 1)
    return _ratio((relevant * (1.0 - penalty)).sum(1), total[:, 0].astype(float))


def _judged(grades: Floats, ideal: Floats, k: int | None, level: float) -> Floats:
    # Padding is -inf as well, so retrieved counts are not visible here; `_values` divides by them.
    return (grades[:, :k] > -np.inf).sum(1).astype(float)


_FUNCTIONS = {
    "ndcg": _ndcg,
    "ndcg_exp": _ndcg_exponential,
    "recall": _recall,
    "precision": _precision,
    "mrr": _reciprocal_rank,
    "map": _average_precision,
    "success": _success,
    "hit": _success,
    "bpref": _bpref,
    "judged": _judged,
}
_NEEDS_CUTOFF = ("precision", "success", "hit", "judged")
_NO_CUTOFF = ("bpref",)


def _values(aligned: AlignedRun, name: str, k: int | None) -> Floats:
    out = np.zeros(len(aligned.queries))
    for rows, grades, ideal in aligned.blocks():
        out[rows] = _FUNCTIONS[name](grades, ideal, k, aligned.relevance_level)
    if name == "judged":
        shown = np.array([min(len(row), k or len(row)) for row in aligned.grades], dtype=float)
        out = _ratio(out, shown)
    return out


# Public functions.


@dataclass(frozen=True, eq=False)
class RankingScores:
    """One metric over all judged queries, with the queries that had no results.

    Attributes
    ----------
    metric : str
        Name, such as ``"ndcg@10"``.
    queries : tuple
        Query ids in the order of the judgements.
    values : ndarray of shape (q,), float64
        The metric of each query; 0 for missing ones.
    missing : tuple
        Queries without a single result.
    without_relevant : tuple
        Queries without a relevant document: scored 0, or left out where that was asked for.
    unjudged : tuple
        Queries of the run without judgements, left out.
    """

    metric: str
    queries: tuple[Hashable, ...]
    values: Floats
    missing: tuple[Hashable, ...] = ()
    without_relevant: tuple[Hashable, ...] = ()
    unjudged: tuple[Hashable, ...] = ()

    @property
    def mean(self) -> float:
        """Mean over the queries."""
        return float(self.values.mean())

    @property
    def per_query(self) -> dict[Hashable, float]:
        """Values by query id."""
        return dict(zip(self.queries, self.values.tolist(), strict=True))

    def __len__(self) -> int:
        """Return the number of queries."""
        return len(self.queries)

    def __getitem__(self, query: Hashable) -> float:
        """Return one query's value."""
        try:
            return float(self.values[self.queries.index(query)])
        except ValueError as error:
            raise NotFoundError(
                message(f"query {query!r}", f"one of the {len(self)} judged queries", "check the id's type")
            ) from error

    def __str__(self) -> str:
        """Return the mean in words."""
        note = f", {len(self.missing)} without results" if self.missing else ""
        return f"{self.metric} {self.mean:.4f} over {len(self)} queries{note}"


def check_metric_name(name: str) -> tuple[str, int | None]:
    """Split a metric's name into kind and cut-off, or list the valid names.

    Parameters
    ----------
    name : str
        Such as ``"ndcg@10"`` or ``"map"``. Kinds: ndcg, ndcg_exp, recall, mrr, map (cut-off optional); precision,
        success, hit, judged (cut-off needed); bpref (none).

    Returns
    -------
    tuple of str and int or None
        Kind and cut-off.

    Raises
    ------
    InputError
        An unknown kind, or a cut-off missing, below 1 or out of place.

    Examples
    --------
    >>> check_metric_name("recall@100")
    ('recall', 100)
    """
    found = re.fullmatch(r"([a-z_]+)(?:@([1-9][0-9]*))?", name) if isinstance(name, str) else None
    kind, k = (found[1], int(found[2]) if found[2] else None) if found else ("", None)
    if kind not in _FUNCTIONS or (kind in _NEEDS_CUTOFF and k is None) or (kind in _NO_CUTOFF and k is not None):
        listed = [f"{kind}@k" if kind in _NEEDS_CUTOFF else kind for kind in _FUNCTIONS]
        optional = ", ".join(kind for kind in _FUNCTIONS if kind not in _NEEDS_CUTOFF + _NO_CUTOFF)
        raise InputError(
            message(f"metric {name!r}", f"one of {', '.join(listed)} (@k also after {optional})", "check the spelling")
        )
    return kind, k


def score_run(
    run: Run,
    qrels: Qrels,
    metrics: Sequence[str] = ("ndcg@10", "recall@100", "mrr@10", "map", "precision@10"),
    *,
    relevance_level: float = 1.0,
    exclude_self: bool = False,
    no_relevant: str = "zero",
    strict: bool = False,
) -> dict[str, RankingScores]:
    """Score a run by several metrics at once; the call for everything beyond a single number.

    Parameters
    ----------
    run : mapping, Hits, or tuple of arrays (ids, scores)
        ``{query: {document: score}}``, ``{query: [document, ...]}`` best first, or arrays of shape (q, k) whose row
        numbers are the query ids (``run_from_arrays`` names rows and columns).
    qrels : mapping
        ``{query: {document: grade}}`` or ``{query: [relevant document, ...]}``. Unjudged documents are not relevant.
    metrics : sequence of str
        Names as in `check_metric_name`.
    relevance_level : float, default 1.0
        Smallest grade that counts as relevant where a metric is binary; nDCG uses every positive grade.
    exclude_self : bool, default False
        Remove the document whose id equals the query's, from run and judgements: for queries that are documents.
    no_relevant : {"zero", "skip"}, default "zero"
        Queries without relevant documents score zero, as in trec_eval, or are left out of the mean.
    strict : bool, default False
        Refuse a run without results for some judged query instead of scoring it zero.

    Returns
    -------
    dict of str to RankingScores
        In the order of ``metrics``.

    Raises
    ------
    InputError
        An unknown metric, or a run and judgements that do not fit (see `align`).
    NonFiniteError
        NaN or infinity among scores or grades.

    Notes
    -----
    Equal scores are ordered by document id, descending, after rounding to float32. A judged query without results
    scores 0 and is listed as missing; this is trec_eval with ``-c``. Cost O(r log r) for r results of a query.

    References
    ----------
    trec_eval, National Institute of Standards and Technology, github.com/usnistgov/trec_eval.

    Examples
    --------
    >>> scores = score_run({"q": ["a", "b"]}, {"q": {"b": 1}, "r": {"a": 1}}, ["mrr", "recall@2"])
    >>> scores["mrr"].mean, scores["mrr"].missing
    (0.25, ('r',))
    """
    if isinstance(metrics, str):
        raise InputError(message("metrics as one str", "a list of names", f"write [{metrics!r}]"))
    parsed = {name: check_metric_name(name) for name in metrics}
    if not parsed:
        raise InputError(message("no metric", "at least one name", "pass metrics=['ndcg@10']"))
    aligned = align(
        run,
        qrels,
        relevance_level=relevance_level,
        exclude_self=exclude_self,
        no_relevant=no_relevant,
        strict=strict,
    )
    return {name: _scores(aligned, name, kind, k) for name, (kind, k) in parsed.items()}


def _scores(aligned: AlignedRun, name: str, kind: str, k: int | None) -> RankingScores:
    values = _values(aligned, kind, k)
    return RankingScores(name, aligned.queries, values, aligned.missing, aligned.without_relevant, aligned.unjudged)


def _one(run: Run, qrels: Qrels, kind: str, k: int | None, relevance_level: float = 1.0) -> RankingScores:
    if k is not None:
        k = check_count(k, name="k")
    name = kind if k is None else f"{kind}@{k}"
    return _scores(align(run, qrels, relevance_level=relevance_level), name, kind, k)


def ndcg(
    run: Run, qrels: Qrels, *, k: int | None = 10, gain: Literal["linear", "exponential"] = "linear"
) -> RankingScores:
    """Normalised discounted cumulative gain: the first choice for graded judgements.

    Parameters
    ----------
    run, qrels : mapping
        As in `score_run`.
    k : int or None, default 10
        Ranks looked at; None for all.
    gain : {"linear", "exponential"}, default "linear"
        Grade g counts g (trec_eval, BEIR) or 2**g - 1, which widens the gaps between high grades.

    Returns
    -------
    RankingScores
        Values from 0 to 1.

    Raises
    ------
    InputError
        k below 1 or an unknown gain.

    Notes
    -----
    ``DCG@k = sum_i gain(g_i) / log2(i + 1)`` over ranks i up to k, divided by the same sum over the best possible
    order of all judged documents. Negative grades and unjudged documents gain nothing.

    References
    ----------
    Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, ACM TOIS 20(4), 2002.
    Burges et al., Learning to rank using gradient descent, ICML 2005 (exponential gain).

    Examples
    --------
    >>> round(ndcg({"q": ["a", "b"]}, {"q": {"a": 1, "b": 2}}, k=2).mean, 4)
    0.8597
    """
    check_choice(gain, ("linear", "exponential"), name="gain")
    return _one(run, qrels, "ndcg" if gain == "linear" else "ndcg_exp", k)


def recall(run: Run, qrels: Qrels, *, k: int | None = 100, relevance_level: float = 1.0) -> RankingScores:
    """Share of the relevant documents found in the first k; the measure for first-stage retrieval.

    Parameters
    ----------
    run, qrels : mapping
        As in `score_run`.
    k : int or None, default 100
        Ranks looked at; None for all. Below a query's number of relevant documents, 1 cannot be reached.
    relevance_level : float, default 1.0
        Smallest grade that counts as relevant.

    Returns
    -------
    RankingScores
        Values from 0 to 1.

    Raises
    ------
    InputError
        k below 1.

    Notes
    -----
    ``recall@k = |relevant in the first k| / |relevant|``.

    References
    ----------
    Manning, Raghavan and Schütze, Introduction to Information Retrieval, chapter 8, 2008.

    Examples
    --------
    >>> recall({"q": ["a", "b", "c"]}, {"q": ["a", "x"]}, k=3).mean
    0.5
    """
    return _one(run, qrels, "recall", k, relevance_level)


def precision(run: Run, qrels: Qrels, *, k: int = 10, relevance_level: float = 1.0) -> RankingScores:
    """Share of relevant documents among the first k places; for pages that show k results.

    Parameters
    ----------
    run, qrels : mapping
        As in `score_run`.
    k : int, default 10
        Ranks looked at. Places that a short ranking leaves empty count as not relevant.
    relevance_level : float, default 1.0
        Smallest grade that counts as relevant.

    Returns
    -------
    RankingScores
        Values from 0 to 1.

    Raises
    ------
    InputError
        k below 1.

    Notes
    -----
    ``precision@k = |relevant in the first k| / k``.

    References
    ----------
    Manning, Raghavan and Schütze, Introduction to Information Retrieval, chapter 8, 2008.

    Examples
    --------
    >>> precision({"q": ["a", "b"]}, {"q": ["a", "x"]}, k=4).mean
    0.25
    """
    return _one(run, qrels, "precision", check_count(k, name="k"), relevance_level)


def reciprocal_rank(run: Run, qrels: Qrels, *, k: int | None = None, relevance_level: float = 1.0) -> RankingScores:
    """One over the rank of the first relevant document (MRR as a mean); for questions with one answer.

    Parameters
    ----------
    run, qrels : mapping
        As in `score_run`.
    k : int or None, default None
        Ranks looked at; beyond them the value is 0.
    relevance_level : float, default 1.0
        Smallest grade that counts as relevant.

    Returns
    -------
    RankingScores
        Values from 0 to 1, named ``mrr`` or ``mrr@k``.

    Raises
    ------
    InputError
        k below 1.

    Notes
    -----
    ``RR = 1 / rank of the first relevant document``, 0 when there is none.

    References
    ----------
    Voorhees, The TREC-8 question answering track report, TREC 1999.

    Examples
    --------
    >>> reciprocal_rank({"q": ["a", "b"]}, {"q": ["b"]}).mean
    0.5
    """
    return _one(run, qrels, "mrr", k, relevance_level)


def average_precision(run: Run, qrels: Qrels, *, k: int | None = None, relevance_level: float = 1.0) -> RankingScores:
    """Average precision (MAP as a mean); for binary judgements that are complete.

    Parameters
    ----------
    run, qrels : mapping
        As in `score_run`.
    k : int or None, default None
        Ranks looked at; the divisor stays the number of relevant documents.
    relevance_level : float, default 1.0
        Smallest grade that counts as relevant.

    Returns
    -------
    RankingScores
        Values from 0 to 1, named ``map`` or ``map@k``.

    Raises
    ------
    InputError
        k below 1.

    Notes
    -----
    ``AP = sum over relevant ranks i of precision@i / |relevant|``; relevant documents not found add 0.

    References
    ----------
    Buckley and Voorhees, Evaluating evaluation measure stability, SIGIR 2000.

    Examples
    --------
    >>> average_precision({"q": ["a", "x", "b"]}, {"q": ["a", "b"]}).mean.__round__(4)
    0.8333
    """
    return _one(run, qrels, "map", k, relevance_level)


def success(run: Run, qrels: Qrels, *, k: int = 10, relevance_level: float = 1.0) -> RankingScores:
    """Whether any relevant document is among the first k (hit rate as a mean); for one good answer per query.

    Parameters
    ----------
    run, qrels : mapping
        As in `score_run`.
    k : int, default 10
        Ranks looked at.
    relevance_level : float, default 1.0
        Smallest grade that counts as relevant.

    Returns
    -------
    RankingScores
        Values 0 or 1.

    Raises
    ------
    InputError
        k below 1.

    Notes
    -----
    ``success@k = 1 if |relevant in the first k| > 0 else 0``.

    References
    ----------
    trec_eval, measure ``success``, github.com/usnistgov/trec_eval.

    Examples
    --------
    >>> success({"q": ["x", "a"]}, {"q": ["a"]}, k=1).mean
    0.0
    """
    return _one(run, qrels, "success", check_count(k, name="k"), relevance_level)


def bpref(run: Run, qrels: Qrels, *, relevance_level: float = 1.0) -> RankingScores:
    """Preference of relevant over judged non-relevant documents; for judgements with large gaps.

    Parameters
    ----------
    run, qrels : mapping
        As in `score_run`. Without judged non-relevant documents (grade 0) it is no more than recall.
    relevance_level : float, default 1.0
        Smallest grade that counts as relevant.

    Returns
    -------
    RankingScores
        Values from 0 to 1.

    Raises
    ------
    InputError
        Run and judgements that do not fit.

    Notes
    -----
    With R relevant and N judged non-relevant documents,
    ``bpref = 1/R * sum over relevant r of 1 - min(R, judged non-relevant above r) / min(R, N)``.
    Documents without judgement, or with a negative one, are ignored.

    References
    ----------
    Buckley and Voorhees, Retrieval evaluation with incomplete information, SIGIR 2004 (as in trec_eval).

    Examples
    --------
    >>> bpref({"q": ["x", "a"]}, {"q": {"a": 1, "b": 1, "x": 0}}).mean
    0.0
    """
    return _one(run, qrels, "bpref", None, relevance_level)
