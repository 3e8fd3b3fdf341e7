"""The `aspects` row of the catalogue: arXiv 2203.14541."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="aspects",
    title="Specialized Document Embeddings for Aspect-based Similarity of Research Papers",
    arxiv="2203.14541",
    year=2022,
    wing="space",
    lives_in=("orthant.learn.text.aspects", "orthant.collection.collection"),
    summary=(
        "Gives a document one vector per point of view, such as its task, its method or its data, instead of a "
        "single blend, each trained on pairs that agree in that respect. Suits recommendation pages where users ask "
        '"similar in what?" and labels per aspect exist. Its place in Orthant: recipes that train one space per '
        "aspect, stored as named spaces of a collection and picked at query time."
    ),
    keywords=(
        "aspect-based similarity",
        "research papers",
        "Siamese network",
        "retrofitting",
        "named vectors",
        "recommendation",
    ),
    status="planned",
    claims=(),
)
