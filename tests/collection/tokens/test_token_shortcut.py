"""Candidates for MaxSim in a collection: never a wrong score, filters exact, and rebuilt from the tokens."""

from __future__ import annotations

import numpy as np
import pytest

import orthant
from orthant.collection.storage import maintenance, merging
from orthant.errors import InputError, StoreReadOnlyError

DIM, COUNT = 12, 260
ALL = 10_000
"""More candidates than there are records: the pooled shortcut then finds everything."""


def sets(count, seed=0):
    words = np.random.default_rng(9).standard_normal((90, DIM)).astype(np.float32)
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    rng = np.random.default_rng(seed)
    return [words[rng.choice(90, int(rng.integers(2, 9)), replace=False)] for _ in range(count)]


def filled(path, *, method="pooled", exact_below=100, count=COUNT, **space):
    collection = orthant.open(path)
    collection.add_space("late", dim=DIM, kind="tokens", method=method, exact_below=exact_below, **space)
    ids = [f"r{i}" for i in range(count)]
    collection.upsert(ids, vectors={"late": sets(count)}, metadata=[{"n": i} for i in range(count)])
    collection.finish()
    return collection


QUERIES = [tokens[:3] for tokens in sets(12, seed=5)]


def leg(collection, query=QUERIES[0], **options):
    return collection.search(query, mode="tokens", **options).plan.legs[0]


def equal_to_the_oracle(collection, **options):
    for query in QUERIES[:4]:
        found = collection.search(query, mode="tokens", effort=ALL, **options)
        truth = collection.search(query, mode="tokens", exact=True, **options)
        assert truth.plan.legs[0].method.startswith("scan")
        np.testing.assert_allclose([h.score for h in found], [h.score for h in truth], rtol=1e-5)
        assert len(set(found.ids) ^ set(truth.ids)) <= 2 * sum(h.score <= truth[-1].score + 1e-5 for h in truth)


@pytest.fixture(scope="module")
def pooled(tmp_path_factory):
    """One collection, closed; tests copy it."""
    path = tmp_path_factory.mktemp("late") / "c"
    filled(path).close()
    return path


@pytest.fixture
def copied(pooled, tmp_path):
    import shutil

    return shutil.copytree(pooled, tmp_path / "copy")


@pytest.mark.parametrize(("method", "dtype"), [("pooled", "float32"), ("plaid", "float16")])
def test_candidates_are_scored_exactly_and_the_plan_says_how_many(tmp_path, method, dtype):
    with filled(tmp_path / "c", method=method, dtype=dtype) as collection:
        found = collection.search(QUERIES[0], mode="tokens", effort=60)
        assert found.plan.legs[0].method == method and not found.plan.legs[0].details["exact"]
        assert found.plan.legs[0].details["candidates"] == 60
        truth = {h.id: h.score for h in collection.search(QUERIES[0], mode="tokens", k=COUNT, exact=True)}
        assert all(hit.score == pytest.approx(truth[hit.id], rel=1e-5) for hit in found)
        assert found.plan.legs[0].details["products"] < leg(collection, exact=True).details["distances"]
        space = collection.stats().spaces["late"]
        assert space["plan"] == method and space["graph"]["rows"] == COUNT and space["shortcut"]["exact_below"] == 100
        assert collection.check().ok
    with orthant.open(tmp_path / "c", read_only=True) as again:
        assert leg(again, effort=60).method == method


def test_a_filter_is_exact_and_small_ones_are_compared_whole(copied):
    with orthant.open(copied) as collection:
        some = collection.search(QUERIES[0], mode="tokens", where={"n": {"lt": 99}}, effort=ALL)
        assert some.plan.legs[0].method == "scan-allowed"
        for most in (150, 259):
            hits = collection.search(QUERIES[0], mode="tokens", where={"n": {"lt": most}}, effort=40)
            assert hits.plan.legs[0].method == "pooled-filtered"
            assert len(hits) == 10 and all(hit.metadata["n"] < most for hit in hits)
            equal_to_the_oracle(collection, where={"n": {"lt": most}})


