"""The `fastrp` row of the catalogue: arXiv 1908.11512."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="fastrp",
    title="Fast and Accurate Network Embeddings via Very Sparse Random Projection",
    arxiv="1908.11512",
    year=2019,
    wing="recommend",
    lives_in=("orthant.encoders.graph",),
    summary=(
        "Embeds the nodes of a graph by pushing a sparse random matrix a few steps along the edges, damping hubs by "
        "degree, and adding up the steps with weights. Seconds where random-walk methods take hours, without "
        "training; weights of the steps and the degree exponent are worth tuning. Its place in Orthant: the graph "
        "encoder of the core, for sparse adjacency matrices, including nodes added later."
    ),
    keywords=("node embedding", "random projection", "graph", "sparse matrix", "link prediction", "scalable"),
    status="planned",
    claims=(),
)
