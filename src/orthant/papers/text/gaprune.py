"""The `gaprune` row of the catalogue: arXiv 2509.10844."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="gaprune",
    title="GAPrune: Gradient-Alignment Pruning for Domain-Aware Embeddings",
    arxiv="2509.10844",
    year=2025,
    wing="text",
    lives_in=("orthant.learn.pruning",),
    summary=(
        "Scores each weight by how much a domain depends on it, how much general ability does, and whether the two "
        "pull in the same direction, then deletes the lowest scores. For halving a large encoder that serves one "
        "field while keeping its base; sparse weights save memory or time only where the runtime exploits them. Its "
        "place in Orthant: a pruner with this score beside magnitude, Fisher and random ones, and a diverse choice "
        "of calibration texts."
    ),
    keywords=("pruning", "Fisher information", "gradient alignment", "sparsity", "domain embedding", "calibration"),
    status="planned",
    claims=(),
)
