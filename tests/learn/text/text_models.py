"""Tiny text models with random weights for the tests of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from encoders.tiny_models import VOCABULARY, write_tiny_bert

TEXTS = ["a cat", "the lighthouse keeper wrote no diary", "dog, or 7 dogs?", "x"]


def tokenizer_folder(folder: Path) -> Path:
    """A folder with a letter-by-letter tokenizer, beside a tiny BERT."""
    return write_tiny_bert(folder / "bert", window=24)


def decoder_config(kind: str) -> Any:
    import transformers

    size = len(VOCABULARY)
    wide = {"vocab_size": size, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
    rope = {**wide, "num_key_value_heads": 2, "intermediate_size": 64, "max_position_embeddings": 64}
    narrow = {"vocab_size": size, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64}
    settings = {
        "Qwen2": rope,
        "Mistral": rope,
        "GPT2": narrow,
        "OpenAIGPT": narrow,
        "OPT": {**wide, "ffn_dim": 64, "word_embed_proj_dim": 32, "max_position_embeddings": 64},
    }
    return getattr(transformers, f"{kind}Config")(**settings[kind])
