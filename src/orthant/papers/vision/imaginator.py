"""The `imaginator` row of the catalogue: arXiv 2305.10438."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="imaginator",
    title="IMAGINATOR: Pre-Trained Image+Text Joint Embeddings using Word-Level Grounding of Images",
    arxiv="2305.10438",
    year=2023,
    wing="vision",
    lives_in=("orthant.learn.multimodal.grounding",),
    summary=(
        "Gives every object name one fixed vector that joins three sources: which objects appear together in "
        "pictures, which caption words go with them, and how their crops look. A lookup table for analogies and "
        '"what goes with this" questions, with no network at query time; it knows only the names it was built on. '
        "Its place in Orthant: an estimator over records of objects, words and crops."
    ),
    keywords=("joint embedding", "word grounding", "co-occurrence", "object vectors", "analogy", "image retrieval"),
    status="planned",
    claims=(),
)
