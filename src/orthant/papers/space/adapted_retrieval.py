"""The `adapted-retrieval` row of the catalogue: arXiv 2310.05380."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="adapted-retrieval",
    title="Augmented Embeddings for Custom Retrievals",
    arxiv="2310.05380",
    year=2023,
    wing="space",
    lives_in=("orthant.transforms.adapter", "orthant.collection.adapt"),
    summary=(
        "Learns a small correction on top of frozen vectors, the identity plus a low-rank term, from pairs of a "
        "query and the item it should have found. For black-box encoders and a few hundred to a few thousand pairs, "
        "where the first one to five hits matter and both sides differ in kind, such as questions and code; with a "
        "few dozen pairs expect little. Its place in Orthant: `collection.adapt(pairs)`, applied to the query side "
        "so that nothing needs re-encoding."
    ),
    keywords=("domain adaptation", "low-rank residual adapter", "feedback", "black-box embeddings", "code search"),
    status="planned",
    claims=(),
)
