"""The `bidr` row of the catalogue: arXiv 2201.05409."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.papers.record import Claim, Figures, Paper, Trial

Array = npt.NDArray[Any]

_QUESTIONS, _HELD_OUT = 6000, 1000
_CANDIDATES = 40
"""Few enough that a wrong candidate costs: of all answers to 6,000 questions, one in 160."""
_EPOCHS = 5


class _Split:
    """Questions of MedQuAD with their answers, divided by a seed; vectors of the packaged word table."""

    def __init__(self, seed: int) -> None:
        queries, documents, answers = _vectors()
        order = np.random.default_rng(seed).permutation(len(queries))[:_QUESTIONS]
        # Only the answers to these questions are searched, under numbers of their own.
        kept = np.unique(np.concatenate([answers[i] for i in order]))
        self.documents = np.ascontiguousarray(documents[kept])
        relevant = {int(i): np.searchsorted(kept, answers[i]) for i in order}
        held, train = order[:_HELD_OUT], order[_HELD_OUT:]
        self.asked, self.relevant = queries[held], [relevant[int(i)] for i in held]
        pairs = [(i, d) for i in train for d in relevant[int(i)]]
        self.queries = queries[[i for i, _ in pairs]]
        self.positives = np.array([d for _, d in pairs], dtype=np.int64)

    def trainer(self, seed: int) -> Any:
        from orthant.learn.text import BiGranularTrainer

        return BiGranularTrainer(
            self.queries, self.documents, self.positives, m=8, candidates=_CANDIDATES, seed=seed, threads=1
        )

    def candidates(self, made: Any, asked: Array) -> Array:
        from orthant.kernels.topk import top_k

        codes = made.quantizer.encode(made.light_map.transform(self.documents))
        return top_k(made.quantizer.score(asked, codes, metric="cosine"), _CANDIDATES)[0]

    def recall(self, near: Array) -> Figures:
        shares = [np.isin(right, found).mean() for right, found in zip(self.relevant, near, strict=True)]
        return {f"recall@{_CANDIDATES}": float(np.mean(shares))}

    def reciprocal_rank(self, near: Array, asked: Array, documents: Array) -> Figures:
        from orthant.kernels.distances import exact_scores

        out = []
        for query, rows, right in zip(asked, near, self.relevant, strict=True):
            order = np.argsort(-exact_scores(query[None], documents[rows], "cosine")[0], kind="stable")[:10]
            places = np.flatnonzero(np.isin(rows[order], right))
            out.append(1 / (places[0] + 1) if len(places) else 0.0)
        return {"mrr@10": float(np.mean(out))}


@lru_cache(maxsize=1)
def _vectors() -> tuple[Array, Array, list[Array]]:
    from orthant.datasets.readers.known_item import medquad_documents
    from orthant.encoders import StaticEncoder

    found = medquad_documents().documents
    encoder = StaticEncoder.load()
    documents = encoder.encode([record.text for record in found])
    asked: dict[str, list[int]] = {}
    for row, record in enumerate(found):
        asked.setdefault(str(record.metadata["question"]), []).append(row)
    queries = encoder.encode(list(asked), role="query")
    relevant = [np.array(rows) for rows in asked.values()]
    return queries, documents, relevant


def _codes(seed: int) -> Trial:
    """Recall of answers by codes of 8 bytes."""
    from orthant.quantization import ProductQuantizer

    split = _Split(seed)

    def arm(warm: int, books: bool) -> Figures:
        trainer = split.trainer(seed)
        trainer.warm(epochs=warm)
        trainer.fit_codes(epochs=_EPOCHS, books=books)
        made = trainer.export()
        # Without stages 2 and 3 the map of queries is that of the codes.
        return split.recall(split.candidates(made, made.query_map.transform(split.asked)))

    plain = ProductQuantizer(m=8, rotation="opq", iterations=10, seed=seed).fit(split.documents)
    from orthant.kernels.topk import top_k

    near = top_k(plain.score(split.asked, plain.encode(split.documents), metric="cosine"), _CANDIDATES)[0]
    return Trial(
        measured=arm(_EPOCHS, True),
        ablated=arm(_EPOCHS, False),
        baseline=split.recall(near),
        alternatives={"OPQ of maps trained as long": arm(2 * _EPOCHS, False)},
    )


def _order(seed: int) -> Trial:
    """MRR@10 after re-ranking the candidates of trained codes."""
    split = _Split(seed)
    trainer = split.trainer(seed)
    trainer.warm(epochs=_EPOCHS)
    trainer.fit_codes(epochs=_EPOCHS)
    first = trainer.export()
    near = split.candidates(first, first.query_map.transform(split.asked))

    def arm(negatives: str) -> Figures:
        trainer.fit_full(epochs=_EPOCHS, negatives=negatives)
        made = trainer.export()
        return split.reciprocal_rank(
            near, made.query_map.transform(split.asked), made.full_map.transform(split.documents)
        )

    walk, shuffled, in_batch = (arm(name) for name in ("random-walk", "shuffled", "in-batch"))
    before = split.reciprocal_rank(
        near, first.query_map.transform(split.asked), first.light_map.transform(split.documents)
    )
    return Trial(
        measured={**arm("snowball"), "mrr@10, random walk": walk["mrr@10"]},
        ablated=shuffled,
        baseline=before,
        alternatives={"random batches, a candidate for each row": shuffled, "random batches alone": in_batch},
    )


def _unified(seed: int) -> Trial:
    """MRR@10 with one map of queries for both tiers, beside a map for each."""
    split = _Split(seed)
    trainer = split.trainer(seed)
    trainer.warm(epochs=_EPOCHS)
    trainer.fit_codes(epochs=_EPOCHS)
    first = trainer.export()
    near = split.candidates(first, first.query_map.transform(split.asked))
    trainer.fit_full(epochs=_EPOCHS)
    two = trainer.export()
    trainer.unify()
    one = trainer.export()
    found = []
    for made in (two, one):
        asked = made.query_map.transform(split.asked)
        documents = made.full_map.transform(split.documents)
        own = split.candidates(made, asked)
        found.append((split.reciprocal_rank(own, asked, documents), split.recall(own), asked, documents))
    return Trial(
        measured={**found[1][0], **found[1][1]},
        baseline={**found[0][0], **found[0][1]},
        alternatives={
            "a map for each tier": {**split.reciprocal_rank(near, found[0][2], found[0][3]), **split.recall(near)}
        },
    )


PAPER = Paper(
    key="bidr",
    title="Progressively Optimized Bi-Granular Document Representation for Scalable Embedding Based Retrieval",
    arxiv="2201.05409",
    year=2022,
    wing="search",
    lives_in=("orthant.index.two_tier", "orthant.learn.text"),
    summary=(
        "Keeps two versions of every document vector: short codes in memory find candidates, full vectors on disk "
        "order them, and each version is trained for its own job, the second one on mistakes that the first lets "
        "through. For corpora that outgrow memory while disk is cheap; below that size one index of full vectors is "
        "simpler. Its place in Orthant: the two-tier index, plus a batch sampler that gathers neighbouring queries "
        "so negatives are hard."
    ),
    keywords=(
        "two-stage retrieval",
        "disk-based search",
        "contrastive quantization",
        "locality-centric sampling",
        "hard negatives",
    ),
    status="works",
    claims=(
        Claim(
            name="codes-trained-to-find",
            sentence=(
                "Recall@40 of the answers to 1,000 held-out questions among those to 6,000, by codes of 8 bytes of "
                "vectors of the packaged word table: codebooks trained with maps on pairs, beside OPQ of those maps, "
                "of maps trained twice as long, and of the vectors."
            ),
            data="real",
            run=_codes,
            metric="recall@40",
            needs=("medquad",),
        ),
        Claim(
            name="batches-of-neighbours",
            sentence=(
                "MRR@10 after re-ranking the 40 candidates of those codes by maps trained in batches along the "
                "candidates, beside random batches with a candidate for each row, random batches alone, and the maps "
                "of the codes."
            ),
            data="real",
            run=_order,
            metric="mrr@10",
            needs=("medquad",),
        ),
        Claim(
            name="one-map-of-queries",
            sentence=(
                "MRR@10 of both steps together where one map of queries serves both, beside a map for each, and "
                "(baseline) the map of the second step for both without training it for that."
            ),
            data="real",
            run=_unified,
            metric="mrr@10",
            needs=("medquad",),
        ),
    ),
)
