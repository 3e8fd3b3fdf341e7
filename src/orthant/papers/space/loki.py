"""The `loki` row of the catalogue: arXiv 2307.12226."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="loki",
    title="Geometry-Aware Adaptation for Pretrained Models",
    arxiv="2307.12226",
    year=2023,
    wing="space",
    lives_in=("orthant.transforms.geometry",),
    summary=(
        "Lets a classifier answer with classes it never saw: given distances between labels, from a taxonomy for "
        "instance, it returns the label with the least expected squared distance under the predicted probabilities. "
        "Costs one matrix product and no training; pays off when the label distances are meaningful and "
        "probabilities are calibrated. Its place in Orthant: a predictor to wrap around any `predict_proba`, "
        "including neighbour votes over a taxonomy."
    ),
    keywords=(
        "Fréchet mean",
        "label hierarchy",
        "zero-shot classification",
        "taxonomy",
        "calibration",
        "unseen classes",
    ),
    status="planned",
    claims=(),
)
