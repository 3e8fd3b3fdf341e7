"""A graph with the surface of the real one and an exact scan inside: for tests of how a collection keeps graphs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from orthant.errors import StoreCorruptedError
from orthant.index.flat import Flat
from orthant.kernels import bitmaps
from orthant.types import Hits, IndexStats


class FakeGraph:
    """Counts what is done with it in ``log``, a list of words shared by all."""

    log: list[str] = []

    def __init__(self, dim: int, metric: str, blocks: list, ids: np.ndarray) -> None:
        self.dim, self.metric, self.blocks, self.rows = dim, metric, blocks, np.sort(ids)
        self.calibration: dict[str, Any] | None = None
        self.asked: list[dict] = []
        held = np.concatenate([block[1] for block in blocks]) if blocks else np.zeros(0, np.int64)
        if not np.isin(self.rows, held).all():
            raise StoreCorruptedError("rows without a vector")
        live = bitmaps.set_rows(np.zeros(int(self.rows[-1]) // 64 + 1 if len(ids) else 1, np.uint64), self.rows)
        self.flat = Flat.over(blocks, dim=dim, metric=metric, live=live)

    @classmethod
    def over(cls, blocks, *, dim, metric="cosine", live=None, threads=None, progress, scan_below) -> FakeGraph:
        cls.log.append("over")
        progress(1, 2)
        progress(2, 2)
        ids = np.concatenate([block[1] for block in blocks])
        return cls(dim, metric, list(blocks), ids if live is None else ids[bitmaps.contains_rows(live, ids)])

    def extended(self, blocks, *, removed=None, threads=None) -> FakeGraph:
        self.log.append("extended")
        ids = self.rows[~np.isin(self.rows, removed)] if removed is not None else self.rows
        more = [block[1] for block in blocks]
        out = FakeGraph(self.dim, self.metric, [*self.blocks, *blocks], np.concatenate([ids, *more]))
        out.calibration = self.calibration
        return out

    def ids(self) -> np.ndarray:
        return self.rows

    def __len__(self) -> int:
        return len(self.rows)

    def search(self, Q, k=10, *, allowed=None, effort=None, recall=None, threads=None) -> Hits:
        self.asked.append({"k": k, "effort": effort, "recall": recall, "allowed": allowed})
        found = self.flat.search(Q, k, allowed=allowed, threads=threads)
        plan = "graph" if allowed is None else "graph-filtered"
        details = {"effort": effort or 64, "expected_recall": recall or 0.5}
        return replace(found, cost=replace(found.cost, plan=plan, details=details))

    def calibrate(self, queries=None, *, k=10, seed=0) -> dict[str, Any]:
        self.log.append("calibrate")
        table = {"1": [[16, 0.95, 0.94]], "10": [[16, 0.9, 0.89], [64, 0.99, 0.98]]}
        self.calibration = {"source": "held-out rows", "count": 100, "rows": len(self.rows), "table": table}
        return self.calibration

    def stats(self) -> IndexStats:
        n = len(self.rows)
        return IndexStats("Graph", n, 0, self.dim, self.metric, 4 * n, 4.0, {"calibration": self.calibration})

    def check(self) -> list[str]:
        return []

    def save_links(self, path: str | Path) -> None:
        self.log.append("save")
        folder = Path(path)
        folder.mkdir()
        np.save(folder / "ids.npy", self.rows)
        text = json.dumps({"dim": self.dim, "metric": self.metric, "calibration": self.calibration})
        (folder / "header.json").write_text(text)

    @classmethod
    def attach(cls, path: str | Path, blocks, *, live=None) -> FakeGraph:
        cls.log.append("attach")
        header = json.loads((Path(path) / "header.json").read_text())
        ids, blocks = np.load(Path(path) / "ids.npy"), list(blocks)
        held = ids[np.isin(ids, np.concatenate([block[1] for block in blocks]))]
        out = cls(header["dim"], header["metric"], blocks, held)
        out.calibration = header["calibration"]
        return out
