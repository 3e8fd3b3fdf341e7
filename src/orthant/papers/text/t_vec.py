"""The `t-vec` row of the catalogue: arXiv 2504.16460."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="t-vec",
    title=(
        "T-VEC: A Telecom-Specific Vectorization Model with Enhanced Semantic Understanding via Deep Triplet Loss "
        "Fine-Tuning"
    ),
    arxiv="2504.16460",
    year=2025,
    wing="text",
    lives_in=("orthant.learn.text.recipes", "orthant.learn.analysis"),
    summary=(
        "Fine-tunes every layer of an encoder on triplets from one trade, telecommunications here, extends the "
        "vocabulary with its jargon, and measures how far each weight matrix travelled. A template for specialists; "
        "watch general ability, which such training can erode. Its place in Orthant: a domain-adaptation recipe, "
        "vocabulary extension, and a weight-difference report that serves merging and pruning too."
    ),
    keywords=("domain adaptation", "telecom", "triplet loss", "vocabulary extension", "weight analysis", "fine-tuning"),
    status="planned",
    claims=(),
)