def test_writes_deletions_compaction_and_reopening_leave_the_answers_right(copied, monkeypatch):
    monkeypatch.setattr(maintenance, "_MINIMUM_SLOTS", 50)
    with orthant.open(copied) as collection, orthant.open(copied, read_only=True) as reader:
        collection.delete([f"r{i}" for i in range(0, 60, 3)])
        collection.upsert(["r1", "new"], vectors={"late": sets(2, seed=7)}, metadata=[{"n": 1}, {"n": 999}])
        plan = leg(collection, effort=ALL)
        assert plan.method == "pooled+tail" and plan.details["tail_rows"] == 2
        gone = {f"r{i}" for i in range(0, 60, 3)}
        assert not gone & set(collection.search(QUERIES[0], mode="tokens", k=COUNT, effort=ALL).ids)
        new = collection.search(sets(2, seed=7)[1], mode="tokens", k=1)
        assert new.ids == ["new"]
        equal_to_the_oracle(collection)
        equal_to_the_oracle(reader)
        collection.delete([f"r{i}" for i in range(61, 130, 2)])
        equal_to_the_oracle(collection)
        collection.finish()
        assert leg(collection, effort=ALL).method == "pooled"
        assert collection.stats().spaces["late"]["dead_share"] <= 0.2
        equal_to_the_oracle(reader)
        assert collection.check().ok
    with orthant.open(copied) as again:
        assert leg(again, effort=ALL).method == "pooled"
        equal_to_the_oracle(again)


def test_a_shrunken_space_is_scanned_again(copied):
    with orthant.open(copied) as collection:
        collection.delete([f"r{i}" for i in range(40, COUNT)])
        collection.finish()
        assert leg(collection).method == "scan" and not list((copied / "derived").glob("graph.late.*"))
        equal_to_the_oracle(collection)


@pytest.mark.parametrize("how", ["flipped", "cut", "gone"])
def test_damage_to_the_codes_is_noticed_and_rebuilt_from_the_tokens(copied, how):
    (folder,) = (copied / "derived").glob("graph.late.*")
    file = max(
        (f for f in folder.rglob("*") if f.is_file() and f.name != "manifest.json"), key=lambda f: f.stat().st_size
    )
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data if how == "flipped" else data[:-5]) if how != "gone" else file.unlink()
    with orthant.open(copied, read_only=True) as reader:
        result = reader.search(QUERIES[0], mode="tokens")
        assert result.plan.legs[0].method == "scan" and "out of use" in result.plan.warnings[0]
        equal_to_the_oracle(reader)
        assert not reader.check().ok
    with orthant.open(copied) as collection:
        assert collection.check(repair=True).ok
        assert leg(collection, effort=ALL).method == "pooled" and collection.check().ok
        equal_to_the_oracle(collection)


