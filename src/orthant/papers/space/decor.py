"""The `decor` row of the catalogue: arXiv 2412.09169."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

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
_PUSHES = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0)


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


class _Part(NamedTuple):
    """Queries of pairs of groups, each with examples of the unwanted group, beside the corpus that is searched."""

    cases: list[tuple[Array, Array, int, int]]
    gallery: Array
    kinds: Array


def _parts(seed: int) -> list[_Part]:
    """Pairs of six groups to tune on, and of eight others to judge on."""
    from orthant.encoders.registry import load_encoder

    texts, labels, vectors = _messages()
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(texts))
    corpus, rest = order[:_CORPUS], order[_CORPUS:]
    groups, encoder = rng.permutation(20), load_encoder("static")
    out = []
    for chosen in (groups[:6], groups[6:14]):
        cases = []
        for wanted, unwanted in itertools.permutations(chosen.tolist(), 2):
            own, other = (rest[labels[rest] == group] for group in (wanted, unwanted))
            mixed = encoder.encode([f"{texts[a]}\n{texts[b]}" for a, b in zip(own[:_ASKED], other, strict=False)])
            cases.append((mixed, vectors[other[-_EXAMPLES:]], wanted, unwanted))
        out.append(_Part(cases, vectors[corpus], labels[corpus]))
    return out


def _judged(part: _Part, steer: Steer, push: float = 0.0) -> Figures:
    found = []
    for mixed, examples, wanted, unwanted in part.cases:
        scores = steer(mixed, examples) @ part.gallery.T - push * (examples @ part.gallery.T).max(axis=0)
        hits = part.kinds[np.argsort(-scores, axis=1)[:, :10]]
        found.append(((hits == wanted).mean(), (hits == unwanted).mean()))
    return dict(zip(("wanted", "unwanted"), np.mean(found, axis=0).tolist(), strict=True))


def _as_it_is(mixed: Array, examples: Array) -> Array:
    return mixed


def _projected(share: float) -> Steer:
    from orthant.transforms.subspace import SubspaceProjection

    return lambda mixed, examples: SubspaceProjection.from_directions(examples, strength=share).transform(mixed)


def _less_mean(share: float) -> Steer:
    return lambda mixed, examples: mixed - share * _unit(examples.mean(axis=0, keepdims=True))


def _off_topic(seed: int) -> Trial:
    """Share of the first ten hits that are of the wanted group, of queries that speak of two groups' matters."""
    tune, judge = _parts(seed)

    def best(make: Callable[[float], Steer], shares: tuple[float, ...] = _SHARES) -> Figures:
        share = max(shares, key=lambda one: _judged(tune, make(one))["wanted"])
        return {**_judged(judge, make(share)), "strength": share}

    def off_mean(share: float) -> Steer:
        return lambda mixed, examples: _projected(share)(mixed, examples.mean(axis=0, keepdims=True))

    random = np.random.default_rng(seed).standard_normal((_EXAMPLES, judge.gallery.shape[1]))
    push = max(_PUSHES, key=lambda one: _judged(tune, _as_it_is, one)["wanted"])
    return Trial(
        measured=best(_projected),
        baseline=_judged(judge, _as_it_is),
        ablated=best(lambda share: lambda mixed, examples: _projected(share)(mixed, random)),
        alternatives={
            "less the mean of the examples": best(_less_mean, _PUSHES),
            "off the mean of the examples": best(off_mean),
            "hits close to an example pushed down": {**_judged(judge, _as_it_is, push), "strength": push},
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
