"""Small, slow, obviously right implementations of the protocols: they keep the suites honest."""

from __future__ import annotations

import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orthant.artifact import read_artifact, write_artifact
from orthant.errors import DimensionError, DtypeError, InputError, message
from orthant.estimator import Estimator, check_is_fitted
from orthant.types import EncodeReport
from orthant.validate import as_texts, as_vectors, check_choice, check_count, check_metric


class HashingEncoder:
    """Counts of hashed words, at unit length; a text without words gets the first axis."""

    max_tokens = 64

    def __init__(self, dim: int = 32) -> None:
        self.dim = dim
        self.fingerprint = f"reference-hashing/{dim}"

    def encode(self, items, *, role="document", batch_size=64, progress=False):
        return self.encode_with_report(items, role=role, batch_size=batch_size, progress=progress)[0]

    def encode_with_report(self, items, *, role="document", batch_size=64, progress=False):
        begun = time.perf_counter()
        check_choice(role, ("query", "document"), name="role")
        size = check_count(batch_size, name="batch_size")
        texts = as_texts(items, name="items")
        parts = [self._batch(texts[i : i + size]) for i in range(0, len(texts), size)]
        out = np.concatenate(parts) if parts else np.zeros((0, self.dim), dtype=np.float32)
        cut = [max(0, len(text.split()) - self.max_tokens) for text in texts]
        return out, EncodeReport(
            items=len(texts),
            truncated_items=sum(c > 0 for c in cut),
            truncated_tokens=sum(cut),
            empty_items=sum(not text.split() for text in texts),
            seconds=time.perf_counter() - begun,
        )

    def _batch(self, texts: list[str]) -> np.ndarray:
        out = np.zeros((len(texts), self.dim), dtype=np.float32)
        for row, text in zip(out, texts, strict=True):
            for word in text.split()[: self.max_tokens]:
                row[zlib.crc32(word.lower().encode()) % self.dim] += 1
            if not row.any():
                row[0] = 1
        return out / np.linalg.norm(out, axis=1, keepdims=True)


class Centering(Estimator):
    """Subtracts the mean of what it was fitted on."""

    def __init__(self, *, factor: float = 1.0) -> None:
        self.factor = factor

    def fit(self, X, y=None, *, queries=None):
        matrix = _at_least_one(as_vectors(X))
        self.mean_ = matrix.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.n_features_in_ = matrix.shape[1]
        return self

    def transform(self, X):
        check_is_fitted(self)
        return (as_vectors(X, dim=self.n_features_in_) - self.mean_) * np.float32(self.factor)

    def save(self, path: str | Path) -> None:
        check_is_fitted(self)
        write_artifact(path, kind="transform.centering", arrays={"mean": self.mean_}, config={"factor": self.factor})

    @classmethod
    def load(cls, path: str | Path) -> Centering:
        arrays, config = read_artifact(path, kind="transform.centering")
        out = cls(factor=config["factor"])
        out.mean_ = arrays["mean"]
        out.n_features_in_ = len(out.mean_)
        return out


class EightBit(Estimator):
    """One byte per value between the row's own minimum and maximum, which stand in front as float32."""

    def __init__(self, *, levels: int = 255) -> None:
        self.levels = levels

    def fit(self, X, y=None, *, queries=None):
        self.n_features_in_ = _at_least_one(as_vectors(X)).shape[1]
        return self

    @property
    def code_size(self) -> int:
        check_is_fitted(self)
        return self.n_features_in_ + 8

    def encode(self, X):
        check_is_fitted(self)
        matrix = as_vectors(X, dim=self.n_features_in_)
        low, high = matrix.min(axis=1, keepdims=True), matrix.max(axis=1, keepdims=True)
        step = np.maximum((high - low) / self.levels, np.finfo(np.float32).tiny).astype(np.float32)
        levels = np.clip(np.rint((matrix - low) / step), 0, self.levels).astype(np.uint8)
        head = np.concatenate([low, step], axis=1).astype("<f4").view(np.uint8)
        return np.ascontiguousarray(np.concatenate([head, levels], axis=1))

    def decode(self, codes):
        check_is_fitted(self)
        codes = self._codes(codes)
        head = np.ascontiguousarray(codes[:, :8]).view("<f4")
        return (head[:, :1] + codes[:, 8:] * head[:, 1:]).astype(np.float32)

    def score(self, Q, codes, *, metric):
        check_is_fitted(self)
        check_metric(metric)
        queries = as_vectors(Q, dim=self.n_features_in_).astype(np.float64)
        return naive_scores(queries, self.decode(codes), metric).astype(np.float32)

    def _codes(self, codes: Any) -> np.ndarray:
        codes = np.asarray(codes)
        if codes.dtype != np.uint8:
            raise DtypeError(message(f"codes of dtype {codes.dtype}", "uint8", "pass what encode returned"))
        if codes.ndim != 2 or codes.shape[1] != self.code_size:
            raise DimensionError(
                message(f"codes of shape {codes.shape}", f"(n, {self.code_size})", "pass what encode returned")
            )
        return codes


def _at_least_one(X: np.ndarray) -> np.ndarray:
    if not len(X):
        raise InputError(message("no vectors to fit on", "at least one", "pass some"))
    return X


def naive_scores(Q: np.ndarray, X: np.ndarray, metric: str) -> np.ndarray:
    """All scores in float64, one query at a time, by the definition."""
    out = np.zeros((len(Q), len(X)))
    X = np.asarray(X, dtype=np.float64)
    for i, q in enumerate(np.asarray(Q, dtype=np.float64)):
        if metric == "l2":
            out[i] = -((X - q) ** 2).sum(axis=1)
            continue
        out[i] = (X * q).sum(axis=1)
        if metric == "cosine":
            lengths = np.sqrt((X**2).sum(axis=1)) * np.sqrt((q**2).sum())
            out[i] = np.divide(out[i], lengths, out=np.zeros(len(X)), where=lengths > 0)
    return out


def naive_search(X: np.ndarray, ids: np.ndarray, Q: np.ndarray, k: int, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """The k best of each query, equal float32 scores by the smaller id, padded."""
    out_ids = np.full((len(Q), k), -1, dtype=np.int64)
    out_scores = np.full((len(Q), k), -np.inf, dtype=np.float32)
    for i, row in enumerate(naive_scores(Q, X, metric).astype(np.float32)):
        best = sorted(zip(-row, ids, strict=True))[:k]
        for j, (score, name) in enumerate(best):
            out_ids[i, j], out_scores[i, j] = name, -score
    return out_ids, out_scores


def must_reject(check, case) -> None:
    """Fail unless the check finds fault with the case."""
    with pytest.raises((Exception, pytest.fail.Exception)) as caught:
        check(case)
    assert not isinstance(caught.value, (NameError, KeyError)), "the check itself is at fault"
