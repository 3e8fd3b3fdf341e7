"""The ways to answer a filtered search that are compared, each one query at a time on one thread."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from orthant.evaluation.ann.engine import load_engine
from orthant.evaluation.ann.faiss_engines import faiss_module
from orthant.evaluation.ann.inputs import AnnInputs
from orthant.evaluation.filtered.cells import Cell
from orthant.index.flat import Flat
from orthant.kernels.bitmaps import to_mask, to_rows
from orthant.types import FloatArray, IdArray

_EFFORTS = (16, 32, 64, 128, 256, 512, 1_024, 2_048)
# Below this share, rows are gathered; above, multiplying everything and masking is faster.
_GATHER_SHARE = 0.25
_OVERSAMPLE = (1.2, 2.0, 4.0, 8.0)


class Arm(Protocol):
    """One way to answer.

    Attributes
    ----------
    name : str
        Its key in results.
    """

    name: str

    def settings(self, cell: Cell, k: int) -> list[dict[str, Any]]:
        """Return settings of rising effort; one empty setting when there is nothing to tune."""
        ...

    def ready(self, cell: Cell) -> None:
        """Prepare what does not depend on the query; not timed, as a filter serves many queries."""
        ...

    def search(self, q: FloatArray, k: int, cell: Cell, setting: dict[str, Any]) -> tuple[IdArray, str]:
        """Return ids of shape (1, k) for a query of shape (1, d), and the plan where the arm has one."""
        ...


class _Untuned:
    def settings(self, cell: Cell, k: int) -> list[dict[str, Any]]:
        """Return the one empty setting."""
        return [{}]

    def ready(self, cell: Cell) -> None:
        """Do nothing."""


class Planner(_Untuned):
    """Orthant's index with its own planner, asked for a recall."""

    name = "orthant"

    def __init__(self, index: Any, recall: float) -> None:
        self.index, self.recall = index, recall

    def search(self, q: FloatArray, k: int, cell: Cell, setting: dict[str, Any]) -> tuple[IdArray, str]:
        """Let the planner choose."""
        hits = self.index.search(q, k, allowed=cell.bitmap, recall=self.recall, threads=1)
        return hits.ids, hits.cost.plan


class ExactScan(_Untuned):
    """Orthant's exact index over the allowed rows."""

    name = "exact-orthant"

    def __init__(self, inputs: AnnInputs) -> None:
        rows = np.arange(len(inputs.base), dtype=np.int64)
        self.index = Flat.over([(inputs.base, rows)], dim=inputs.base.shape[1], metric=inputs.metric)

    def search(self, q: FloatArray, k: int, cell: Cell, setting: dict[str, Any]) -> tuple[IdArray, str]:
        """Compare every allowed row."""
        return self.index.search(q, k, allowed=cell.bitmap, threads=1).ids, ""


class BlasScan(_Untuned):
    """NumPy: gather the allowed rows and multiply, or multiply everything and mask.

    Like every arm it starts from the bitmap, so finding its rows is part of its time.
    """

    name = "exact-blas"

    def __init__(self, inputs: AnnInputs) -> None:
        self._X, self._metric = inputs.base, inputs.metric
        self._squares = (
            np.einsum("ij,ij->i", self._X, self._X) if inputs.metric == "l2" else np.zeros(0, dtype=np.float32)
        )

    def search(self, q: FloatArray, k: int, cell: Cell, setting: dict[str, Any]) -> tuple[IdArray, str]:
        """Multiply once and select."""
        few = len(cell.rows) < _GATHER_SHARE * len(self._X)
        rows = to_rows(cell.bitmap) if few else slice(None)
        scores = self._X[rows] @ q[0]
        if self._metric == "l2":
            scores = 2 * scores - self._squares[rows]
        if not few:
            scores[~to_mask(cell.bitmap, len(scores))] = -np.inf
        count = min(k, len(cell.rows))
        best = np.argpartition(-scores, count - 1)[:count]
        best = best[np.argsort(-scores[best], kind="stable")]
        found = np.full((1, k), -1, dtype=np.int64)
        found[0, :count] = rows[best] if isinstance(rows, np.ndarray) else best
        return found, ""


