"""A tiny deterministic encoder and a naive model of a collection, for tests of storage rather than of meaning."""

from __future__ import annotations

import re
import zlib
from typing import Any

import numpy as np

from orthant.types import EncodeReport, Ragged

DIM = 16


class FakeEncoder:
    """Hashes words to directions; equal texts get equal vectors on every machine."""

    max_tokens = 32

    def __init__(self, dim: int = DIM, seed: int = 0, *, fingerprint: str | None = None) -> None:
        self.dim = dim
        self.seed = seed
        self.fingerprint = fingerprint or f"fake:{dim}:{seed}"
        self._known: dict[str, np.ndarray] = {}

    def _word(self, word: str) -> np.ndarray:
        if word not in self._known:
            rng = np.random.default_rng(zlib.crc32(f"{self.seed}:{word}".encode()))
            self._known[word] = rng.standard_normal(self.dim).astype(np.float32)
        return self._known[word]

    def encode(self, items: Any, *, role: str = "document", batch_size: int = 64, progress: bool = False) -> np.ndarray:
        return self.encode_with_report(items, role=role)[0]

    def encode_with_report(
        self, items: Any, *, role: str = "document", batch_size: int = 64, progress: bool = False
    ) -> tuple[np.ndarray, EncodeReport]:
        X = np.zeros((len(items), self.dim), dtype=np.float32)
        cut = 0
        for x, item in zip(X, items, strict=True):
            words = re.findall(r"\w+", item.lower())
            cut += max(0, len(words) - self.max_tokens)
            for word in words[: self.max_tokens]:
                x += self._word(word)
            norm = np.sqrt(x @ x)
            x /= norm if norm else 1
        return X, EncodeReport(items=len(items), truncated_tokens=cut)


class FakeSparseEncoder:
    """Gives every word a term and a weight by its hash; equal texts get equal weights on every machine."""

    dim = 997
    fingerprint = "fake-sparse:997"
    vocabulary = None

    def encode_sparse(self, items: Any, *, role: str = "document", batch_size: int = 64) -> Any:
        from orthant.encoders.sparse.rows import as_sparse_rows

        rows = []
        for item in items:
            hashes = [zlib.crc32(word.encode()) for word in re.findall(r"\w+", item.lower())]
            rows.append({code % self.dim: 0.5 + code % 7 for code in hashes})
        return as_sparse_rows(rows, dim=self.dim).to_csr()


WORDS = (
    *("amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "harbor"),
    *("inlet", "juniper", "kelp", "lagoon", "meadow", "nectar", "orchid", "pebble"),
)


def text_of(rng: np.random.Generator, words: int = 6) -> str:
    return " ".join(rng.choice(WORDS, size=words))


def naive_scores(q: np.ndarray, X: np.ndarray, metric: str) -> np.ndarray:
    """Return float64 scores of a query against rows: the truth that searches are compared with."""
    q, X = q.astype(np.float64), X.astype(np.float64)
    if metric == "l2":
        return -((X - q) ** 2).sum(axis=1)
    scores = X @ q
    if metric == "cosine":
        scores = scores / (np.linalg.norm(X, axis=1) * np.linalg.norm(q))
    return scores


class FakeTokenEncoder:
    """One direction per word, as `FakeEncoder` has them; a text gives as many as it has words."""

    def __init__(self, dim: int = 8, *, fingerprint: str = "fake-tokens") -> None:
        self.dim = dim
        self.fingerprint = fingerprint
        self.encoded: list[str] = []
        self._words = FakeEncoder(dim)

    def encode_tokens(self, items: Any, *, role: str = "document", batch_size: int = 64) -> Ragged:
        self.encoded += items if role == "document" else []
        rows = [[self._unit(word) for word in words] for words in self.token_texts(items, role=role)]
        values = np.array([x for row in rows for x in row], dtype=np.float32).reshape(-1, self.dim)
        return Ragged(values, np.cumsum([0, *map(len, rows)], dtype=np.int64))

    def _unit(self, word: str) -> np.ndarray:
        x = self._words._word(word)
        return x / np.sqrt(x @ x)

    def token_texts(self, items: Any, *, role: str = "document") -> list[list[str]]:
        return [re.findall(r"\w+", item.lower()) for item in items]
