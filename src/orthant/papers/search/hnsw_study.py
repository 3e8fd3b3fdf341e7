"""The `hnsw-study` row of the catalogue: arXiv 2405.17813."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="hnsw-study",
    title=(
        "The Impacts of Data, Ordering, and Intrinsic Dimensionality on Recall in Hierarchical Navigable Small Worlds"
    ),
    arxiv="2405.17813",
    year=2024,
    wing="search",
    lives_in=("orthant.measures", "orthant.index.ordering", "orthant.index.graph"),
    summary=(
        "A measurement study: how much a graph index loses against exact search depends on how many dimensions the "
        "data really occupies and on the order in which points were inserted. Read it before trusting a benchmark "
        "run on digits or before bulk-loading sorted records, and measure your own vectors first. Its place in "
        "Orthant: local intrinsic dimension among the measures, seeded insertion orders for the graph, and the "
        "reason why recall is calibrated per collection."
    ),
    keywords=("HNSW", "local intrinsic dimensionality", "insertion order", "recall", "graph index", "benchmark"),
    status="planned",
    claims=(),
)
