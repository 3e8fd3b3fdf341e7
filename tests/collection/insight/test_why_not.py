"""Every stage that can drop a record is named, with true figures, and every change it proposes was tried."""

from __future__ import annotations

import json

import numpy as np
import pytest

import orthant
from collection.fake_graph import FakeGraph
from collection.fakes import FakeEncoder, naive_scores, text_of
from orthant.collection.collection import Collection
from orthant.collection.insight import trying
from orthant.collection.insight.outcome import STAGES
from orthant.collection.storage import graphs, merging
from orthant.errors import FilterError, InputError
from orthant.kernels import warmup

TEXTS = {
    "csv": "Read a csv file line by line with the csv module.",
    "json": "Parse json documents and write them again.",
    "sql": "Query a database with sql and fetch all rows.",
    "log": "Write log lines to a file and rotate it every day.",
    "error": "Error E1042 means that the csv file has no header.",
}
QUERY = "load a csv file"


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    made = orthant.open(tmp_path_factory.mktemp("why") / "notes.orthant", encoder="static")
    metadata = [{"year": 1990 + i, "author": {"name": "ab"[i % 2]}} for i in range(len(TEXTS))]
    made.upsert(list(TEXTS), texts=list(TEXTS.values()), metadata=metadata)
    made.upsert(["bare"], metadata=[{"kind": "none"}])
    made.upsert(["gone"], texts=["A csv file that is deleted."])
    made.delete(["gone"])
    yield made
    made.close()


def ask(collection, query, record_id, **settings):
    """Ask, and check what must hold of every answer: it agrees with the search, and its changes do what they say."""
    why = collection.why_not(query, record_id, **settings)
    assert why.stage in STAGES and why.sentence.startswith(repr(record_id))
    assert why.found == (record_id in collection.search(query, **settings).ids)
    for change in why.changes:
        merged = {**settings, **change.settings}
        if "recall" in change.settings:
            merged.pop("effort", None)
        hits = collection.search(query, **merged)
        assert hits[hits.ids.index(record_id)].rank == change.rank
    assert json.loads(json.dumps(why.to_dict()))["stage"] == why.stage
    return why


def test_what_is_found_is_said_with_its_rank(notes):
    why = ask(notes, QUERY, "csv")
    assert why.found and why.rank == 1 and "rank 1" in why.sentence and not why.changes


@pytest.mark.parametrize("record_id", ["never", "gone"])
def test_absent_and_deleted(notes, record_id):
    assert ask(notes, QUERY, record_id).stage == "missing"


def test_the_clause_that_fails_is_named_with_the_value(notes):
    where = {"year": {"lt": 1993}, "author.name": "b", "kind": {"exists": False}}
    why = ask(notes, QUERY, "sql", where=where)
    (failed,) = why.step("filter").details["failed"]
    assert failed == {"clause": 'author.name = "b"', "values": {"author.name": "a"}, "missing": []}
    (change,) = why.changes
    # The clauses that the record satisfies stay.
    assert change.settings["where"] == {"and": [{"year": {"lt": 1993}}, {"kind": {"exists": False}}]}


def test_a_field_that_the_record_lacks(notes):
    why = ask(notes, QUERY, "bare", where={"year": {"gt": 1}})
    assert why.stage == "filter" and why.step("filter").details["failed"][0]["missing"] == ["year"]
    either = ask(notes, QUERY, "sql", where={"or": [{"year": 1}, {"not": {"author.name": "a"}}]})
    assert len(either.step("filter").details["failed"]) == 1
    assert either.changes[0].settings == {"where": None}


@pytest.mark.parametrize(
    ("query", "failed"),
    [("+header csv", ["+header"]), ('"csv header"', ['"csv header"']), ("line -modules", ["-modules"])],
)
@pytest.mark.parametrize("mode", ["hybrid", "lexical"])
def test_conditions_in_the_query(notes, query, failed, mode):
    why = ask(notes, query, "csv", mode=mode)
    assert why.stage == "condition" and why.step("lexical").details["failed"] == failed
    assert why.changes[0].settings["syntax"] == "plain"


