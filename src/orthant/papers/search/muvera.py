"""The `muvera` row of the catalogue: arXiv 2405.19504."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="muvera",
    title="MUVERA: Multi-Vector Retrieval via Fixed Dimensional Encodings",
    arxiv="2405.19504",
    year=2024,
    wing="search",
    lives_in=("orthant.index.multivector", "orthant.kernels.fde"),
    summary=(
        "Folds a whole set of token vectors into one long vector: random hyperplanes cut space into cells, queries "
        "add up and documents average what falls into each cell, and a plain dot product then stands in for the sum "
        "of best matches. Take it when a late-interaction model ranks well but scoring every token pair is too slow "
        "for the first pass, and keep an exact re-rank behind it; with only a handful of tokens per text, mean "
        "pooling may do as well. Its place in Orthant: the candidate stage of the multi-vector index, ahead of exact "
        "MaxSim."
    ),
    keywords=(
        "late interaction",
        "multi-vector",
        "MaxSim",
        "Chamfer similarity",
        "locality-sensitive hashing",
        "candidate generation",
    ),
    status="planned",
    claims=(),
)
