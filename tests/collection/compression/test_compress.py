"""Compressing a collection: what is recommended is kept, what is applied holds through writes, and it is taken back."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from orthant.collection.collection import Collection
from orthant.collection.storage import graphs, merging
from orthant.errors import InputError, NotFoundError, StoreReadOnlyError

DIM, K = 32, 10


def vectors(count: int, seed: int = 0) -> np.ndarray:
    """Vectors of a few strong directions and many weak ones."""
    mixing = np.random.default_rng(99).standard_normal((DIM, DIM)) * (0.85 ** np.arange(DIM))[:, None]
    return (np.random.default_rng(seed).standard_normal((count, DIM)) @ mixing).astype(np.float32)


def filled(path, X, *, metric="cosine", first=0) -> Collection:
    collection = Collection(path, metric=metric)
    add(collection, X, first)
    return collection


def add(collection, X, first=0):
    ids = [f"r{i}" for i in range(first, first + len(X))]
    collection.upsert(ids, vectors=X, metadata=[{"even": i % 2 == 0} for i in range(first, first + len(X))])


def plans(collection, q, **options):
    return collection.search(vector=q, k=K, **options).plan.legs[0]


def recall(collection, Q, **options):
    found = [collection.search(vector=q, k=K, **options) for q in Q]
    truth = [collection.search(vector=q, k=K, recall=1.0, where=options.get("where")) for q in Q]
    for hits, wanted in zip(found, truth, strict=True):
        exact = {hit.id: hit.score for hit in wanted}
        assert all(hit.score == pytest.approx(exact[hit.id], rel=1e-5) for hit in hits if hit.id in exact)
    return np.mean([len(set(a.ids) & set(b.ids)) / K for a, b in zip(found, truth, strict=True)])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """One collection, compressed under a budget, closed; tests copy it."""
    path = tmp_path_factory.mktemp("compressed") / "c"
    with filled(path, vectors(2500)) as collection:
        before = collection.stats().spaces["default"]
        told = collection.compress(budget_bytes=10, candidates=["lvq4", "leanvec8+lvq4", "leanvec8+lvq8"], apply=True)
    return path, before, told


@pytest.fixture
def copied(saved, tmp_path):
    import shutil

    shutil.copytree(saved[0], tmp_path / "c")
    return tmp_path / "c"


def test_nothing_changes_without_consent(tmp_path):
    with filled(tmp_path / "c", vectors(1200)) as collection:
        generation = collection.stats().generation
        found = collection.compress(recall=0.9, candidates=["lvq4", "sq8"])
        assert not found.applied and found.setting is None and found.report.recommended == "lvq4"
        assert collection.stats().generation == generation and collection.stats().spaces["default"]["plan"] == "scan"
        assert not list((tmp_path / "c" / "derived").glob("graph.*"))
        assert json.loads(json.dumps(found.to_dict()))["report"]["rows"] == found.report.rows


def test_w71_the_graph_of_today_stands_beside_the_codes(tmp_path, monkeypatch):
    monkeypatch.setattr(merging, "BREAK_EVEN", 2000)
    X, Q = vectors(2500), vectors(60, seed=5)
    with filled(tmp_path / "c", X) as collection:
        collection.finish()
        assert collection.stats().spaces["default"]["plan"] == "graph"
        held = collection.compress(recall=0.9, candidates=["lvq4", "sq8"]).report
        asked = collection.compress(recall=0.9, candidates=["lvq4", "sq8"], queries=Q).report
        bytes_held = collection.stats().spaces["default"]["graph"]["bytes"]
        for found in (held, asked):
            assert sorted(c.name for c in found.candidates) == ["float32", "graph", "lvq4", "sq8"]
            row = found["graph"]
            assert row.bytes_per_vector == round(bytes_held / 2500) > 4 * DIM
            assert row.recall == row.recall_rescored and row.latency_ms > 0
            assert found.recommended != "graph" and any("what the space searches today" in n for n in found.notes)
        # Rows do not find themselves: that alone would be a tenth of the recall, and hide what is lost.
        assert asked["graph"].recall == pytest.approx(recall(collection, Q), abs=0.03)
        assert held["graph"].recall == pytest.approx(asked["graph"].recall, abs=0.05)
        assert "graph" in str(held)
        collection.compress(candidates=["sq8"], apply=True)
        assert all(c.name != "graph" for c in collection.compress(candidates=["sq8"]).report.candidates)


def test_a_budget_is_kept_and_told(saved, copied):
    _, before, told = saved
    assert before["plan"] == "scan" and before["compression"] is None
    assert told.applied and told.setting["codes"] == "leanvec8+lvq4" and told.setting["bytes_per_vector"] == 8
    assert told.measured["recall"] > 0.5 and "Applied to 2500 vectors" in str(told)
    unmeasured = replace(told, measured={**told.measured, "recall": None})
    assert "recall@10 was not measured with 50 rows" in str(unmeasured)
    with Collection(copied, read_only=True) as collection:
        stats = collection.stats().spaces["default"]
        assert stats["plan"] == "codes" and stats["compression"] == told.setting and stats["graph"]["rows"] == 2500
        Q = vectors(60, seed=5)
        leg = plans(collection, Q[0])
        assert leg.method == "codes" and leg.details["codes"] == "leanvec8+lvq4" and not leg.details["exact"]
        assert leg.details["effort"] == 50 and leg.details["bytes_read"] == 2500 * 8 + 50 * 4 * DIM
        # The recall told is that of rows held out; these queries are drawn from the same distribution.
        assert recall(collection, Q) == pytest.approx(told.measured["recall"], abs=0.1)
        assert recall(collection, Q, effort=400) > recall(collection, Q, effort=10)
        assert recall(collection, Q, recall=0.99) > 0.97
        assert recall(collection, Q, where={"even": True}, effort=300) > 0.95
        assert plans(collection, Q[0], where={"even": True}).method == "codes-filtered"
        with pytest.raises(StoreReadOnlyError):
            collection.compress(recall=0.9, apply=True)


def test_recall_asked_for_is_kept_by_searches_that_ask_for_none(tmp_path):
    with filled(tmp_path / "c", vectors(2000)) as collection:
        told = collection.compress(recall=0.98, candidates=["leanvec8+lvq8", "leanvec16+lvq4"], apply=True)
        assert told.setting["recall"] == 0.98 and told.measured["recall"] >= 0.98
        assert recall(collection, vectors(60, seed=6)) >= 0.96
        low = collection.compress(recall=0.5, candidates=["leanvec8+lvq8"], apply=True)
        assert low.measured["rescored_rows"] < told.measured["rescored_rows"] or low.setting != told.setting


def test_codes_follow_writes_deletions_and_merges(copied, monkeypatch):
    monkeypatch.setattr(merging, "_TAIL_ROWS", 200)
    monkeypatch.setattr(merging, "_CLOSE_ROWS", 50)
    more = vectors(600, seed=3)
    with Collection(copied) as collection:
        add(collection, more[:100], 2500)
        leg = plans(collection, more[0])
        assert leg.method == "codes+tail" and leg.details["tail_rows"] == 100
        assert collection.search(vector=more[0], k=1).ids == ["r2500"]
        collection.delete([f"r{i}" for i in range(40)])
        X = vectors(2500)
        assert all(collection.search(vector=X[i], k=3, effort=600).ids[0] != f"r{i}" for i in range(5))
        add(collection, more[100:], 2600)
        told = collection.stats().spaces["default"]
        assert told["graph"]["rows"] > 2900 and told["compression"]["codes"] == "leanvec8+lvq4"
        collection.finish()
        told = collection.stats().spaces["default"]
        assert told["plan"] == "codes" and told["graph"]["rows"] == 3060 and told["graph"]["dead"] == 0
        assert collection.search(vector=more[599], k=1, effort=500).ids == ["r3099"]
    with Collection(copied, read_only=True) as collection:
        assert plans(collection, more[0]).method == "codes"
        assert collection.check().ok


def test_undo_gives_back_what_was_there(copied):
    Q = vectors(5, seed=5)
    with Collection(copied, read_only=True) as reader, Collection(copied) as collection:
        assert plans(reader, Q[0]).method == "codes"
        assert collection.compress(undo=True).undone
        assert plans(collection, Q[0]).method == "scan" and collection.stats().spaces["default"]["compression"] is None
        assert plans(reader, Q[0]).method == "scan", "readers follow"
        assert not list((copied / "derived").glob("graph.*"))
        generation = collection.stats().generation
        none = collection.compress(undo=True)
        assert not none.undone and str(none) == repr(none) == "Space 'default' has no codes: nothing to undo."
        assert collection.stats().generation == generation
    with Collection(copied) as collection:
        assert plans(collection, Q[0]).method == "scan"


def test_damaged_codes_are_never_trusted_and_made_anew(copied):
    (folder,) = (copied / "derived").glob("graph.*")
    file = folder / "links" / "codes.npy"
    data = bytearray(file.read_bytes())
    data[-7] ^= 4
    file.write_bytes(bytes(data))
    q = vectors(1, seed=5)[0]
    with Collection(copied, read_only=True) as collection:
        hits = collection.search(vector=q, k=3)
        assert hits.plan.legs[0].method == "scan" and any("out of use" in each for each in hits.plan.warnings)
    with Collection(copied) as collection:
        assert collection.check(repair=True).ok
        assert plans(collection, q).method == "codes"


def test_a_snapshot_keeps_its_codes(copied):
    q = vectors(1, seed=5)[0]
    with Collection(copied) as collection:
        collection.snapshot("before")
        collection.compress(undo=True)
        collection.restore("before")
        assert collection.stats().spaces["default"]["compression"]["codes"] == "leanvec8+lvq4"
        collection.finish()
        assert plans(collection, q).method == "codes"


def test_codes_of_another_setting_are_passed_over(copied):
    """As after a crash between the file and the commit that names it."""
    with Collection(copied, read_only=True) as collection:
        space = collection._store.generation.spaces["default"]
        ages = {"at_least": 0, "at_most": 10**9, "known": space.graph}
        assert graphs.newest(copied, space.definition, codes="leanvec8+lvq4", **ages).codes == "leanvec8+lvq4"
        assert graphs.newest(copied, space.definition, codes="sq8", **ages) is None
        assert graphs.newest(copied, space.definition, **ages) is None


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"budget_bytes": 0}, "budget_bytes"),
        ({"budget_bytes": 19, "candidates": ["lvq4"]}, "at least 20, the bytes of lvq4"),
        ({"recall": 1.5}, "recall"),
        ({"recall": -0.1}, "recall"),
        ({"k": 0}, "k="),
        ({"rescored_rows": 5}, "rescored_rows"),
        ({"candidates": ["lvq5"]}, "lvq5"),
        ({"candidates": []}, "candidates"),
        ({"candidates": "lvq4"}, "candidates"),
        ({"candidates": ["pq5"]}, "divisor"),
        ({"undo": True, "apply": True}, "undo"),
        ({"undo": True, "recall": 0.9}, "undo"),
        ({"queries": np.zeros((0, DIM))}, "queries"),
        ({"queries": np.ones((3, DIM + 1))}, str(DIM)),
    ],
)
def test_w75_what_has_no_effect_or_is_out_of_range_is_refused(saved, copied, settings, match):
    with Collection(copied) as collection:
        generation = collection.stats().generation
        with pytest.raises(InputError, match=match):
            collection.compress(**settings)
        assert collection.stats().generation == generation


def test_spaces_that_cannot_be_compressed(tmp_path):
    with filled(tmp_path / "c", vectors(300)) as collection:
        with pytest.raises(InputError, match="300 vectors"):
            collection.compress(recall=0.9)
        for undo in (False, True):
            with pytest.raises(NotFoundError, match="other"):
                collection.compress(space="other", undo=undo)
            collection.add_space(f"late{undo}", dim=4, kind="tokens")
            with pytest.raises(InputError, match="with index_tokens"):
                collection.compress(space=f"late{undo}", undo=undo)
        add(collection, vectors(900, seed=2), 300)
        with pytest.raises(InputError, match="no queries"):
            collection.compress(queries=[])
        with pytest.raises(InputError, match="nothing to apply"):
            collection.compress(recall=1.0, budget_bytes=8, candidates=["leanvec8+lvq4"], apply=True)


@pytest.mark.parametrize(("metric", "codes"), [("l2", "pq8"), ("dot", "rabitq2d32"), ("cosine", "recurrent2d32")])
def test_w74_every_score_and_kind_of_codes(tmp_path, metric, codes):
    X = vectors(1200) * np.random.default_rng(1).lognormal(sigma=0.3, size=(1200, 1)).astype(np.float32)
    with filled(tmp_path / "c", X, metric=metric) as collection:
        told = collection.compress(recall=0.1, candidates=[codes], queries=vectors(50, seed=4), apply=True)
        assert told.measured["source"] == "queries" and told.setting["codes"] == codes
        assert recall(collection, vectors(20, seed=7), effort=200) > 0.9
    with Collection(tmp_path / "c") as collection:
        assert plans(collection, X[0]).method == "codes"


def test_one_note_says_how_many_rows_were_measured(tmp_path, monkeypatch):
    from orthant.collection.compression import methods

    monkeypatch.setattr(methods, "_SAMPLE_ROWS", 1200)
    monkeypatch.setattr(methods, "_HELD_ROWS", 100)
    with filled(tmp_path / "c", vectors(1500)) as collection:
        for queries in (None, vectors(50, seed=1)):
            report = collection.compress(budget_bytes=20, candidates=["lvq4"], queries=queries).report
            notes = [note for note in report.notes if note.startswith("Measured on")]
            assert len(notes) == 1 and "of the 1500 vectors of the space" in notes[0]
