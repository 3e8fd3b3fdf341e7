"""The `seqpe` row of the catalogue: arXiv 2506.13277."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="seqpe",
    title="SeqPE: Transformer with Sequential Position Encoding",
    arxiv="2506.13277",
    year=2025,
    wing="text",
    lives_in=("orthant.nn.positions",),
    summary=(
        "Writes a position as its digits and lets a tiny transformer read them into a position vector, trained along "
        "with two extra losses that keep distances orderly and carry over to lengths not seen. One scheme for lines "
        "of text and grids of patches; rotary positions are the plainer choice if lengths stay in range. Its place "
        "in Orthant: a position module for the encoders trained here, tabulated once for inference."
    ),
    keywords=("position encoding", "length extrapolation", "digits", "two-dimensional positions", "transformer"),
    status="planned",
    claims=(),
)