def test_words_that_are_lacking(notes):
    why = ask(notes, "files with headers", "json", mode="lexical")
    assert why.stage == "words" and why.step("lexical").details["lacks"] == ["files", "headers"]
    half = ask(notes, "csv headers", "csv", k=1, mode="lexical")
    assert half.stage == "page" and half.rank == 2


def test_without_vector_or_text(notes):
    assert ask(notes, QUERY, "bare").stage == "no-vector"
    assert ask(notes, QUERY, "bare", mode="dense").stage == "no-vector"
    assert ask(notes, QUERY, "bare", mode="lexical").stage == "no-text"


def test_pages_and_scores(notes):
    late = ask(notes, QUERY, "json", mode="dense", k=1)
    assert late.stage == "page" and late.changes[0].settings == {"k": late.changes[0].rank}
    early = ask(notes, QUERY, "csv", offset=2, k=1)
    assert early.stage == "page" and early.changes[0].settings["offset"] == 0
    low = ask(notes, QUERY, "log", min_score=0.9)
    assert low.stage == "min_score" and low.changes[0].settings == {"min_score": low.score}


def test_true_rank_and_score_are_those_of_a_scan(notes):
    truth = notes.search(QUERY, mode="dense", k=5)
    for k, hit in enumerate(truth.hits[1:], 1):
        details = ask(notes, QUERY, hit.id, mode="dense", k=k).step("dense").details
        assert details["true_rank"] == hit.rank and details["score"] == pytest.approx(hit.score)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    rng = np.random.default_rng(4)
    made = Collection(tmp_path_factory.mktemp("many") / "c", encoder=FakeEncoder())
    made.upsert([f"r{i}" for i in range(300)], texts=[text_of(rng) for _ in range(300)])
    yield made
    made.close()


@pytest.mark.parametrize("fusion", ["minmax", "rrf"])
def test_a_fusion_cut_names_weights_that_bring_it_in(many, fusion):
    query, k = "amber basin cedar", 5
    dense, found = many.search(query, mode="dense", k=k).ids, many.search(query, k=k, fusion=fusion).ids
    pushed_out = [key for key in dense if key not in found]
    assert pushed_out
    for key in pushed_out:
        why = ask(many, query, key, k=k, fusion=fusion)
        assert why.stage == "fusion" and why.step("ranking").details["legs"]["dense"]["rank"] <= k
        weights = [change.settings["weights"] for change in why.changes if "weights" in change.settings]
        assert weights and weights[0]["dense"] > 0.4
        assert {"k": why.rank} in [change.settings for change in why.changes]


def test_depth_is_told_from_fusion(many):
    query = "amber basin cedar"
    ranked = many.search(query, k=300, depth=300)
    deep = next(h for h in ranked if h.legs["dense"].rank > 40 and (h.legs["lexical"].rank or 999) > 40)
    why = ask(many, query, deep.id, k=5, depth=20)
    assert why.stage == "depth" and why.step("dense").details["true_rank"] == deep.legs["dense"].rank
    assert why.changes[0].settings["depth"] > 20


@pytest.mark.parametrize("cause", ["beam", "codes"])
def test_a_graph_that_misses_is_told_apart_by_what_it_missed(tmp_path, monkeypatch, cause):
    class Missing(FakeGraph):
        """Loses row 7: below an effort of 200 the walk never sees it, or only a list as long as the beam ranks it."""

        def search(self, Q, k=10, *, allowed=None, effort=None, recall=None, threads=None):
            asked = effort or (64 if (recall or 0.95) < 0.999 else 400)
            lost = asked < 200 if cause == "beam" else k < asked < 200
            live = np.ones(len(self), dtype=bool)
            live[7] = not lost
            return super().search(Q, k, allowed=live, effort=asked)

    monkeypatch.setattr(merging, "BREAK_EVEN", 100)
    monkeypatch.setattr(graphs, "graph_class", lambda: Missing)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 8)).astype(np.float32)
    with Collection(tmp_path / "c") as made:
        made.upsert([f"r{i}" for i in range(500)], vectors=X)
        made.finish()
        q = X[7] + 0.01 * rng.standard_normal(8).astype(np.float32)
        row = made._store.read(lambda c, now: int(now.spaces["default"].segments[0].rows[0]))
        key = f"r{7 - row}"
        q = X[7 - row]
        assert key not in made.search(vector=q, k=3).ids
        why = ask(made, q, key, k=3)
        assert why.stage == cause and "effort" in why.sentence
        details = why.step("dense").details
        order = np.argsort(-naive_scores(q, X, "cosine"), kind="stable")
        assert details["true_rank"] == 1 + int(np.flatnonzero(order == 7 - row)[0])
        assert details["effort"] == 64 and details["effort_needed"] == 256
        tried = [change.settings for change in why.changes]
        assert tried == [{"effort": 256}, {"recall": 0.999}]


