"""The `o1-embedder` row of the catalogue: arXiv 2502.07555."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="o1-embedder",
    title="O1 Embedder: Let Retrievers Think Before Action",
    arxiv="2502.07555",
    year=2025,
    wing="text",
    lives_in=("orthant.learn.text.thinking",),
    summary=(
        "Writes a short thought about the query, a guess at the answer or at the missing link, and embeds query and "
        "thought together; thoughts for training are chosen by a vote of several retrievers. Helps with indirect or "
        "many-step questions at the price of generating text for each query, so it is wasted on plain lookups. Its "
        "place in Orthant: a joint model for thinking and encoding, and the voting committee as a separate tool."
    ),
    keywords=("query expansion", "reasoning", "thought generation", "retrieval committee", "multi-task training"),
    status="planned",
    claims=(),
)
