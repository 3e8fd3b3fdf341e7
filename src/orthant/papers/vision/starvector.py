"""The `starvector` row of the catalogue: arXiv 2312.11556."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="starvector",
    title="StarVector: Generating Scalable Vector Graphics Code from Images",
    arxiv="2312.11556",
    year=2023,
    wing="vision",
    lives_in=("orthant.learn.generative.vector_graphics",),
    summary=(
        "Writes vector-graphics code for an image: visual features become a prefix, and a code model continues with "
        "shapes and paths that can be edited. Meant for icons, logos and simple charts, where tracing tools produce "
        "thousands of points. Its place in Orthant: a small image-to-SVG model, a tokenizer and repair for its code, "
        "and scores that compare the rendered result."
    ),
    keywords=("SVG", "image to code", "vectorization", "code generation", "icons", "rendering"),
    status="planned",
    claims=(),
)
