"""Items to vectors.

Texts and other items enter; float32 vectors and an encode report leave.
Never downloads a model, never picks an encoder silently.
Start with `registry.load_encoder`, then `static`.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "ApiEncoder": "api.encoder",
    "BinaryParagraphVectors": "words.paragraphs",
    "Binder": "records.binding",
    "CallableEncoder": "callable",
    "CallableSparseEncoder": "sparse.callable",
    "DisambiguatedSkipGram": "words.senses",
    "ConceptEncoder": "concepts.encoder",
    "ExplicitSemanticAnalysis": "concepts.association",
    "BitmapFont": "glyphs.font",
    "FieldRule": "records.rules",
    "Fingerprint": "fingerprint",
    "FoldedEncoder": "glyphs.encoder",
    "GlyphTable": "glyphs.table",
    "LateInteractionEncoder": "late_interaction.encoder",
    "LookalikeFolding": "glyphs.folding",
    "MaxSimReranker": "late_interaction.reranker",
    "Model2VecEncoder": "model2vec",
    "PictureTextEncoder": "composed.pictures",
    "ProjectedEncoder": "projected.encoder",
    "PromptDirection": "composed.prompt_direction",
    "RecordEncoder": "records.encoder",
    "SentenceTransformerEncoder": "sentence_transformers",
    "SentenceTransformerSparseEncoder": "sparse.sentence_transformers",
    "SpladeEncoder": "sparse.splade",
    "StaticEncoder": "static",
    "SubwordVectors": "words.wrapped",
    "TopicEncoder": "words.topics",
    "TransformerEncoder": "transformer",
    "UnicodeTokenizer": "glyphs.tokenizer",
    "WordReading": "glyphs.reading",
    "WordVectors": "words.vectors",
    "count_vectors": "words.skipgram",
    "debias": "words.debiasing",
    "encoder_names": "registry",
    "frequent_strings": "glyphs.tokenizer",
    "from_gensim": "words.wrapped",
    "load_encoder": "registry",
    "load_sparse_encoder": "registry",
    "load_token_encoder": "registry",
    "maxsim": "late_interaction.reranker",
    "read_corpus": "words.corpus",
    "read_font": "glyphs.font",
    "register_encoder_name": "registry",
    "train_skipgram": "words.skipgram",
    "train_with_gensim": "words.wrapped",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"orthant.encoders.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'orthant.encoders' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
