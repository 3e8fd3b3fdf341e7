"""Corrections of records as well as of queries: a generation of its own, and back to the byte."""

from __future__ import annotations

import numpy as np
import pytest

from collection.adapting.test_adapt import DIM, PAIRS, Asker, N, found, made
from orthant.collection.adapting import items
from orthant.collection.collection import Collection
from orthant.errors import InputError

SETTINGS = {"sides": "both", "rank": DIM}


def vectors(path):
    return {file.relative_to(path): file.read_bytes() for file in sorted((path / "vectors").rglob("*.seg"))}


def test_records_are_moved_with_the_queries_and_come_back_to_the_byte(tmp_path):
    path = tmp_path / "c"
    with made(path, Asker()) as collection:
        plain, before = found(collection), vectors(path)
        report = collection.adapt(PAIRS, **SETTINGS)
        assert report.sides == "both" and report.applied
        assert found(collection) > plain + 0.05
        held = collection.adapters["default"]
        assert held["in_use"] and held["sides"] == "both"
        adapter = collection._store.generation.adapters["default"].adapter
        stored = collection.get("d3", vectors=True).vectors["default"]
        assert np.allclose(stored, adapter.transform_target(Asker().encode(["document 3"]))[0], atol=1e-5)
        # Given as a vector, a query is asked as its text is.
        asked = Asker().encode(["question 3"])[0]
        assert collection.search(asked, k=5).ids == collection.search("question 3", k=5, mode="dense").ids
        collection.upsert(["late"], texts=["document 5"])
        late, own = (one.vectors["default"] for one in collection.get(["late", "d5"], vectors=True))
        assert np.allclose(late, own, atol=1e-5)
        better = found(collection)
        with pytest.raises(InputError, match="corrected already"):
            collection.adapt(PAIRS, **SETTINGS)
    with Collection(path, encoder=Asker()) as collection:
        assert found(collection) == better
        collection.upsert(["later"], texts=["document 7"])
        collection.delete(["late", "later"])
        assert collection.reset_adapter() and not collection.reset_adapter()
        assert found(collection) == plain and collection.adapters == {}
        assert collection.check().ok
        # Files are only appended to: what came later lies behind.
        after = vectors(path)
        assert all(after[name].startswith(data) for name, data in before.items())


def test_sides_are_chosen_without_the_held_out_queries(tmp_path):
    with made(tmp_path / "c", Asker()) as collection:
        reports = {sides: collection.adapt(PAIRS, sides=sides, apply=False) for sides in ("auto", "query", "both")}
    validated = reports["auto"].validated
    assert set(validated) == {"none", "query", "both"} and set(reports["query"].validated) == {"none", "query"}
    best = max(("query", "both"), key=validated.get)
    assert reports["auto"].sides == best and reports["auto"].after == reports[best].after
    with Collection(tmp_path / "own") as own:
        own.add_space("default", dim=DIM)
        asker = Asker()
        own.upsert([f"d{i}" for i in range(N)], vectors=asker.encode([f"document {i}" for i in range(N)]))
        vectors = asker.encode([query for query, _ in PAIRS])
        report = own.adapt([(x, key) for x, (_, key) in zip(vectors, PAIRS, strict=True)])
        assert report.applied and report.sides == "query" and set(own.spaces) == {"default"}


def test_held_out_figures_of_both_sides_are_those_of_the_searches_that_follow(tmp_path):
    with made(tmp_path / "c", Asker()) as collection:
        report = collection.adapt(PAIRS, seed=3, **SETTINGS)
        from orthant.measures import score_run
        from orthant.transforms.adaptation.training import split

        _, out = split(np.arange(N), 0.2, np.random.default_rng(3))
        judged = {PAIRS[i][0]: [PAIRS[i][1]] for i in out}
        run = {query: collection.search(query, k=10, mode="dense").ids for query in judged}
        assert score_run(run, judged, ["ndcg@10"])["ndcg@10"].values.mean() == pytest.approx(report.after, abs=1e-6)


def test_former_vectors_can_be_let_go(tmp_path):
    with made(tmp_path / "c", Asker()) as collection:
        assert not collection.keep_adapter()
        collection.adapt(PAIRS, **SETTINGS)
        better = found(collection)
        assert collection.keep_adapter()
        assert list(collection.spaces) == ["default"] and found(collection) == better
        with pytest.raises(InputError, match="let go"):
            collection.reset_adapter()


def test_what_is_not_better_moves_nothing_and_a_dead_attempt_is_cleared_away(tmp_path, monkeypatch):
    with made(tmp_path / "c", Asker(turned=0.0)) as collection:
        assert not collection.adapt(PAIRS, **SETTINGS).applied
        assert list(collection.spaces) == ["default"]
    with made(tmp_path / "d", Asker()) as collection:
        plain = found(collection)

        def dies(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(items, "_plan", dies)
        with pytest.raises(KeyboardInterrupt):
            collection.adapt(PAIRS, **SETTINGS)
        monkeypatch.undo()
        assert found(collection) == plain
        assert collection.adapt(PAIRS, **SETTINGS).applied and found(collection) > plain


def test_a_space_without_an_encoder_is_refused(tmp_path):
    with Collection(tmp_path / "c") as collection:
        collection.upsert([f"d{i}" for i in range(N)], vectors=Asker().encode([f"document {i}" for i in range(N)]))
        asked = Asker().encode([query for query, _ in PAIRS])
        with pytest.raises(InputError, match="no encoder made"):
            collection.adapt([(q, key) for q, (_, key) in zip(asked, PAIRS, strict=True)], **SETTINGS)
