"""The `resgen` row of the catalogue: arXiv 2412.10208."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="resgen",
    title="Efficient Generative Modeling with Residual Vector Quantization-Based Tokens",
    arxiv="2412.10208",
    year=2024,
    wing="vision",
    lives_in=("orthant.learn.generative.residual_tokens", "orthant.nn.codebooks"),
    summary=(
        "Generates images or sounds from deep residual codes without stepping through every level: it predicts the "
        "summed vector of all hidden tokens at a place and then reads off the codes, a number of places at a time. "
        "The number of passes is yours to choose and does not grow with the depth of the codes. Its place in "
        "Orthant: a generator over residual codebooks that are shared with the index quantizer."
    ),
    keywords=(
        "residual vector quantization",
        "discrete diffusion",
        "masked generation",
        "image generation",
        "speech synthesis",
    ),
    status="planned",
    claims=(),
)
