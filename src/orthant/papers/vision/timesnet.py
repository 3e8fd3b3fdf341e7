"""The `timesnet` row of the catalogue: arXiv 2503.07637."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="timesnet",
    title="Is Pre-training Applicable to the Decoder for Dense Prediction?",
    arxiv="2503.07637",
    year=2025,
    wing="vision",
    lives_in=("orthant.learn.vision.dense",),
    summary=(
        "Uses a second pretrained backbone as the decoder for depth or segmentation, run in its natural direction "
        "after a reshaping step, so that both halves start from learned weights. Promising when pixel labels are "
        "scarce and good classification backbones are at hand. Its place in Orthant: a dense-prediction model called "
        "`XNet` (the paper writes a multiplication sign; it has nothing to do with the time-series network), with "
        "depth and segmentation measures."
    ),
    keywords=("dense prediction", "depth estimation", "segmentation", "pretrained decoder", "pixel shuffle"),
    status="planned",
    claims=(),
)
