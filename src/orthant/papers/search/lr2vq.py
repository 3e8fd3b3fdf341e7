"""The `lr2vq` row of the catalogue: arXiv 2211.11397."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="lr2vq",
    title="Learning Low-Rank Representations for Model Compression",
    arxiv="2211.11397",
    year=2022,
    wing="search",
    lives_in=("orthant.quantization.lowrank", "orthant.nn.codebooks"),
    summary=(
        "Separates the block size that sets the compression ratio from the width in which clustering happens: weight "
        "blocks become low-rank codes times one small shared matrix, and only the codes are clustered. Worth a try "
        "when weights or embedding tables must shrink by an order of magnitude and some fine-tuning is possible. Its "
        "place in Orthant: a low-rank quantizer for matrices with row lookup, beside the trainable codebooks."
    ),
    keywords=("model compression", "vector quantization", "low rank", "embedding table", "clustering"),
    status="planned",
    claims=(),
)
