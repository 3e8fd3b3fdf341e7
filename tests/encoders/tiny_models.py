"""Small models with random weights, written without torch, and objects that only look like models."""

from __future__ import annotations

import json
import string
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

LETTERS = string.ascii_lowercase + string.digits + ".,'?!-"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{c}" for c in LETTERS)]
WIDTH, LAYERS, HEADS, INNER, POSITIONS = 32, 2, 4, 64, 64


def bert_weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Weights of a two-layer BERT by their usual names, wide enough that texts differ clearly."""
    rng = np.random.default_rng(seed)

    def matrix(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * 0.2).astype(np.float32)

    w = {f"embeddings.{part}_embeddings.weight": matrix(rows, WIDTH) for part, rows in
         (("word", len(VOCABULARY)), ("position", POSITIONS), ("token_type", 2))}  # fmt: skip
    shapes = {"attention.self.query": (WIDTH, WIDTH), "attention.self.key": (WIDTH, WIDTH),
              "attention.self.value": (WIDTH, WIDTH), "attention.output.dense": (WIDTH, WIDTH),
              "intermediate.dense": (INNER, WIDTH), "output.dense": (WIDTH, INNER)}  # fmt: skip
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        for name, shape in shapes.items():
            w[f"encoder.layer.{layer}.{name}.weight"] = matrix(*shape)
            w[f"encoder.layer.{layer}.{name}.bias"] = matrix(shape[0])
        norms += [f"encoder.layer.{layer}.{name}.LayerNorm" for name in ("attention.output", "output")]
    for name in norms:
        w[f"{name}.weight"], w[f"{name}.bias"] = 1 + matrix(WIDTH), matrix(WIDTH)
    return w


def tokenizer_json() -> str:
    """A letter-by-letter WordPiece tokenizer in the usual BERT set-up."""
    special = {name: VOCABULARY.index(name) for name in ("[CLS]", "[SEP]")}
    return json.dumps({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 20, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 20}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                    "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": [],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
                           "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                                      {"Sequence": {"id": "A", "type_id": 0}},
                                      {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
                           "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                           "special_tokens": {k: {"id": k, "ids": [v], "tokens": [k]} for k, v in special.items()}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": {word: i for i, word in enumerate(VOCABULARY)}},
    })  # fmt: skip


def write_tiny_bert(
    folder: Path, *, window: int = 24, pooling: str = "mean", normalize: bool = True, seed: int = 0,
    prompts: dict[str, str] | None = None, config: dict | None = None, weights: dict[str, np.ndarray] | None = None,
) -> Path:  # fmt: skip
    """Write a sentence-transformers folder of a tiny BERT and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "model_type": "bert", "architectures": ["BertModel"], "hidden_act": "gelu", "hidden_size": WIDTH,
        "intermediate_size": INNER, "layer_norm_eps": 1e-12, "max_position_embeddings": POSITIONS,
        "num_attention_heads": HEADS, "num_hidden_layers": LAYERS, "pad_token_id": 0, "type_vocab_size": 2,
        "vocab_size": len(VOCABULARY), **(config or {}),
    }  # fmt: skip
    modules = ["Transformer", "Pooling"] + (["Normalize"] if normalize else [])
    paths = ["", "1_Pooling", "2_Normalize"]
    files = {
        "config.json": settings,
        "sentence_bert_config.json": {"max_seq_length": window, "do_lower_case": False},
        "tokenizer_config.json": {"tokenizer_class": "BertTokenizer", "model_max_length": window, "unk_token": "[UNK]",
                                  "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]",
                                  "mask_token": "[MASK]"},
        "modules.json": [{"idx": i, "name": str(i), "path": paths[i], "type": f"sentence_transformers.models.{name}"}
                         for i, name in enumerate(modules)],
        "1_Pooling/config.json": {"word_embedding_dimension": WIDTH, "pooling_mode_cls_token": pooling == "cls",
                                  "pooling_mode_mean_tokens": pooling == "mean",
                                  "pooling_mode_max_tokens": pooling == "max"},
        "config_sentence_transformers.json": {"prompts": prompts or {}, "default_prompt_name": None},
    }  # fmt: skip
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "2_Normalize").mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
    (folder / "tokenizer.json").write_text(tokenizer_json())
    save_file(bert_weights(seed) if weights is None else weights, folder / "model.safetensors")
    return folder


class FakeSentenceTransformer:
    """Looks like the real class: letter counts as vectors, weights to hash, prompts by role."""

    max_seq_length = 8
    prompts = {"query": "q: ", "document": ""}

    def __init__(self, seed: int = 0) -> None:
        self.table = np.random.default_rng(seed).standard_normal((128, 6)).astype(np.float32)
        self.calls: list[str] = []

    def get_sentence_embedding_dimension(self) -> int:
        return 6

    def state_dict(self) -> dict[str, np.ndarray]:
        return {"table": self.table}

    def tokenizer(self, texts, **settings):
        return {"input_ids": [list(text.encode()) for text in texts]}

    def encode(self, texts, *, batch_size, show_progress_bar, convert_to_numpy):
        self.calls.append("encode")
        cut = [text.encode()[: self.max_seq_length] for text in texts]
        return np.stack([self.table[[c % 128 for c in one] or [0]].mean(axis=0) for one in cut]).astype(np.float64)
