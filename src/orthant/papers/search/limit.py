"""The `limit` row of the catalogue: arXiv 2508.21038."""

from __future__ import annotations

from typing import Any

import numpy as np

from orthant.papers.record import Claim, Figures, Paper, Trial

_DIMENSIONS = (4, 6, 8)
_CURVE_DOCUMENTS = 400
_DOCUMENTS, _QUERIES = 200, 100
_HALF = 500


class _MeanOfWords:
    """One vector per text from the very vectors that the multi-vector arm matches one by one."""

    max_tokens = None

    def __init__(self, words: Any) -> None:
        self._words = words
        self.dim = words.dim
        self.fingerprint = f"mean:{words.fingerprint}"

    def encode(self, items: Any, *, role: Any = "document", batch_size: int = 64, progress: bool = False) -> Any:
        found = self._words.encode_tokens(items, role=role, batch_size=batch_size)
        return np.add.reduceat(found.values, found.offsets[:-1], axis=0)


def _one_vector_misses(seed: int) -> Trial:
    """Share of the relevant people of the official small set that are not among the first two, on half the queries."""
    from dataclasses import replace

    from orthant.datasets import load_retrieval
    from orthant.encoders.registry import load_encoder
    from orthant.evaluation.limit import MultiVectorSearcher, WordVectors

    task = load_retrieval("limit", part="small")
    chosen = np.random.default_rng(seed).choice(sorted(task.queries), _HALF, replace=False).tolist()
    task = replace(task, queries={q: task.queries[q] for q in chosen}, qrels={q: task.qrels[q] for q in chosen})
    static, minilm = load_encoder("static"), load_encoder("minilm")
    words = WordVectors(minilm)
    arms = {
        "minilm": minilm,
        "mean of minilm's word vectors": _MeanOfWords(words),
        "static": static,
        "minilm, every word": MultiVectorSearcher(words, task.corpus),
        "static, every word": MultiVectorSearcher(WordVectors(static), task.corpus),
    }
    found = {name: _missed(task, arm) for name, arm in arms.items()} | {"BM25": _missed(task, _lexical(task))}
    # The strongest of the single vectors speaks for all of them.
    single = ("minilm", "mean of minilm's word vectors", "static")
    best = min(single, key=lambda name: found[name]["missed@2"])
    # The twin keeps the encoder and takes the one vector per text away.
    twin = "static, every word" if best == "static" else "minilm, every word"
    return Trial(
        measured={**found[best], "missed@2_of_minilm": found["minilm"]["missed@2"]},
        ablated=found[twin],
        baseline=found["BM25"],
        alternatives={"minilm, every word": found["minilm, every word"]},
    )


def _missed(task: Any, arm: Any) -> Figures:
    from orthant.evaluation.limit import compare_arms

    report = compare_arms(task, {"arm": arm}, metrics=["recall@2", "recall@20"]).reports["arm"]
    metrics = {} if report is None else report.metrics
    return {f"missed{name[6:]}": 1.0 - value for name, value in metrics.items()}


def _lexical(task: Any) -> Any:
    from tempfile import TemporaryDirectory

    from orthant.cli.evaluate import CollectionSearcher
    from orthant.collection.opening import open

    with TemporaryDirectory() as folder, open(f"{folder}/people") as people:
        people.upsert([document.id for document in task.corpus], texts=[document.text for document in task.corpus])
        ranked = CollectionSearcher(people, "lexical").search_texts(list(task.queries.values()), k=100)
    return {query: dict(hits) for query, hits in zip(task.queries, ranked, strict=True)}


def _pattern(seed: int) -> Trial:
    """The same single vectors on tasks of one size that differ only in who likes what."""
    from orthant.encoders.registry import load_encoder
    from orthant.evaluation.limit import generate

    encoder = load_encoder("minilm")
    found = {
        pattern: _missed(generate(_DOCUMENTS, _QUERIES, pattern=pattern, seed=seed), encoder)  # type: ignore[arg-type]
        for pattern in ("dense", "random", "cycle", "disjoint")
    }
    return Trial(
        measured=found["dense"],
        baseline=found["disjoint"],
        alternatives={name: found[name] for name in ("random", "cycle")},
    )


def _free_vectors(seed: int) -> Trial:
    """Documents of which every pair is served, by descent from two starts and by a curve in four dimensions."""
    from itertools import combinations

    from orthant.evaluation.limit import capacity_bound, critical_n, curve_vectors

    served = {d: critical_n(d, seeds=(2 * seed, 2 * seed + 1)).documents for d in _DIMENSIONS}
    published = {d: capacity_bound(d).documents for d in _DIMENSIONS}
    sets = np.array(list(combinations(range(_CURVE_DOCUMENTS), 2)))
    Q, D = curve_vectors(_CURVE_DOCUMENTS, sets)
    right = (np.sort(np.argsort(-(Q @ D.T), axis=1)[:, :2], axis=1) == sets).all(axis=1)
    by_curve = float(_CURVE_DOCUMENTS) if right.all() else 0.0
    return Trial(
        measured={f"documents_in_{d}_dimensions": float(n) for d, n in served.items()},
        baseline={f"documents_in_{d}_dimensions": float(n) for d, n in published.items()},
        alternatives={"trigonometric moment curve": {f"documents_in_{d}_dimensions": by_curve for d in _DIMENSIONS}},
    )


PAPER = Paper(
    key="limit",
    title="On the Theoretical Limitations of Embedding-Based Retrieval",
    arxiv="2508.21038",
    year=2025,
    wing="search",
    lives_in=("orthant.evaluation.limit", "orthant.measures.capacity"),
    summary=(
        "Shows that a vector of given width can tell apart only so many combinations of relevant documents, and "
        "offers a deliberately plain test set (who likes what?) on which strong single-vector encoders stumble. "
        "Consult it when queries combine attributes freely: more dimensions, several vectors per text or word "
        "matching may help, better training alone may not. Its place in Orthant: a generator of such tasks at any "
        "size, the free-vector experiment, and a headroom figure in `diagnose`."
    ),
    keywords=("embedding capacity", "sign rank", "dimension", "single-vector limits", "benchmark", "hybrid search"),
    status="works",
    claims=(
        Claim(
            name="one-vector-misses-what-words-find",
            sentence=(
                "On the official small set (46 people, who likes what), the best of three single vectors per text "
                "(MiniLM, the mean of its word vectors, the static table) leaves more of the relevant people out of "
                "the first two than BM25 and than the word vectors of the same encoder, each matched on its own. "
                "Half of the queries, drawn by the seed."
            ),
            data="real",
            run=_one_vector_misses,
            metric="missed@2",
            margin=0.3,
            ablation="one vector per text: the same encoder, one vector per word",
            needs=("limit",),
            trained=False,
        ),
        Claim(
            name="dense-pattern-against-others",
            sentence=(
                "MiniLM on generated tasks of 200 people and 100 queries, where all pairs of a few people are asked "
                "for (dense), beside pairs of no two queries in common (disjoint), random pairs, and a cycle."
            ),
            data="generated",
            run=_pattern,
            metric="missed@2",
            trained=False,
        ),
        Claim(
            name="free-vectors-and-a-curve",
            sentence=(
                "Documents of which every pair can be a query's two best: by descent on free vectors, by the published "
                "curve, and by vectors on a trigonometric moment curve, which need four dimensions and of which 400 "
                "documents were tried."
            ),
            data="generated",
            run=_free_vectors,
            metric="documents_in_8_dimensions",
            fresh_seeds=(101,),
            trained=False,
        ),
    ),
)
