"""Duplicates of a collection: found, grouped, marked, unmarked, deleted; and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from collection.fake_graph import FakeGraph
from collection.fakes import FakeEncoder, text_of
from orthant.collection.collection import Collection
from orthant.collection.duplicates import near
from orthant.collection.storage import graphs, merging
from orthant.errors import InputError, NotFoundError, StoreReadOnlyError

COPIES = 12


@pytest.fixture
def texts():
    """Ninety texts of their own, then copies of the first twelve that differ in case, space and punctuation."""
    rng = np.random.default_rng(0)
    own = [f"{text_of(rng, 12)} number{i} {text_of(rng, 12)}" for i in range(90)]
    return own + [f"  {text.upper().replace(' ', '   ', 3)}!" for text in own[:COPIES]]


@pytest.fixture
def filled(tmp_path, texts):
    with Collection(tmp_path / "c", encoder=FakeEncoder()) as collection:
        ids = [f"r{i}" for i in range(len(texts))]
        metadata = [{"n": i, "deep": {"even": i % 2 == 0}} for i in range(len(texts))]
        collection.upsert(ids[:50], texts=texts[:50], metadata=metadata[:50])
        collection.upsert(ids[50:], texts=texts[50:], metadata=metadata[50:])
        yield collection


def planted():
    return {f"r{90 + i}": f"r{i}" for i in range(COPIES)}


def everything(collection):
    return {r.id: (r.text, r.metadata, {s: x.tobytes() for s, x in r.vectors.items()})
            for r in collection.get(sorted(collection.ids()), vectors=True)}  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        {"by": "text", "threshold": 0.8},
        {"by": "text", "threshold": 0.8, "exact": True},
        {"by": "vectors", "threshold": 0.999},
        {"by": "both", "threshold": {"vectors": 0.999, "text": 0.9}},
        {"by": "both", "threshold": 0.95, "shingle": 2},
    ],
)
def test_planted_copies_are_found_and_nothing_else(filled, options):
    report = filled.duplicates(**options)
    assert report.duplicates == planted()
    assert {(pair.first, pair.second) for pair in report.pairs} == {(b, a) for a, b in planted().items()}
    assert report.records == 102 and report.left_out == 0 and report.chained == 0
    assert report.recall.share > 0.99
    assert json.loads(json.dumps(report.to_dict()))["groups"][0] == {"kept": "r0", "duplicates": ["r90"]}
    for pair in report.pairs:
        assert (pair.cosine is not None) == (options["by"] != "text")
        assert (pair.jaccard is not None) == (options["by"] != "vectors")


def test_both_demands_both(tmp_path):
    with Collection(tmp_path / "c") as collection:
        texts = ["one two three four", "one two three four", "five six seven eight"]
        collection.upsert(["a", "b", "c"], texts=texts, vectors=[[1, 0], [0, 1], [1, 0]])
        limits = {"vectors": 0.9, "text": 0.9}
        assert collection.duplicates(by="text", threshold=0.9).duplicates == {"b": "a"}
        assert collection.duplicates(by="vectors", threshold=0.9).duplicates == {"c": "a"}
        assert collection.duplicates(by="both", threshold=limits).duplicates == {}


def test_keep_rules_and_filters_reach_the_search(filled):
    newest = filled.duplicates(by="text", threshold=0.8, keep="newest").duplicates
    assert newest == {a: b for b, a in planted().items()}
    assert filled.duplicates(by="text", threshold=0.8, keep="longest").duplicates == newest
    by_field = filled.duplicates(by="text", threshold=0.8, keep="newest", order_field="n").duplicates
    assert by_field == newest
    assert (
        filled.duplicates(by="text", threshold=0.8, keep=lambda record: -record.metadata["n"]).duplicates == planted()
    )
    even = filled.duplicates(by="text", threshold=0.8, where={"deep.even": True})
    assert even.duplicates == {a: b for a, b in planted().items() if int(b[1:]) % 2 == 0}
    assert even.records == 51


def test_many_equal_records_do_not_become_all_their_pairs(tmp_path):
    with Collection(tmp_path / "c") as collection:
        ids = [f"r{i}" for i in range(300)]
        collection.upsert(ids, texts=["the same words here"] * 300, vectors=np.ones((300, 3)))
        for by in ("vectors", "text", "both"):
            report = collection.duplicates(by=by, threshold=1.0)
            assert len(report.pairs) == 299 and len(report.groups) == 1
            assert report.groups[0].kept == "r0" and len(report.groups[0].duplicates) == 299


def test_a_chain_of_texts_is_split(tmp_path):
    words = [f"word{i}" for i in range(60)]
    with Collection(tmp_path / "c") as collection:
        collection.upsert([f"s{i}" for i in range(6)], texts=[" ".join(words[4 * i : 4 * i + 30]) for i in range(6)])
        report = collection.duplicates(by="text", threshold=0.7, shingle=1)
        assert report.chained == 1
        alike = {frozenset((pair.first, pair.second)) for pair in report.pairs}
        assert all(frozenset(pair) in alike for pair in report.duplicates.items())
        assert len(report.duplicates) == 3
        chained = collection.duplicates(by="text", threshold=0.7, shingle=1, linkage="components")
        assert len(chained.duplicates) == 5 and chained.chained == 0


# ---- marks ---------------------------------------------------------------------------------------------------------


def test_a_mark_is_one_commit_and_can_be_taken_back_exactly(filled):
    before = everything(filled)
    report = filled.duplicates(by="text", threshold=0.8)
    generation = filled.stats().generation
    assert report.mark() == COPIES
    assert filled.stats().generation == generation + 1
    assert {r.id: r.metadata["duplicate_of"] for r in filled.find({"duplicate_of": {"exists": True}})} == planted()
    after = everything(filled)
    for key, (text, metadata, vectors) in before.items():
        marked = metadata | ({"duplicate_of": planted()[key]} if key in planted() else {})
        assert after[key] == (text, marked, vectors)
    unmarked = {"duplicate_of": {"exists": False}}
    assert not set(filled.search("amber", k=100, where=unmarked).ids) & set(planted())
    assert filled.duplicates(by="text", threshold=0.8, where=unmarked).pairs == ()
    assert report.unmark() == COPIES and report.unmark() == 0
    assert everything(filled) == before
    assert report.mark(field="same") == COPIES
    assert filled.unmark_duplicates() == 0 and filled.unmark_duplicates(field="same") == COPIES
    assert everything(filled) == before


def test_marking_encodes_nothing_and_keeps_records_without_vectors(tmp_path):
    with Collection(tmp_path / "c") as collection:
        collection.add_space("second", dim=2)
        collection.upsert(["a", "b", "c"], texts=["x y z"] * 3, vectors={"second": [[1, 2], None, [3, 4]]})
        report = collection.duplicates(by="text", threshold=1.0)
        before = everything(collection)
        report.mark()
        report.unmark()
        assert everything(collection) == before and before["b"][2] == {}


def test_delete_removes_the_duplicates_only_when_asked(filled):
    report = filled.duplicates(by="text", threshold=0.8)
    assert len(filled) == 102
    report.mark()
    assert report.delete() == COPIES
    assert sorted(filled.ids()) == sorted(f"r{i}" for i in range(90))


def test_records_that_changed_since_are_not_touched(filled):
    report = filled.duplicates(by="text", threshold=0.8)
    filled.upsert(["r95"], texts=["something else entirely"])
    before = everything(filled)
    for action in (report.mark, report.delete, report.unmark):
        with pytest.raises(InputError, match="'r95'"):
            action()
    filled.delete(["r3"])
    report = filled.duplicates(by="text", threshold=0.8)
    assert "r93" not in report.duplicates
    filled.delete(["r4"])
    # The kept record is gone: deleting its copy would lose both.
    with pytest.raises(InputError, match="'r4'"):
        report.delete()
    del before["r3"], before["r4"]
    assert everything(filled) == before


def test_a_field_in_use_is_not_overwritten(filled):
    filled.upsert(["r0"], texts=[filled.get("r0").text], metadata=[{"duplicate_of": "my own"}])
    report = filled.duplicates(by="text", threshold=0.8, keep="newest")
    before = everything(filled)
    with pytest.raises(InputError, match="duplicate_of"):
        report.mark() if "r0" in report.duplicates else filled.duplicates(by="text", threshold=0.8).mark()
    assert everything(filled) == before
    for bad in ("", "a.b"):
        with pytest.raises(InputError, match="field"):
            report.mark(field=bad)


def test_a_reader_may_look_but_not_mark(filled, tmp_path):
    with Collection(tmp_path / "c", read_only=True, encoder=FakeEncoder()) as reader:
        report = reader.duplicates(by="text", threshold=0.8)
        assert report.duplicates == planted()
        with pytest.raises(StoreReadOnlyError):
            report.mark()


# ---- thresholds ----------------------------------------------------------------------------------------------------


def test_without_a_threshold_nothing_is_applied(filled):
    for by in ("vectors", "text"):
        report = filled.duplicates(by=by)
        assert report.pairs == () and report.groups == () and report.threshold is None
        assert sum(report.histogram.counts) == 102 and report.histogram.counts[-1] >= 2 * COPIES
        for action in (report.mark, report.delete):
            with pytest.raises(InputError, match="threshold"):
                action()
    assert filled.duplicates(by="text").histogram.valley is not None


@pytest.mark.parametrize("by", ["vectors", "text"])
def test_a_threshold_is_learned_from_judged_pairs(filled, by):
    judged = [(a, b, True) for a, b in planted().items()] + [(f"r{i}", f"r{i + 1}", False) for i in range(60)]
    report = filled.duplicates(by=by, labelled=judged)
    assert report.choice.f1 == 1.0 and report.choice.positives == COPIES
    assert report.threshold == {by: report.choice.threshold}
    assert report.choice.low <= report.choice.threshold <= report.choice.high
    assert planted().items() <= report.duplicates.items()


def test_a_graph_is_searched_where_there_is_one_and_its_recall_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(merging, "BREAK_EVEN", 200)
    monkeypatch.setattr(graphs, "graph_class", lambda: FakeGraph)
    rng = np.random.default_rng(4)
    X = rng.standard_normal((400, 16)).astype(np.float32)
    X[300:] = X[:100] + 0.01 * rng.standard_normal((100, 16))
    with Collection(tmp_path / "c") as collection:
        collection.upsert([f"r{i}" for i in range(400)], vectors=X, metadata=[{"n": i} for i in range(400)])
        collection.finish()
        found = collection.duplicates(threshold=0.99)
        whole = collection.duplicates(threshold=0.99, exact=True)
        assert found.method == "graph" and whole.method == "scan"
        assert found.pairs == whole.pairs and len(found.pairs) == 100
        assert found.recall.judged == 100 and found.recall.share == 1.0 and found.recall.low < 1.0
        part = collection.duplicates(threshold=0.99, where={"n": {"gte": 50}})
        assert part.method == "graph" and len(part.pairs) == 50
        assert collection.duplicates(threshold=0.99, where={"n": {"gte": 250}}).method == "scan"
        # A graph that forgets the last neighbours is told by the sample.
        plain = near.searched_pairs
        monkeypatch.setattr(near, "searched_pairs", lambda *a, **more: tuple(side[::2] for side in plain(*a)))
        assert collection.duplicates(threshold=0.99).recall.share == 0.5


def test_cosines_are_compared_whatever_the_metric(tmp_path):
    for metric in ("l2", "dot"):
        with Collection(tmp_path / metric, metric=metric) as collection:
            X = [[1, 0], [5, 0.01], [0, 0], [0, 2], [-1, 0]]
            collection.upsert(list("abcde"), vectors=X)
            report = collection.duplicates(threshold=0.99)
            assert report.duplicates == {"b": "a"} and report.left_out == 1


def test_odd_collections(tmp_path):
    with Collection(tmp_path / "c") as collection:
        assert collection.duplicates(by="text", threshold=0.5).pairs == ()
        assert collection.duplicates(by="text").histogram.records == 0
        with pytest.raises(NotFoundError, match="by='text'"):
            collection.duplicates(threshold=0.5)
        collection.upsert(["a"], texts=["alone"], vectors=[[1.0, 2.0]])
        for by in ("vectors", "text", "both"):
            report = collection.duplicates(by=by, threshold=0.5)
            assert report.pairs == () and report.records == 1 and report.mark() == 0
        collection.upsert(["b", "c"], texts=[None, "..."], vectors=[None, [1.0, 2.0]])
        assert collection.duplicates(by="text", threshold=0.5).left_out == 2
        assert collection.duplicates(threshold=0.9).duplicates == {"c": "a"}


@pytest.mark.parametrize(
    "options",
    [
        {"by": "words"},
        {"threshold": 0},
        {"threshold": 1.5},
        {"threshold": float("nan")},
        {"threshold": {"text": 0.5}},
        {"by": "both"},
        {"by": "both", "labelled": [("r0", "r1", True)]},
        {"threshold": 0.5, "labelled": [("r0", "r1", True)]},
        {"by": "text", "threshold": 0.5, "space": "default"},
        {"threshold": 0.5, "shingle": 2},
        {"by": "text", "threshold": 0.5, "shingle": 0},
        {"threshold": 0.5, "keep": "best"},
        {"threshold": 0.5, "keep": "longest", "order_field": "n"},
        {"threshold": 0.5, "linkage": "single"},
        {"labelled": [("r0", "r0", True), ("r0", "r1", False)]},
        {"labelled": [("r0", "r1", 1), ("r0", "r2", False)]},
        {"labelled": ["r0r"]},
        {"labelled": [("r0", "r1", True)]},
        {"labelled": [("r0", "r90", True), ("r0", "r1", False)], "where": {"n": {"lt": 50}}},
    ],
)
def test_settings_that_do_not_fit_are_refused(filled, options):
    with pytest.raises(InputError):
        filled.duplicates(**options)


def test_judged_ids_must_exist(filled):
    with pytest.raises(NotFoundError, match="nobody"):
        filled.duplicates(labelled=[("r0", "nobody", True), ("r0", "r1", False)])
