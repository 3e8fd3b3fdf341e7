"""The `sheaf` row of the catalogue: arXiv 2304.09097."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="sheaf",
    title="Sheaf Neural Networks for Graph-based Recommender Systems",
    arxiv="2304.09097",
    year=2023,
    wing="recommend",
    lives_in=("orthant.learn.graphs", "orthant.learn.recsys.sheaf"),
    summary=(
        "Replaces plain neighbour averaging on a user and item graph by learned linear maps on every edge, so what a "
        "neighbour contributes depends on the pair. An option for collaborative filtering where deep averaging makes "
        "all nodes alike; compare with a light graph convolution first, which is hard to beat. Its place in Orthant: "
        "sheaf convolution and Laplacian in the graph modules, and a recommender that exports vectors to a "
        "collection."
    ),
    keywords=(
        "graph neural network",
        "collaborative filtering",
        "sheaf Laplacian",
        "link prediction",
        "over-smoothing",
    ),
    status="planned",
    claims=(),
)
