"""The engine over Orthant's own index: how it uses a graph, and what stands in where there is none."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from orthant.evaluation.ann import orthant_engine as module
from orthant.index.flat import Flat


class Graph:
    """An exact index that notes what it was asked, in the shape of a graph."""

    calls: list[tuple] = []

    @classmethod
    def over(cls, blocks, *, dim, metric, threads=None, **settings):
        cls.calls.append(("over", threads, settings))
        out = cls()
        out.flat = Flat.over(blocks, dim=dim, metric=metric)
        return out

    def search(self, Q, k=10, *, effort=None, recall=None, threads=None):
        self.calls.append(("search", effort, recall, threads))
        return self.flat.search(Q, k)

    def calibrate(self, queries=None, *, seed=0):
        self.calls.append(("calibrate", None if queries is None else len(queries)))

    def stats(self):
        return types.SimpleNamespace(details={"mapped_code_bytes": 320})


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    return rng.standard_normal((60, 5)).astype(np.float32), rng.standard_normal((4, 5)).astype(np.float32)


@pytest.fixture
def graph(monkeypatch):
    """A module with a graph where the real one would be."""
    fake = types.ModuleType("orthant.index.graph")
    fake.Graph = Graph
    Graph.calls = []
    monkeypatch.setitem(sys.modules, "orthant.index.graph", fake)
    return Graph


def test_a_graph_is_built_over_the_vectors_swept_by_effort_and_asked_by_recall(graph, vectors):
    X, Q = vectors
    engine = module.OrthantEngine()
    engine.build(X, "l2", threads=2, settings=engine.builds(*X.shape)[0])
    (path,) = engine.paths(12)
    efforts = [one["effort"] for one in path]
    assert efforts == sorted(efforts) and efforts[0] >= 12
    assert engine.search(Q, 3, path[0], threads=1).shape == (4, 3)
    engine.calibrate(None)
    engine.calibrate(Q)
    engine.ask(Q, 3, 0.9, threads=1)
    assert graph.calls == [
        ("over", 2, {}), ("search", efforts[0], None, 1), ("calibrate", None), ("calibrate", 4),
        ("search", None, 0.9, 1),
    ]  # fmt: skip
    assert engine.mapped_bytes() == 320 and not engine.save(None)


def test_kernels_are_compiled_before_anything_is_measured(monkeypatch):
    from orthant.kernels import warmup

    asked = []
    monkeypatch.setattr(warmup, "warm", lambda: asked.append("warm"))
    module.OrthantEngine().warm()
    assert asked == ["warm"]
