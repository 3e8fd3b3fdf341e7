"""The `unified-embedding` row of the catalogue: arXiv 2305.12102."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="unified-embedding",
    title="Unified Embedding: Battle-Tested Feature Representations for Web-Scale ML Systems",
    arxiv="2305.12102",
    year=2023,
    wing="recommend",
    lives_in=("orthant.encoders.categorical", "orthant.learn.recsys.tables"),
    summary=(
        "Lets all categorical features share one table, each with hash functions of its own and as many lookups as "
        "it deserves, instead of one table per feature. Removes most sizing decisions and copes with drifting "
        "vocabularies; features with a few values do as well without it. Its place in Orthant: a categorical encoder "
        "in the core and a trainable shared table, with identical hashes in both."
    ),
    keywords=("feature multiplexing", "hashing trick", "categorical features", "shared table", "collisions"),
    status="planned",
    claims=(),
)
