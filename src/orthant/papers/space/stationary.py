"""The `stationary` row of the catalogue: arXiv 2405.02581."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.papers.record import Claim, Figures, Paper, Trial

Array = npt.NDArray[Any]

_TASKS = (3, 1, 2, 2, 2)
_INTENTS = 30
_BUDGET = 16


def _digits(seed: int) -> Trial:
    """Old galleries of digits of which classes came in five tasks, searched by every later model."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    X = (pixels / 16).astype(np.float32)
    return _arms(X, labels, _TASKS, budget=_BUDGET, epochs=30, seed=seed)


def _requests(seed: int) -> Trial:
    """The same for thirty intents of requests, by the word table; nothing was tuned on them."""
    from orthant.datasets.readers.labelled import clinc150
    from orthant.encoders.registry import load_encoder

    rng = np.random.default_rng(seed)
    part = clinc150(split="train")
    chosen = np.sort(rng.choice(np.unique(part.labels), _INTENTS, replace=False))
    rows = np.flatnonzero(np.isin(part.labels, chosen))
    vectors = load_encoder("static").encode([part.texts[i] for i in rows])
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    tasks = tuple(3 * size for size in _TASKS)
    return _arms(vectors, np.searchsorted(chosen, part.labels[rows]), tasks, budget=48, epochs=10, seed=seed)


def _arms(X: Array, y: Array, sizes: tuple[int, ...], *, budget: int, epochs: int, seed: int) -> Trial:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    train, gallery, asked = np.split(order, [len(y) // 2, 3 * len(y) // 4])
    tasks = np.split(rng.permutation(int(y.max()) + 1), np.cumsum(sizes)[:-1])

    def arm(**settings: Any) -> Figures:
        from orthant.learn.continual import ContinualTrainer

        trainer = ContinualTrainer(n_prototypes=budget, epochs=epochs, batch_size=32, seed=seed, **settings)
        for task in tasks:
            rows = train[np.isin(y[train], task)]
            trainer.learn(X[rows], y[rows])
        found = trainer.compatibility(X[asked], y[asked], X[gallery], y[gallery])
        return {
            "average_accuracy": found.average_accuracy,
            "average_compatibility": found.average_compatibility,
            "newest_alone": found.newest_alone,
        }

    # An ordinary head begins anywhere and moves; width and everything else are the same.
    free: dict[str, Any] = {"prototypes": "random", "trained": True, "dim": budget - 1}
    return Trial(
        measured=arm(),
        baseline=arm(keep="none", **free),
        ablated=arm(keep="none"),
        alternatives={
            "trained directions with the same contrast": arm(**free),
            # The weight was chosen on the development seeds of the digits, as was that of the method.
            "trained directions and distilled features": arm(keep="distillation", weight=0.1, **free),
        },
    )


def _claim(name: str, what: str, run: Any, needs: tuple[str, ...]) -> Claim:
    return Claim(
        name=name,
        sentence=(
            f"Mean share of {what} that are nearest to the mean of their class, over every model and every gallery of "
            "it or of an earlier one, classes coming in five tasks: simplex and higher-order contrast, the simplex "
            "alone (ablated), an ordinary head alone, with the same contrast, and with distillation."
        ),
        data="real",
        run=run,
        metric="average_accuracy",
        needs=needs,
    )


PAPER = Paper(
    key="stationary",
    title=(
        "Stationary Representations: Optimally Approximating Compatibility and Implications for Improved Model "
        "Replacements"
    ),
    arxiv="2405.02581",
    year=2024,
    wing="space",
    lives_in=(
        "orthant.learn.continual.trainer",
        "orthant.learn.losses.compatibility",
        "orthant.nn.heads",
        "orthant.measures.compatibility",
    ),
    summary=(
        "Trains against a fixed classifier whose class directions are the corners of a regular simplex; because "
        "these targets never move, features of successive models stay comparable. An option when you train with "
        "class labels and foresee replacing the model while its gallery stays; it cannot rescue two models that were "
        "trained without it. Its place in Orthant: a fixed-prototype head for training, and compatibility measures "
        "that tell whether a replacement may go live."
    ),
    keywords=("backward compatibility", "simplex classifier", "model replacement", "stationary features", "gallery"),
    status="works",
    claims=(
        _claim("digits", "handwritten digits", _digits, ()),
        _claim("requests", "requests of thirty intents", _requests, ("clinc150",)),
    ),
)
