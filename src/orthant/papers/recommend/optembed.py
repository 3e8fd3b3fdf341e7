"""The `optembed` row of the catalogue: arXiv 2208.04482."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="optembed",
    title="OptEmbed: Learning Optimal Embedding Table for Click-through Rate Prediction",
    arxiv="2208.04482",
    year=2022,
    wing="recommend",
    lives_in=("orthant.learn.recsys.optembed",),
    summary=(
        "Decides during one training run which rows of an embedding table to drop and how wide each field must be: "
        "thresholds prune rows, random widths are tried while training, and an evolutionary search picks the final "
        "ones. For tables that are too large when nobody knows where the waste sits. Its place in Orthant: one of "
        "the table classes, run in its three stages under a byte budget."
    ),
    keywords=("embedding table", "pruning", "field dimension search", "evolutionary search", "click-through rate"),
    status="planned",
    claims=(),
)