def test_codes_that_could_not_be_written_leave_the_records(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(merging.graphs, "save", full)
    with orthant.open(tmp_path / "c") as collection:
        collection.add_space("late", dim=DIM, kind="tokens", method="pooled", exact_below=100)
        collection.upsert([f"r{i}" for i in range(150)], vectors={"late": sets(150)})
        assert leg(collection).method == "scan" and collection.stats().repairs
        monkeypatch.undo()
        collection.finish()
        assert leg(collection, effort=ALL).method == "pooled"


def test_snapshots_keep_the_codes_and_the_setting_of_their_time(copied):
    with orthant.open(copied) as collection:
        collection.snapshot("then")
        collection.delete([f"r{i}" for i in range(50)])
        collection.index_tokens("exact")
        assert leg(collection).method == "scan"
        with orthant.open(copied, snapshot="then") as then:
            assert leg(then, effort=ALL).method == "pooled"
        collection.restore("then")
        assert leg(collection, effort=ALL).method == "pooled" and len(collection) == COUNT
        equal_to_the_oracle(collection)
        assert collection.check().ok


def test_the_method_changes_and_small_spaces_are_compared_whole(copied):
    with orthant.open(copied) as collection:
        assert collection.index_tokens("exact")["method"] == "exact"
        assert leg(collection).method == "scan" and not list((copied / "derived").glob("graph.late.*"))
        collection.index_tokens("pooled", exact_below=COUNT + 1)
        assert leg(collection).method == "scan"
        assert collection.index_tokens(exact_below=COUNT)["method"] == "pooled"
        assert leg(collection, effort=ALL).method == "pooled"
    with orthant.open(copied, read_only=True) as reader, pytest.raises(StoreReadOnlyError):
        reader.index_tokens("exact")


def test_a_recall_that_candidates_do_not_reach_compares_everything(copied):
    with orthant.open(copied) as collection:
        # Means of random words follow MaxSim badly, and parts of records show it.
        plan = leg(collection)
        assert plan.method == "scan" and "no measured effort" in plan.details["why"]
        report = collection.token_report(QUERIES, efforts=(20, 200), methods=("pooled",), apply=True)
        assert report.applied and [row.effort for row in report.measured.rows] == [20, 200]
        least, most = (row.recall for row in report.measured.rows)
        assert least < most
        assert leg(collection, recall=least).details["candidates"] == 20
        assert leg(collection, recall=most).details["candidates"] == 200
        assert leg(collection, recall=0.9999).method == "scan" or most >= 0.9999
    with orthant.open(copied, read_only=True) as again:
        assert leg(again, recall=least).details["candidates"] == 20
        assert again.stats().spaces["late"]["graph"]["calibration"]["source"] == "queries"


def test_the_report_sets_other_shortcuts_beside_the_one_in_use(copied):
    with orthant.open(copied, read_only=True) as collection:
        report = collection.token_report(QUERIES, efforts=(30,))
        assert [row.method for row in report.measured.rows] == ["pooled", "plaid"]
        assert report.using == "pooled" and "plaid" in str(report) and report.to_dict()["newer"] == 0
        truth = [set(collection.search(q, mode="tokens", exact=True).ids) for q in QUERIES]
        found = [set(collection.search(q, mode="tokens", effort=30).ids) for q in QUERIES]
        recall = np.mean([len(a & b) / 10 for a, b in zip(truth, found, strict=True)])
        assert recall == pytest.approx(report.measured.rows[0].recall, abs=0.02)


def test_a_report_leaves_out_what_was_deleted_since_and_counts_what_is_newer(copied):
    query = QUERIES[0]
    with orthant.open(copied) as collection:
        gone = collection.search(query, mode="tokens", k=3, exact=True).ids
        collection.delete(gone)
        collection.upsert(["new"], vectors={"late": [query]})
        report = collection.token_report([query], k=5, efforts=(ALL,), methods=("pooled",))
        assert report.measured.sets == COUNT - 3 and report.newer == 1 and "1 newer records left out" in str(report)
        assert report.measured.rows[0].recall == 1


def test_figures_in_store_are_not_lost_to_a_report_on_another_method(copied):
    with orthant.open(copied) as collection:
        collection.token_report(QUERIES, efforts=(20, 200), apply=True)
        kept = collection.stats().spaces["late"]["shortcut"]
        assert [effort for effort, _ in kept["measured"]] == [20, 200]
        with pytest.raises(InputError, match="'pooled' among those measured"):
            collection.token_report(QUERIES, efforts=(20,), methods=("plaid",), apply=True)
        with pytest.raises(InputError, match="one at least"):
            collection.token_report(QUERIES, efforts=(), apply=True)
        assert collection.stats().spaces["late"]["shortcut"] == kept
        collection.index_tokens("exact")
        # Refused before queries are looked at, let alone searched.
        with pytest.raises(InputError, match="everything is compared"):
            collection.token_report([np.ones((1, DIM + 1))], apply=True)


def test_pages_join(copied):
    with orthant.open(copied) as collection:
        pages = [collection.search(QUERIES[0], mode="tokens", k=5, offset=o, effort=30).ids for o in (0, 5, 10, 15)]
        assert len({key for page in pages for key in page}) == 20


def test_why_not_tells_of_a_record_that_was_no_candidate(copied):
    with orthant.open(copied) as collection:
        for query in QUERIES:
            truth = collection.search(query, mode="tokens", exact=True).ids
            missed = [key for key in truth if key not in collection.search(query, mode="tokens", effort=10).ids]
            if missed:
                break
        why = collection.why_not(query, missed[0], mode="tokens", effort=10)
        assert why.stage == "beam" and "candidates" in why.sentence and why.changes


def test_settings_that_do_not_fit_are_refused(copied):
    with orthant.open(copied) as collection:
        for bad in ({"method": "hnsw"}, {"exact_below": 5}):
            with pytest.raises(InputError):
                collection.index_tokens(**bad)
            with pytest.raises(InputError):
                collection.add_space("more", dim=3, kind="tokens", **bad)
        with pytest.raises(InputError, match="kind='tokens'"):
            collection.add_space("more", dim=3, method="plaid")
        with pytest.raises(InputError, match="exact=True"):
            collection.search(QUERIES[0], mode="tokens", exact=True, effort=20)
        with pytest.raises(InputError, match="one vector per token"):
            collection.tune(np.ones((70, DIM)), space="late")
        collection.index_tokens("exact")
        with pytest.raises(InputError, match="shortcut"):
            collection.token_report(QUERIES[:2], efforts=(20,), methods=("pooled",), apply=True)
