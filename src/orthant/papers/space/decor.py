"""The `decor` row of the catalogue: arXiv 2412.09169."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.papers.record import Claim, Figures, Paper, Trial

Array = npt.NDArray[Any]
Steer = Callable[[Array, Array], Array]

_CORPUS = 3_000
_ASKED = 8
_EXAMPLES = 8
_LETTERS = 600
_SHARES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)


@lru_cache(maxsize=1)
def _messages() -> tuple[list[str], Array, Array]:
    """Beginnings of messages that are no copies of earlier ones, their groups and their vectors."""
    from orthant.datasets import load
    from orthant.encoders.registry import load_encoder

    found: Any = load("newsgroups20")
    kept = [
        i for i, row in enumerate(found.metadata) if not row["duplicate"] and len(found.texts[i].strip()) > _LETTERS
    ]
    texts = [found.texts[i].strip()[:_LETTERS] for i in kept]
    return texts, found.labels[kept], load_encoder("static").encode(texts)


def _off_topic(seed: int) -> Trial:
    """Share of the first ten hits that are of the wanted group, of queries that speak of two groups' matters."""
    from orthant.encoders.registry import load_encoder
    from orthant.transforms.subspace import SubspaceProjection

    texts, labels, vectors = _messages()
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(texts))
    corpus, rest = order[:_CORPUS], order[_CORPUS:]
    groups = rng.permutation(20)
    encoder = load_encoder("static")

    def asked(chosen: Array) -> list[tuple[Array, Array, int, int]]:
        out = []
        for wanted in chosen:
            for unwanted in chosen[chosen != wanted]:
                own, other = (rest[labels[rest] == group] for group in (wanted, unwanted))
                mixed = encoder.encode([f"{texts[a]}\n{texts[b]}" for a, b in zip(own[:_ASKED], other, strict=False)])
                out.append((mixed, vectors[other[-_EXAMPLES:]], int(wanted), int(unwanted)))
        return out

    tune, judge = asked(groups[:6]), asked(groups[6:14])
    gallery, kinds = vectors[corpus], labels[corpus]

    def judged(steer: Steer, cases: list[tuple[Array, Array, int, int]], push: float = 0.0) -> Figures:
        found = []
        for mixed, examples, wanted, unwanted in cases:
            scores = steer(mixed, examples) @ gallery.T - push * (examples @ gallery.T).max(axis=0)
            hits = kinds[np.argsort(-scores, axis=1)[:, :10]]
            found.append(((hits == wanted).mean(), (hits == unwanted).mean()))
        return dict(zip(("wanted", "unwanted"), np.mean(found, axis=0).tolist(), strict=True))

    def best(make: Callable[[float], Steer], shares: tuple[float, ...] = _SHARES) -> Figures:
        share = max(shares, key=lambda one: judged(make(one), tune)["wanted"])
        return {**judged(make(share), judge), "strength": share}

    def projected(share: float) -> Steer:
        return lambda mixed, examples: SubspaceProjection.from_directions(examples, strength=share).transform(mixed)

    def off_mean(share: float) -> Steer:
        return lambda mixed, examples: projected(share)(mixed, examples.mean(axis=0, keepdims=True))

    def less_mean(share: float) -> Steer:
        return lambda mixed, examples: mixed - share * _unit(examples.mean(axis=0, keepdims=True))

    def as_it_is(mixed: Array, examples: Array) -> Array:
        return mixed

    push = max((0.1, 0.2, 0.3, 0.5, 0.75, 1.0), key=lambda one: judged(as_it_is, tune, one)["wanted"])
    random = np.random.default_rng(seed).standard_normal((_EXAMPLES, vectors.shape[1]))
    return Trial(
        measured=best(projected),
        baseline=judged(as_it_is, judge),
        ablated=best(lambda share: lambda mixed, examples: projected(share)(mixed, random)),
        alternatives={
            "less the mean of the examples": best(less_mean, (0.1, 0.2, 0.3, 0.5, 0.75, 1.0)),
            "off the mean of the examples": best(off_mean),
            "hits close to an example pushed down": {**judged(as_it_is, judge, push), "strength": push},
        },
    )


def _unit(rows: Array) -> Array:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


PAPER = Paper(
    key="decor",
    title="DECOR:Decomposition and Projection of Text Embeddings for Text-to-Image Customization",
    arxiv="2412.09169",
    year=2024,
    wing="space",
    lives_in=("orthant.transforms.subspace", "orthant.learn.generative.decor", "orthant.collection.stages.steering"),
    summary=(
        "Removes an unwanted meaning from a sequence of token vectors by projecting the sequence off the directions "
        "that this meaning spans. Made for customised image generators that copy things from their few examples into "
        "every picture; the same operation takes a nuisance direction out of search vectors. Its place in Orthant: a "
        "subspace projection with a strength setting, for matrices and for token sequences."
    ),
    keywords=("orthogonal projection", "text-to-image", "content leakage", "debiasing", "subspace", "LoRA"),
    status="works",
    claims=(
        Claim(
            name="off-topic-taken-out",
            sentence=(
                "Share of the first ten hits that are of the wanted newsgroup, where the query is a message of it "
                "joined with one of an unwanted group, of which eight other messages are given: the query projected "
                "off their span, beside the query itself, random directions (ablated), and the mean of the eight, "
                "subtracted or projected off, and hits close to one of them pushed down, strengths tuned "
                "alike on other groups."
            ),
            data="real",
            run=_off_topic,
            metric="wanted",
            margin=0.01,
            ablation="as many random directions in place of the examples",
            trained=False,
            needs=("newsgroups20",),
        ),
    ),
)
