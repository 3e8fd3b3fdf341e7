"""ScaNN, USearch and hnswlib as peers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from orthant.errors import InputError, message
from orthant.types import FloatArray, IdArray, Metric

Settings = dict[str, Any]
_EFFORTS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


def _padded(ids: Any, k: int) -> IdArray:
    found = np.full((len(ids), k), -1, dtype=np.int64)
    found[:, : ids.shape[1]] = np.asarray(ids)[:, :k].astype(np.int64)
    return found


class Scann:
    """ScaNN: a partition tree, with or without spilling (SOAR), anisotropic codes of 4 bits, re-ranking in full."""

    name = "scann"

    def __init__(self) -> None:
        self._index: Any = None

    def builds(self, n: int, dim: int) -> list[Settings]:
        """Sweep leaves, dimensions per code and spilling."""
        middle = max(1, min(2 ** round(np.log2(2 * np.sqrt(max(n, 1)))), n // 40))
        plain = {"leaves": middle, "block": 2, "soar": False}
        return [plain, plain | {"soar": True}, plain | {"block": 4}, plain | {"leaves": max(1, middle // 2)}]

    def build(self, X: FloatArray, metric: Metric, *, threads: int, settings: Settings) -> None:
        """Build the tree, the codes and the copy to re-rank from."""
        import scann

        measure = "squared_l2" if metric == "l2" else "dot_product"
        builder = scann.scann_ops_pybind.builder(X, 10, measure).set_n_training_threads(threads)
        if settings["leaves"] > 1:
            # Spilling is defined for inner products only.
            spilled = {"soar_lambda": 1.5, "overretrieve_factor": 2.0} if settings["soar"] and metric != "l2" else {}
            builder = builder.tree(
                num_leaves=settings["leaves"],
                num_leaves_to_search=1,
                training_sample_size=min(len(X), 250_000),
                **spilled,
            )
        threshold = 0.2 if metric != "l2" else float("nan")
        coded = builder.score_ah(settings["block"], anisotropic_quantization_threshold=threshold)
        self._index = coded.reorder(100).build()

    def paths(self, k: int) -> list[list[Settings]]:
        """Rise in the leaves searched, for each number of candidates that are re-ranked."""
        leaves = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
        return [[{"leaves": a, "reorder": k * f} for a in leaves] for f in (2, 4, 8, 15, 30)]

    def search(self, Q: FloatArray, k: int, setting: Settings, *, threads: int) -> IdArray:
        """Search one batch; one thread takes the call that has no pool."""
        call = self._index.search_batched if threads == 1 else self._index.search_batched_parallel
        ids, _ = call(Q, k, pre_reorder_num_neighbors=setting["reorder"], leaves_to_search=setting["leaves"])
        return _padded(ids, k)

    def save(self, folder: Path) -> bool:
        """Write the index."""
        self._index.serialize(str(folder))
        return True

    def load(self, folder: Path, X: FloatArray, metric: Metric, *, settings: Settings) -> None:
        """Read the index."""
        import scann

        self._index = scann.scann_ops_pybind.load_searcher(str(folder))

    def mapped_bytes(self) -> int:
        """Return 0: everything is in anonymous memory."""
        return 0


class UsearchFloat:
    """USearch over float32 vectors."""

    name = "usearch"
    _dtype = "f32"

    def __init__(self) -> None:
        self._index: Any = None
        self._X: FloatArray = np.empty((0, 1), dtype=np.float32)
        self._metric: Metric = "cosine"

    def builds(self, n: int, dim: int) -> list[Settings]:
        """Sweep the effort of the build and the degree."""
        return [{"connectivity": c, "expansion_add": e} for c, e in ((16, 128), (32, 128))]

    def _empty(self, dim: int, metric: Metric, settings: Settings) -> Any:
        from usearch.index import Index

        name = {"dot": "ip", "l2": "l2sq", "cosine": "cos" if self._dtype == "i8" else "ip"}[metric]
        return Index(
            ndim=dim,
            metric=name,
            dtype=self._dtype,
            connectivity=settings["connectivity"],
            expansion_add=settings["expansion_add"],
        )

    def _keep(self, X: FloatArray, metric: Metric) -> None:
        self._X, self._metric = X, metric
        if self._dtype == "i8" and metric != "cosine":
            # Its codes of 8 bits keep the direction of a vector and drop its length.
            raise InputError(message(f"metric {metric!r} for {self.name}", "'cosine'", "compare it on unit vectors"))

    def build(self, X: FloatArray, metric: Metric, *, threads: int, settings: Settings) -> None:
        """Add everything."""
        self._keep(X, metric)
        self._index = self._empty(X.shape[1], metric, settings)
        self._index.add(np.arange(len(X)), X, threads=threads)

    def paths(self, k: int) -> list[list[Settings]]:
        """Rise in the beam."""
        return [[{"ef": e, "rerank": 0} for e in _EFFORTS if e >= k]]

    def search(self, Q: FloatArray, k: int, setting: Settings, *, threads: int) -> IdArray:
        """Search one batch; with ``rerank`` so many times k candidates are scored from the full vectors."""
        self._index.expansion_search = setting["ef"]
        count = k * max(1, setting["rerank"])
        found = _padded(self._index.search(Q, count, threads=threads).keys.reshape(len(Q), -1), count)
        return _reranked(found, Q, self._X, self._metric)[:, :k] if setting["rerank"] else found

    def save(self, folder: Path) -> bool:
        """Write the index."""
        self._index.save(str(folder / "index.usearch"))
        return True

    def load(self, folder: Path, X: FloatArray, metric: Metric, *, settings: Settings) -> None:
        """Read the index."""
        self._keep(X, metric)
        self._index = self._empty(X.shape[1], metric, settings)
        self._index.load(str(folder / "index.usearch"))

    def mapped_bytes(self) -> int:
        """Return 0: everything is in anonymous memory."""
        return 0


def _reranked(found: IdArray, Q: FloatArray, X: FloatArray, metric: Metric) -> IdArray:
    rows = X[np.maximum(found, 0)]
    if metric == "l2":
        rows = rows - Q[:, None, :]
        scores = -np.einsum("qkd,qkd->qk", rows, rows)
    else:
        scores = (rows @ Q[:, :, None])[:, :, 0]
    scores[found < 0] = -np.inf
    return np.take_along_axis(found, np.argsort(-scores, axis=1, kind="stable"), 1)


class UsearchInt8(UsearchFloat):
    """USearch over codes of 8 bits, re-ranked from full vectors by NumPy, since it has no re-ranking of its own."""

    name = "usearch-i8"
    _dtype = "i8"

    def paths(self, k: int) -> list[list[Settings]]:
        """Rise in the beam, without and with re-ranking."""
        return [[{"ef": max(e, k * f), "rerank": f} for e in _EFFORTS if e >= k * max(1, f)] for f in (0, 2, 4)]


class Hnswlib:
    """hnswlib over float32 vectors."""

    name = "hnswlib"

    def __init__(self) -> None:
        self._index: Any = None

    def builds(self, n: int, dim: int) -> list[Settings]:
        """Sweep the degree."""
        return [{"M": m, "ef_construction": 160} for m in (16, 32)]

    def _empty(self, X: FloatArray, metric: Metric) -> Any:
        import hnswlib

        return hnswlib.Index(space="l2" if metric == "l2" else "ip", dim=X.shape[1])

    def build(self, X: FloatArray, metric: Metric, *, threads: int, settings: Settings) -> None:
        """Add everything."""
        self._index = self._empty(X, metric)
        self._index.init_index(
            max_elements=len(X), M=settings["M"], ef_construction=settings["ef_construction"], random_seed=0
        )
        self._index.add_items(X, np.arange(len(X)), num_threads=threads)

    def paths(self, k: int) -> list[list[Settings]]:
        """Rise in the beam."""
        return [[{"ef": e} for e in _EFFORTS if e >= k]]

    def search(self, Q: FloatArray, k: int, setting: Settings, *, threads: int) -> IdArray:
        """Search one batch."""
        self._index.set_ef(setting["ef"])
        return _padded(self._index.knn_query(Q, k=k, num_threads=threads)[0], k)

    def save(self, folder: Path) -> bool:
        """Write the index."""
        self._index.save_index(str(folder / "index.hnswlib"))
        return True

    def load(self, folder: Path, X: FloatArray, metric: Metric, *, settings: Settings) -> None:
        """Read the index."""
        self._index = self._empty(X, metric)
        self._index.load_index(str(folder / "index.hnswlib"))

    def mapped_bytes(self) -> int:
        """Return 0: everything is in anonymous memory."""
        return 0
