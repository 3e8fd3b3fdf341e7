"""The `label-shift` row of the catalogue: arXiv 2207.13179."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="label-shift",
    title="Unsupervised Learning under Latent Label Shift",
    arxiv="2207.13179",
    year=2022,
    wing="space",
    lives_in=("orthant.transforms.label_shift",),
    summary=(
        "Finds hidden classes in unlabelled data that comes from several sources: groups of points whose shares rise "
        "and fall together across sources belong together, even if they do not form clusters. Applies when the "
        "mixture differs by shop, month or site while each class looks alike everywhere; needs at least as many "
        "sources as classes. Its place in Orthant: an estimator over any embedding matrix plus a source column, "
        "returning class probabilities and each source's mix."
    ),
    keywords=(
        "unsupervised classification",
        "domain shift",
        "non-negative matrix factorization",
        "topic modelling",
        "class priors",
    ),
    status="planned",
    claims=(),
)
