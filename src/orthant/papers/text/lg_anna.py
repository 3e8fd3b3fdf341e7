"""The `lg-anna` row of the catalogue: arXiv 2506.07438."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="lg-anna",
    title="LG-ANNA-Embedding technical report",
    arxiv="2506.07438",
    year=2025,
    wing="text",
    lives_in=("orthant.learn.losses", "orthant.learn.mining", "orthant.learn.text.recipes"),
    summary=(
        "Passes the graded judgement of a full search pipeline (keywords, dense retrieval, re-ranker) on to one "
        "encoder, steers it with worked examples in the prompt, and drops negatives that score too close to the "
        "right answer. Good when you trust your pipeline's ranking more than your binary labels. Its place in "
        "Orthant: soft-target contrastive loss, a relative-margin filter for mined negatives, and prompts with "
        "examples."
    ),
    keywords=(
        "soft labels",
        "in-context prompts",
        "distillation",
        "hard-negative mining",
        "margin filter",
        "re-ranker",
    ),
    status="planned",
    claims=(),
)
