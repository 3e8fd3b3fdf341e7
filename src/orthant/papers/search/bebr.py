"""The `bebr` row of the catalogue: arXiv 2302.08714."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="bebr",
    title="Binary Embedding-based Retrieval at Tencent",
    arxiv="2302.08714",
    year=2023,
    wing="search",
    lives_in=("orthant.quantization.binary", "orthant.learn.distillation"),
    summary=(
        "Turns a float vector into several layers of signs, each layer coding what the previous ones left over, so "
        "the number of bits per dimension becomes a dial. Fits very large corpora where memory is the bill and a "
        "short re-rank is affordable; new versions can be trained to stay comparable with codes already stored. Its "
        "place in Orthant: a binary quantizer with a linear closed form in the core, and a trained variant whose "
        "weights are served without torch."
    ),
    keywords=("binary codes", "residual binarization", "compression", "compatible training", "symmetric distance"),
    status="planned",
    claims=(),
)
