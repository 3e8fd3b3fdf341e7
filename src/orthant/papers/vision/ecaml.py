"""The `ecaml` row of the catalogue: arXiv 1901.07169."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="ecaml",
    title="Energy Confused Adversarial Metric Learning for Zero-Shot Image Retrieval and Clustering",
    arxiv="1901.07169",
    year=2019,
    wing="vision",
    lives_in=("orthant.learn.losses",),
    summary=(
        "Adds a term to metric learning that pulls random pairs of different classes together, against the main loss "
        "and only through the embedding layer, to keep the network from memorising the classes it sees. Try it when "
        "retrieval on new classes lags far behind retrieval on known ones. Its place in Orthant: a regularizer that "
        "any pair or triplet loss accepts."
    ),
    keywords=("metric learning", "regularization", "zero-shot retrieval", "adversarial", "overfitting", "triplet loss"),
    status="planned",
    claims=(),
)
