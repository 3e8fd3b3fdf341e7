"""W37: a monitor sees decay, raises few false alarms, keeps little, and never stands in a search's way."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from collection.fake_graph import FakeGraph
from collection.fakes import FakeEncoder, text_of
from orthant.collection.collection import Collection
from orthant.collection.insight import journal, monitor
from orthant.collection.insight.report import read_report
from orthant.collection.insight.shift import energy_test, standardised
from orthant.collection.results import Hit, LegScore, Plan, SearchResult
from orthant.collection.searching import Query, SearchOptions
from orthant.collection.stages.options import check_stages
from orthant.collection.storage import graphs, merging
from orthant.errors import InputError, NotFoundError

DIM, WINDOW = 8, 40


@pytest.fixture
def collection(tmp_path):
    rng = np.random.default_rng(1)
    with Collection(tmp_path / "c", encoder=FakeEncoder(dim=DIM)) as made:
        made.upsert([f"r{i}" for i in range(60)], texts=[text_of(rng) for _ in range(60)])
        yield made


class Stream:
    """Feeds a monitor with made queries and answers, without searching."""

    def __init__(self, collection, seed, **settings):
        self.rng = np.random.default_rng(seed)
        settings = {"window": WINDOW, "seed": seed, **settings}
        self.monitor = collection.monitor(**settings)
        self.options = SearchOptions(
            mode="dense", space="default", k=2, offset=0, predicate=None, where=None, depth=200, fusion="minmax",
            weights={}, min_score=None, recall=None, effort=None, threads=None, explain=False, include_text=True,
            syntax="operators", stages=check_stages(k=2, space="default"),
        )  # fmt: skip
        self.plan = Plan("dense", "default", 1, 60, None, None, (), None, {})

    def feed(self, count, *, shift=0.0, score=0.0):
        for _ in range(count):
            vector = (self.rng.standard_normal(DIM) + shift).astype(np.float32)
            first, second = np.sort(self.rng.normal(0.6 + score, 0.05, 2))[::-1].tolist()
            hits = tuple(
                Hit(key, value, rank, legs={"dense": LegScore(value, rank)})
                for rank, (key, value) in enumerate((("a", first), ("b", second)), 1)
            )
            self.monitor._observe([Query(None, vector)], self.options, [SearchResult(hits, self.plan)], 0.001)
        return self


def test_w37_false_alarms_stay_below_the_stated_rate(collection):
    rate, runs, windows = 0.05, 200, 1
    alarmed = 0
    for seed in range(runs):
        with Stream(collection, seed, false_alarm_rate=rate).feed(WINDOW * (1 + windows)).monitor as watch:
            alarmed += len({change.window for change in watch.report().changes})
    # At most 10 of 200 are expected; more than 20 come by chance less than once in a thousand times.
    assert 0 < alarmed <= 20


@pytest.mark.parametrize(
    ("part", "change"), [("queries", {"shift": 0.7}), ("answers", {"score": -0.05})], ids=["vectors", "scores"]
)
def test_w37_a_shift_is_found_in_the_first_window_after_it(collection, part, change):
    found = 0
    for seed in range(40):
        stream = Stream(collection, seed).feed(3 * WINDOW)
        changes = stream.feed(WINDOW, **change).monitor.report().changes
        found += any(c.part == part and c.window == 3 and c.first_query == 3 * WINDOW + 1 for c in changes)
        stream.monitor.close()
    assert found >= 38


def test_w37_a_lasting_change_is_reported_once_and_named(collection):
    stream = Stream(collection, 3).feed(2 * WINDOW).feed(4 * WINDOW, score=-0.3)
    (change,) = stream.monitor.report().changes
    assert change.part == "answers" and change.window == 2 and change.moved.startswith("dense_score went from 0.6")
    assert "queries 81 to 120" in str(change)


def test_the_test_is_exact_and_sees_spread_as_well_as_means():
    rng = np.random.default_rng(0)
    low = sum(energy_test(rng.exponential(size=(40, 2)), 15, permutations=99, seed=i)[1] <= 0.1 for i in range(400))
    assert 0.05 < low / 400 <= 0.15
    rows = np.concatenate([rng.standard_normal((100, 1)), 3 * rng.standard_normal((100, 1))])
    distance, p_value = energy_test(rows, 100)
    pairs = np.abs(rows - rows.T)
    naive = 2 * pairs[:100, 100:].mean() - pairs[:100, :100].mean() - pairs[100:, 100:].mean()
    assert p_value == 0.001 and distance == pytest.approx(naive)
    assert standardised(np.full((4, 1), 2.0)).tolist() == [[0.0]] * 4


def test_figures_of_real_searches(collection):
    with collection.monitor(window=20) as watch:
        for word in ("amber", "basin", "cedar"):
            collection.search(f"{word} delta", k=3)
        collection.search_many(["amber", "kelp"], k=2, mode="lexical")
        collection.search("xylophone", mode="lexical")
        seen = watch.report()
    assert seen.queries == 6 and seen.windows[0]["modes"] == {"hybrid": 3, "lexical": 3}
    assert seen.no_hits == pytest.approx(1 / 6) and seen.windows[0]["vectors"] == 3
    assert 0 < seen.latency_s["p50"] <= seen.latency_s["p99"] and seen.overhead_s > 0
    assert seen.recall == {"checked": 0, "mean": None}
    assert seen.windows[0]["signals"]["hits"]["count"] == 6
    collection.search("amber")
    assert watch.report().queries == 6
    assert "6 queries" in str(seen) and json.loads(json.dumps(seen.to_dict()))["queries"] == 6


def test_watching_does_not_change_results(collection):
    bare = collection.search("amber basin", k=5).ids
    with collection.monitor(window=20, canaries=["kelp"]):
        assert all(collection.search("amber basin", k=5).ids == bare for _ in range(25))


def test_a_search_before_the_first_vector_is_not_failed(tmp_path):
    with Collection(tmp_path / "new") as collection:
        monitor = collection.monitor()
        assert collection.search(vector=[1.0, 2.0]).ids == []
        assert monitor.report().queries == 1


def test_texts_are_stored_only_when_asked(collection, tmp_path):
    for keep, name in ((0, "silent"), (2, "told")):
        with collection.monitor(tmp_path / name, window=20, keep_texts=keep):
            for i in range(20):
                collection.search(f"secret{i}", mode="lexical")
    assert b"secret" not in (tmp_path / "silent").read_bytes()
    assert read_report(tmp_path / "told").windows[0]["texts"] == ["secret0", "secret1"]


def test_recall_is_sampled_on_a_graph(tmp_path, monkeypatch):
    class Half(FakeGraph):
        """Finds every second neighbour."""

        def search(self, Q, k=10, **options):
            found = super().search(Q, 2 * k, **options)
            return type(found)(found.ids[:, ::2], found.scores[:, ::2], np.minimum(found.counts, k), found.cost)

    monkeypatch.setattr(merging, "BREAK_EVEN", 100)
    monkeypatch.setattr(graphs, "graph_class", lambda: Half)
    rng = np.random.default_rng(0)
    with Collection(tmp_path / "c") as made:
        made.upsert([f"r{i}" for i in range(300)], vectors=rng.standard_normal((300, 8)))
        made.finish()
        with made.monitor(check_every=5) as watch:
            for q in rng.standard_normal((20, 8)):
                made.search(vector=q, k=10)
            assert watch.report().recall == {"checked": 4, "mean": pytest.approx(0.5)}


def test_w37_canaries_show_neighbours_that_changed(collection):
    with collection.monitor(window=20, canaries=["amber basin"]) as watch:
        for _ in range(40):
            collection.search("kelp")
        assert [w["churn"] for w in watch.report().windows] == [0.0, 0.0]
        collection.delete(collection.search("amber basin", k=5).ids)
        for _ in range(19):
            collection.search("kelp")
        assert watch.report().churn == pytest.approx(0.5) and watch.report().queries == 60


def test_a_file_is_resumed_with_its_reference(collection, tmp_path):
    path = tmp_path / "queries.jsonl"
    Stream(collection, 5, path=path).feed(WINDOW + 7).monitor.close()
    again = Stream(collection, 5, path=path)
    again.feed(WINDOW, shift=2.0)
    again.monitor.close()
    told = read_report(path)
    assert [window["queries"] for window in told.windows] == [WINDOW, 7, WINDOW]
    assert told.queries == 2 * WINDOW + 7 and {change.window for change in told.changes} == {2}
    with pytest.raises(InputError, match="settings"):
        collection.monitor(path, window=WINDOW + 1)
    with pytest.raises(NotFoundError):
        read_report(tmp_path / "absent")


def test_a_torn_line_spoils_no_other(collection, tmp_path):
    path = tmp_path / "queries.jsonl"
    Stream(collection, 5, path=path).feed(WINDOW).monitor.close()
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:150])
    with pytest.warns(UserWarning, match="1 damaged"):
        stream = Stream(collection, 5, path=path)
    stream.feed(WINDOW).monitor.close()
    told = read_report(path)
    assert len(told.windows) == 2 and told.problems == ["1 damaged lines were passed over"]


def test_the_file_stays_small(collection, tmp_path, monkeypatch):
    monkeypatch.setattr(monitor, "_HISTORY", 5)
    path = tmp_path / "queries.jsonl"
    stream = Stream(collection, 5, path=path, window=20)
    sizes = [stream.feed(20) and path.stat().st_size for _ in range(40)]
    assert len(journal.read(path)[0]) <= 12 and max(sizes[20:]) < 3 * sizes[8]
    stream.monitor.close()
    with collection.monitor(path, window=20, seed=5) as again:
        assert again.report().queries == 800 and again._reference is not None


def test_a_full_disk_fails_no_search(collection, tmp_path, monkeypatch):
    def full(path, entries):
        raise OSError(28, "No space left on device")

    with collection.monitor(tmp_path / "q", window=20) as watch:
        monkeypatch.setattr(journal, "append", full)
        with pytest.warns(UserWarning, match="could not be written"):
            for _ in range(20):
                assert len(collection.search("amber"))
        assert "No space left" in watch.report().problems[0]


def test_a_path_that_cannot_be_written_is_refused_at_once(collection, tmp_path):
    with pytest.raises(OSError):
        collection.monitor(tmp_path / "no" / "folder")
    assert collection._observers == ()


@pytest.mark.parametrize(
    "settings",
    [{"window": 5}, {"false_alarm_rate": 0.0}, {"check_every": 0}, {"keep_texts": -1}, {"canaries": [3]}],
)
def test_bad_settings_are_refused(collection, settings):
    with pytest.raises(InputError):
        collection.monitor(**settings)
    with pytest.raises(NotFoundError):
        collection.monitor(space="nowhere")


def test_a_drawing_shows_every_change(collection, tmp_path):
    stream = Stream(collection, 3).feed(3 * WINDOW).feed(2 * WINDOW, score=-0.3)
    report = stream.monitor.report()
    report.plot(tmp_path / "drawn.svg")
    drawn = (tmp_path / "drawn.svg").read_text()
    assert drawn.startswith("<svg") and drawn.count("<polyline") == 6
    assert drawn.count('stroke="red"') == 6 * len(report.changes)


def test_w53_threads_lose_no_query(collection):
    with (
        collection.monitor(window=20, canaries=["kelp"]) as watch,
        collection.monitor(window=25, canaries=["amber"]) as other,
    ):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: collection.search("amber basin", k=2), range(80)))
        assert watch.report().queries == other.report().queries == 80
