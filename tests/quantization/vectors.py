"""Vectors that the tests of codes share: real ones, heteroscedastic ones, and ill-shaped ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def real(root: Path, n: int = 4500) -> np.ndarray:
    return np.load(root / "minilm_short_texts" / "base.npy", mmap_mode="r")[:n].astype(np.float32)


def real_queries(root: Path, n: int = 200) -> np.ndarray:
    return np.load(root / "minilm_short_texts" / "queries_in.npy", mmap_mode="r")[:n].astype(np.float32)


def generated(n: int = 3000, dim: int = 96, seed: int = 0) -> np.ndarray:
    """Rows of very different length: what bounds for each dimension handle badly."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, dim)) * rng.lognormal(sigma=0.8, size=(n, 1))).astype(np.float32)


def ill_shaped(n: int = 1500, dim: int = 64) -> dict[str, np.ndarray]:
    from sklearn.datasets import load_digits

    rng = np.random.default_rng(1)
    normal = rng.standard_normal((n, dim))
    constant = normal.copy()
    constant[:, ::3] = 7
    out = {
        "digits": load_digits().data[:n],
        "heavy": rng.standard_t(2, (n, dim)),
        "constant": constant,
        "long": normal * 1e4 + 3e4,
        "tiny": normal * 1e-6,
        "sparse": normal * (rng.random((n, dim)) < 0.05),
    }
    return {name: X.astype(np.float32) for name, X in out.items()}


def nearest(scores: np.ndarray, k: int = 10) -> np.ndarray:
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def overlap(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), truth.tolist(), strict=True)]))
