"""The `msbreg` row of the catalogue: arXiv 2207.03552."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="msbreg",
    title="An Embedding-Dynamic Approach to Self-supervised Learning",
    arxiv="2207.03552",
    year=2022,
    wing="vision",
    lives_in=("orthant.learn.vision.dynamics",),
    summary=(
        "Views self-supervised training as particles in motion: views of an image attract towards their common "
        "centre, singular values are pushed to be even so that the cloud fills space, and small random steps keep "
        "neighbours apart. Learns without labels or large batches of negatives, and its parts stop other methods "
        "from collapsing. Its place in Orthant: three losses and a trainer, with effective rank and uniformity as "
        "gauges."
    ),
    keywords=(
        "self-supervised learning",
        "collapse",
        "singular values",
        "Brownian motion",
        "multi-view",
        "regularization",
    ),
    status="planned",
    claims=(),
)
