"""The `relative` row of the catalogue: arXiv 2209.15430."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="relative",
    title="Relative representations enable zero-shot latent space communication",
    arxiv="2209.15430",
    year=2022,
    wing="space",
    lives_in=("orthant.transforms.relative",),
    summary=(
        "Describes each item by its cosines to a chosen set of anchor items; since rotations and rescalings leave "
        "angles alone, two encoders that see the same anchors produce comparable coordinates. Lets a classifier or "
        "an index built with one encoder serve another without training, provided the anchors can be encoded by "
        "both; distances get coarser, so check quality first. Its place in Orthant: a transform with several ways to "
        "choose anchors, and a bridge in `upgrade`."
    ),
    keywords=("anchors", "model stitching", "latent space alignment", "cosine similarity", "zero-shot"),
    status="planned",
    claims=(),
)
