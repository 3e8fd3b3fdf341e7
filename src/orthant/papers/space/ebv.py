"""The `ebv` row of the catalogue: arXiv 2303.11637."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.papers.record import Claim, Figures, Paper, Trial

Array = npt.NDArray[Any]

_EPOCHS = 8
_RATE = 4e-3


def _intents(seed: int) -> Trial:
    """Accuracy on held-out requests of 150 intents, features of 16 dimensions by a network on the word table."""
    from orthant.datasets.readers.labelled import clinc150
    from orthant.encoders.registry import load_encoder

    encoder = load_encoder("static")
    parts = []
    for split in ("train", "test"):
        part = clinc150(split=split)
        vectors = encoder.encode(part.texts)
        parts.append((vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), part.labels))
    return _arms(*parts[0], *parts[1], dim=16, seed=seed, epochs=_EPOCHS)


def _digits(seed: int) -> Trial:
    """Accuracy on held-out handwritten digits, features of 8 dimensions for 10 classes."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    X, y = (pixels / 16).astype(np.float32)[order], labels[order]
    return _arms(X[:1_200], y[:1_200], X[1_200:], y[1_200:], dim=8, seed=seed, epochs=30)


def _arms(X: Array, y: Array, tested: Array, truth: Array, *, dim: int, seed: int, epochs: int) -> Trial:
    from orthant.learn.continual import FixedPrototypeClassifier

    K = len(np.unique(y))

    def arm(width: int = dim, **settings: Any) -> Figures:
        model = FixedPrototypeClassifier(
            dim=width, hidden=(128,), epochs=epochs, learning_rate=_RATE, seed=seed, **settings
        ).fit(X, y)
        cosines = np.abs(model.prototypes_ @ model.prototypes_.T - np.eye(K))
        return {
            "accuracy": model.score(tested, truth),
            "largest_cosine": float(cosines.max()),
            "head_numbers": float(model.prototypes_.size if settings.get("trained") else 0),
        }

    return Trial(
        measured=arm(prototypes="equiangular"),
        baseline=arm(K, prototypes="random", trained=True),
        ablated=arm(prototypes="random"),
        alternatives={"trained directions of the same width": arm(prototypes="random", trained=True)},
    )


def _claim(name: str, what: str, run: Any, needs: tuple[str, ...]) -> Claim:
    return Claim(
        name=name,
        sentence=(
            f"Accuracy on {what} with fixed, nearly equiangular class directions, fixed random ones (ablated), trained "
            "ones of the same width, and an ordinary head with a dimension per class."
        ),
        data="real",
        run=run,
        metric="accuracy",
        needs=needs,
    )


PAPER = Paper(
    key="ebv",
    title="Equiangular Basis Vectors",
    arxiv="2303.11637",
    year=2023,
    wing="space",
    lives_in=("orthant.nn.heads", "orthant.nn.prototypes", "orthant.learn.continual.classifier"),
    summary=(
        "Fixes the class vectors of a classifier in advance as unit vectors that are all nearly at right angles, in "
        "fewer dimensions than there are classes, and trains the network to point at them. Consider it for very many "
        "classes, where an ordinary output layer becomes the largest part of the model. Its place in Orthant: a "
        "generator of such prototypes and a fixed head shared with the simplex classifier."
    ),
    keywords=(
        "fixed classifier",
        "near-orthogonal prototypes",
        "extreme classification",
        "metric learning",
        "Welch bound",
    ),
    status="works",
    claims=(
        _claim("intents", "requests of 150 intents in 16 dimensions", _intents, ("clinc150",)),
        _claim("digits", "handwritten digits in 8 dimensions", _digits, ()),
    ),
)
