"""The `atlas` row of the catalogue: arXiv 2407.02880."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="atlas",
    title="Knowledge Composition using Task Vectors with Learned Anisotropic Scaling",
    arxiv="2407.02880",
    year=2024,
    wing="text",
    lives_in=("orthant.learn.merging",),
    summary=(
        "Combines the weight changes of several fine-tuned models with one learned coefficient for each parameter "
        "block, starting from zero, so a new task can borrow from old ones with hardly any examples. Try it with a "
        "shelf of checkpoints from one ancestor; models of different ancestry do not mix. Its place in Orthant: "
        "block-wise merging under supervised, contrastive or label-free objectives, and a view of which task lent "
        "which block."
    ),
    keywords=("task arithmetic", "task vectors", "few-shot", "anisotropic scaling", "parameter-efficient fine-tuning"),
    status="planned",
    claims=(),
)
