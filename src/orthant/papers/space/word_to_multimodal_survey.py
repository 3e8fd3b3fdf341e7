"""The `word-to-multimodal-survey` row of the catalogue: arXiv 2411.05036."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.papers.record import Claim, Figures, Paper, Trial

Array = npt.NDArray[Any]

_DOCUMENTS = 2_500
_DIM = 100
_PARTS = ("men", "wordsim353-rel", "wordsim353-sim", "mturk-771")
_ROUNDS = 30


def _similarity(seed: int) -> Trial:
    """Mean rank correlation with judged similarity over four benchmarks, of vectors from the same messages."""
    from orthant.encoders.words.corpus import read_corpus
    from orthant.encoders.words.skipgram import count_vectors, train_skipgram
    from orthant.papers.space.text_vectors_thesis import _sample

    corpus = read_corpus(_sample(seed, _DOCUMENTS)[0], min_count=10)

    def learned(**settings: Any) -> Figures:
        return _judged(train_skipgram(corpus, dim=_DIM, seed=seed, **settings))

    return Trial(
        measured=learned(epochs=10),
        baseline=_judged(count_vectors(corpus, dim=_DIM, power=1.0, seed=seed)),
        alternatives={
            "counts, U S^0.5": _judged(count_vectors(corpus, dim=_DIM, seed=seed)),
        },
    )


def _judged(words: Any) -> Figures:
    from orthant.datasets import load
    from orthant.evaluation.intrinsic.words import evaluate_words

    reports = [evaluate_words(words, load("word_benchmarks", part=part)) for part in _PARTS]
    return {"spearman": float(np.mean([report.metrics["spearman"] for report in reports]))}


def _attribute(seed: int) -> Trial:
    """Accuracy by which a linear probe still tells odd digits from even ones after directions were taken out."""
    from sklearn.datasets import load_digits

    from orthant.transforms.subspace import SubspaceProjection, attribute_directions

    pixels, digit = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(pixels))
    pixels, digit = ((pixels[order] - pixels.mean(axis=0)) / 16).astype(np.float32), digit[order]
    cut, odd = 1_000, digit % 2
    train = pixels[:cut]
    found = attribute_directions(train, odd[:cut], rounds=_ROUNDS, seed=seed)
    random = np.random.default_rng(seed).standard_normal(found.shape)
    means = train[odd[:cut] == 1].mean(axis=0) - train[odd[:cut] == 0].mean(axis=0)

    def without(directions: Array) -> Figures:
        return _told(SubspaceProjection.from_directions(directions).transform(pixels), odd, digit, cut)

    return Trial(
        measured={**without(found), "directions": float(len(found))},
        ablated=without(found[:1]),
        baseline=_told(pixels, odd, digit, cut),
        alternatives={
            "as many random directions": without(random),
            "difference of the two means": without(means[None]),
            "covariance with the attribute, whitened": _told(_whitened(pixels, odd, cut), odd, digit, cut),
        },
    )


def _whitened(pixels: Array, odd: Array, cut: int) -> Array:
    """Take out, at right angles after whitening, the one direction that covaries with the attribute."""
    train = pixels[:cut].astype(np.float64)
    mean = train.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(train.T))
    kept = values > 1e-6
    root, inverse = (vectors[:, kept] * values[kept] ** power for power in (0.5, -0.5))
    covariance = (train - mean).T @ (odd[:cut] - odd[:cut].mean()) / cut
    axis = (inverse @ vectors[:, kept].T) @ covariance
    axis /= np.linalg.norm(axis)
    moved = (pixels - mean) @ (inverse @ vectors[:, kept].T)
    return pixels - np.outer(moved @ axis, (root @ vectors[:, kept].T) @ axis)


def _told(rows: Array, odd: Array, digit: Array, cut: int) -> Figures:
    from sklearn.linear_model import LogisticRegression

    scores = [
        LogisticRegression(max_iter=400).fit(rows[:cut], named[:cut]).score(rows[cut:], named[cut:])
        for named in (odd, digit)
    ]
    return {"attribute_told": float(scores[0]), "digit_told": float(scores[1])}


PAPER = Paper(
    key="word-to-multimodal-survey",
    title=(
        "From Word Vectors to Multimodal Embeddings: Techniques, Applications, and Future Directions For Large "
        "Language Models"
    ),
    arxiv="2411.05036",
    year=2024,
    wing="space",
    lives_in=("orthant.encoders.words", "orthant.evaluation.intrinsic", "orthant.transforms.subspace"),
    summary=(
        "A map of the field from counts and word2vec to contextual and cross-modal encoders, with its side roads: "
        "topics, numbers, compression, bias. Start here to know which classical method a newer one should be "
        "compared with. Its place in Orthant: the base shelf that a comparison needs (weighted counts, skip-gram, "
        "GloVe, subword vectors, document averages) with intrinsic and bias tests."
    ),
    keywords=("survey", "word2vec", "GloVe", "fastText", "bias", "topic models", "intrinsic evaluation"),
    status="works",
    claims=(
        Claim(
            name="skip-gram-beside-counts",
            sentence=(
                "Mean rank correlation with judged similarity (MEN, WordSim-353 in two parts, MTurk-771) of vectors "
                "learned from the same 2,500 messages: skip-gram, and mutual information reduced to as many dimensions "
                "under two exponents on the singular values."
            ),
            data="real",
            run=_similarity,
            metric="spearman",
            needs=("newsgroups20", "word_benchmarks"),
        ),
        Claim(
            name="attribute-taken-out",
            sentence=(
                "How well a linear probe tells odd digits from even ones after the directions of one classifier after "
                "the other were taken out, beside one of them (ablated), as many random ones, the difference of means "
                "and the closed form that takes one direction out after whitening; and what is left of the digits."
            ),
            data="real",
            run=_attribute,
            metric="attribute_told",
            direction="lower",
        ),
    ),
)
