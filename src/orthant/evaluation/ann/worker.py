"""The process of one engine: builds, tunes, and answers the parent's requests to be timed, a JSON line each.

Run by ``orthant.evaluation.ann.process``. Libraries print to standard output as they like; it is kept for answers.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from orthant.artifact import write_bytes_atomically
from orthant.evaluation.ann.curves import lower_bound, qps_at, spread_points
from orthant.evaluation.ann.engine import Engine, load_engine
from orthant.evaluation.ann.measuring import anonymous_bytes, pin, usable_cpus
from orthant.evaluation.ann.truth import Truth, ground_truth
from orthant.evaluation.serving import serve

_WARM_ROWS = 2_000
_ENOUGH = 0.999
# Candidate builds are ranked on fewer queries than settings: the differences that matter are large.
_RANKING_QUERIES = 150
_POINTS = 7
_RECORD = "record.json"


class Worker:
    """One engine and the data it is judged on."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.k, self.metric, self.threads = int(spec["k"]), spec["metric"], int(spec["threads"])
        self.X = np.load(spec["base"], mmap_mode="r", allow_pickle=False)
        with np.load(spec["judged"], allow_pickle=False) as archive:
            self.arrays = {name: archive[name] for name in archive}
        self.cpus = usable_cpus()
        self.deadline = time.monotonic() + float(spec["budget_s"])
        self.engine: Engine = load_engine(spec["engine"])

    def queries(self, kind: str, half: str) -> np.ndarray:
        """Queries of one kind and half."""
        return self.arrays[f"{kind}/{half}"]

    def truth(self, kind: str, half: str) -> Truth:
        """Exact neighbours of those queries."""
        return Truth(self.arrays[f"{kind}/{half}/ids"], self.arrays[f"{kind}/{half}/scores"], "")

    def _build(self, engine: Engine, X: np.ndarray, settings: dict[str, Any]) -> tuple[float, float]:
        threads = int(self.spec["build_threads"])
        pin(self.cpus[:threads])
        wall, cpu = time.perf_counter(), time.process_time()
        engine.build(X, self.metric, threads=threads, settings=settings)
        return time.perf_counter() - wall, time.process_time() - cpu

    def _learn(self) -> tuple[float, float]:
        """Let an engine that can learn from a log of queries, unlike the vectors where there are such."""
        learn = getattr(self.engine, "learn", None)
        if learn is None:
            return 0.0, 0.0
        log = self.queries("out" if "out" in self.spec["kinds"] else self.spec["kinds"][0], "rest")
        threads = int(self.spec["build_threads"])
        pin(self.cpus[:threads])
        wall, cpu = time.perf_counter(), time.process_time()
        learn(log, threads=threads)
        return time.perf_counter() - wall, time.process_time() - cpu

    def _run(self, engine: Engine, Q: np.ndarray, setting: dict[str, Any]) -> tuple[float, np.ndarray]:
        start = time.perf_counter()
        ids = engine.search(Q, self.k, setting, threads=self.threads)
        return time.perf_counter() - start, ids

    def sweep(self, engine: Engine, X: np.ndarray, Q: np.ndarray, truth: Truth) -> list[dict[str, Any]]:
        """Measure every setting on queries to tune on, leaving a path of rising effort where recall stays."""
        pin(self.cpus[-self.threads :])
        points: list[dict[str, Any]] = []
        paths = engine.paths(self.k)
        self._run(engine, Q[:32], paths[0][0])
        for path in paths:
            last, still = -1.0, 0
            for setting in path:
                seconds, ids = self._run(engine, Q, setting)
                recall = float(np.nanmean(truth.recall(ids, Q, X, self.metric)))
                points.append({"setting": setting, "recall": recall, "qps": len(Q) / max(seconds, 1e-9)})
                still = still + 1 if recall - last < 5e-4 else 0
                last = recall
                if recall >= _ENOUGH or still == 2:
                    break
        return points

    def _worth(self, engine: Engine, X: np.ndarray, kinds: dict[str, tuple[np.ndarray, Truth]]) -> float:
        """Geometric mean of the speeds at the target recalls; what is not reached counts as very slow."""
        speeds: list[float] = []
        for Q, truth in kinds.values():
            points = self.sweep(engine, X, Q, truth)
            recalls, qps = [p["recall"] for p in points], [p["qps"] for p in points]
            best = max(recalls)
            for target in self.spec["targets"]:
                speeds.append(qps_at(recalls, qps, target) or 1e-3 * best)
        return math.exp(sum(map(math.log, speeds)) / len(speeds))

    def _choose(self, X: np.ndarray, candidates: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Rank candidate builds on a random part of the vectors."""
        rows = int(self.spec["sample_rows"])
        if len(X) > rows:
            chosen = np.sort(np.random.default_rng(0).permutation(len(X))[:rows])
            X = np.ascontiguousarray(X[chosen])
        kinds = {}
        for kind in self.spec["kinds"]:
            Q = self.queries(kind, "tune")[:_RANKING_QUERIES]
            kinds[kind] = (Q, ground_truth(X, Q, k=self.k, metric=self.metric, data_sha256=""))
        tried: list[dict[str, Any]] = []
        for settings in candidates:
            if tried and time.monotonic() > self.deadline:
                break
            engine = load_engine(self.spec["engine"])
            self._build(engine, X, settings)
            tried.append({"build": settings, "worth": self._worth(engine, X, kinds)})
        return sorted(tried, key=lambda one: -one["worth"])

    def _warm(self) -> None:
        """Load libraries and compile kernels, so that neither counts as memory or time of the index."""
        getattr(self.engine, "warm", lambda: None)()
        X = np.ascontiguousarray(self.X[:_WARM_ROWS])
        engine = load_engine(self.spec["engine"])
        self._build(engine, X, engine.builds(len(X), X.shape[1])[0])
        Q = next(iter(self.arrays.values()))[:32]
        for path in engine.paths(self.k)[:1]:
            self._run(engine, Q, path[0])
            self._run(engine, Q, path[-1])

    def prepare(self) -> dict[str, Any]:
        """Choose a build, build it in full, and choose search settings."""
        self._warm()
        found = self._from_cache()
        if found is None:
            candidates = self.engine.builds(len(self.X), self.X.shape[1])
            tried = self._choose(self.X, candidates) if len(candidates) > 1 else [{"build": candidates[0]}]
            before = anonymous_bytes()
            wall, cpu = self._build(self.engine, self.X, tried[0]["build"])
            more_wall, more_cpu = self._learn()
            after = anonymous_bytes()
            memory = None if before is None or after is None else max(0, after - before)
            found = {
                "build": tried[0]["build"],
                "build_s": wall + more_wall,
                "build_cpu_s": cpu + more_cpu,
                "anonymous_bytes": memory,
                "tried": tried,
                "from_cache": False,
            }
            self._into_cache(found)
        found["mapped_bytes"] = self.engine.mapped_bytes()
        chosen = {}
        for kind in self.spec["kinds"]:
            Q = self.queries(kind, "tune")
            points = self.sweep(self.engine, self.X, Q, self.truth(kind, "tune"))
            chosen[kind] = [one["setting"] for one in spread_points(points, most=_POINTS, targets=self.spec["targets"])]
        return found | {"chosen": chosen}

    def _cache(self) -> Path | None:
        return None if self.spec["cache"] is None else Path(self.spec["cache"]) / self.spec["engine"]

    def _from_cache(self) -> dict[str, Any] | None:
        folder = self._cache()
        if folder is None or not (folder / _RECORD).is_file():
            return None
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        self.engine.load(folder, self.X, self.metric, settings=record["build"])
        return record | {"from_cache": True}

    def _into_cache(self, record: dict[str, Any]) -> None:
        folder = self._cache()
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        if self.engine.save(folder):
            write_bytes_atomically(folder / _RECORD, json.dumps(record).encode())

    def judge(self, kind: str, settings: list[dict[str, Any]]) -> dict[str, Any]:
        """Recall of settings on the other half, every query."""
        pin(self.cpus[-self.threads :])
        Q, truth = self.queries(kind, "judge"), self.truth(kind, "judge")
        found = [truth.recall(self._run(self.engine, Q, one)[1], Q, self.X, self.metric) for one in settings]
        return {"recall": [float(np.nanmean(one)) for one in found]}

    def clock(self, kind: str, settings: list[dict[str, Any]], queries: int) -> dict[str, Any]:
        """Seconds of one pass over some of the other half, by setting."""
        pin(self.cpus[-self.threads :])
        Q = self.queries(kind, "judge")[:queries]
        # The first call after another engine ran finds cold caches; every engine gets the same few queries to warm up.
        self._run(self.engine, Q[:32], settings[0])
        return {"seconds": [self._run(self.engine, Q, one)[0] for one in settings], "queries": len(Q)}

    def ask(self, recalls: list[float]) -> dict[str, Any]:
        """Recall measured where a recall is asked for, on rows of its own or on the tuning queries."""
        engine: Any = self.engine
        if not hasattr(engine, "ask"):
            return {"kept": []}
        kept = []
        for kind in self.spec["kinds"]:
            given = None if kind == "in" else self.queries(kind, "tune")
            pin(self.cpus)
            engine.calibrate(given)
            pin(self.cpus[-self.threads :])
            Q, truth = self.queries(kind, "judge"), self.truth(kind, "judge")
            for recall in recalls:
                start = time.perf_counter()
                hits = engine.ask(Q, self.k, recall, threads=self.threads)
                seconds = time.perf_counter() - start
                each = truth.recall(hits.ids, Q, self.X, self.metric)
                kept.append(
                    {
                        "queries": kind,
                        "calibrated_on": "rows of its own" if given is None else "tuning queries",
                        "asked": recall,
                        "measured": float(np.nanmean(each)),
                        "lower_95": lower_bound(each),
                        "qps": len(Q) / max(seconds, 1e-9),
                        "plan": hits.cost.plan,
                        "effort": hits.cost.details.get("effort"),
                    }
                )
        return {"kept": kept, "index": type(engine.index).__name__}


if __name__ == "__main__":
    serve(Worker)
