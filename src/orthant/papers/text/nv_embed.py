"""The `nv-embed` row of the catalogue: arXiv 2405.17428."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="nv-embed",
    title="NV-Embed: Improved Techniques for Training LLMs as Generalist Embedding Models",
    arxiv="2405.17428",
    year=2024,
    wing="text",
    lives_in=("orthant.nn.poolings", "orthant.learn.text.recipes"),
    summary=(
        "Makes a general embedder out of a decoder: attention in both directions, a pooling in which token states "
        "look up a learned dictionary of latent vectors, and two rounds of training, first on search data and then "
        "on everything mixed. For teams that already run such a model and want one encoder for search, clustering "
        "and classification. Its place in Orthant: latent-attention pooling for any backbone and the two-round "
        "curriculum as a recipe."
    ),
    keywords=(
        "decoder embedding",
        "latent attention pooling",
        "instruction tuning",
        "contrastive learning",
        "hard negatives",
        "MTEB",
    ),
    status="planned",
    claims=(),
)