def test_what_a_real_graph_misses_is_explained(tmp_path, monkeypatch):
    monkeypatch.setattr(merging, "BREAK_EVEN", 1000)
    rng = np.random.default_rng(0)
    with Collection(tmp_path / "c") as made:
        made.upsert([f"r{i}" for i in range(3000)], vectors=rng.standard_normal((3000, 32)).astype(np.float32))
        made.finish()
        warmup.wait("graph")
        missed = 0
        for q in rng.standard_normal((20, 32)).astype(np.float32):
            truth = made.search(vector=q, k=5, recall=1.0)
            found = made.search(vector=q, k=5, effort=5).ids
            for hit in truth:
                if hit.id not in found:
                    missed += 1
                    why = ask(made, q, hit.id, k=5, effort=5)
                    assert why.stage in ("beam", "codes") and why.changes
                    assert why.step("dense").details["true_rank"] == hit.rank
        assert missed


def test_everything_is_asked_of_one_commit(notes, monkeypatch):
    seen = []
    run = trying.execute

    def execute(store, *rest, **more):
        notes.upsert([f"meanwhile{len(seen)}"], texts=["A csv file to load, which came meanwhile."])
        seen.append(run(store, *rest, **more))
        return seen[-1]

    monkeypatch.setattr(trying, "execute", execute)
    why = notes.why_not(QUERY, "sql", k=1)
    notes.delete([f"meanwhile{i}" for i in range(len(seen))])
    assert len(seen) > 1 and {result[0].plan.generation for result in seen} == {why.generation}


def test_refused_as_a_search_is(notes):
    with pytest.raises(InputError):
        notes.why_not("", "csv")
    with pytest.raises(InputError):
        notes.why_not(QUERY, 7)
    with pytest.raises(InputError):
        notes.why_not(QUERY, "csv", mode="dense", depth=5)
    with pytest.raises(FilterError):
        notes.why_not(QUERY, "csv", where={"year": {"gte": "x"}})


def test_asking_changes_nothing(notes):
    before = notes.stats().to_dict()
    ask(notes, QUERY, "json", k=1)
    assert notes.stats().to_dict() == before


def test_a_record_that_steering_moves_out_is_told_from_one_that_was_never_in(notes):
    plain = ask(notes, QUERY, "csv", mode="dense", k=1)
    assert plain.found
    steer = {"toward": ["write json documents"], "strength": 2.0}
    why = ask(notes, QUERY, "csv", mode="dense", k=1, steer=steer)
    assert why.stage == "steer" and "without it, it is at rank 1" in why.sentence
    step = next(step for step in why.steps if step.name == "steering")
    assert not step.passed and step.details["score"] < step.details["score_without"]
    index = [change.settings["steer"] for change in why.changes]
    assert index[-1] is None and all(one is None or one["strength"] < 2.0 for one in index)
    # Missing either way: what else dropped it is told.
    other = ask(notes, QUERY, "sql", mode="dense", k=1, steer=steer)
    assert other.stage == "page" and next(step for step in other.steps if step.name == "steering").passed
    assert ask(notes, QUERY, "csv", mode="dense", k=5, steer=steer).found
    vector = notes._encoders.require("default").encode(["write json documents"])[0]
    by_vector = notes.why_not(QUERY, "csv", mode="dense", k=1, steer={"toward": vector, "strength": 2.0})
    assert by_vector.stage == "steer" and json.dumps(by_vector.to_dict())
