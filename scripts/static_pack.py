"""Turn a trained float table into the shipped artefact: smaller vocabulary, 4-bit codes, tokenizer, notices."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

_DROPPED = re.compile(r"\[(unused\d+|PAD|CLS|SEP|MASK)\]")


def kept_tokens(vocabulary: dict[str, int]) -> list[tuple[str, int]]:
    """Tokens that text can produce, the unknown token first, with their ids in the teacher's vocabulary."""
    kept = [(token, place) for token, place in vocabulary.items() if not _DROPPED.fullmatch(token)]
    return sorted(kept, key=lambda item: (item[0] != "[UNK]", item[1]))


def tokenizer_json(tokens: list[str]) -> str:
    """An uncased WordPiece ``tokenizer.json`` over these tokens, without special tokens."""
    record = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {
            "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
            "strip_accents": None, "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": None,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": {token: place for place, token in enumerate(tokens)},
        },
    }  # fmt: skip
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def four_bit_levels(values: np.ndarray, rounds: int = 40) -> np.ndarray:
    """Sixteen levels of least squared error for values whose rows have unit deviation (Lloyd's algorithm)."""
    levels = np.quantile(values, (np.arange(16) + 0.5) / 16)
    for _ in range(rounds):
        places = np.digitize(values, (levels[1:] + levels[:-1]) / 2)
        levels = np.bincount(places, values, 16) / np.maximum(np.bincount(places, minlength=16), 1)
    return levels


def quantize(table: np.ndarray, rounds: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Packed 4-bit codes (V, d / 2), one scale per row, and the sixteen int8 levels.

    Levels are fitted once on all rows; each row's scale is then the least-squares one for its codes.
    """
    scales = np.maximum(table.std(1), 1e-8)
    sample = (table / scales[:, None])[:: max(1, len(table) // 4_000)].ravel()
    fitted = four_bit_levels(sample)
    unit = 127.0 / np.abs(fitted).max()
    levels = np.unique(np.round(fitted * unit)).astype(np.int8)
    edges = (levels[1:].astype(np.float64) + levels[:-1]) / 2
    scales = scales / unit
    for _ in range(rounds):
        codes = np.digitize(table / scales[:, None], edges)
        values = levels[codes].astype(np.float64)
        scales = np.maximum((values * table).sum(1) / np.maximum((values * values).sum(1), 1e-8), 1e-12)
    codes = np.digitize(table / scales[:, None], edges).astype(np.uint8)
    return codes[:, 0::2] | (codes[:, 1::2] << 4), scales.astype(np.float32), levels


def write_golden(path: Path, encode: Callable[[list[str]], np.ndarray], fingerprint: str) -> None:
    """Keep the first components of a few vectors, so that a test notices when stored vectors would no longer match."""
    texts = [
        "a lighthouse keeper's diary",
        "def mean(values): return sum(values) / len(values)",
        "caf\u00e9 \u4f60\u597d 42",
    ]
    record = {"fingerprint": fingerprint, "texts": texts, "first_components": encode(texts)[:, :8].round(6).tolist()}
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def write_notices(folder: Path, readme: str) -> None:
    """Put the licence of the weights and the account of the table beside it."""
    licence = Path(__file__).resolve().parent.parent / "LICENSE"
    (folder / "LICENSE").write_text(licence.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "README.md").write_text(readme, encoding="utf-8")
