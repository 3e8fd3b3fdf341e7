"""The `word-to-multimodal-survey` row of the catalogue: arXiv 2411.05036."""

from __future__ import annotations

from orthant.papers.record import Paper

PAPER = Paper(
    key="word-to-multimodal-survey",
    title=(
        "From Word Vectors to Multimodal Embeddings: Techniques, Applications, and Future Directions For Large "
        "Language Models"
    ),
    arxiv="2411.05036",
    year=2024,
    wing="space",
    lives_in=("orthant.encoders.words", "orthant.evaluation"),
    summary=(
        "A map of the field from counts and word2vec to contextual and cross-modal encoders, with its side roads: "
        "topics, numbers, compression, bias. Start here to know which classical method a newer one should be "
        "compared with. Its place in Orthant: the base shelf that a comparison needs (weighted counts, skip-gram, "
        "GloVe, subword vectors, document averages) with intrinsic and bias tests."
    ),
    keywords=("survey", "word2vec", "GloVe", "fastText", "bias", "topic models", "intrinsic evaluation"),
    status="planned",
    claims=(),
)
