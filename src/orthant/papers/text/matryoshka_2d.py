"""The `matryoshka-2d` row of the catalogue: arXiv 2402.14776."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="matryoshka-2d",
    title="2D Matryoshka Sentence Embeddings",
    arxiv="2402.14776",
    year=2024,
    wing="text",
    lives_in=("orthant.learn.losses", "orthant.learn.text"),
    summary=(
        "Trains one encoder so that both a shorter vector and an earlier layer already give usable embeddings, with "
        "the final layer teaching the others. Train once, then choose speed and storage for each deployment; if "
        "depth is fixed, shortening the vectors alone is simpler. Its place in Orthant: losses over layers and "
        "widths, and a truncation that saves a genuinely smaller model."
    ),
    keywords=("Matryoshka", "early exit", "layer truncation", "elastic inference", "sentence embeddings"),
    status="planned",
    claims=(),
)
