"""The `leanvec` row of the catalogue: arXiv 2312.16335."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="leanvec",
    title="LeanVec: Search your vectors faster by making them fit",
    arxiv="2312.16335",
    year=2023,
    wing="search",
    lives_in=("orthant.transforms.leanvec", "orthant.quantization.scalar", "orthant.index.graph"),
    summary=(
        "Projects vectors to fewer dimensions for the walk through a graph and keeps a fuller code for the final "
        "ordering; when sample queries are given, it learns separate projections for the two sides so that inner "
        "products between them suffer least. Use it for embeddings of several hundred dimensions, above all when "
        "queries come from another distribution than the documents, such as text against images. Its place in "
        "Orthant: the default reduction under the graph index, next to 8-bit locally adaptive codes."
    ),
    keywords=(
        "dimensionality reduction",
        "out-of-distribution queries",
        "graph search",
        "locally adaptive quantization",
        "re-ranking",
    ),
    status="planned",
    claims=(),
)
