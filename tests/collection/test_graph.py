"""The graph of a space: when it is made, what is in it, what is scanned, and what a search says about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from collection.fake_graph import FakeGraph
from collection.fakes import FakeEncoder, naive_scores
from collection.hammer import hammer
from orthant.collection.collection import Collection
from orthant.collection.storage import graphs, maintenance, merging
from orthant.errors import InputError, StoreError

DIM = 8


@pytest.fixture
def fake(monkeypatch):
    """The real policy at a hundredth of its size, on a graph that counts what is done with it."""
    small(monkeypatch)
    monkeypatch.setattr(FakeGraph, "log", [])
    monkeypatch.setattr(graphs, "graph_class", lambda: FakeGraph)
    return FakeGraph.log


def small(monkeypatch, share: int = 100) -> None:
    for name in ("BREAK_EVEN", "_TAIL_ROWS", "_ROWS_PER_COMMIT", "_CLOSE_ROWS"):
        monkeypatch.setattr(merging, name, getattr(merging, name) // share)
    monkeypatch.setattr(maintenance, "_MINIMUM_SLOTS", maintenance._MINIMUM_SLOTS // share)


class Model:
    """A collection of random vectors and the dict that it must agree with."""

    def __init__(self, path: Path, *, metric: str = "cosine", seed: int = 0, **settings) -> None:
        self.rng = np.random.default_rng(seed)
        self.collection = Collection(path, metric=metric, **settings)
        self.metric = metric
        self.vectors: dict[str, np.ndarray] = {}

    def add(self, count: int, *, first: int | None = None, batch: int = 50):
        begin = len(self.vectors) if first is None else first
        report = None
        for a in range(begin, begin + count, batch):
            ids = [f"r{i}" for i in range(a, min(a + batch, begin + count))]
            X = self.rng.standard_normal((len(ids), DIM)).astype(np.float32)
            metadata = [{"n": int(key[1:]), "even": int(key[1:]) % 2 == 0} for key in ids]
            report = self.collection.upsert(ids, vectors=X, metadata=metadata)
            self.vectors.update(zip(ids, X, strict=True))
        return report

    def delete(self, ids) -> None:
        self.collection.delete(ids)
        for key in ids:
            self.vectors.pop(key, None)

    def check(self, searches: int = 3, k: int = 7, **options):
        ids = list(self.vectors)
        X = np.stack([self.vectors[key] for key in ids])
        hits = None
        for q in self.rng.standard_normal((searches, DIM)).astype(np.float32):
            order = np.argsort(-naive_scores(q, X, self.metric), kind="stable")[:k]
            hits = self.collection.search(vector=q, k=k, **options)
            assert hits.ids == [ids[i] for i in order]
            wanted = naive_scores(q, X, self.metric)[order]
            np.testing.assert_allclose([hit.score for hit in hits], wanted, rtol=1e-5, atol=1e-6)
        return hits

    @property
    def graph(self):
        return self.collection._store.generation.spaces["default"].graph

    def told(self):
        return self.collection.stats().spaces["default"]


def test_small_spaces_are_scanned_and_have_no_graph(tmp_path, fake):
    model = Model(tmp_path / "c")
    model.add(200)
    assert model.check().plan.legs[0].method == "scan" and model.told()["plan"] == "scan"
    assert model.told()["graph"] is None and fake == []
    model.collection.finish()
    model.collection.close()
    assert fake == [] and not list((tmp_path / "c" / "derived").glob("graph.*"))


def test_a_graph_is_made_extended_and_cleared_of_dead_rows(tmp_path, fake):
    model = Model(tmp_path / "c")
    report = model.add(250)
    assert fake == ["over", "calibrate", "save", "attach"] and model.graph.rows == 250
    assert report.seconds.keys() == {"check", "encode", "commit", "graph"}
    begun = model.graph.rows
    model.add(60)
    assert model.told()["graph"]["tail"] == 310 - begun and "extended" not in fake
    hits = model.check()
    assert hits.plan.legs[0].method == "graph+tail" and hits.plan.legs[0].details["exact"] is False
    assert hits.plan.legs[0].details["tail_rows"] == 310 - begun
    model.add(100)
    assert fake.count("extended") == 1 and fake.count("over") == 1
    assert model.told()["graph"]["tail"] < merging._TAIL_ROWS + 50
    model.delete([f"r{i}" for i in range(20)])
    assert model.told()["graph"]["dead"] == 20
    model.check()
    done = model.collection.finish()
    assert done.removed == {"default": 20} and done.merged["default"] > 0
    told = model.told()
    assert (told["graph"]["rows"], told["graph"]["tail"], told["graph"]["dead"]) == (390, 0, 0)
    assert told["plan"] == "graph" and told["graph"]["calibration"]["table"]["10"] and told["graph"]["bytes"] > 0
    assert model.check().plan.legs[0].method == "graph"
    log = list(fake)
    assert model.collection.finish().merged == {"default": 0} and fake == log
    # A space that shrank below half the break-even is scanned again.
    model.delete([f"r{i}" for i in range(20, 330)])
    assert model.graph is None and model.check().plan.legs[0].method == "scan"


def test_what_was_deleted_or_replaced_is_never_found(tmp_path, fake):
    model = Model(tmp_path / "c")
    model.add(300)
    model.collection.finish()
    model.delete([f"r{i}" for i in range(40)])
    model.add(20, first=100)
    assert model.told()["graph"]["dead"] == 60 and model.told()["graph"]["tail"] == 20
    model.check(searches=10, k=20)
    model.check(recall=1.0)


def test_w04_worded_differently_and_answered_the_same(tmp_path, fake):
    model = Model(tmp_path / "c")
    model.add(300)
    model.delete(["r2", "r5"])
    words = [
        {"even": True, "n": {"gte": 10, "lt": 200}},
        {"and": [{"n": {"lt": 200}}, {"not": {"even": False}}, {"not": {"n": {"lt": 10}}}]},
        {"n": {"in": [i for i in range(10, 200) if i % 2 == 0]}},
    ]
    q = model.rng.standard_normal(DIM)
    answers = [model.collection.search(vector=q, k=30, where=where) for where in words]
    assert all([(h.id, h.score) for h in a] == [(h.id, h.score) for h in answers[0]] for a in answers)
    assert {a.plan.legs[0].method for a in answers} == {"graph-filtered+tail"}
    inside = [key for key in model.vectors if int(key[1:]) in range(10, 200) and int(key[1:]) % 2 == 0]
    scores = naive_scores(q.astype(np.float32), np.stack([model.vectors[key] for key in inside]), "cosine")
    assert answers[0].ids == [inside[i] for i in np.argsort(-scores, kind="stable")[:30]]


def test_recall_and_effort_reach_the_graph(tmp_path, fake):
    model = Model(tmp_path / "c")
    model.add(300)
    q = np.ones(DIM)
    graph = model.collection._store.generation.spaces["default"].attached_graph()
    legs = [model.collection.search(vector=q, **o).plan.legs[0] for o in ({}, {"recall": 0.9}, {"effort": 200})]
    assert [(a["recall"], a["effort"]) for a in graph.asked] == [(0.95, None), (0.9, None), (None, 200)]
    assert [leg.details["expected_recall"] for leg in legs] == [0.95, 0.9, 0.5] and legs[2].details["effort"] == 200
    exact = model.collection.search(vector=q, recall=1.0).plan.legs[0]
    assert exact.method == "scan" and exact.details["exact"] is True
    # Deleted rows are masked only where there are any.
    assert graph.asked[0]["allowed"] is None
    model.delete(["r0"])
    model.collection.search(vector=q)
    assert graph.asked[-1]["allowed"] is not None
    with pytest.raises(InputError, match=r"recall= and effort="):
        model.collection.search(vector=q, recall=0.9, effort=10)
    with pytest.raises(InputError, match="effort= with mode='lexical'"):
        model.collection.search("amber", mode="lexical", effort=10)


def test_hybrid_scores_every_candidate_exactly(tmp_path, fake):
    with Collection(tmp_path / "c", encoder=FakeEncoder()) as collection:
        rng = np.random.default_rng(0)
        from collection.fakes import text_of

        texts = {f"r{i}": text_of(rng) for i in range(260)}
        collection.upsert(list(texts), texts=list(texts.values()))
        collection.upsert(["late"], texts=["amber lagoon amber lagoon"])
        hits = collection.search("amber lagoon -cedar", mode="hybrid", k=20)
        assert hits.plan.legs[0].method == "graph-filtered+tail" and hits.ids[0] == "late"
        q = FakeEncoder().encode(["amber lagoon -cedar"])
        for hit in hits:
            assert "cedar" not in (hit.text or "").split()
            wanted = naive_scores(q[0], FakeEncoder().encode([hit.text]), "cosine")[0]
            assert hit.legs["dense"].score == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_a_graph_outlives_closing_compaction_and_later_writes(tmp_path, fake, metric):
    model = Model(tmp_path / "c", metric=metric)
    model.add(400)
    model.collection.close()
    assert "attach" in fake
    fake.clear()
    model.collection = Collection(tmp_path / "c")
    assert fake == [] and model.check().plan.legs[0].method == "graph" and fake == ["attach"]
    segments = {path.name for path in (tmp_path / "c" / "vectors" / "default").iterdir()}
    model.delete([f"r{i}" for i in range(0, 300, 2)])
    assert segments.isdisjoint(path.name for path in (tmp_path / "c" / "vectors" / "default").iterdir())
    assert model.check().plan.legs[0].method == "graph" and model.told()["graph"]["dead"] == 0
    # Once when it was merged, and once more to the segments that the compaction wrote after that.
    assert fake[-3:] == ["save", "attach", "attach"]
    model.collection.close()
    model.collection = Collection(tmp_path / "c", read_only=True)
    assert model.check().plan.legs[0].method == "graph" and model.collection.check().problems == []


def test_compaction_of_the_tail_alone_leaves_the_graph_attached(tmp_path, fake):
    model = Model(tmp_path / "c")
    model.add(300)
    model.collection.finish()
    before = list(fake)
    model.add(30)
    model.check()
    assert fake == before


def test_readers_pick_up_a_graph_with_its_generation(tmp_path, fake):
    writer = Model(tmp_path / "c")
    writer.add(150)
    with Collection(tmp_path / "c", read_only=True) as reader:
        q = np.ones(DIM)
        assert reader.search(vector=q).plan.legs[0].method == "scan"
        writer.add(150)
        assert reader.search(vector=q).plan.legs[0].method == "graph+tail"
        first = reader.stats().spaces["default"]["graph"]
        writer.collection.finish()
        assert reader.search(vector=q).plan.legs[0].method == "graph"
        assert reader.stats().spaces["default"]["graph"]["generation"] > first["generation"]
        # After a compaction by the writer the reader attaches the graph to the new segments.
        writer.delete([f"r{i}" for i in range(100)])
        assert reader.search(vector=q, k=9).ids == writer.collection.search(vector=q, k=9).ids
        assert len(list((tmp_path / "c" / "derived").glob("graph.*"))) == 1


def test_a_reader_whose_graph_file_went_scans_until_the_next_commit(tmp_path, fake):
    writer = Model(tmp_path / "c")
    writer.add(300)
    with Collection(tmp_path / "c", read_only=True) as reader:
        (folder,) = (tmp_path / "c" / "derived").glob("graph.*")
        folder.rename(folder.with_name("elsewhere"))
        found = reader.search(vector=np.ones(DIM), k=5)
        assert found.plan.legs[0].method == "scan" and "graph is out of use" in found.plan.warnings[0]
        assert found.ids == writer.collection.search(vector=np.ones(DIM), k=5).ids


def test_bulk_builds_once_at_the_end(tmp_path, fake):
    model = Model(tmp_path / "c")
    with model.collection.bulk():
        model.add(700)
        assert fake == [] and model.check().plan.legs[0].method == "scan"
    assert fake == ["over", "calibrate", "save", "attach"]
    assert model.check().plan.legs[0].method == "graph" and model.told()["graph"]["rows"] == 700
    fake.clear()
    X = np.random.default_rng(1).standard_normal((900, DIM)).astype(np.float32)
    np.save(tmp_path / "x.npy", X)
    report = model.collection.add_vectors(tmp_path / "x.npy", batch_size=100)
    # It more than doubled, so it was made anew, and once.
    assert fake.count("over") == 1 and fake.count("save") == 1 and report.seconds["graph"] > 0


def test_w14_a_commit_works_off_a_bounded_part_of_a_backlog(tmp_path, fake):
    model = Model(tmp_path / "c")
    model.collection._store._bulk = 1
    model.add(1000)
    model.collection._store._bulk = 0
    sizes = []
    for _ in range(4):
        model.add(1)
        sizes.append(model.graph.rows)
        model.check()
    assert sizes == [327, 654, 981, 981]
    model.collection.close()
    assert sorted({entry for entry in fake if entry in ("over", "extended")}) == ["extended", "over"]


def _segments(model: Model) -> set[str]:
    return {path.name for path in (model.collection.path / "vectors" / "default").iterdir()}


def test_w14_a_large_repair_waits_and_keeps_its_vectors(tmp_path, fake, monkeypatch):
    model = Model(tmp_path / "c")
    model.add(600)
    model.collection.finish()
    monkeypatch.setattr(merging, "_ROWS_PER_COMMIT", 50)
    segments = _segments(model)
    fake.clear()
    model.delete([f"r{i}" for i in range(200)])
    # 400 rows to link is more than a commit may bring: dead rows stay masked, and nothing they need is taken away.
    assert fake == [] and model.told()["graph"]["dead"] == 200 and segments == _segments(model)
    model.check()
    model.add(100, first=600)
    assert "extended" in fake and model.told()["graph"]["dead"] == 200
    model.check()
    model.collection.finish()
    assert model.told()["graph"]["dead"] == 0 and segments.isdisjoint(_segments(model))
    assert model.check().plan.legs[0].method == "graph"
    # Two in five dead are too many to wait.
    model.delete([f"r{i}" for i in range(200, 410)])
    assert model.told()["graph"]["dead"] == 0 and model.check().plan.legs[0].method == "graph"


def test_w14_failed_upkeep_fails_no_write_and_is_told(tmp_path, fake, monkeypatch):
    model = Model(tmp_path / "c")
    model.add(150)

    def fail(self, path):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(FakeGraph, "save_links", fail)
        model.add(100)
        assert model.check().plan.legs[0].method == "scan"
        assert any("full disk" in line for line in model.collection.stats().repairs)
        assert "not built yet" in model.told()["graph"]["problem"]
        with pytest.raises(StoreError, match="full disk"):
            model.collection.finish()
    model.collection.finish()
    assert model.check().plan.legs[0].method == "graph"
    assert not list((tmp_path / "c" / "derived").glob("*.new"))


def test_calibration_is_kept_until_the_graph_has_grown_by_a_quarter(tmp_path, fake):
    model = Model(tmp_path / "c")
    model.add(400)
    model.collection.finish()
    known = model.graph.calibrated_rows
    fake.clear()
    model.add(int(1.25 * known) - 400)
    model.collection.finish()
    assert "extended" in fake and "calibrate" not in fake and model.graph.calibrated_rows == known
    model.add(1)
    model.collection.finish()
    assert fake.count("calibrate") == 1 and model.graph.calibrated_rows == model.graph.rows


def test_w53_eight_threads(tmp_path, fake):
    hammer(tmp_path / "c", 3.0, FakeEncoder(), records=260)
    assert {"over", "extended", "attach"} <= set(fake)
