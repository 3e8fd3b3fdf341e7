"""The `bidr` row of the catalogue: arXiv 2201.05409."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="bidr",
    title="Progressively Optimized Bi-Granular Document Representation for Scalable Embedding Based Retrieval",
    arxiv="2201.05409",
    year=2022,
    wing="search",
    lives_in=("orthant.index.two_tier", "orthant.learn.text"),
    summary=(
        "Keeps two versions of every document vector: short codes in memory find candidates, full vectors on disk "
        "order them, and each version is trained for its own job, the second one on mistakes that the first lets "
        "through. For corpora that outgrow memory while disk is cheap; below that size one index of full vectors is "
        "simpler. Its place in Orthant: the two-tier index, plus a batch sampler that gathers neighbouring queries "
        "so negatives are hard."
    ),
    keywords=(
        "two-stage retrieval",
        "disk-based search",
        "contrastive quantization",
        "locality-centric sampling",
        "hard negatives",
    ),
    status="planned",
    claims=(),
)
