"""The `conditional-attention` row of the catalogue: arXiv 2307.13254."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="conditional-attention",
    title=(
        "Conditional Cross Attention Network for Multi-Space Embedding without Entanglement in Only a SINGLE Network"
    ),
    arxiv="2307.13254",
    year=2023,
    wing="vision",
    lives_in=("orthant.learn.vision.conditional", "orthant.collection.collection"),
    summary=(
        "Produces a separate vector per attribute from one network: in the last block the chosen attribute asks, "
        "through cross-attention, and the image patches answer. For catalogues searched by sleeve length at one "
        "moment and by colour at the next, without a model for each. Its place in Orthant: a conditional vision "
        "encoder whose outputs become named spaces of a collection."
    ),
    keywords=("attribute-specific embedding", "fashion retrieval", "cross-attention", "multi-space", "disentanglement"),
    status="planned",
    claims=(),
)
