"""The `qzhou` row of the catalogue: arXiv 2508.21632."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="qzhou",
    title="QZhou-Embedding Technical Report",
    arxiv="2508.21632",
    year=2025,
    wing="text",
    lives_in=("orthant.learn.text.recipes", "orthant.learn.mining", "orthant.learn.synthesis"),
    summary=(
        "Turns whatever labelled text a team owns (question and answer, graded similarity, categories) into three "
        "kinds of training examples, each with a fitting loss, and enlarges them with rewritten texts and invented "
        "hard negatives. Look here when there is much mixed data but little of it looks like query and document. Its "
        "place in Orthant: converters for the three kinds, batch masks for class data, and a synthesis interface "
        "that any text generator can fill."
    ),
    keywords=("data synthesis", "multi-task training", "CoSENT", "paraphrase", "hard negatives", "technical report"),
    status="planned",
    claims=(),
)
