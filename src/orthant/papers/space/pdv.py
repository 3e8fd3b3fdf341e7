"""The `pdv` row of the catalogue: arXiv 2502.07215."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="pdv",
    title="PDV: Prompt Directional Vectors for Zero-shot Composed Image Retrieval",
    arxiv="2502.07215",
    year=2025,
    wing="space",
    lives_in=("orthant.encoders.composed", "orthant.collection.collection"),
    summary=(
        'Serves requests like "this picture, but in red" without training: the difference between the encoded '
        "description with and without the change is a direction, which is scaled and added to the text vector, the "
        "image vector or a blend of the two. Needs an encoder with a joint space for both kinds; the scale and the "
        "blend are sliders to tune on examples. Its place in Orthant: composed queries for image collections, and "
        "for any joint space."
    ),
    keywords=("composed image retrieval", "training-free", "query editing", "direction vector", "fusion", "CLIP"),
    status="planned",
    claims=(),
)
