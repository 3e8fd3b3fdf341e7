"""The `query-drift` row of the catalogue: arXiv 2506.00037."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="query-drift",
    title="Query Drift Compensation: Enabling Compatibility in Continual Learning of Retrieval Embedding Models",
    arxiv="2506.00037",
    year=2025,
    wing="space",
    lives_in=("orthant.transforms.drift", "orthant.collection.upgrade", "orthant.learn.trainer"),
    summary=(
        "After an encoder has been fine-tuned further, subtracts the average movement of its query vectors, so that "
        "new queries still meet documents which an earlier version encoded. For services that keep training one "
        "model and cannot re-encode the corpus each time; models of unrelated origin need an alignment map instead. "
        "Its place in Orthant: one of the ways `upgrade` keeps an old index alive, and a distilling trainer for the "
        "successive steps."
    ),
    keywords=("continual learning", "embedding drift", "backward compatibility", "no re-indexing", "distillation"),
    status="planned",
    claims=(),
)
