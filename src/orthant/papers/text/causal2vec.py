"""The `causal2vec` row of the catalogue: arXiv 2507.23386."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="causal2vec",
    title="Causal2Vec: Improving Decoder-only LLMs as Versatile Embedding Models",
    arxiv="2507.23386",
    year=2025,
    wing="text",
    lives_in=("orthant.learn.text.causal", "orthant.nn.poolings"),
    summary=(
        "Leaves a left-to-right language model as it is and hands it a summary up front: a small two-way encoder "
        "reads the text, its pooled state becomes one extra first token, and the embedding joins the states at that "
        "token and at the end. Keeps the fast kernels and caches of a causal model and allows shorter inputs. Its "
        "place in Orthant: a two-encoder text model and its paired pooling."
    ),
    keywords=("causal attention", "contextual token", "decoder embedding", "last-token pooling", "efficiency"),
    status="planned",
    claims=(),
)
