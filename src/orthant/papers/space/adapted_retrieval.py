"""The `adapted-retrieval` row of the catalogue: arXiv 2310.05380."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.papers.record import Claim, Figures, Paper, Trial

Array = npt.NDArray[Any]
Moved = tuple[Array, Array]

_PAIRS, _JUDGED, _DOCUMENTS = 3_000, 1_000, 8_000
_STRENGTHS = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class _Set:
    """A judged set by the shipped table, with what is held out as a whole."""

    C: Array
    Q: Array
    queries: Array
    items: Array
    module: Array


@dataclass(frozen=True)
class _Part:
    """Pairs to learn from, pairs that choose settings, and pairs that judge; no item is in two of them."""

    learn: Array
    choose: Array
    judge: Array
    candidates: Array


def _adapter_gain(name: str, by: str, seed: int) -> Trial:
    """Mean reciprocal rank of the best answer among all documents, for queries whose answers were held out."""
    found = _set(name)
    part = _split(found, by, seed)
    value = partial(_value, found, part.judge, part.candidates)
    chosen = partial(_value, found, part.choose, part.candidates)
    pairs = (found.Q[found.queries[part.learn]], found.C[found.items[part.learn]])
    groups = (found.module if by == "module" else np.arange(len(found.C)))[found.items[part.learn]]
    adapters = {sides: _adapted(pairs, found, groups, sides, seed) for sides in ("query", "both")}
    alternatives = {name: _strongest(make(pairs, found), chosen, value) for name, make in _ALTERNATIVES.items()}
    best = max(adapters, key=lambda sides: chosen(adapters[sides])["mrr"])
    plain = value((found.Q, found.C))
    measured = value(adapters[best])
    return Trial(
        measured={
            **measured,
            **_significance(found, part, adapters[best]),
            "one_sided": value(adapters["query"])["mrr"],
        },
        baseline=plain,
        # The mechanism off: trained on the same pairs with every query beside another one's answer.
        ablated=value(_adapted(_shuffled(pairs, seed), found, groups, best, seed)),
        alternatives=alternatives,
    )


def _adapted(pairs: Moved, found: _Set, groups: Array, sides: Any, seed: int) -> Moved:
    from orthant.transforms import ResidualAdapter

    adapter = ResidualAdapter(sides=sides, seed=seed).fit(*pairs, groups=groups)
    return adapter.transform(found.Q), adapter.transform_target(found.C)


def _shuffled(pairs: Moved, seed: int) -> Moved:
    return pairs[0], pairs[1][np.random.default_rng(seed).permutation(len(pairs[1]))]


def _strongest(arms: list[Moved], chosen: Callable[[Moved], Figures], value: Callable[[Moved], Figures]) -> Figures:
    """The setting that serves other queries best, on those that judge."""
    return value(max(arms, key=lambda arm: chosen(arm)["mrr"]))


def _towards(mapped: Array, found: _Set) -> list[Moved]:
    """Queries a part of the way to where a map sends them."""
    return [(_unit((1 - s) * _unit(found.Q) + s * _unit(mapped)), found.C) for s in _STRENGTHS]


def _ridge(pairs: Moved, found: _Set) -> list[Moved]:
    from orthant.transforms import LowRankMap

    maps = [LowRankMap(ridge=ridge).fit(*pairs) for ridge in (0.1, 1.0, 10.0)]
    return [arm for fitted in maps for arm in _towards(fitted.transform(found.Q), found)]


def _procrustes(pairs: Moved, found: _Set) -> list[Moved]:
    from orthant.transforms import Procrustes

    return _towards(Procrustes().fit(*pairs).transform(found.Q), found)


def _shift(pairs: Moved, found: _Set) -> list[Moved]:
    moved = _unit(pairs[1]).mean(axis=0) - _unit(pairs[0]).mean(axis=0)
    return [(_unit(_unit(found.Q) + s * moved), found.C) for s in _STRENGTHS]


def _whitened(pairs: Moved, found: _Set) -> list[Moved]:
    """Both sides about the mean of all documents, with the strong directions weakened."""
    C, Q = _unit(found.C), _unit(found.Q)
    mean = C.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(C, rowvar=False))
    arms = [(Q, C)]
    for power in (0.0, 0.1, 0.25, 0.5):
        scale = vectors * np.maximum(values, 1e-6) ** (-power / 2)
        arms.append(((Q - mean) @ scale, (C - mean) @ scale))
    return [(q.astype(np.float32), c.astype(np.float32)) for q, c in arms]


_ALTERNATIVES: dict[str, Callable[[Moved, _Set], list[Moved]]] = {
    "ridge regression from the same pairs, mixed with the query": _ridge,
    "rotation from the same pairs, mixed with the query": _procrustes,
    "mean shift from the same pairs": _shift,
    "whitening of both sides": _whitened,
}


def _value(found: _Set, rows: Array, candidates: Array, moved: Moved) -> Figures:
    ranks = _reciprocal(found, rows, candidates, moved)
    return {"mrr": float(ranks.mean()), "recall@1": float((ranks == 1).mean())}


def _reciprocal(found: _Set, rows: Array, candidates: Array, moved: Moved) -> Array:
    from orthant.transforms.adaptation.contrast import Positives
    from orthant.transforms.adaptation.training import reciprocal_ranks

    asked = np.unique(found.queries[rows])
    Q, C = _unit(moved[0][asked]), _unit(moved[1][candidates])
    return reciprocal_ranks(Q, asked, C, candidates, Positives(found.queries, found.items))


def _significance(found: _Set, part: _Part, moved: Moved) -> Figures:
    from orthant.measures import paired_bootstrap, paired_randomisation

    before = _reciprocal(found, part.judge, part.candidates, (found.Q, found.C))
    after = _reciprocal(found, part.judge, part.candidates, moved)
    low, high = paired_bootstrap(before, after, resamples=2_000)
    return {"gain_low": low, "gain_high": high, "p_value": paired_randomisation(before, after, resamples=2_000)[0]}


def _unit(rows: Array) -> Array:
    from orthant.transforms.alignment.spaces import unit_rows

    return unit_rows(np.asarray(rows, dtype=np.float32))


def _split(found: _Set, by: str, seed: int) -> _Part:
    """Hold a quarter of the documents, or of the modules, out to judge, and a tenth to choose settings."""
    rng = np.random.default_rng(seed)
    key = (found.module if by == "module" else np.arange(len(found.C)))[found.items]
    names, sizes = np.unique(key, return_counts=True)
    order = rng.permutation(len(names))
    share = np.cumsum(sizes[order]) / len(key)
    place = dict(zip(names[order].tolist(), share.tolist(), strict=True))
    at = np.array([place[k] for k in key.tolist()])
    judge, choose = np.flatnonzero(at <= 0.25), np.flatnonzero((at > 0.25) & (at <= 0.35))
    judge, choose = (rng.permutation(rows)[:_JUDGED] for rows in (judge, choose))
    learn = np.flatnonzero(at > 0.35)
    # A question with answers in several parts teaches nothing, and one that judges chooses nothing.
    learn = learn[~np.isin(found.queries[learn], found.queries[np.concatenate([judge, choose])])]
    choose = choose[~np.isin(found.queries[choose], found.queries[judge])]
    wanted = np.unique(found.items[np.isin(found.queries, found.queries[np.concatenate([judge, choose])])])
    others = rng.permutation(np.setdiff1d(np.arange(len(found.C)), wanted))
    candidates = np.sort(np.concatenate([wanted, others[: max(0, _DOCUMENTS - len(wanted))]]))
    return _Part(rng.permutation(learn)[:_PAIRS], choose, judge, candidates)


@cache
def _set(name: str) -> _Set:
    from orthant.datasets import load
    from orthant.encoders.registry import load_encoder

    judged: Any = load(name) if name == "cosqa" else load(name, every=1)
    encoder = load_encoder("static")
    C = encoder.encode([document.content for document in judged.corpus])
    names = [query for query in judged.queries if judged.qrels.get(query)]
    Q = encoder.encode([judged.queries[query] for query in names], role="query")
    row = {document.id: i for i, document in enumerate(judged.corpus)}
    pairs = np.array(
        [(i, row[d]) for i, query in enumerate(names) for d, grade in judged.qrels[query].items() if grade > 0]
    )
    pairs = pairs[np.any(Q[pairs[:, 0]], axis=1) & np.any(C[pairs[:, 1]], axis=1)]
    module = np.unique([_module(name, document) for document in judged.corpus], return_inverse=True)[1]
    known = np.flatnonzero(C.any(axis=1))
    place = np.full(len(C), -1)
    place[known] = np.arange(len(known))
    return _Set(C[known], Q, pairs[:, 0], place[pairs[:, 1]], module[known])


def _module(name: str, document: Any) -> str:
    """What stands for a module: that of the code, or the illness of an answer."""
    if name == "medquad":
        return str((document.metadata.get("cui") or [document.title])[0])
    return document.content.split("(")[0].split(".")[0] if name == "nl2code" else document.id


def _claim(data: str, by: str, what: str, margin: float | None) -> Claim:
    return Claim(
        name=f"{data}-by-{by}",
        sentence=(
            f"Mean reciprocal rank of {what}, none of whose {by}s was learned from, by the shipped table with an "
            "adapter from at most 3,000 pairs, one- or two-sided as other held-out pairs choose: above the plain "
            "vectors and, by the margin where one is given, above ridge regression, rotation and mean shift from the "
            "same pairs and above whitening, whose strengths the same other pairs choose."
        ),
        data="real",
        run=partial(_adapter_gain, data, by),
        metric="mrr",
        margin=margin,
        ablation="" if margin is None else "each query stands beside another one's answer in training",
        needs=(data,),
    )


PAPER = Paper(
    key="adapted-retrieval",
    title="Augmented Embeddings for Custom Retrievals",
    arxiv="2310.05380",
    year=2023,
    wing="space",
    lives_in=("orthant.transforms.adaptation", "orthant.collection.adapting"),
    summary=(
        "Learns a small correction on top of frozen vectors, the identity plus a low-rank term, from pairs of a "
        "query and the item it should have found. For black-box encoders and a few hundred to a few thousand pairs, "
        "where the first one to five hits matter and both sides differ in kind, such as questions and code; with a "
        "few dozen pairs expect little. Its place in Orthant: `collection.adapt(pairs)`, applied to the query side "
        "so that nothing needs re-encoding."
    ),
    keywords=("domain adaptation", "low-rank residual adapter", "feedback", "black-box embeddings", "code search"),
    status="planned",
    claims=(
        _claim("nl2code", "document", "descriptions of Python code", None),
        _claim("nl2code", "module", "descriptions of Python code", None),
        _claim("medquad", "module", "medical questions", None),
        _claim("cosqa", "document", "web queries for code", None),
    ),
)
