"""Stores side by side: exact answers, places, and whole runs of small stores in processes of their own."""

from __future__ import annotations

import importlib.util
import json
import sys

import numpy as np
import pytest

from orthant.cli.bench.collection import HOME, store_table
from orthant.errors import InputError
from orthant.evaluation.ann.process import EngineFailedError, EngineProcess
from orthant.evaluation.stores.inputs import Corpus, read_queries, read_rows, recall_of, write_inputs
from orthant.evaluation.stores.places import COLUMNS, places
from orthant.evaluation.stores.run import StoreSettings, run_stores
from orthant.evaluation.stores.store import MODES, STORES, Query

WORDS = ["anchor", "basin", "canal", "delta", "estuary", "fjord", "gulf", "harbour", "inlet", "jetty"]
SMALL = StoreSettings(
    records=240, tune=12, judge=12, rounds=4, per_round=30, kills=1, kill_batch=20, cold_starts=1, mode_budget_s=5.0
)


@pytest.fixture(scope="module")
def corpus():
    """300 records in four groups, and 24 queries near some of them."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 16)).astype(np.float32)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    texts = [f"{' '.join(rng.choice(WORDS, 4))} mark{i}" for i in range(300)]
    metadata = [
        {"newsgroup": f"g{i % 4}", "date": "1993-04-01", "organization": "", "characters": len(text)}
        for i, text in enumerate(texts)
    ]
    queries = [Query(texts[i], X[i], f"g{i % 4}", 20) for i in range(24)]
    return Corpus(texts, metadata, X, queries, "generated")


def test_recall_counts_live_allowed_and_equally_near_records(corpus):
    live = np.arange(100, 240)
    query = corpus.queries[0]
    order = live[np.argsort(-(corpus.vectors[live] @ query.vector))]
    best = [f"c{n}" for n in order[:10]]
    assert recall_of(corpus, live, [query], [best], 10, filtered=False) == 1.0
    # A dead record, however near, and a repeated one count for nothing.
    assert recall_of(corpus, live, [query], [["c0", best[0], best[0]]], 10, filtered=False) == pytest.approx(0.1)
    meta = corpus.metadata
    fits = [n for n in order if meta[n]["newsgroup"] == query.group and meta[n]["characters"] >= query.characters]
    assert recall_of(corpus, live, [query], [[f"c{n}" for n in fits[:10]]], 10, filtered=True) == 1.0
    wrong = [f"c{n}" for n in order if meta[n]["newsgroup"] != query.group][:10]
    assert recall_of(corpus, live, [query], [wrong], 10, filtered=True) == 0.0
    twice = Corpus(corpus.texts, corpus.metadata, np.repeat(corpus.vectors[:150], 2, axis=0), [], "")
    assert recall_of(twice, np.arange(300), [query], [["c1"]], 1, filtered=False) == 1.0


def test_inputs_come_back_as_they_were_written(corpus, tmp_path):
    write_inputs(corpus, tmp_path, tune=5, judge=7)
    read = read_queries(tmp_path)
    assert [one.text for one in read.tune + read.judge] == [one.text for one in corpus.queries[:12]]
    assert read.judge[0].group == "g1" and read.judge[0].characters == 20
    np.testing.assert_array_equal(read.judge[0].vector, corpus.queries[5].vector)
    batches = list(read_rows(tmp_path, np.array([7, 3, 9]), 2))
    assert [rows.ids for rows in batches] == [["c7", "c3"], ["c9"]]
    assert batches[0].texts[1] == corpus.texts[3] and batches[1].metadata == [corpus.metadata[9]]
    np.testing.assert_array_equal(batches[0].vectors, corpus.vectors[[7, 3]])


def test_places_share_ties_skip_what_is_not_offered_and_do_not_reward_more_recall_than_asked():
    def entry(name, recall, p50, lost):
        modes = {"dense": {"recall": recall, "p50_ms": p50, "p99_ms": p50}}
        return {"store": name, "search": {"modes": modes}, "crash": {"lost": lost, "acknowledged": 10}}

    found = places([entry("a", 0.96, 2.0, 0), entry("b", 0.99, 1.0, 0), entry("c", 0.90, 3.0, 5)], 0.95)
    assert found["dense_recall"] == {"a": 1, "b": 1, "c": 3}
    assert found["dense_p50"] == {"a": 2, "b": 1, "c": 3} and found["hybrid_p50"] == {}
    assert found["crash_lost"] == {"a": 1, "b": 1, "c": 3} and found["crash_opens"] == {}


def test_a_collection_is_measured_in_every_column(corpus):
    said: list[str] = []
    record = run_stores(corpus, stores={"orthant": HOME, "gone": "orthant.x:Y"}, settings=SMALL, report=said.append)
    (entry,) = record["results"]
    assert [one["store"] for one in record["missing"]] == ["gone"] and "orthant.x" in record["missing"][0]["reason"]
    modes = entry["search"]["modes"]
    assert tuple(modes) == MODES
    # So few records are scanned: exact before the rounds, and after them only if dead records are gone.
    assert modes["dense"]["recall"] == modes["filtered dense"]["recall"] == entry["churn"]["recall"] == 1.0
    assert entry["churn"]["rounds"] == 4 and 0.5 < entry["churn"]["disk_ratio"] < 2
    assert entry["crash"]["kills"] == entry["crash"]["opened"] == 1
    assert entry["crash"]["acknowledged"] >= 60 and entry["crash"]["lost"] == entry["crash"]["torn"] == 0
    assert all(column.read(entry) is not None for column in COLUMNS)
    heads, lines = store_table(json.loads(json.dumps(record)))
    assert heads == ["", "orthant", "place"] and {line[-1] for line in lines} == {"1 of 1"}
    assert not any("not offered" in line for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(STORES))
def test_a_rival_is_measured(corpus, name):
    if importlib.util.find_spec(STORES[name].package) is None:
        pytest.skip(f"{STORES[name].package} is not installed")
    record = run_stores(corpus, stores={name: STORES[name].home}, settings=SMALL)
    assert record["missing"] == []
    (entry,) = record["results"]
    assert entry["search"]["modes"]["dense"]["recall"] >= 0.9 and entry["churn"]["rounds"] == 4


def test_a_lost_record_is_seen(corpus, tmp_path):
    """What `survived` counts are records, not promises: one that was never written is missed."""
    write_inputs(corpus, tmp_path, tune=5, judge=7)
    store = tmp_path / "store"
    store.mkdir()
    spec = {"home": HOME, "inputs": str(tmp_path), "folder": str(store), "k": 5}
    with EngineProcess(spec, module="orthant.evaluation.stores.worker", python=sys.executable) as process:
        process.ask("load", {"records": 50}, timeout_s=60)
        left = process.ask("survived", {"acknowledged": [[0, 40], [48, 53]], "flight": [60, 70]}, timeout_s=60)
        assert left == {"asked": 45, "there": 42, "in_flight_there": 0, "hits": 5}
        with pytest.raises(EngineFailedError, match="nothing_such"):
            process.ask("nothing_such", timeout_s=60)


def test_what_does_not_fit_is_refused(corpus, refused_rounds=StoreSettings(records=100, rounds=11, per_round=10)):
    with pytest.raises(InputError, match="rounds"):
        run_stores(corpus, stores={}, settings=refused_rounds)
    with pytest.raises(InputError, match="300"):
        run_stores(corpus, stores={}, settings=StoreSettings(records=301))
