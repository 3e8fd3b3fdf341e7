"""A tiny model of sentence-transformers and pairs to train it on."""

from __future__ import annotations

import numpy as np
import torch

_WORDS = "red green blue small large old new round flat warm cold bright stone river cloud tree house road bird fish"
WORDS = _WORDS.split(" ")


def tiny_folder(folder, seed=0, *, dropout=0.1):
    """A BERT of two layers and 32 dimensions over a vocabulary of words, as transformers keeps it."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", *WORDS])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]", model_max_length=16)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_encoder(folder, *, dimensions=None):
    """The model of a folder with mean pooling."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    transformer = Transformer(str(folder))
    return SentenceTransformer(modules=[transformer, Pooling(32)], device="cpu")


def pairs(rows=40, seed=0):
    """Pairs that share words, as a list of dicts."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(rows):
        words = list(rng.choice(WORDS, size=6, replace=False))
        out.append({"anchor": " ".join(words[:4]), "positive": " ".join(words[1:])})
    return out
