"""The `hovle` row of the catalogue: arXiv 2412.16158."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="hovle",
    title=("HoVLE: Unleashing the Power of Monolithic Vision-Language Models with Holistic Vision-Language Embedding"),
    arxiv="2412.16158",
    year=2024,
    wing="vision",
    lives_in=("orthant.learn.multimodal.holistic",),
    summary=(
        "Feeds pixels and words through one shared stack of layers whose output looks like ordinary word embeddings "
        "to a frozen language model; the stack first imitates a vision encoder and the word table, on unpaired data, "
        "before joint training. For those who want one network without a separate vision tower. Its place in "
        "Orthant: the shared embedding module and its three training stages, at a size that generated scenes can "
        "teach."
    ),
    keywords=("vision-language model", "monolithic", "distillation", "shared embedding module", "unpaired data"),
    status="planned",
    claims=(),
)
