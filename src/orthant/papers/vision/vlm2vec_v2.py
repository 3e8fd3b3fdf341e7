"""The `vlm2vec-v2` row of the catalogue: arXiv 2507.04590."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="vlm2vec-v2",
    title="VLM2Vec-V2: Advancing Multimodal Embedding for Videos, Images, and Visual Documents",
    arxiv="2507.04590",
    year=2025,
    wing="vision",
    lives_in=("orthant.learn.multimodal.vlm", "orthant.evaluation"),
    summary=(
        "Widens the same idea to clips and page scans: frames and pages enter as image sequences, and batches are "
        "made of small single-source blocks so that negatives are neither trivial nor all alike. Relevant for search "
        "over recordings and scanned documents with the vectors used for pictures. Its place in Orthant: frame and "
        "page inputs for the multimodal recipe, an interleaving sampler, and the added task kinds."
    ),
    keywords=("video retrieval", "visual documents", "multimodal embedding", "interleaved batches", "moment retrieval"),
    status="planned",
    claims=(),
)
