"""FAISS as a peer: graphs and inverted lists, with reduction, codes and refinement from full vectors.

Unit vectors are searched by Euclidean distance, which orders them as the cosine does and stays right when a rotation
subtracts the mean.
"""

from __future__ import annotations

import importlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np

from orthant.types import FloatArray, IdArray, Metric

Settings = dict[str, Any]
_EFFORTS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
_PROBES = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256)


def faiss_module() -> Any:
    """Import FAISS where it is used; its type stubs know only a part of it, so it goes untyped."""
    return importlib.import_module("faiss")


class _Faiss:
    """What all of them share: a factory string, and threads of the OpenMP runtime."""

    name = ""

    def __init__(self) -> None:
        self._index: Any = None

    def _factory(self, settings: Settings) -> str:
        raise TypeError(f"{type(self).__name__} has no factory string")

    def _prepare(self, index: Any, settings: Settings) -> None:
        """Set what the string cannot say."""

    def build(self, X: FloatArray, metric: Metric, *, threads: int, settings: Settings) -> None:
        """Train and add."""
        faiss = faiss_module()
        faiss.omp_set_num_threads(threads)
        kind = faiss.METRIC_INNER_PRODUCT if metric == "dot" else faiss.METRIC_L2
        index = faiss.index_factory(X.shape[1], self._factory(settings), kind)
        self._prepare(index, settings)
        index.train(X)
        if metric == "dot":
            _keep_origin(index)
        index.add(X)
        self._index = index

    def search(self, Q: FloatArray, k: int, setting: Settings, *, threads: int) -> IdArray:
        """Search one batch."""
        faiss = faiss_module()
        faiss.omp_set_num_threads(threads)
        return self._index.search(Q, k, params=self._parameters(setting))[1]

    def _parameters(self, setting: Settings) -> Any:
        raise TypeError(f"{type(self).__name__} has no search settings")

    def save(self, folder: Path) -> bool:
        """Write the index."""
        faiss = faiss_module()
        faiss.write_index(self._index, str(folder / "index.faiss"))
        return True

    def load(self, folder: Path, X: FloatArray, metric: Metric, *, settings: Settings) -> None:
        """Read the index."""
        faiss = faiss_module()
        self._index = faiss.read_index(str(folder / "index.faiss"))

    def mapped_bytes(self) -> int:
        """Return 0: everything is in anonymous memory."""
        return 0


def _keep_origin(index: Any) -> None:
    """Under the inner product a rotation must not subtract the mean, or the order of scores changes."""
    faiss = faiss_module()
    inner = faiss.downcast_index(getattr(index, "base_index", index))
    if isinstance(inner, faiss.IndexPreTransform):
        turn = faiss.downcast_VectorTransform(inner.chain.at(0))
        if isinstance(turn, faiss.PCAMatrix):
            faiss.copy_array_to_vector(np.zeros(turn.d_out, dtype=np.float32), turn.b)


def _graph_of(index: Any) -> Any:
    faiss = faiss_module()
    inner = faiss.downcast_index(getattr(index, "base_index", index))
    if isinstance(inner, faiss.IndexPreTransform):
        inner = faiss.downcast_index(inner.index)
    return inner.hnsw


class PcaHnsw(_Faiss):
    """``PCAd,HNSW32_SQ8,RFlat``: the strongest recipe, with every trick of a reduced, coded, refined graph."""

    name = "faiss-pca-sq8-refine"

    def builds(self, n: int, dim: int) -> list[Settings]:
        """Sweep the reduced dimension and the effort of the build."""
        reduced = [d for d in (128, 192, 96, 256, 64) if d < dim] or [dim]
        quick = [{"d": d, "ef_construction": 80} for d in reduced[:4]]
        return quick + [{"d": d, "ef_construction": 160} for d in reduced[:2]]

    def _factory(self, settings: Settings) -> str:
        return f"PCA{settings['d']},HNSW32_SQ8,RFlat"

    def _prepare(self, index: Any, settings: Settings) -> None:
        _graph_of(index).efConstruction = settings["ef_construction"]

    def paths(self, k: int) -> list[list[Settings]]:
        """Rise in the beam for each number of candidates that are refined."""
        return [[{"ef": max(e, k * f), "k_factor": f} for e in _EFFORTS if e >= k * f] for f in (2, 3, 4, 6, 10)]

    def _parameters(self, setting: Settings) -> Any:
        faiss = faiss_module()
        inner = faiss.SearchParametersPreTransform(
            index_params=faiss.SearchParametersHNSW(efSearch=setting["ef"]),
        )
        return faiss.IndexRefineSearchParameters(k_factor=setting["k_factor"], base_index_params=inner)


class HnswFlat(_Faiss):
    """``HNSW32`` over full float32 vectors."""

    name = "faiss-hnsw"

    def builds(self, n: int, dim: int) -> list[Settings]:
        """Sweep the effort of the build."""
        return [{"ef_construction": e} for e in (80, 160)]

    def _factory(self, settings: Settings) -> str:
        return "HNSW32,Flat"

    def _prepare(self, index: Any, settings: Settings) -> None:
        _graph_of(index).efConstruction = settings["ef_construction"]

    def paths(self, k: int) -> list[list[Settings]]:
        """Rise in the beam."""
        return [[{"ef": e} for e in _EFFORTS if e >= k]]

    def _parameters(self, setting: Settings) -> Any:
        faiss = faiss_module()
        return faiss.SearchParametersHNSW(efSearch=setting["ef"])


class HnswSq8(HnswFlat):
    """``HNSW32_SQ8``: codes of 8 bits, not refined."""

    name = "faiss-hnsw-sq8"

    def _factory(self, settings: Settings) -> str:
        return "HNSW32_SQ8"


class _Ivf(_Faiss):
    """Inverted lists with refinement."""

    def paths(self, k: int) -> list[list[Settings]]:
        """Rise in the lists probed, for each number of candidates that are refined."""
        return [[{"nprobe": p, "k_factor": f} for p in _PROBES] for f in (2, 5, 10, 20)]

    def _parameters(self, setting: Settings) -> Any:
        faiss = faiss_module()
        inner = faiss.SearchParametersIVF(nprobe=setting["nprobe"])
        return faiss.IndexRefineSearchParameters(k_factor=setting["k_factor"], base_index_params=inner)

    def _lists(self, n: int) -> list[int]:
        # Around four square roots of n, down to lists long enough to train.
        middle = 2 ** round(np.log2(4 * np.sqrt(max(n, 1))))
        return [max(1, min(int(middle * f), n // 40 or 1)) for f in (1, 0.5)]


class IvfPq(_Ivf):
    """``IVF,PQ fast-scan (4 bits),RFlat``."""

    name = "faiss-ivfpq-refine"

    def builds(self, n: int, dim: int) -> list[Settings]:
        """Sweep lists and code length; the code length divides the dimension."""
        parts = [dim // s for s in (4, 2, 8) if dim % s == 0] or [1]
        return [{"lists": a, "parts": p} for a, p in itertools.product(self._lists(n), parts[:2])]

    def _factory(self, settings: Settings) -> str:
        return f"IVF{settings['lists']},PQ{settings['parts']}x4fs,RFlat"


class IvfRabitq(_Ivf):
    """``IVF,RaBitQ,RFlat``: one bit per dimension, scanned by look-up tables."""

    name = "faiss-ivfrabitq-refine"

    def builds(self, n: int, dim: int) -> list[Settings]:
        """Sweep the lists."""
        return [{"lists": a} for a in self._lists(n)]

    def _factory(self, settings: Settings) -> str:
        return f"IVF{settings['lists']},RaBitQfs,RFlat"
