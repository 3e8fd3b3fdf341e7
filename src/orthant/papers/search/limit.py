"""The `limit` row of the catalogue: arXiv 2508.21038."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="limit",
    title="On the Theoretical Limitations of Embedding-Based Retrieval",
    arxiv="2508.21038",
    year=2025,
    wing="search",
    lives_in=("orthant.evaluation.limit",),
    summary=(
        "Shows that a vector of given width can tell apart only so many combinations of relevant documents, and "
        "offers a deliberately plain test set (who likes what?) on which strong single-vector encoders stumble. "
        "Consult it when queries combine attributes freely: more dimensions, several vectors per text or word "
        "matching may help, better training alone may not. Its place in Orthant: a generator of such tasks at any "
        "size, the free-vector experiment, and a headroom figure in `diagnose`."
    ),
    keywords=("embedding capacity", "sign rank", "dimension", "single-vector limits", "benchmark", "hybrid search"),
    status="planned",
    claims=(),
)
