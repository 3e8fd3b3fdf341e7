"""The `kalm-v2` row of the catalogue: arXiv 2506.20923."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="kalm-v2",
    title="KaLM-Embedding-V2: Superior Training Techniques and Data Inspire A Versatile Embedding Model",
    arxiv="2506.20923",
    year=2025,
    wing="text",
    lives_in=("orthant.learn.losses", "orthant.learn.text.recipes", "orthant.learn.merging"),
    summary=(
        "A compact bilingual encoder whose lesson is in the training: give difficult rows more weight, blend hard "
        "negatives into harder ones on the fly, shorten vectors gracefully, and average several finished "
        "checkpoints. The pieces apply to any two-tower fine-tuning and cost nothing at query time. Its place in "
        "Orthant: focal weighting and negative mixing as options of the contrastive loss, and checkpoint soups among "
        "the merging methods."
    ),
    keywords=(
        "focal weighting",
        "hard-negative mixing",
        "model soup",
        "Matryoshka",
        "compact encoder",
        "contrastive loss",
    ),
    status="planned",
    claims=(),
)
