"""The `table-compression` row of the catalogue: arXiv 2311.15578."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="table-compression",
    title="Experimental Analysis of Large-scale Learnable Vector Storage Compression",
    arxiv="2311.15578",
    year=2023,
    wing="recommend",
    lives_in=("orthant.learn.recsys.tables", "orthant.evaluation.compression"),
    summary=(
        "Puts fourteen ways to shrink embedding tables (hashing, composition, tensor trains, quantizing, pruning, "
        "narrower fields) through one test bench at several memory budgets, and says which to take when. Read it "
        "before choosing a method by its own paper. Its place in Orthant: the methods behind one table interface "
        "that honours `budget_bytes`, and a harness that draws the trade-off on your data."
    ),
    keywords=("embedding compression", "hashing", "quantization", "tensor train", "memory budget", "benchmark"),
    status="planned",
    claims=(),
)
