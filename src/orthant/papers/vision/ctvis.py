"""The `ctvis` row of the catalogue: arXiv 2307.12616."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="ctvis",
    title="CTVIS: Consistent Training for Online Video Instance Segmentation",
    arxiv="2307.12616",
    year=2023,
    wing="vision",
    lives_in=("orthant.learn.vision.tracking",),
    summary=(
        "Trains the vectors that link objects between video frames under the conditions met at run time: a memory "
        "bank with slowly moving averages, and some noise, supplies what each frame is compared with. For tracking "
        "through occlusion among look-alikes. Its place in Orthant: the memory bank, the contrastive pairs drawn "
        "from it, and an online tracker that accepts any boxes or masks with vectors."
    ),
    keywords=("video instance segmentation", "tracking", "memory bank", "contrastive learning", "re-identification"),
    status="planned",
    claims=(),
)
