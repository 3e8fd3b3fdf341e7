"""The `filtered-ann` row of the catalogue: arXiv 2507.21989."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="filtered-ann",
    title=(
        "Benchmarking Filtered Approximate Nearest Neighbor Search Algorithms on Transformer-based Embedding Vectors"
    ),
    arxiv="2507.21989",
    year=2025,
    wing="search",
    lives_in=("orthant.index.planner", "orthant.index.filtered", "orthant.evaluation.ann"),
    summary=(
        "Compares indexes that search under attribute conditions (equal to, within a range, member of a set) on text "
        "embeddings with thousands of dimensions, and finds that the winner changes with the kind and strictness of "
        "the condition. Useful to whoever must pick, or build, filtered search. Its place in Orthant: a planner that "
        "chooses between scanning the allowed rows, a filter-aware walk and an exclusion test, with the specialised "
        "indexes kept as arms of a harness."
    ),
    keywords=("filtered search", "metadata", "selectivity", "ACORN", "range filter", "query planning", "benchmark"),
    status="planned",
    claims=(),
)
