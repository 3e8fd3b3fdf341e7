"""The `vlm2vec` row of the catalogue: arXiv 2410.05160."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="vlm2vec",
    title="VLM2Vec: Training Vision-Language Models for Massive Multimodal Embedding Tasks",
    arxiv="2410.05160",
    year=2024,
    wing="vision",
    lives_in=("orthant.learn.multimodal.vlm", "orthant.encoders.images", "orthant.evaluation"),
    summary=(
        "Trains a vision-language model to give one vector for any mix of picture, text and instruction, with very "
        "large contrastive batches split to fit in memory, and assembles a test suite over four families of tasks. "
        "For search in which either side may be a photo with a question; a two-tower model suffices when images and "
        "captions stay separate. Its place in Orthant: a multimodal training recipe at small scale and the suite's "
        "task shapes."
    ),
    keywords=(
        "multimodal embedding",
        "vision-language model",
        "instruction",
        "GradCache",
        "MMEB",
        "contrastive learning",
    ),
    status="planned",
    claims=(),
)
