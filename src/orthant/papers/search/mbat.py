"""The `mbat` row of the catalogue: arXiv 2202.04771."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="mbat",
    title='Orthogonal Matrices for MBAT Vector Symbolic Architectures, and a "Soft" VSA Representation for JSON',
    arxiv="2202.04771",
    year=2022,
    wing="search",
    lives_in=("orthant.encoders.records",),
    summary=(
        "Encodes nested records as one vector: parts are summed, and each role or list position multiplies its sum "
        "by a random rotation of its own, which keeps lengths and angles intact at any depth. Handy for "
        "near-duplicate and similar-record search over JSON without training; for free text inside the fields, plug "
        "a text encoder into the leaves. Its place in Orthant: the record encoder, with unbinding of a path and an "
        "account of which fields made two records similar."
    ),
    keywords=(
        "JSON",
        "vector symbolic architecture",
        "hyperdimensional computing",
        "orthogonal binding",
        "structured records",
    ),
    status="planned",
    claims=(),
)
