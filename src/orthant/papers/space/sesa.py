"""The `sesa` row of the catalogue: arXiv 1708.03246."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="sesa",
    title="SESA: Supervised Explicit Semantic Analysis",
    arxiv="1708.03246",
    year=2017,
    wing="space",
    lives_in=("orthant.learn.text.explicit", "orthant.encoders", "orthant.collection.explain"),
    summary=(
        "Maps texts onto named concepts, one per dimension, and trains that map on relevance, so a score breaks down "
        "into the concepts both sides share. Right where rankings must be justified to a reader, as with jobs and "
        "candidates; expect to trade some accuracy for that. Its place in Orthant: a concept encoder with "
        "non-negative output that hybrid search can use as a sparse leg, and concept-level entries in `explain`."
    ),
    keywords=(
        "interpretability",
        "explicit semantic analysis",
        "concepts",
        "job matching",
        "sparse vectors",
        "ranking",
    ),
    status="planned",
    claims=(),
)
