"""The `query-drift` row of the catalogue: arXiv 2506.00037."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import MissingExtraError, message
from orthant.papers.record import Claim, Figures, Paper, Trial

Array = npt.NDArray[Any]

_EARLIER = ("cranfield", "npl", "cosqa")
_NEW = "medquad"
_DOCUMENTS, _QUERIES = 4_000, 250
_POOL, _DRAWN = 1_500, 1_000
_WINDOW = 64


def _old_indexes(seed: int) -> Trial:
    """nDCG@10 of queries by a model tuned on medical questions, over indexes of other texts that its parent made."""
    from orthant.measures import drift_statistics
    from orthant.transforms import DriftCompensator, Procrustes

    newer, older = _drift_queries()
    rows = np.random.default_rng(seed).choice(len(newer), _DRAWN, replace=False)
    step = DriftCompensator().fit(newer[rows], older[rows])
    turn = Procrustes().fit(newer[rows], older[rows])

    def arm(mapped: Any) -> Figures:
        found = {name: _ndcg(name, mapped(name)) for name in (*_EARLIER, _NEW)}
        return {"ndcg@10": float(np.mean([found[name] for name in _EARLIER])), f"{_NEW}": found[_NEW]}

    statistics = drift_statistics(newer, older)
    before = np.concatenate([_set(name)[2] for name in _EARLIER])
    wanted = np.concatenate([_set(name)[1] for name in _EARLIER])
    measured = {
        **arm(lambda name: step.transform(_set(name)[2])),
        "explained_share": statistics.explained_share,
        "cosine_before": _cosine(before, wanted),
        "cosine_after": _cosine(step.transform(before), wanted),
    }
    return Trial(
        measured=measured,
        baseline=arm(lambda name: _set(name)[2]),
        alternatives={
            "drift of other queries to the same index": arm(lambda name: _own_drift(name, seed)),
            "Procrustes from the same queries": arm(lambda name: turn.transform(_set(name)[2])),
            "the earlier model kept for queries": arm(lambda name: _set(name)[1]),
        },
    )


def _own_drift(name: str, seed: int) -> Array:
    """Queries less the drift of the other half of the queries to their index."""
    from orthant.transforms import DriftCompensator

    _, older, newer, _ = _set(name)
    out = np.empty_like(newer)
    halves = np.array_split(np.random.default_rng(seed).permutation(len(newer)), 2)
    for fitted, judged in (halves, halves[::-1]):
        with warnings.catch_warnings():
            # NPL has 93 queries in all; the warning about few is for users.
            warnings.simplefilter("ignore", UserWarning)
            out[judged] = DriftCompensator().fit(newer[fitted], older[fitted]).transform(newer[judged])
    return out


def _cosine(a: Array, b: Array) -> float:
    from orthant.kernels.distances import pair_scores

    return float(pair_scores(a, b, "cosine").mean())


def _ndcg(name: str, queries: Array) -> float:
    from orthant.index import Flat
    from orthant.measures import ndcg, run_from_arrays

    documents, _, _, judged = _set(name)
    index = Flat(documents.shape[1], "cosine")
    index.add(documents)
    hits = index.search(queries, 10)
    run = run_from_arrays(hits.ids, hits.scores, query_ids=judged.query_ids, document_ids=judged.document_ids)
    return float(ndcg(run, judged.qrels, k=10).mean)


@cache
def _set(name: str) -> tuple[Array, Array, Array, Any]:
    """Documents and queries by the earlier model, queries by the newer one, and the judged set."""
    from orthant.datasets import load
    from orthant.evaluation.judged_vectors import encode_judged, shrink

    whole: Any = load(name)
    small = shrink(whole, documents=_DOCUMENTS, queries=_QUERIES) if len(whole.corpus) > _DOCUMENTS else whole
    judged = encode_judged(small, ("minilm",))
    documents, queries = judged.vectors["minilm"]
    return documents, queries, _newer().encode(list(small.queries.values()), role="query"), judged


@cache
def _drift_queries() -> tuple[Array, Array]:
    """Questions of the new task that are not judged, by the newer and by the earlier model."""
    from orthant.datasets import load
    from orthant.encoders.transformer import TransformerEncoder

    whole: Any = load(_NEW)
    judged = set(_set(_NEW)[3].query_ids)
    texts = [text for query, text in whole.queries.items() if query not in judged]
    texts = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))[:_POOL]]
    older = TransformerEncoder.minilm(backend="onnx-int8", max_tokens=_WINDOW, threads=1)
    return _newer().encode(texts, role="query"), older.encode(texts, role="query")


@cache
def _newer() -> Any:
    from orthant.encoders.transformer import TransformerEncoder
    from orthant.kernels.compile_cache import cache_base

    folder = cache_base() / "trainings" / "medical-minilm" / "export"
    if not folder.is_dir():
        raise MissingExtraError(
            message(
                f"the claims of 'query-drift' without {folder.name!r} of the training medical-minilm",
                "MiniLM tuned on medical questions, in the cache",
                "run: python benchmarks/training.py medical-minilm",
            )
        )
    return TransformerEncoder.load(folder, max_tokens=_WINDOW, threads=1)


PAPER = Paper(
    key="query-drift",
    title="Query Drift Compensation: Enabling Compatibility in Continual Learning of Retrieval Embedding Models",
    arxiv="2506.00037",
    year=2025,
    wing="space",
    lives_in=("orthant.transforms.alignment.drift", "orthant.measures.compatibility"),
    summary=(
        "After an encoder has been fine-tuned further, subtracts the average movement of its query vectors, so that "
        "new queries still meet documents which an earlier version encoded. For services that keep training one "
        "model and cannot re-encode the corpus each time; models of unrelated origin need an alignment map instead. "
        "Its place in Orthant: one of the ways `upgrade` keeps an old index alive."
    ),
    keywords=("continual learning", "embedding drift", "backward compatibility", "no re-indexing", "distillation"),
    status="works",
    claims=(
        Claim(
            name="queries-meet-older-indexes",
            sentence=(
                "nDCG@10 over indexes of Cranfield, NPL and CoSQA made by MiniLM, for queries by its child that was "
                "tuned on medical questions: less the drift of 1,000 medical questions, as they are, less the "
                "drift of other queries to the same index, turned by a rotation from the medical questions, and "
                "encoded by MiniLM itself."
            ),
            data="real",
            run=_old_indexes,
            metric="ndcg@10",
            needs=(*_EARLIER, _NEW),
        ),
    ),
)