class PostFilter:
    """Orthant's index without the filter, asked for more neighbours, of which the allowed ones are kept."""

    name = "post-filter"

    def __init__(self, index: Any, n: int) -> None:
        self.index, self._n = index, n
        self._graph = type(index).__name__ == "Graph"

    def settings(self, cell: Cell, k: int) -> list[dict[str, Any]]:
        """Ask for what chance would leave k of, and for more."""
        share = max(len(cell.rows) / self._n, 1e-9)
        counts = sorted({min(self._n, int(k / share * factor) + k) for factor in _OVERSAMPLE})
        return [{"count": count} | ({"effort": max(count, 64)} if self._graph else {}) for count in counts]

    def ready(self, cell: Cell) -> None:
        """Do nothing."""

    def search(self, q: FloatArray, k: int, cell: Cell, setting: dict[str, Any]) -> tuple[IdArray, str]:
        """Search, then drop what is not allowed."""
        effort = {"effort": setting["effort"]} if "effort" in setting else {}
        ids = self.index.search(q, setting["count"], threads=1, **effort).ids[0]
        kept = ids[ids >= 0]
        kept = kept[cell.mask[kept]][:k]
        found = np.full((1, k), -1, dtype=np.int64)
        found[0, : len(kept)] = kept
        return found, ""


class FaissGraph:
    """FAISS's graph with reduction, codes and refinement, and an IDSelector over the bitmap."""

    name = "faiss-hnsw-idselector"

    def __init__(self, inputs: AnnInputs, cache: Path | None, *, threads: int) -> None:
        engine: Any = load_engine("faiss-pca-sq8-refine")
        settings = {"d": min(128, inputs.base.shape[1]), "ef_construction": 80}
        folder = None if cache is None else cache / self.name
        if folder is not None and (folder / "index.faiss").is_file():
            engine.load(folder, inputs.base, inputs.metric, settings=settings)
        else:
            engine.build(inputs.base, inputs.metric, threads=threads, settings=settings)
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
                engine.save(folder)
        self._index = engine._index
        self._selector: Any = None

    def settings(self, cell: Cell, k: int) -> list[dict[str, Any]]:
        """Rise in the beam."""
        return [{"ef": ef, "k_factor": 4} for ef in _EFFORTS if ef >= 4 * k or ef == _EFFORTS[-1]]

    def ready(self, cell: Cell) -> None:
        """Wrap the bitmap."""
        self._selector = _selector(cell)

    def search(self, q: FloatArray, k: int, cell: Cell, setting: dict[str, Any]) -> tuple[IdArray, str]:
        """Search with the selector inside the traversal."""
        faiss = faiss_module()
        faiss.omp_set_num_threads(1)
        graph = faiss.SearchParametersHNSW(efSearch=setting["ef"], sel=self._selector[0])
        inner = faiss.SearchParametersPreTransform(index_params=graph)
        given = faiss.IndexRefineSearchParameters(k_factor=setting["k_factor"], base_index_params=inner)
        return self._index.search(q, k, params=given)[1], ""


class FaissFlat(_Untuned):
    """FAISS's exact index with an IDSelector over the bitmap."""

    name = "faiss-flat-idselector"

    def __init__(self, inputs: AnnInputs) -> None:
        faiss = faiss_module()
        kind = faiss.METRIC_L2 if inputs.metric == "l2" else faiss.METRIC_INNER_PRODUCT
        self._index = faiss.index_factory(inputs.base.shape[1], "Flat", kind)
        self._index.add(inputs.base)
        self._selector: Any = None

    def ready(self, cell: Cell) -> None:
        """Wrap the bitmap."""
        self._selector = _selector(cell)

    def search(self, q: FloatArray, k: int, cell: Cell, setting: dict[str, Any]) -> tuple[IdArray, str]:
        """Compare every selected row."""
        faiss = faiss_module()
        faiss.omp_set_num_threads(1)
        return self._index.search(q, k, params=faiss.SearchParameters(sel=self._selector[0]))[1], ""


def _selector(cell: Cell) -> tuple[Any, Any]:
    """A selector and the bytes it points into, which must live as long."""
    faiss = faiss_module()
    packed = np.packbits(cell.mask, bitorder="little")
    return faiss.IDSelectorBitmap(len(cell.mask), faiss.swig_ptr(packed)), packed


def make_arms(
    inputs: AnnInputs, *, recall: float, calibration: FloatArray, k: int, cache: Path | None, threads: int
) -> tuple[list[Arm], dict[str, str]]:
    """Build every arm that can run here; those that cannot are named with the reason."""
    engine: Any = load_engine("orthant")
    engine.warm()
    engine.build(inputs.base, inputs.metric, threads=threads, settings={})
    engine.calibrate(calibration)
    arms: list[Arm] = [
        Planner(engine.index, recall),
        ExactScan(inputs),
        BlasScan(inputs),
        PostFilter(engine.index, len(inputs.base)),
    ]
    missing: dict[str, str] = {}
    if importlib.util.find_spec("faiss") is None:
        missing = {kind.name: "faiss is not installed" for kind in (FaissGraph, FaissFlat)}
    else:
        arms += [FaissGraph(inputs, cache, threads=threads), FaissFlat(inputs)]
    return arms, missing
