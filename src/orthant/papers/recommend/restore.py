"""The `restore` row of the catalogue: arXiv 2308.14659."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="restore",
    title="RESTORE: Graph Embedding Assessment Through Reconstruction",
    arxiv="2308.14659",
    year=2023,
    wing="recommend",
    lives_in=("orthant.evaluation.reconstruction",),
    summary=(
        "Judges a graph embedding by rebuilding the graph from it: each node's nearest vectors are compared with its "
        "true neighbourhood at one, two and more hops, along with tests of meaning. Use it to choose a method by "
        "what it preserves rather than by one downstream score. Its place in Orthant: a reconstruction harness for "
        "any array of node vectors, by hop and by degree."
    ),
    keywords=("graph embedding evaluation", "reconstruction", "mean average precision", "hops", "knowledge graph"),
    status="planned",
    claims=(),
)
