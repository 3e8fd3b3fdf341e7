"""The `simvq` row of the catalogue: arXiv 2411.02038."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="simvq",
    title="Addressing Representation Collapse in Vector Quantized Models with One Linear Layer",
    arxiv="2411.02038",
    year=2024,
    wing="vision",
    lives_in=("orthant.nn.codebooks",),
    summary=(
        "Keeps a random codebook fixed and trains one linear map over it, so that every code moves whenever any code "
        "is used and none dies of neglect. Replace an ordinary vector quantizer with it when most of a large "
        "codebook goes unused. Its place in Orthant: a codebook module for autoencoders and residual stacks, which "
        "bakes down to a plain matrix."
    ),
    keywords=("vector quantization", "codebook collapse", "codebook utilization", "reparametrization", "tokenizer"),
    status="planned",
    claims=(),
)
