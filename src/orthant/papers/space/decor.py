"""The `decor` row of the catalogue: arXiv 2412.09169."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="decor",
    title="DECOR:Decomposition and Projection of Text Embeddings for Text-to-Image Customization",
    arxiv="2412.09169",
    year=2024,
    wing="space",
    lives_in=("orthant.transforms.subspace",),
    summary=(
        "Removes an unwanted meaning from a sequence of token vectors by projecting the sequence off the directions "
        "that this meaning spans. Made for customised image generators that copy things from their few examples into "
        "every picture; the same operation takes a nuisance direction out of search vectors. Its place in Orthant: a "
        "subspace projection with a strength setting, for matrices and for token sequences."
    ),
    keywords=("orthogonal projection", "text-to-image", "content leakage", "debiasing", "subspace", "LoRA"),
    status="planned",
    claims=(),
)
