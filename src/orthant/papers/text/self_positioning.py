"""The `self-positioning` row of the catalogue: arXiv 2410.15035."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="self-positioning",
    title=("Improving General Text Embedding Model: Tackling Task Conflict and Data Imbalance through Model Merging"),
    arxiv="2410.15035",
    year=2024,
    wing="text",
    lives_in=("orthant.learn.merging",),
    summary=(
        "Trains one encoder per task, then looks for the best point between and beyond them by gradient steps on a "
        "handful of mixing coefficients, judged on a small balanced sample. An alternative to joint training when "
        "tasks disturb each other or small ones drown. Its place in Orthant: a merging method with one coefficient "
        "per model, next to plain averaging and to the per-block variant."
    ),
    keywords=("model merging", "task vectors", "spherical interpolation", "multi-task", "data imbalance"),
    status="planned",
    claims=(),
)
