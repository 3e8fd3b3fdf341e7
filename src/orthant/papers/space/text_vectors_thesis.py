"""The `text-vectors-thesis` row of the catalogue: arXiv 1901.01695."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.papers.record import Claim, Figures, Paper, Trial

Array = npt.NDArray[Any]

_DOCUMENTS = 2_500
_QUERIES = 300
_BITS = 128
_EPOCHS = 20
_PAIRS = 20
_SENSES = 3
_REACH = 5


@cache
def _messages() -> tuple[list[list[str]], Array]:
    """Words and group of every message that is no copy of an earlier one."""
    from orthant.datasets import load
    from orthant.encoders.words.corpus import words_of

    found: Any = load("newsgroups20")
    kept = [i for i, row in enumerate(found.metadata) if not row["duplicate"]]
    return [words_of(found.texts[i]) for i in kept], found.labels[kept]


def _sample(seed: int, count: int) -> tuple[list[list[str]], Array]:
    texts, labels = _messages()
    chosen = np.random.default_rng(seed).permutation(len(texts))[:count]
    return [texts[i] for i in chosen], labels[chosen]


def _codes(seed: int) -> Trial:
    """Mean average precision of messages of the same group by Hamming distance, at equal bits."""
    from orthant.encoders.words.corpus import read_corpus
    from orthant.encoders.words.topics import TopicEncoder

    texts, labels = _sample(seed, _DOCUMENTS)
    corpus = read_corpus(texts, min_count=5, max_words=12_000)
    rounded, smooth = (_learned(corpus, seed, hidden=kind) for kind in ("rounded", "smooth"))
    plain = _learned(corpus, seed, hidden="linear", rate=0.1, word_rate=0.1)
    topics = TopicEncoder(_BITS, min_count=5, seed=seed).fit([" ".join(words) for words in texts])
    reduced = topics.encode([" ".join(words) for words in texts])
    arms = {
        "paragraph vectors, sign of each": _precision(_signs(plain.vectors), labels),
        "paragraph vectors, ITQ": _precision(_quantised(plain.vectors, "itq", seed), labels),
        "paragraph vectors, random rotation": _precision(_quantised(plain.vectors, "signs", seed), labels),
        "LSA, ITQ": _precision(_quantised(reduced, "itq", seed), labels),
        "LSA, random rotation": _precision(_quantised(reduced, "signs", seed), labels),
    }
    found: dict[str, Figures] = {name: {"map": value} for name, value in arms.items()}
    return Trial(
        measured={"map": _precision(_signs(rounded.vectors), labels), "map_of_vectors": _precision(
            _unit(rounded.vectors), labels)},
        ablated={"map": _precision(_signs(smooth.vectors), labels), "map_of_vectors": _precision(
            _unit(smooth.vectors), labels)},
        baseline=found.pop("paragraph vectors, random rotation"),
        alternatives=found,
    )  # fmt: skip


def _learned(corpus: Any, seed: int, **settings: Any) -> Any:
    from orthant.encoders.words.paragraphs import BinaryParagraphVectors

    return BinaryParagraphVectors(bits=_BITS, epochs=_EPOCHS, seed=seed, **settings).fit(corpus).documents_


def _signs(vectors: Array) -> Array:
    return np.where(vectors > 0, 1.0, -1.0).astype(np.float32)


def _unit(vectors: Array) -> Array:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _quantised(vectors: Array, kind: str, seed: int) -> Array:
    from orthant.quantization import ITQ, SignCodes

    codes: Any = ITQ(unit=True, seed=seed) if kind == "itq" else SignCodes(bits=1, unit=True, seed=seed)
    return _signs(codes.fit(vectors).levels(vectors) - 0.5)


def _precision(rows: Array, labels: Array) -> float:
    """Average precision over the first messages as queries, each without itself; ties by a fixed order."""
    out = []
    for query in range(_QUERIES):
        scores = rows @ rows[query]
        order = np.argsort(-scores, kind="stable")
        good = (labels[order] == labels[query])[order != query]
        out.append(float((np.cumsum(good) / np.arange(1, len(good) + 1))[good].mean()) if good.any() else 0.0)
    return float(np.mean(out))


def _two_stages(seed: int) -> Trial:
    """Precision at 10 with a tenth of the messages, chosen by 32 bits, ordered by the vectors behind them."""
    from orthant.encoders.words.corpus import read_corpus
    from orthant.encoders.words.paragraphs import BinaryParagraphVectors

    texts, labels = _sample(seed, _DOCUMENTS)
    corpus = read_corpus(texts, min_count=5, max_words=12_000)
    model = BinaryParagraphVectors(bits=32, real_dim=_BITS, epochs=_EPOCHS, seed=seed).fit(corpus)
    unit = _unit(model.documents_.vectors)
    bits = _signs(np.unpackbits(model.documents_.codes, axis=1) - 0.5)
    return Trial(
        measured={"precision@10": _at_ten(bits, unit, labels)},
        baseline={"precision@10": _at_ten(bits, None, labels)},
        ablated={"precision@10": _at_ten(bits, None, labels)},
        alternatives={"vectors alone, all compared": {"precision@10": _at_ten(unit, None, labels)}},
    )


def _at_ten(first: Array, second: Array | None, labels: Array) -> float:
    out = []
    for query in range(_QUERIES):
        scores = first @ first[query]
        scores[query] = -np.inf
        order = np.argsort(-scores, kind="stable")
        if second is not None:
            short = order[: len(labels) // 10]
            order = short[np.argsort(-(second[short] @ second[query]), kind="stable")]
        out.append(float((labels[order[:10]] == labels[query]).mean()))
    return float(np.mean(out))


def _senses(seed: int) -> Trial:
    """Adjusted Rand index between the sense that is chosen and the word that stood there before two were merged."""
    from orthant.encoders.words.corpus import read_corpus
    from orthant.encoders.words.senses import DisambiguatedSkipGram
    from orthant.encoders.words.skipgram import train_skipgram

    texts, _ = _sample(seed, _DOCUMENTS * 4 // 5)
    texts, places = _merged(texts, seed)
    corpus = read_corpus(texts, min_count=10)
    words = train_skipgram(corpus, dim=50, epochs=5, seed=seed)

    def learned(**settings: Any) -> Any:
        return DisambiguatedSkipGram(senses=_SENSES, dim=50, epochs=4, seed=seed, **settings).fit(corpus)

    def judged(model: Any) -> Figures:
        shares = {name: [model.disambiguate(name, context) for _, context in there] for name, there in places.items()}
        entropy = [-(p * np.log(p + 1e-12)).sum() for each in shares.values() for p in each]
        chosen = {name: [int(p.argmax()) for p in each] for name, each in shares.items()}
        return {"adjusted_rand": _agreement(places, chosen), "entropy": float(np.mean(entropy))}

    clustered = {name: _clustered(words, there, seed) for name, there in places.items()}
    return Trial(
        measured=judged(learned()),
        ablated=judged(learned(choose=False)),
        baseline={"adjusted_rand": 0.0},
        alternatives={
            "k-means of mean context vectors": {"adjusted_rand": _agreement(places, clustered)},
        },
    )


def _merged(texts: list[list[str]], seed: int) -> tuple[list[list[str]], dict[str, list[tuple[str, list[str]]]]]:
    """Merge twenty pairs of words, and note where each stood with the words around it."""
    counts = Counter(word for words in texts for word in words)
    able = sorted(word for word, count in counts.items() if 60 <= count <= 800 and len(word) > 3 and word.isalpha())
    drawn = np.random.default_rng(seed).permutation(able)[: 2 * _PAIRS].reshape(_PAIRS, 2)
    name = {str(word): "_".join(pair) for pair in drawn for word in pair}
    out: list[list[str]] = []
    places: dict[str, list[tuple[str, list[str]]]] = {}
    for words in texts:
        changed = [name.get(word, word) for word in words]
        for i, word in enumerate(words):
            if word in name:
                around = changed[max(0, i - _REACH) : i] + changed[i + 1 : i + 1 + _REACH]
                places.setdefault(name[word], []).append((word, around))
        out.append(changed)
    return out, places


def _agreement(places: Any, chosen: Any) -> float:
    from sklearn.metrics import adjusted_rand_score

    return float(np.mean([adjusted_rand_score([word for word, _ in places[n]], chosen[n]) for n in places]))


def _clustered(words: Any, there: list[tuple[str, list[str]]], seed: int) -> list[int]:
    from orthant.kernels.clustering.kmeans import kmeans

    rows = words.encode([" ".join(context) for _, context in there])
    return [int(label) for label in kmeans(rows, _SENSES, seed=seed).labels]


def _claim(name: str, sentence: str, run: Any, metric: str) -> Claim:
    return Claim(name=name, sentence=sentence, data="real", run=run, metric=metric, needs=("newsgroups20",))


PAPER = Paper(
    key="text-vectors-thesis",
    title="Vector representations of text data in deep learning",
    arxiv="1901.01695",
    year=2019,
    wing="space",
    lives_in=("orthant.encoders.words.paragraphs", "orthant.encoders.words.senses", "orthant.kernels.skipgram"),
    summary=(
        "Two models in one dissertation: paragraph vectors whose hidden layer is rounded to bits during training, "
        "giving short hash codes of documents, and a skip-gram that learns several senses per word with an attention "
        "over the context. The codes help where a first pass over millions of texts must fit in little memory; the "
        "senses help to study ambiguous vocabulary. Its place in Orthant: binary paragraph vectors and multi-sense "
        "skip-gram among the word-based encoders, trained by compiled loops."
    ),
    keywords=("paragraph vectors", "binary codes", "semantic hashing", "word sense", "skip-gram", "Hamming search"),
    status="works",
    claims=(
        _claim(
            "codes-of-newsgroups",
            f"Mean average precision of messages of the same group by {_BITS} bits: paragraph vectors learned through "
            "rounded bits, the same rounded only afterwards (ablated), plain paragraph vectors and LSA put into bits.",
            _codes,
            "map",
        ),
        _claim(
            "short-codes-then-vectors",
            "Precision at 10 when 32 bits choose a tenth of the messages and the vectors that were learned with them "
            "order it, beside the bits alone and a comparison with all vectors.",
            _two_stages,
            "precision@10",
        ),
        _claim(
            "senses-of-merged-words",
            "Adjusted Rand index between chosen senses and the words that stood there, for twenty pairs of words that "
            "were merged: learned choices, choices left as drawn (ablated), and k-means of the context's word vectors.",
            _senses,
            "adjusted_rand",
        ),
    ),
)
