"""The `defsent-plus` row of the catalogue: arXiv 2405.16153."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="defsent-plus",
    title=(
        "DefSent+: Improving sentence embeddings of language models by projecting definition sentences into a "
        "quasi-isotropic or isotropic vector space of unlimited dictionary entries"
    ),
    arxiv="2405.16153",
    year=2024,
    wing="text",
    lives_in=("orthant.learn.text.definitions",),
    summary=(
        "Improves sentence vectors from a dictionary alone: each entry gets a vector averaged from its encoded "
        "definitions, the encoder learns to find the entry for a definition, and the improved encoder then rebuilds "
        "the entries for another round. Suits glossaries, ontologies and product manuals where terms have "
        "definitions and nobody has labelled similarity. Its place in Orthant: a recipe that takes terms with "
        "definitions, with optional whitening between rounds."
    ),
    keywords=("dictionary definitions", "glossary", "isotropy", "whitening", "unsupervised sentence embeddings"),
    status="planned",
    claims=(),
)
