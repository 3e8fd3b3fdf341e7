"""The `future-token` row of the catalogue: arXiv 2410.18160."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="future-token",
    title=(
        "Future Token Prediction -- Causal Language Modelling with Per-Token Semantic State Vector for Multi-Token "
        "Prediction"
    ),
    arxiv="2410.18160",
    year=2024,
    wing="text",
    lives_in=("orthant.learn.generative.future_tokens",),
    summary=(
        "Trains a language model whose state at each position must let a small decoder write the next several "
        "tokens, so states describe where the text is heading rather than the very next word. Of use for following "
        "topics through a stream or cutting a text into segments. Its place in Orthant: a small generative model and "
        "an encoder that returns one state per token."
    ),
    keywords=("multi-token prediction", "language model", "token states", "topic coherence", "segmentation"),
    status="planned",
    claims=(),
)
