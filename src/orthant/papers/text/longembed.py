"""The `longembed` row of the catalogue: arXiv 2404.12096."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="longembed",
    title="LongEmbed: Extending Embedding Models for Long Context Retrieval",
    arxiv="2404.12096",
    year=2024,
    wing="text",
    lives_in=("orthant.encoders.long_context", "orthant.nn.positions", "orthant.evaluation.long_context"),
    summary=(
        "Stretches the window of an existing encoder without retraining, by interpolating, grouping or repeating its "
        "positions or by averaging over chunks, and supplies tests that tell how much of a long text is truly read. "
        "Reach for it when documents exceed the window and the model must stay; chunked search remains the baseline "
        "to beat. Its place in Orthant: context extension for encoders and a needle-in-a-document harness."
    ),
    keywords=(
        "long documents",
        "context window",
        "position interpolation",
        "rotary positions",
        "chunking",
        "passkey test",
    ),
    status="planned",
    claims=(),
)
