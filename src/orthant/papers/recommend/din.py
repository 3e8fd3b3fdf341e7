"""The `din` row of the catalogue: arXiv 1706.06978."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="din",
    title="Deep Interest Network for Click-Through Rate Prediction",
    arxiv="1706.06978",
    year=2017,
    wing="recommend",
    lives_in=("orthant.learn.recsys.interest",),
    summary=(
        "Builds a different user vector for each candidate item by weighting the user's history according to its "
        "relation with that candidate, and leaves the weights unnormalised so that strength of interest shows. For "
        "click prediction over long, mixed histories; short or single-interest histories gain little. Its place in "
        "Orthant: target-aware pooling over behaviour lists, with its activation and its regularizer for sparse "
        "tables."
    ),
    keywords=("click-through rate", "recommendation", "attention", "user history", "activation unit", "advertising"),
    status="planned",
    claims=(),
)
