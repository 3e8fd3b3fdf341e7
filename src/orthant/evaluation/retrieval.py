"""Judge anything that searches: queries in, ranked documents scored against judgements, one report out.

A target is a `Searcher`, an encoder (searched exactly over a corpus), or a run made elsewhere. Works offline.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from orthant.errors import InputError, message
from orthant.evaluation.context import hash_data, run_context
from orthant.evaluation.dense import DenseSearcher, as_documents
from orthant.evaluation.trec import read_corpus, read_qrels, read_queries
from orthant.measures.ranking import RankingScores, check_metric_name, score_run
from orthant.measures.significance import SignificanceReport, compare_arms
from orthant.types import Encoder, Report
from orthant.validate import as_texts, check_count

__all__ = ["RetrievalReport", "Searcher", "compare", "evaluate"]

_METRICS = ("ndcg@10", "recall@100", "mrr@10", "map", "precision@10")


@runtime_checkable
class Searcher(Protocol):
    """Anything that ranks documents for texts; give it ``describe() -> dict`` to add to the report's context."""

    def search_texts(self, queries: Sequence[str], *, k: int) -> list[list[tuple[str, float]]]:
        """Return up to k (document id, score) pairs per query, larger is better."""
        ...


@dataclass(frozen=True)
class RetrievalReport(Report):
    """A report with what paired tests and run files need.

    Attributes
    ----------
    metrics : mapping of str to float
        Means by metric name.
    missing : sequence of str
        Judged queries without a single result; they score zero.
    context : mapping
        Target, data, versions, machine, seeds and seconds.
    scores : mapping of str to RankingScores
        Per-query values by metric name.
    run : mapping of str to mapping of str to float
        What was retrieved; `orthant.evaluation.write_run` saves it.
    """

    scores: Mapping[str, RankingScores] = field(default_factory=dict, repr=False)
    run: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return metrics, missing and context as plain values for JSON."""
        return {"metrics": dict(self.metrics), "missing": list(self.missing), "context": dict(self.context)}


def evaluate(
    target: Searcher | Encoder | Mapping[str, Any],
    *,
    queries: Mapping[str, str] | str | Path,
    qrels: Mapping[str, Mapping[str, int]] | str | Path,
    corpus: Mapping[str, Any] | Sequence[Any] | str | Path | None = None,
    metrics: Sequence[str] = _METRICS,
    depth: int = 100,
    exclude_self: bool = False,
    strict: bool = False,
    seed: int = 0,
) -> RetrievalReport:
    """Measure how well a target finds what was judged relevant; the same call for every arm of a comparison.

    Parameters
    ----------
    target : Searcher, Encoder, or mapping
        Something with ``search_texts``, an encoder (needs ``corpus``; searched exactly by cosine; `DenseSearcher`
        offers other metrics), or a run ``{query: {document: score}}`` made elsewhere.
    queries : mapping of str to str, or path
        Text by id, or a JSON-lines file with ``_id`` and ``text``, plain or gzipped. Only judged ones are searched.
    qrels : mapping of str to mapping of str to int, or path
        Grades by document by query, or a TREC or BEIR file. Judged queries without text are left out and counted.
    corpus : mapping, sequence, or path, optional
        Needed for an encoder; for others it only enters the data hash. Text by id, records with ``id``, ``title``,
        ``text``, or a JSON-lines file.
    metrics : sequence of str
        Names such as ``"ndcg@10"``; see `orthant.measures.check_metric_name`.
    depth : int, default 100
        Results asked for per query, at least the largest cut-off. More costs time; ``map`` and ``mrr`` see no deeper.
        A finished run is scored as deep as it is.
    exclude_self : bool, default False
        Ignore the document whose id equals the query's.
    strict : bool, default False
        Refuse missing queries and judged queries without text instead of listing them.
    seed : int, default 0
        Recorded; evaluation itself draws nothing at random.

    Returns
    -------
    RetrievalReport
        Means, missing queries and context.

    Raises
    ------
    InputError
        A metric that is unknown or deeper than ``depth``, an encoder without a corpus, no judged query, a target that
        returned another number of rankings, or missing queries where ``strict`` is set.
    NonFiniteError
        A score that is NaN or infinite; the text names the query.
    NotFoundError
        A file that does not exist.

    Notes
    -----
    Documents are ranked by score as trec_eval ranks them, whatever order the target returned them in, so a saved run
    file gives the same figures. The context holds ``target``, ``data`` (counts and hashes), ``settings``, ``seconds``
    and what `run_context` gives.

    Examples
    --------
    >>> report = evaluate({"q": {"a": 0.9, "b": 0.1}}, queries={"q": "keeper"}, qrels={"q": {"b": 1}}, metrics=["mrr"])
    >>> report.metrics["mrr"], report.missing
    (0.5, [])
    """
    metrics = _checked_metrics(metrics, check_count(depth, name="depth"))
    texts = read_queries(queries) if isinstance(queries, (str, Path)) else _as_queries(queries)
    judged = read_qrels(qrels) if isinstance(qrels, (str, Path)) else qrels
    documents = (
        read_corpus(corpus) if isinstance(corpus, (str, Path)) else None if corpus is None else as_documents(corpus)
    )
    chosen = [query for query in judged if query in texts]
    if not chosen:
        raise InputError(message("no judged query with a text", "at least one", "check that the ids agree"))
    without_text = [query for query in judged if query not in texts]
    if strict and without_text:
        raise InputError(
            message(f"{len(without_text)} judged queries without text, such as {without_text[0]!r}", "a text for each",
                    "add them, or pass strict=False to leave them out")
        )  # fmt: skip
    started = time.perf_counter()
    run, about = _search(target, documents, {query: texts[query] for query in chosen}, depth, exclude_self)
    seconds = time.perf_counter() - started
    scores = score_run(
        run, {query: judged[query] for query in chosen}, metrics, exclude_self=exclude_self, strict=strict
    )
    first = next(iter(scores.values()))
    data = _describe_data(texts, judged, documents, chosen) | {"queries_without_relevant": len(first.without_relevant)}
    context = run_context(seed=seed, data_hash=hash_data(data)) | {
        "target": about,
        "data": data,
        "settings": {"depth": depth, "exclude_self": exclude_self, "strict": strict},
        "seconds": seconds,
    }
    missing = [str(query) for query in first.missing]
    return RetrievalReport({name: s.mean for name, s in scores.items()}, missing, context, scores, run)


def compare(
    reports: Mapping[str, RetrievalReport | None],
    *,
    baseline: str | None = None,
    metrics: Sequence[str] | None = None,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> SignificanceReport:
    """Test whether arms differ from a baseline, query by query; refuses reports on different data.

    Parameters
    ----------
    reports : mapping of str to RetrievalReport or None
        By arm. None: the arm did not run; it is listed as missing, never scored zero.
    baseline : str, optional
        Arm to compare with; defaults to the first.
    metrics : sequence of str, optional
        Metrics to test, defaulting to those of the baseline that every arm has. Holm's correction covers the arms of
        one metric, not several metrics: choose one beforehand.
    resamples : int, default 10000
        Of the randomisation test and the bootstrap interval.
    confidence : float, default 0.95
        Coverage of the interval.
    seed : int, default 0
        Of both.

    Returns
    -------
    SignificanceReport
        Arms times metrics; printing it gives sentences.

    Raises
    ------
    InputError
        Reports on other judgements or documents, a missing baseline, or a metric that a report lacks.

    Examples
    --------
    >>> qrels, queries = {"q": {"a": 1}, "r": {"b": 1}}, {"q": "x", "r": "y"}
    >>> one = evaluate({"q": ["a"], "r": ["b"]}, queries=queries, qrels=qrels, metrics=["mrr"])
    >>> two = evaluate({"q": ["b", "a"], "r": ["a", "b"]}, queries=queries, qrels=qrels, metrics=["mrr"])
    >>> compare({"one": one, "two": two, "three": None}).comparisons[0].difference
    -0.5
    """
    for name, report in reports.items():
        if report is not None and not isinstance(report, RetrievalReport):
            raise InputError(
                message(f"{name!r} as a {type(report).__name__}", "what evaluate() returned", "evaluate that arm again")
            )
    ran = {name: report for name, report in reports.items() if report is not None and report.scores}
    baseline = next(iter(reports), "") if baseline is None else baseline
    if baseline not in ran:
        raise InputError(message(f"baseline {baseline!r} without a report", f"one of {', '.join(ran)}", "name an arm"))
    _check_same_data(baseline, ran)
    if metrics is None:
        metrics = [name for name in ran[baseline].scores if all(name in report.scores for report in ran.values())]
    lacking = [(arm, name) for arm, report in ran.items() for name in metrics if name not in report.scores]
    if lacking or not metrics:
        arm, name = lacking[0] if lacking else (baseline, "in common")
        raise InputError(message(f"no metric {name!r} in report {arm!r}", "the same metrics", "evaluate it again"))
    found = [
        compare_arms(
            {arm: report.scores[name] if arm in ran and report else None for arm, report in reports.items()},
            baseline=baseline,
            resamples=resamples,
            confidence=confidence,
            seed=seed,
        )
        for name in metrics
    ]
    return SignificanceReport(tuple(c for part in found for c in part.comparisons), found[0].missing)


def _check_same_data(baseline: str, reports: Mapping[str, RetrievalReport]) -> None:
    reference = reports[baseline].context["data"]
    for arm, report in reports.items():
        data = report.context["data"]
        for key in ("qrels_sha256", "corpus_sha256"):
            # An arm evaluated from a finished run may not know the corpus.
            if data[key] != reference[key] and None not in (data[key], reference[key]):
                raise InputError(
                    message(f"{arm!r} and {baseline!r} with different {key}", "the same data", "evaluate both on one")
                )


def _checked_metrics(metrics: Sequence[str], depth: int) -> list[str]:
    if isinstance(metrics, str):
        raise InputError(message("metrics as one str", "a list of names", f"write [{metrics!r}]"))
    for name in metrics:
        k = check_metric_name(name)[1]
        if k is not None and k > depth:
            raise InputError(message(f"{name} at depth={depth}", f"depth of {k} or more", "raise depth"))
    return list(metrics)


def _as_queries(queries: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(queries, Mapping):
        raise InputError(message(f"queries of type {type(queries).__name__}", "{id: text} or a path", "name each one"))
    return dict(zip(queries, as_texts(queries.values(), name="queries"), strict=True))


def _search(
    target: Any, documents: dict[str, str] | None, queries: dict[str, str], depth: int, exclude_self: bool
) -> tuple[dict, dict]:
    if isinstance(target, Mapping):
        return {query: target[query] for query in queries if query in target}, {"kind": "run"}
    if not isinstance(target, Searcher):
        if not hasattr(target, "encode"):
            raise InputError(
                message(
                    f"a target of type {type(target).__name__}", "search_texts(queries, k=), an encoder or a run",
                    "give it a search_texts method",
                )
            )  # fmt: skip
        if documents is None:
            raise InputError(message("an encoder without a corpus", "the documents to search", "pass corpus="))
        target = DenseSearcher(target, documents)
    # One more, so that a query's own document does not take a place.
    rankings = target.search_texts(list(queries.values()), k=depth + exclude_self)
    if len(rankings) != len(queries):
        raise InputError(
            message(f"{len(rankings)} rankings for {len(queries)} queries", "one each", "repair search_texts")
        )
    run = {}
    for query, hits in zip(queries, rankings, strict=True):
        hits = [hit for hit in hits if not (exclude_self and hit[0] == query)][:depth]
        run[query] = {document: float(score) for document, score in hits}
        if len(run[query]) != len(hits):
            raise InputError(
                message(f"a document twice in the results of query {query!r}", "distinct ones", "repair search_texts")
            )
    about = {"kind": type(target).__name__}
    if callable(getattr(target, "describe", None)):
        about |= dict(target.describe())
    elif hasattr(target, "fingerprint"):
        about["fingerprint"] = target.fingerprint
    return run, about


def _describe_data(texts: Any, judged: Any, documents: dict[str, str] | None, chosen: list[str]) -> dict[str, Any]:
    return {
        "queries": len(chosen),
        "queries_unjudged": sum(query not in judged for query in texts),
        "judged_without_text": len(judged) - len(chosen),
        "documents": None if documents is None else len(documents),
        "queries_sha256": hash_data({query: texts[query] for query in chosen}),
        "qrels_sha256": hash_data(judged),
        "corpus_sha256": None if documents is None else hash_data(documents),
    }
