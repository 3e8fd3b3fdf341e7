"""The `hpm` row of the catalogue: arXiv 2312.13714."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="hpm",
    title="Bootstrap Masked Visual Modeling via Hard Patches Mining",
    arxiv="2312.13714",
    year=2023,
    wing="vision",
    lives_in=("orthant.learn.vision.masked",),
    summary=(
        "Lets a masked image model predict which patches it would reconstruct badly and hides those more and more as "
        "training proceeds, instead of masking at random. For pre-training on unlabelled pictures when random masks "
        "have become too easy. Its place in Orthant: a masked autoencoder with interchangeable masking, whose "
        "difficulty map is also a guide to where a picture holds information."
    ),
    keywords=("masked image modelling", "hard patch mining", "curriculum", "vision transformer", "pre-training"),
    status="planned",
    claims=(),
)
