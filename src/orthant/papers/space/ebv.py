"""The `ebv` row of the catalogue: arXiv 2303.11637."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="ebv",
    title="Equiangular Basis Vectors",
    arxiv="2303.11637",
    year=2023,
    wing="space",
    lives_in=("orthant.nn.heads",),
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
    status="planned",
    claims=(),
)
