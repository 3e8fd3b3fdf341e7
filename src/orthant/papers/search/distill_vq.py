"""The `distill-vq` row of the catalogue: arXiv 2204.00185."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="distill-vq",
    title=("Distill-VQ: Learning Retrieval Oriented Vector Quantization By Distilling Knowledge from Dense Embeddings"),
    arxiv="2204.00185",
    year=2022,
    wing="search",
    lives_in=("orthant.learn.distillation", "orthant.quantization.product", "orthant.index.ivf"),
    summary=(
        "Retrains the centroids of an inverted file and of product codes so that scores against the compressed "
        "vectors rank candidates the way the uncompressed ones did. Needs example queries but no judgements, because "
        "the full-precision ranking is the teacher; without typical queries, ordinary k-means codebooks are the "
        "safer choice. Its place in Orthant: a trainer that takes arrays and returns a codebook artefact which the "
        "product quantizer and the inverted file load."
    ),
    keywords=("product quantization", "inverted file", "knowledge distillation", "ListNet", "learned codebooks"),
    status="planned",
    claims=(),
)
