"""The `aspects` row of the catalogue: arXiv 2203.14541."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.papers.record import Claim, Figures, Paper, Trial

Array = npt.NDArray[Any]

_RIDGES = (0.1, 1.0, 10.0)


@dataclass(frozen=True)
class _Set:
    """Documents with labels, and how many are drawn and learned from."""

    vectors: Array
    texts: Array
    labels: dict[str, list[set[str]]]
    drawn: int
    learned: int
    epochs: float


def _own_aspect(data: str, aspect: str, seed: int) -> Trial:
    """Precision of the ten nearest documents that were not learned from, in a space of one aspect."""
    from orthant.learn import train_aspect_heads

    found = _films() if data == "movies" else _papers()
    vectors, texts, labels = found.vectors, found.texts, found.labels
    order = np.random.default_rng(seed).permutation(len(vectors))[: found.drawn]
    learn, judge = order[: found.learned], order[found.learned :]
    learned = {name: [one[i] for i in learn.tolist()] for name, one in labels.items()}
    held = {name: [one[i] for i in judge.tolist()] for name, one in labels.items()}

    def head(of: str, rows: list[Any], **settings: Any) -> Array:
        made = train_aspect_heads(vectors[learn], {of: rows}, seed=seed, threads=1, **settings)
        return made[of].transform(vectors[judge])

    def value(X: Array) -> Figures:
        return _figures(X, held, aspect)

    course: dict[str, Any] = {"method": "contrastive", "epochs": found.epochs}
    shuffled = [learned[aspect][i] for i in np.random.default_rng(seed).permutation(len(learn)).tolist()]
    return Trial(
        measured=value(head(aspect, learned[aspect], **course)),
        baseline=value(vectors[judge]),
        # The mechanism off: the same training on labels that were dealt to other films.
        ablated=value(head(aspect, shuffled, **course)),
        alternatives={
            "regression from the same vectors to the labels": _strongest(
                [head(aspect, learned[aspect], ridge=ridge) for ridge in _RIDGES], value
            ),
            "discriminant analysis of the same vectors by the first label": value(
                _discriminant(vectors[learn], learned[aspect], vectors[judge])
            ),
            "words weighed by rarity": value(_words(texts[learn], texts[judge])),
            "regression from words to the labels": value(_words(texts[learn], texts[judge], learned[aspect])),
        },
    )


def _strongest(arms: list[Array], value: Any) -> Figures:
    """The best ridge in the eyes of the judged documents themselves, which favours the alternative."""
    told: list[Figures] = [value(arm) for arm in arms]
    return max(told, key=lambda figures: figures["precision@10"])


def _figures(X: Array, labels: dict[str, list[Any]], aspect: str) -> Figures:
    from orthant.measures import judge_aspects

    told = judge_aspects({"space": X}, labels)["space"]
    others = {name: told[name].precision for name in labels if name != aspect}
    return {"precision@10": told[aspect].precision, "chance": told[aspect].chance, **others}


def _discriminant(X: Array, labels: list[Any], judged: Array) -> Array:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    first = [min(one) if one else None for one in labels]
    counts = {name: first.count(name) for name in set(first)}
    rows = [i for i, name in enumerate(first) if name is not None and counts[name] > 1]
    made = LinearDiscriminantAnalysis(n_components=min(128, len({first[i] for i in rows}) - 1))
    found: Array = made.fit(X[rows], [first[i] for i in rows]).transform(judged)
    return found.astype(np.float32)


def _words(learn: Array, judge: Array, labels: list[Any] | None = None) -> Array:
    """Texts by their words, in 256 leading directions; or by a regression from all words to the labels."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge

    from orthant.measures import label_sets

    weigh = TfidfVectorizer(sublinear_tf=True, min_df=2).fit(learn.tolist())
    rows, asked = weigh.transform(learn.tolist()), weigh.transform(judge.tolist())
    if labels is None:
        found = TruncatedSVD(256, random_state=0).fit(rows).transform(asked)
    else:
        made = Ridge(alpha=1.0, solver="sparse_cg", fit_intercept=False)
        indicators = label_sets(labels).matrix.toarray()
        found = made.fit(rows, indicators - indicators.mean(axis=0)).predict(asked)
    return np.ascontiguousarray(found, dtype=np.float32)


@cache
def _films() -> _Set:
    """Films with a text, genres and a cast, by the shipped table."""
    from orthant.datasets import load
    from orthant.encoders.registry import load_encoder

    films: Any = load("movies")
    kept = [one for one in films.documents if len(one.text) > 200 and one.metadata["genres"] and one.metadata["cast"]]
    texts = [one.content for one in kept]
    labels = {
        "genre": [set(one.metadata["genres"]) for one in kept],
        "decade": [{str(one.metadata["decade"])} for one in kept],
        "cast": [set(one.metadata["cast"]) for one in kept],
    }
    return _Set(load_encoder("static").encode(texts), np.array(texts, dtype=object), labels, 6_000, 4_000, 2)


@cache
def _papers() -> _Set:
    """Research papers with the tasks, data sets and metrics of their results, by the shipped table.

    Their methods are not among the aspects: hardly two papers share one.
    """
    from orthant.datasets import load
    from orthant.encoders.registry import load_encoder

    papers: Any = load("scirex")
    texts = [one.content for one in papers.documents]
    labels = {name: [set(one.metadata[name]) for one in papers.documents] for name in ("task", "dataset", "metric")}
    return _Set(load_encoder("static").encode(texts), np.array(texts, dtype=object), labels, 306, 200, 40)


_WHAT = {"movies": ("films", "2,000 films", "4,000 other films"), "scirex": ("papers", "106 papers", "200 others")}


def _claim(data: str, aspect: str) -> Claim:
    name, judged, learned = _WHAT[data]
    return Claim(
        name=f"{name}-by-{aspect}",
        sentence=(
            f"Share of the ten nearest of {judged} that have the same {aspect}, in a space whose head was trained "
            f"by contrast on {learned}: beside the plain vectors of the shipped table, a regression from the "
            "same vectors to the labels at the best of three ridges, discriminant analysis, words, and a regression "
            "from words to the labels, which many of these texts name; "
            "figures of other aspects are those of the same space."
        ),
        data="real",
        run=partial(_own_aspect, data, aspect),
        metric="precision@10",
        needs=(data,),
    )


PAPER = Paper(
    key="aspects",
    title="Specialized Document Embeddings for Aspect-based Similarity of Research Papers",
    arxiv="2203.14541",
    year=2022,
    wing="space",
    lives_in=("orthant.learn.text.aspects", "orthant.measures.aspects", "orthant.collection.legs"),
    summary=(
        "Gives a document one vector per point of view, such as its task, its method or its data, instead of a "
        "single blend, each trained on pairs that agree in that respect. Suits recommendation pages where users ask "
        '"similar in what?" and labels per aspect exist. Its place in Orthant: recipes that train one space per '
        "aspect, stored as named spaces of a collection and weighed at query time."
    ),
    keywords=(
        "aspect-based similarity",
        "research papers",
        "Siamese network",
        "retrofitting",
        "named vectors",
        "recommendation",
    ),
    status="works",
    claims=(
        _claim("movies", "genre"),
        _claim("movies", "decade"),
        _claim("scirex", "task"),
        _claim("scirex", "dataset"),
        _claim("scirex", "metric"),
    ),
)
