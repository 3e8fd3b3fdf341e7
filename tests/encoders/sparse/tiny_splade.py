"""A tiny random SPLADE model as a folder, made without torch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from encoders.tiny_models import VOCABULARY, WIDTH, bert_weights, tokenizer_json, write_tiny_bert

TERMS = len(VOCABULARY)
_HOME = "sentence_transformers.sparse_encoder.modules"


def head_weights(seed: int = 1) -> dict[str, np.ndarray]:
    """Return the head of a masked language model whose decoder is tied to the table of words."""
    rng = np.random.default_rng(seed)
    shapes = {"transform.dense.weight": (WIDTH, WIDTH), "transform.dense.bias": (WIDTH,), "bias": (TERMS,)}
    arrays = {f"cls.predictions.{name}": rng.standard_normal(shape) * 0.5 for name, shape in shapes.items()}
    arrays["cls.predictions.transform.LayerNorm.weight"] = 1 + rng.standard_normal(WIDTH) * 0.1
    arrays["cls.predictions.transform.LayerNorm.bias"] = rng.standard_normal(WIDTH) * 0.1
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def write_tiny_splade(folder: Path, *, pooling: str = "max", activation: str = "relu", seed: int = 0) -> Path:
    """Write a folder as ``SparseEncoder.save_pretrained`` does and return it."""
    weights = {f"bert.{name}": array for name, array in bert_weights(seed).items()} | head_weights(seed + 1)
    write_tiny_bert(folder, weights=weights, config={"architectures": ["BertForMaskedLM"]})
    for name in ("1_Pooling", "2_Normalize"):
        shutil.rmtree(folder / name)
    kinds = (("", f"{_HOME}.mlm_transformer.MLMTransformer"), ("1_Splade", f"{_HOME}.splade_pooling.SpladePooling"))
    modules = [{"idx": i, "name": str(i), "path": path, "type": kind} for i, (path, kind) in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Splade").mkdir()
    settings = {"pooling_strategy": pooling, "activation_function": activation, "embedding_dimension": None}
    (folder / "1_Splade" / "config.json").write_text(json.dumps(settings))
    config = {"model_type": "SparseEncoder", "prompts": {"query": "", "document": ""}, "default_prompt_name": None}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(config))
    transformer = {
        "transformer_task": "fill-mask",
        "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
        "module_output_name": "token_embeddings",
        "max_seq_length": 24,
    }
    (folder / "sentence_bert_config.json").write_text(json.dumps(transformer))
    return folder


def write_inference_free(folder: Path, weights: np.ndarray | None = None) -> Path:
    """Write a router whose queries are weighted by a table and whose documents by a tiny SPLADE model."""
    folder.mkdir(parents=True)
    inner = write_tiny_splade(folder / "scratch")
    document, pooling, query = "document_0_MLMTransformer", "document_1_SpladePooling", "query_0_SparseStaticEmbedding"
    (inner / "1_Splade").rename(folder / pooling)
    (inner / "config_sentence_transformers.json").rename(folder / "config_sentence_transformers.json")
    (inner / "modules.json").unlink()
    inner.rename(folder / document)
    (folder / query).mkdir()
    table = np.random.default_rng(3).random(TERMS).astype(np.float32) if weights is None else weights
    save_file({"weight": table}, folder / query / "model.safetensors")
    (folder / query / "tokenizer.json").write_text(tokenizer_json())
    shutil.copy(folder / document / "tokenizer_config.json", folder / query / "tokenizer_config.json")
    (folder / query / "config.json").write_text(json.dumps({"frozen": False}))
    types = {
        query: f"{_HOME}.sparse_static_embedding.SparseStaticEmbedding",
        document: f"{_HOME}.mlm_transformer.MLMTransformer",
        pooling: f"{_HOME}.splade_pooling.SpladePooling",
    }
    routes = {"query": [query], "document": [document, pooling]}
    parameters = {"default_route": "document", "allow_empty_key": True, "route_mappings": {}}
    router = {"types": types, "structure": routes, "parameters": parameters}
    (folder / "router_config.json").write_text(json.dumps(router))
    kind = "sentence_transformers.base.modules.router.Router"
    (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": kind}]))
    return folder
