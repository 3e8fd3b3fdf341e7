"""The `gap-alignment` row of the catalogue: arXiv 2406.02601."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="gap-alignment",
    title=(
        "Multimodal Deep Learning for Low-Resource Settings: A Vector Embedding Alignment Approach for Healthcare "
        "Applications"
    ),
    arxiv="2406.02601",
    year=2024,
    wing="space",
    lives_in=("orthant.transforms.alignment",),
    summary=(
        "Moves image vectors and text vectors of a joint model towards each other along the line between their two "
        "means, by a chosen fraction, before small heads combine them. A cheap first step for teams with stored "
        "vectors and only processors, when the two kinds of input occupy separate regions; measure it, since closing "
        "that distance does not always help. Its place in Orthant: the modality-gap aligner among the alignment "
        "transforms, fitted on training rows only."
    ),
    keywords=("modality gap", "image-text alignment", "healthcare", "CPU", "fusion", "mean shift"),
    status="planned",
    claims=(),
)
