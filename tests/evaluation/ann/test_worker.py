"""One engine's process: what it tunes on, what it leaves, and how its failures arrive."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from orthant.evaluation.ann import worker as module
from orthant.evaluation.ann.process import EngineFailedError, EngineProcess
from orthant.evaluation.ann.truth import ground_truth


class Pretended:
    """An exact engine that drops neighbours unless its effort is high, and notes what it was asked."""

    name = "pretended"
    now = 0.0
    seen: list[np.ndarray] = []
    built: list[tuple[int, dict]] = []

    def warm(self):
        self.built.append((0, {}))

    def builds(self, n, dim):
        return [{"quality": 1}, {"quality": 4}, {"quality": 2}]

    def build(self, X, metric, *, threads, settings):
        self.X, self.settings, self.metric = np.array(X), settings, metric
        self.built.append((len(X), settings))

    def paths(self, k):
        return [[{"effort": e} for e in range(1, 20)]]

    def search(self, Q, k, setting, *, threads):
        self.seen.append(np.array(Q))
        # A better build needs less effort, and effort takes time.
        Pretended.now += 1e-3 * setting["effort"]
        ids = ground_truth(self.X, Q, k=k, metric=self.metric, data_sha256="").ids.copy()
        ids[:, min(k, setting["effort"] * self.settings["quality"]) :] = -1
        return ids

    def save(self, folder):
        np.save(folder / "X.npy", self.X)
        return True

    def load(self, folder, X, metric, *, settings):
        self.X, self.settings, self.metric = np.load(folder / "X.npy"), settings, metric

    def mapped_bytes(self):
        return 7


@pytest.fixture
def spec(tmp_path, monkeypatch):
    """Small data, and the pretended engine in this process, which must not be pinned."""
    Pretended.seen, Pretended.built = [], []
    monkeypatch.setattr(module, "load_engine", lambda name: Pretended())
    monkeypatch.setattr(module, "pin", lambda cpus: True)
    monkeypatch.setattr(module, "_WARM_ROWS", 40)
    # A clock that only the engine moves: what else the machine does is no part of what is chosen.
    clock = SimpleNamespace(
        perf_counter=lambda: Pretended.now, monotonic=lambda: Pretended.now, process_time=lambda: 0.0
    )
    monkeypatch.setattr(module, "time", clock)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 5)).astype(np.float32)
    np.save(tmp_path / "base.npy", X)
    arrays = {}
    for half, count in (("tune", 20), ("judge", 25)):
        Q = rng.standard_normal((count, 5)).astype(np.float32)
        truth = ground_truth(X, Q, k=10, metric="l2", data_sha256="")
        arrays |= {f"in/{half}": Q, f"in/{half}/ids": truth.ids, f"in/{half}/scores": truth.scores}
    np.savez(tmp_path / "judged.npz", **arrays)
    return {
        "engine": "pretended", "base": str(tmp_path / "base.npy"), "judged": str(tmp_path / "judged.npz"),
        "kinds": ["in"], "metric": "l2", "k": 10, "threads": 1, "build_threads": 1, "budget_s": 30.0,
        "sample_rows": 100, "targets": [0.9, 0.95], "cache": None,
    }  # fmt: skip


def _rows(arrays):
    return {row.tobytes() for Q in arrays for row in Q}


def test_nothing_is_chosen_on_the_judging_half(spec):
    worker = module.Worker(spec)
    worker.prepare()
    judge = _rows([worker.queries("in", "judge")])
    assert not _rows(Pretended.seen) & judge
    Pretended.seen.clear()
    worker.judge("in", [{"effort": 3}])
    worker.clock("in", [{"effort": 3}], 10)
    assert _rows(Pretended.seen) <= judge


def test_the_best_candidate_on_a_sample_is_built_in_full(spec):
    found = module.Worker(spec).prepare()
    assert found["build"] == {"quality": 4} and found["mapped_bytes"] == 7
    assert [one["build"]["quality"] for one in found["tried"]] == [4, 2, 1]
    rows = [rows for rows, _ in Pretended.built]
    # Kernels and libraries first, the full build last.
    assert rows == [0, 40, 100, 100, 100, 400]
    # Which of these is quicker is up to the clock; the least effort does not find enough.
    assert {one["effort"] for one in found["chosen"]["in"]} & {2, 3}


def test_without_time_left_the_first_candidate_is_taken(spec):
    found = module.Worker(spec | {"budget_s": 0.0}).prepare()
    assert [one["build"] for one in found["tried"]] == [{"quality": 1}]


def test_a_sweep_leaves_a_path_where_recall_no_longer_rises(spec):
    worker = module.Worker(spec)
    worker.prepare()
    Q = worker.queries("in", "tune")
    points = worker.sweep(worker.engine, worker.X, Q, worker.truth("in", "tune"))
    assert [p["setting"]["effort"] for p in points] == [1, 2, 3]
    assert points[-1]["recall"] == 1.0 and points[0]["recall"] == pytest.approx(0.4)


def test_recall_and_seconds_of_the_judging_half(spec):
    worker = module.Worker(spec)
    worker.prepare()
    assert worker.judge("in", [{"effort": 1}, {"effort": 9}])["recall"] == pytest.approx([0.4, 1.0])
    timed = worker.clock("in", [{"effort": 1}, {"effort": 40}], 10)
    assert timed["queries"] == 10 and timed["seconds"][1] > timed["seconds"][0] > 0
    assert worker.ask([0.9]) == {"kept": []}


def test_a_kept_index_is_not_built_again(spec, tmp_path):
    first = module.Worker(spec | {"cache": str(tmp_path / "kept")}).prepare()
    Pretended.built.clear()
    second = module.Worker(spec | {"cache": str(tmp_path / "kept")}).prepare()
    assert [rows for rows, _ in Pretended.built] == [0, 40]
    assert second["from_cache"] and not first["from_cache"]
    assert (second["build"], second["build_cpu_s"]) == (first["build"], first["build_cpu_s"])


def test_a_failing_engine_tells_why_and_a_slow_one_is_ended(spec):
    with pytest.raises(EngineFailedError, match="the engine 'pretended'"):
        EngineProcess(spec)
    with EngineProcess(spec | {"engine": "orthant"}) as process:
        with pytest.raises(EngineFailedError, match="unexpected keyword"):
            process.ask("judge", {"nothing": 1}, timeout_s=30)
        # An error leaves it ready for the next request; what takes too long does not.
        assert process.ask("prepare", timeout_s=60)["chosen"].keys() == {"in"}
        with pytest.raises(EngineFailedError, match="longer than its time"):
            process.ask("judge", {"kind": "in", "settings": [{}] * 10_000}, timeout_s=0.05)
        with pytest.raises(EngineFailedError, match="process ended"):
            process.ask("prepare", timeout_s=5)
