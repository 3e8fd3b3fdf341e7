"""The `text-vectors-thesis` row of the catalogue: arXiv 1901.01695."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="text-vectors-thesis",
    title="Vector representations of text data in deep learning",
    arxiv="1901.01695",
    year=2019,
    wing="space",
    lives_in=("orthant.encoders.words",),
    summary=(
        "Two models in one dissertation: paragraph vectors whose hidden layer is rounded to bits during training, "
        "giving short hash codes of documents, and a skip-gram that learns several senses per word with an attention "
        "over the context. The codes help where a first pass over millions of texts must fit in little memory; the "
        "senses help to study ambiguous vocabulary. Its place in Orthant: binary paragraph vectors and multi-sense "
        "skip-gram among the word-based encoders, trained by compiled loops."
    ),
    keywords=("paragraph vectors", "binary codes", "semantic hashing", "word sense", "skip-gram", "Hamming search"),
    status="planned",
    claims=(),
)
