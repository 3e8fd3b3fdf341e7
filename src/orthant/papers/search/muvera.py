"""The `muvera` row of the catalogue: arXiv 2405.19504."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.papers.record import Claim, Figures, Paper, Trial

Array = npt.NDArray[Any]

_DOCUMENTS, _QUERIES = 1_500, 200
_DEPTHS = (20, 50, 100)
_FULL: dict[str, Any] = {"repetitions": 20, "bits": 4, "inner_dim": 16, "normalize": True}
_ONE: dict[str, Any] = {"repetitions": 1, "bits": 6, "inner_dim": 80, "normalize": True}
_PLAIN: dict[str, Any] = {**_FULL, "normalize": False}
_FEWER: dict[str, Any] = {**_FULL, "repetitions": 10, "bits": 2}
_COLUMNS = 20 * 16 * 16
_ROUNDS = 8


def _words(seed: int) -> Trial:
    """Word vectors of medical answers: recall of the true ten among the first candidates."""
    from orthant.evaluation.judged_tokens import word_tokens

    return _trial([word_tokens(_judged("medquad", seed))], seed)


def _trained(seed: int) -> Trial:
    """Tokens of a trained late-interaction model on two sets that it was not trained on."""
    from orthant.evaluation.judged_tokens import trained_tokens

    return _trial([trained_tokens(_judged(name, seed)) for name in ("medquad", "cranfield")], seed, close=True)


def _codes(seed: int) -> Trial:
    """Encodings as product codes of a 32nd of their bytes, against other ways to as few bytes, and whole."""
    from orthant.evaluation.judged_tokens import trained_tokens
    from orthant.quantization import ProductQuantizer

    sets = trained_tokens(_judged("medquad", seed))
    truth = _truth(sets)
    documents, queries = _encoded(sets, _FULL, seed)
    size = _COLUMNS // 8
    codes = ProductQuantizer(m=size, iterations=_ROUNDS, seed=seed).fit(documents)
    # The same codes with centroids that no clustering has moved: rows drawn at random.
    drawn = documents[np.random.default_rng(seed).permutation(len(documents))[:256]]
    unmoved = ProductQuantizer.from_codebooks(drawn.reshape(256, size, 8).transpose(1, 0, 2))
    found = {
        "measured": codes.score(queries, codes.encode(documents), metric="dot"),
        "ablated": unmoved.score(queries, unmoved.encode(documents), metric="dot"),
        "projected": _bytes_of(*_encoded(sets, {**_FULL, "final_dim": size}, seed)),
        "fewer cells, one byte for each column": _bytes_of(
            *_encoded(sets, {**_FULL, "repetitions": 10, "bits": 2}, seed)
        ),
        "a bit for each column": _signs(documents, queries),
    }
    recalls = {name: _recalls(scores, truth) for name, scores in found.items()}
    whole = _recalls(queries @ documents.T, truth)
    measured = recalls.pop("measured") | {"whole encodings": whole["recall@10 of 100"]}
    return Trial(
        measured=measured,
        ablated=recalls.pop("ablated"),
        baseline=recalls.pop("projected"),
        alternatives=dict(recalls),
    )


def _bytes_of(documents: Array, queries: Array) -> Array:
    from orthant.quantization import SQ8

    codes = SQ8().fit(documents)
    return codes.score(queries, codes.encode(documents), metric="dot")


def _signs(documents: Array, queries: Array) -> Array:
    """Keep of each column on which side of its mean a document lies, and stand at the mean of that side."""
    above = documents > documents.mean(axis=0)
    high = np.where(above, documents, 0).sum(axis=0) / np.maximum(above.sum(axis=0), 1)
    low = np.where(above, 0, documents).sum(axis=0) / np.maximum((~above).sum(axis=0), 1)
    return np.asarray(queries @ np.where(above, high, low).T)


def _judged(name: str, seed: int) -> Any:
    from orthant.datasets import load_retrieval
    from orthant.evaluation.judged_vectors import shrink

    return shrink(load_retrieval(name), documents=_DOCUMENTS, queries=_QUERIES, seed=seed)


def _trial(tokens: list[Any], seed: int, *, close: bool = False) -> Trial:
    arms: dict[str, list[Figures]] = {}
    for sets in tokens:
        truth = _truth(sets)
        scores: dict[str, Array] = {
            "measured": _dot(*_encoded(sets, _FULL, seed)),
            "ablated": _dot(*_encoded(sets, _ONE, seed)),
            "encodings without unit length, as published": _dot(*_encoded(sets, _PLAIN, seed)),
            "mean of the tokens": _dot(*_pooled(sets, unit=False)),
            "mean of the tokens at unit length": _dot(*_pooled(sets, unit=True)),
            "best place in the list of any query token": _by_token(sets),
            "cells by k-means, one repetition of the same size": _dot(*_clustered_cells(sets, seed)),
        }
        if not close:
            scores["which words occur, hashed to as many columns"] = _dot(*_hashed_words(sets))
        if close:
            scores["fewer tokens by clustering, of the same bytes, all compared"] = _fewer_tokens(sets)
        for name, found in scores.items():
            arms.setdefault(name, []).append(_recalls(found, truth))
    mean = {
        name: {key: float(np.mean([one[key] for one in found])) for key in found[0]} for name, found in arms.items()
    }
    published = mean.pop("encodings without unit length, as published")
    measured = {**mean.pop("measured"), "as_published@50": published["recall@10 of 50"]}
    return Trial(
        measured=measured,
        ablated=mean.pop("ablated"),
        baseline=mean.pop("mean of the tokens"),
        alternatives=dict(mean),
    )


def _truth(sets: Any) -> Array:
    from orthant.kernels.multivector.maxsim import maxsim_scores

    queries, documents = sets.queries, sets.documents
    scores = maxsim_scores(queries.values, queries.offsets, documents.values, documents.offsets)
    return np.argsort(-scores, axis=1, kind="stable")[:, :10]


def _recalls(scores: Array, truth: Array) -> dict[str, float]:
    """Share of the ten best by MaxSim among so many candidates."""
    order = np.argsort(-scores, axis=1, kind="stable")
    return {
        f"recall@10 of {depth}": float((truth[:, :, None] == order[:, None, :depth]).any(axis=2).mean())
        for depth in _DEPTHS
    }


def _dot(documents: Array, queries: Array) -> Array:
    return np.asarray(queries @ documents.T)


def _encoded(sets: Any, settings: dict[str, Any], seed: int) -> tuple[Array, Array]:
    from orthant.transforms import FixedDimensionalEncoding

    encoding = FixedDimensionalEncoding(**settings, seed=seed).fit(sets.documents)
    return encoding.transform(sets.documents), encoding.transform_queries(sets.queries)


def _pooled(sets: Any, *, unit: bool) -> tuple[Array, Array]:
    counts = np.diff(sets.documents.offsets)[:, None].astype(np.float32)
    means = np.add.reduceat(sets.documents.values, sets.documents.offsets[:-1], axis=0) / counts
    if unit:
        means /= np.linalg.norm(means, axis=1, keepdims=True)
    return means, np.add.reduceat(sets.queries.values, sets.queries.offsets[:-1], axis=0)


def _hashed_words(sets: Any) -> tuple[Array, Array]:
    """Presence of words in documents of unit length and counts in queries, words being equal vectors."""
    both = np.concatenate([sets.documents.values, sets.queries.values])
    _, words = np.unique(both.view(np.dtype((np.void, both.dtype.itemsize * both.shape[1]))), return_inverse=True)
    columns = np.random.default_rng(0).integers(0, _COLUMNS, int(words.max()) + 1)[words.ravel()]
    out = []
    for tokens, own in zip(
        (sets.documents, sets.queries), np.split(columns, [len(sets.documents.values)]), strict=True
    ):
        folded = np.zeros((len(tokens), _COLUMNS), dtype=np.float32)
        np.add.at(folded, (np.repeat(np.arange(len(tokens)), np.diff(tokens.offsets)), own), 1)
        out.append(folded)
    present = np.minimum(out[0], 1)
    return present / np.sqrt(np.sqrt(present.sum(axis=1, keepdims=True))), out[1]


def _by_token(sets: Any) -> Array:
    """Order by the best place that a document has in the list of any query token, ties by the best product."""
    documents, queries = sets.documents, sets.queries
    out = np.empty((len(queries), len(documents)), dtype=np.float64)
    for i in range(len(queries)):
        best = np.maximum.reduceat(queries[i] @ documents.values.T, documents.offsets[:-1], axis=1)
        places = np.argsort(np.argsort(-best, axis=1, kind="stable"), axis=1)
        out[i] = -places.min(axis=0) + 1e-3 * best.max(axis=0)
    return out


def _clustered_cells(sets: Any, seed: int) -> tuple[Array, Array]:
    """Learned cells in place of random ones: sums of queries, means of documents, the nearest token where none is."""
    from orthant.kernels.clustering.kmeans import kmeans

    documents, queries = sets.documents, sets.queries
    dim = documents.values.shape[1]
    count = max(1, _COLUMNS // dim)
    rows = np.random.default_rng(seed).permutation(len(documents.values))[: 1 << 15]
    centres = kmeans(documents.values[np.sort(rows)], count, seed=seed, iterations=_ROUNDS).centroids
    half = (centres**2).sum(axis=1) / 2

    def folded(tokens: Any, *, document: bool) -> Array:
        near = tokens.values @ centres.T - half
        cells = near.argmax(axis=1)
        out = np.zeros((len(tokens), count, dim), dtype=np.float32)
        for i in range(len(tokens)):
            a, b = tokens.offsets[i], tokens.offsets[i + 1]
            np.add.at(out[i], cells[a:b], tokens.values[a:b])
            if document:
                sizes = np.bincount(cells[a:b], minlength=count)
                out[i] /= np.maximum(sizes, 1)[:, None].astype(np.float32)
                empty = np.flatnonzero(sizes == 0)
                out[i, empty] = tokens.values[a:b][near[a:b, empty].argmax(axis=0)]
        return out.reshape(len(tokens), -1)

    found = folded(documents, document=True)
    return found / np.linalg.norm(found, axis=1, keepdims=True), folded(queries, document=False)


def _fewer_tokens(sets: Any) -> Array:
    """MaxSim over so many cluster means for each document as take the bytes of the codes of an encoding."""
    from orthant.kernels.multivector.maxsim import maxsim_scores
    from orthant.transforms import TokenClusterer

    size = sets.documents.values.shape[1]
    few = TokenClusterer(k=max(1, _COLUMNS // 8 // size)).transform(sets.documents)
    queries = sets.queries
    return maxsim_scores(queries.values, queries.offsets, few.values, few.offsets)


PAPER = Paper(
    key="muvera",
    title="MUVERA: Multi-Vector Retrieval via Fixed Dimensional Encodings",
    arxiv="2405.19504",
    year=2024,
    wing="search",
    lives_in=("orthant.index.multivector.index", "orthant.transforms.fixed_dimensional", "orthant.kernels.multivector"),
    summary=(
        "Folds a whole set of token vectors into one long vector: random hyperplanes cut space into cells, queries "
        "add up and documents average what falls into each cell, and a plain dot product then stands in for the sum "
        "of best matches. Take it when a late-interaction model ranks well but scoring every token pair is too slow "
        "for the first pass, and keep an exact re-rank behind it; means of tokens at unit length found more here on "
        "the tokens of a small trained model, so measure both. Its place in Orthant: one of the candidate stages of "
        "the multi-vector index, ahead of exact MaxSim."
    ),
    keywords=(
        "late interaction",
        "multi-vector",
        "MaxSim",
        "Chamfer similarity",
        "locality-sensitive hashing",
        "candidate generation",
    ),
    status="works",
    claims=(
        Claim(
            name="encodings-on-words",
            sentence=(
                "Recall of the ten best documents by MaxSim among 50 candidates, on word vectors of 1,500 medical "
                "answers: encodings of 20 repetitions, 16 cells and 16 columns beside means, lists of single tokens, "
                "learned cells, and a hashed bag of words of as many columns."
            ),
            data="real",
            run=_words,
            metric="recall@10 of 50",
            ablation="one repetition with as many columns",
            needs=("medquad",),
            trained=False,
        ),
        Claim(
            name="encodings-on-trained-tokens",
            sentence=(
                "The same on tokens of a trained late-interaction model with a head of 96 dimensions, medical answers "
                "and aerodynamics abstracts, with fewer tokens of equal bytes in place of words."
            ),
            data="real",
            run=_trained,
            metric="recall@10 of 50",
            ablation="one repetition with as many columns",
            needs=("medquad", "cranfield"),
            trained=False,
        ),
        Claim(
            name="codes-of-encodings",
            sentence=(
                "Recall among 100 candidates of encodings as product codes of a 32nd of their bytes, on trained "
                "tokens, beside encodings projected to as many bytes, fewer cells in bytes, and one bit a column."
            ),
            data="real",
            run=_codes,
            metric="recall@10 of 100",
            ablation="centroids drawn at random in place of learned ones",
            needs=("medquad",),
            trained=False,
        ),
    ),
)
