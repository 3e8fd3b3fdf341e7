"""The `adapted-retrieval` row of the catalogue: arXiv 2310.05380."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.papers.record import Claim, Figures, Paper, Trial

Array = npt.NDArray[Any]
Moved = tuple[Array, Array]

_PAIRS, _JUDGED, _CHOOSING, _DOCUMENTS = 2_000, 400, 200, 3_000
_STRENGTHS = (0.0, 0.1, 0.25, 0.5, 1.0)
_WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
_BY_WORDS, _OTHERS = 200, 2_000


@dataclass(frozen=True)
class _Set:
    """A judged set by the shipped table, with what is held out as a whole."""

    C: Array
    Q: Array
    queries: Array
    items: Array
    module: Array
    texts: tuple[str, ...]
    asked: tuple[str, ...]


@dataclass(frozen=True)
class _Part:
    """Pairs to learn from, pairs that choose settings, pairs that judge, and items in none of them; none is in two."""

    learn: Array
    choose: Array
    judge: Array
    others: Array
    candidates: Array


@dataclass(frozen=True)
class _Judge:
    """Queries of held-out pairs, and what BM25 says of every candidate for them, at most 1 for each query."""

    found: _Set
    rows: Array
    candidates: Array
    words: Array

    def ranks(self, moved: Moved, weight: float = 0.0) -> Array:
        from orthant.transforms.adaptation.contrast import Positives
        from orthant.transforms.adaptation.training import reciprocal_ranks

        found, asked = self.found, np.unique(self.found.queries[self.rows])
        Q, C = _unit(moved[0][asked]), _unit(moved[1][self.candidates])
        added = np.float32(weight) * self.words if weight else None
        positives = Positives(found.queries, found.items)
        return reciprocal_ranks(Q, asked, C, self.candidates, positives, added=added)

    def value(self, moved: Moved, weight: float = 0.0) -> Figures:
        ranks, dense = self.ranks(moved, weight), self.ranks(moved)
        return {"mrr": float(ranks.mean()), "recall@1": float((ranks == 1).mean()), "dense_mrr": float(dense.mean())}


def _adapter_gain(name: str, by: str, seed: int) -> Trial:
    """Mean reciprocal rank of the best answer among all documents, for queries whose answers were held out."""
    found = _set(name)
    part = _split(found, by, seed)
    choosing, judging = (_judge(found, rows, part.candidates) for rows in (part.choose, part.judge))
    pairs = (found.Q[found.queries[part.learn]], found.C[found.items[part.learn]])
    groups = (found.module if by == "module" else np.arange(len(found.C)))[found.items[part.learn]]
    adapted, sides = _adapted(pairs, found, groups, part.others, seed)
    plain = (found.Q, found.C)
    families = {name: make(pairs, found) for name, make in _ALTERNATIVES.items()}
    # The mechanism off: the same adapter, with a correction of rank 0.
    twin, _ = _adapted(pairs, found, groups, part.others, seed, off=True)
    best, weight = _chosen([adapted], choosing)
    return Trial(
        measured={
            **judging.value(best, weight),
            "words": weight,
            "both_sides": float(sides == "both"),
            **_significance(judging, plain, best),
        },
        baseline=judging.value(plain),
        ablated=judging.value(*_chosen([twin], choosing)),
        alternatives={name: judging.value(*_chosen(arms, choosing)) for name, arms in families.items()},
    )


def _chosen(arms: list[Moved], choosing: _Judge) -> tuple[Moved, float]:
    """The setting, and then the weight of BM25 beside it, that serve other queries best."""
    arm = max(arms, key=lambda one: float(choosing.ranks(one).mean()))
    return arm, max(_WEIGHTS, key=lambda weight: float(choosing.ranks(arm, weight).mean()))


def _adapted(
    pairs: Moved, found: _Set, groups: Array, others: Array, seed: int, *, off: bool = False
) -> tuple[Moved, str]:
    """As ``collection.adapt`` learns: sides by pairs that it sets aside itself, hard wrong items, and unpaired ones."""
    from orthant.transforms import ResidualAdapter

    if off:
        return (_unit(found.Q), _unit(found.C)), "none"
    adapter = ResidualAdapter(sides="auto", seed=seed).fit(*pairs, groups=groups, others=found.C[others])
    return (adapter.transform(found.Q), adapter.transform_target(found.C)), adapter.sides_


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


def _plain(pairs: Moved, found: _Set) -> list[Moved]:
    return [(found.Q, found.C)]


_ALTERNATIVES: dict[str, Callable[[Moved, _Set], list[Moved]]] = {
    "plain vectors beside BM25": _plain,
    "ridge regression from the same pairs, mixed with the query": _ridge,
    "rotation from the same pairs, mixed with the query": _procrustes,
    "mean shift from the same pairs": _shift,
    "whitening of both sides": _whitened,
}


def _judge(found: _Set, rows: Array, candidates: Array) -> _Judge:
    import orthant

    asked = np.unique(found.queries[rows])
    words = np.zeros((len(asked), len(candidates)), dtype=np.float32)
    with TemporaryDirectory() as folder, orthant.open(folder) as collection:
        collection.upsert([str(i) for i in range(len(candidates))], texts=[found.texts[i] for i in candidates])
        texts = [found.asked[i] for i in asked]
        results = collection.search_many(texts, k=_BY_WORDS, mode="lexical", include_text=False)
    for row, result in zip(words, results, strict=True):
        for hit in result:
            row[int(hit.id)] = hit.score / max(result[0].score, 1e-9)
    return _Judge(found, rows, candidates, words)


def _significance(judging: _Judge, plain: Moved, moved: Moved) -> Figures:
    """Of the dense leg alone, which is all that an adapter changes."""
    from orthant.measures import paired_bootstrap, paired_randomisation

    before, after = judging.ranks(plain), judging.ranks(moved)
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
    judge, choose = rng.permutation(judge)[:_JUDGED], rng.permutation(choose)[:_CHOOSING]
    learn = np.flatnonzero(at > 0.35)
    # A question with answers in several parts teaches nothing, and one that judges chooses nothing.
    learn = learn[~np.isin(found.queries[learn], found.queries[np.concatenate([judge, choose])])]
    choose = choose[~np.isin(found.queries[choose], found.queries[judge])]
    wanted = np.unique(found.items[np.isin(found.queries, found.queries[np.concatenate([judge, choose])])])
    others = rng.permutation(np.setdiff1d(np.arange(len(found.C)), wanted))
    candidates = np.sort(np.concatenate([wanted, others[: max(0, _DOCUMENTS - len(wanted))]]))
    learn = rng.permutation(learn)[:_PAIRS]
    # What answers a question that chooses or judges is not taught to be wrong.
    unpaired = np.setdiff1d(np.arange(len(found.C)), np.concatenate([found.items[learn], wanted]))
    unpaired = rng.permutation(unpaired)[:_OTHERS]
    return _Part(learn, choose, judge, unpaired, candidates)


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
    texts = tuple(judged.corpus[i].content for i in known)
    asked = tuple(judged.queries[query] for query in names)
    return _Set(C[known], Q, pairs[:, 0], place[pairs[:, 1]], module[known], texts, asked)


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
            "adapter from at most 2,000 pairs, one- or two-sided as a part of these pairs chooses: above the plain "
            "vectors and, by the margin where one is given, above the plain vectors, ridge regression, rotation and "
            "mean shift from the same pairs, and whitening. Every arm has BM25 beside it, at the weight, maybe none, "
            "that the same other pairs choose, as they choose its other settings."
        ),
        data="real",
        run=partial(_adapter_gain, data, by),
        metric="mrr",
        margin=margin,
        ablation="" if margin is None else "a correction of rank 0",
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
        "few dozen pairs expect little. Its place in Orthant: `collection.adapt(pairs)`, applied to the query side, so "
        "that stored vectors stay, or to both, in a generation of the space that can be taken back; nothing is encoded "
        "again."
    ),
    keywords=("domain adaptation", "low-rank residual adapter", "feedback", "black-box embeddings", "code search"),
    status="works",
    claims=(
        _claim("nl2code", "document", "descriptions of Python code", 0.005),
        _claim("nl2code", "module", "descriptions of Python code", None),
        _claim("medquad", "module", "medical questions", None),
        _claim("cosqa", "document", "web queries for code", None),
    ),
)
