"""The `frozen-glyphs` row of the catalogue: arXiv 2507.04886."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="frozen-glyphs",
    title=("Emergent Semantics Beyond Token Embeddings: Transformer LMs with Frozen Visual Unicode Representations"),
    arxiv="2507.04886",
    year=2025,
    wing="space",
    lives_in=("orthant.encoders.glyphs", "orthant.learn.text.glyphs"),
    summary=(
        "Replaces the learned input table of a language model with drawings: each character's rendered shape is "
        "compressed to a vector that is never trained, and meaning has to arise in the layers above. Interesting "
        "when one input table must serve every script and many models; it is no shortcut to better search by itself. "
        "Its place in Orthant: a glyph table and encoder without torch, and a frozen-input option for encoders "
        "trained from scratch."
    ),
    keywords=("Unicode", "frozen embeddings", "glyph rendering", "tokenizer", "multilingual", "language model"),
    status="planned",
    claims=(),
)
