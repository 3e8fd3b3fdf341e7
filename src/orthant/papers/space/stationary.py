"""The `stationary` row of the catalogue: arXiv 2405.02581."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="stationary",
    title=(
        "Stationary Representations: Optimally Approximating Compatibility and Implications for Improved Model "
        "Replacements"
    ),
    arxiv="2405.02581",
    year=2024,
    wing="space",
    lives_in=("orthant.nn.heads", "orthant.measures.compatibility", "orthant.collection.upgrade"),
    summary=(
        "Trains against a fixed classifier whose class directions are the corners of a regular simplex; because "
        "these targets never move, features of successive models stay comparable. An option when you train with "
        "class labels and foresee replacing the model while its gallery stays; it cannot rescue two models that were "
        "trained without it. Its place in Orthant: a fixed-prototype head for training, and compatibility measures "
        "that tell whether a replacement may go live."
    ),
    keywords=("backward compatibility", "simplex classifier", "model replacement", "stationary features", "gallery"),
    status="planned",
    claims=(),
)
