"""The `crisp` row of the catalogue: arXiv 2505.11471."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="crisp",
    title="CRISP: Clustering Multi-Vector Representations for Denoising and Pruning",
    arxiv="2505.11471",
    year=2025,
    wing="search",
    lives_in=("orthant.learn.text.multivector", "orthant.nn.poolings", "orthant.index.multivector"),
    summary=(
        "Runs k-means over each text's own token vectors inside the forward pass, so a late-interaction encoder "
        "learns tokens that survive being replaced by a few centroids. Choose it when you can fine-tune the encoder "
        "and token storage is what hurts; on a frozen encoder the same clustering after the fact is the cheaper, "
        "weaker option. Its place in Orthant: a pooling for multi-vector training, with a NumPy twin that thins any "
        "stored token set."
    ),
    keywords=("late interaction", "token pruning", "k-means", "multi-vector", "storage", "denoising"),
    status="planned",
    claims=(),
)
