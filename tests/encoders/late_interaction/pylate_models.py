"""Tiny folders in the layouts of PyLate and of the first ColBERT code, written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from encoders.tiny_models import VOCABULARY, WIDTH, bert_weights, tokenizer_json, write_tiny_bert

ADDED = ("[Q] ", "[D] ")
LIBRARY = "pylate.models.Dense.Dense"
MARKERS = ("##!", "##-")
"""Tokens that no text has, as [unused0] is."""
IDENTITY = "torch.nn.modules.linear.Identity"


def _grown_tokenizer() -> str:
    settings = json.loads(tokenizer_json())
    flags = {"single_word": False, "lstrip": False, "rstrip": False}
    special = [{"id": i, "content": VOCABULARY[i], **flags, "normalized": False, "special": True} for i in range(5)]
    added = [
        {"id": len(VOCABULARY) + i, "content": token, **flags, "normalized": True, "special": False}
        for i, token in enumerate(ADDED)
    ]
    return json.dumps({**settings, "added_tokens": [*special, *added]})


def grown_weights(seed: int = 0) -> dict[str, np.ndarray]:
    weights = bert_weights(seed)
    more = np.random.default_rng(seed + 1).standard_normal((len(ADDED), WIDTH)).astype(np.float32)
    name = "embeddings.word_embeddings.weight"
    return {**weights, name: np.concatenate([weights[name], more * 0.2])}


def dense(inner: int, outer: int, *, seed: int = 3, **config: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Settings and weights of a Dense as PyLate saves it."""
    rng = np.random.default_rng(seed)
    settings = {
        "in_features": inner, "out_features": outer, "bias": False, "activation_function": IDENTITY,
        "use_residual": False, **config,
    }  # fmt: skip
    tensors = {"linear.weight": rng.standard_normal((outer, inner)).astype(np.float32) / 4}
    if settings["bias"]:
        tensors["linear.bias"] = rng.standard_normal(outer).astype(np.float32)
    if settings["use_residual"] and inner != outer:
        tensors["residual.weight"] = rng.standard_normal((outer, inner)).astype(np.float32) / 4
    return settings, tensors


def write_pylate(folder: Path, *, layers: list | None = None, seed: int = 0, **settings: Any) -> Path:
    """Write a model in PyLate's layout; a setting of ... is left out."""
    write_tiny_bert(folder, weights=grown_weights(seed), config={"vocab_size": len(VOCABULARY) + len(ADDED)})
    (folder / "tokenizer.json").write_text(_grown_tokenizer())
    own = {
        "model_type": "ColBERT", "prompts": {"query": "", "document": ""}, "default_prompt_name": None,
        "similarity_fn_name": "MaxSim", "query_prefix": ADDED[0], "document_prefix": ADDED[1], "query_length": 14,
        "document_length": 20, "attend_to_expansion_tokens": False, "skiplist_words": [".", ",", "?"],
        "do_query_expansion": True, **settings,
    }  # fmt: skip
    own = {name: value for name, value in own.items() if value is not ...}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(own))
    entries = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    for i, (config, tensors) in enumerate([dense(WIDTH, 12)] if layers is None else layers, start=1):
        entries.append({"idx": i, "name": str(i), "path": f"{i}_Dense", "type": LIBRARY})
        (folder / f"{i}_Dense").mkdir()
        (folder / f"{i}_Dense" / "config.json").write_text(json.dumps(config))
        save_file(tensors, folder / f"{i}_Dense" / "model.safetensors", metadata={"format": "pt"})
    (folder / "modules.json").write_text(json.dumps(entries))
    return folder


def write_stanford(folder: Path, *, seed: int = 0, **metadata: Any) -> Path:
    """Write a checkpoint of the first ColBERT code: one file of weights, and its settings in artifact.metadata."""
    weights = {f"bert.{name}": array for name, array in bert_weights(seed).items()}
    weights["linear.weight"] = dense(WIDTH, 12)[1]["linear.weight"]
    write_tiny_bert(folder, weights=weights, config={"architectures": ["HF_ColBERT"]})
    for name in ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"):
        (folder / name).unlink()
    own = {
        "query_token_id": MARKERS[0], "doc_token_id": MARKERS[1], "query_token": "[Q]", "doc_token": "[D]", "dim": 12,
        "query_maxlen": 14, "doc_maxlen": 20, "similarity": "cosine", "mask_punctuation": True,
        "attend_to_mask_tokens": False, "interaction": "colbert", "nbits": 2, "lr": 1e-5, **metadata,
    }  # fmt: skip
    (folder / "artifact.metadata").write_text(json.dumps({k: v for k, v in own.items() if v is not ...}))
    return folder
