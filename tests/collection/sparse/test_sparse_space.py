"""A space of weighted terms in a collection: written, searched, fused, kept, damaged, mended, carried away."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import zlib

import numpy as np
import pytest
from scipy import sparse

import orthant
from collection.fakes import FakeEncoder, text_of
from orthant.encoders import CallableSparseEncoder
from orthant.errors import (
    DimensionError,
    EncoderMismatchError,
    InputError,
    NotFoundError,
    StoreCorruptedError,
    StoreVersionError,
)

DIM = 211


def terms_of(text, factor=1.0):
    words = text.lower().split()
    return {zlib.crc32(word.encode()) % DIM: factor * (1 + len(word) / 4) for word in words}


def encoder(revision=""):
    return CallableSparseEncoder(
        lambda texts: [terms_of(text) for text in texts],
        dim=DIM,
        name="hashed",
        revision=revision,
        query_function=lambda texts: [terms_of(text, 0.5) for text in texts],
    )


def fill(path, n=60, seed=0, **settings):
    rng = np.random.default_rng(seed)
    texts = [text_of(rng) for _ in range(n)]
    with orthant.open(path, encoder=FakeEncoder(), spaces={"terms": encoder()}, **settings) as c:
        c.upsert([f"r{i}" for i in range(n)], texts=texts, metadata=[{"n": i} for i in range(n)])
    return texts


def reopened(path, **settings):
    return orthant.open(path, encoder=FakeEncoder(), spaces={"terms": encoder()}, **settings)


def truth(texts, query, keep=lambda i: True):
    """Return ids by exact dot product, equal ones in the order of writing."""
    q = terms_of(query, 0.5)
    scores = {i: sum(w * terms_of(t).get(term, 0.0) for term, w in q.items()) for i, t in enumerate(texts) if keep(i)}
    return [f"r{i}" for i in sorted((i for i in scores if scores[i] > 0), key=lambda i: (-np.float32(scores[i]), i))]


def test_the_leg_is_exact_with_filters_and_deletions(tmp_path):
    texts = fill(tmp_path / "c")
    with reopened(tmp_path / "c") as c:
        assert c.search("amber fjord", mode="sparse", k=60).ids == truth(texts, "amber fjord")
        wanted = truth(texts, "amber fjord", lambda i: i >= 30)
        found = c.search("amber fjord", mode="sparse", k=60, where={"n": {"gte": 30}}, facets=["n"])
        assert found.ids == wanted and len(wanted) > 3
        assert sum(count for _, count in found.facets["n"].values) <= len(wanted)
        assert c.search("amber fjord", mode="sparse", k=5, offset=5).ids == truth(texts, "amber fjord")[5:10]
        c.delete([wanted[0]])
        c.upsert([wanted[1]], texts=["kelp"])
        left = truth(texts, "amber fjord", lambda i: i >= 30 and f"r{i}" not in wanted[:2])
        assert c.search("amber fjord", mode="sparse", k=60, where={"n": {"gte": 30}}).ids == left
        assert c.stats().sparse["terms"]["vectors"] == 59
        assert c.get(wanted[1], vectors=True).sparse["terms"].to_dict() == pytest.approx(terms_of("kelp"))
    with reopened(tmp_path / "c", read_only=True) as c:
        assert c.search("amber fjord", mode="sparse", k=60, where={"n": {"gte": 30}}).ids == left
        assert c.check().ok
        vector = {"indices": list(terms_of("kelp")), "values": [2.0]}
        hit = c.search(mode="sparse", sparse_vector=vector, k=1)[0]
        assert hit.id in [*truth(texts, "kelp"), wanted[1]] and hit.legs["sparse"].rank == 1


def test_legs_are_fused_by_their_weights(tmp_path):
    texts = fill(tmp_path / "c")
    with reopened(tmp_path / "c") as c:
        weights = {"dense": 1, "lexical": 1, "sparse": 2}
        found = c.search("amber fjord grove", k=10, weights=weights)
        assert found.plan.fusion["weights"] == {"dense": 0.25, "lexical": 0.25, "sparse": 0.5}
        assert [leg.name for leg in found.plan.legs] == ["dense", "lexical", "sparse"]
        order = truth(texts, "amber fjord grove")
        for hit in found:
            assert set(hit.legs) == {"dense", "lexical", "sparse"}
            assert hit.score == pytest.approx(sum(leg.weight * leg.normalized for leg in hit.legs.values()), abs=1e-5)
            assert hit.legs["sparse"].rank == (order.index(hit.id) + 1 if hit.id in order else None)
        alone = c.search("amber fjord grove", k=60, mode="hybrid", weights={"sparse": 1})
        assert [hit.id for hit in alone if hit.score > 0][:20] == order[:20]
        assert "sparse" not in c.search("amber", k=3).plan.fusion["weights"]
        # Excluded words bind this leg as they bind the dense one.
        without = c.search("amber fjord -grove", k=60, weights=weights).ids
        assert without and not any("grove" in texts[int(key[1:])].split() for key in without)
        by_rank = c.search("amber fjord", k=5, weights=weights, fusion="rrf")
        assert all(0 <= leg.normalized <= 1 for hit in by_rank for leg in hit.legs.values())
    # Without a vector space, words and weighted terms are fused alone.
    with orthant.open(tmp_path / "d", spaces={"terms": encoder()}) as c:
        c.upsert(["a", "b"], texts=["amber kelp", "fjord"])
        found = c.search("amber", mode="hybrid", weights={"lexical": 1, "sparse": 1})
        assert found.ids == ["a"] and set(found[0].legs) == {"lexical", "sparse"} and found.plan.space is None
        with pytest.raises(InputError, match="recall"):
            c.search("amber", mode="hybrid", weights={"lexical": 1, "sparse": 1}, recall=0.9)


def test_what_has_no_effect_or_no_space_is_refused(tmp_path):
    fill(tmp_path / "c", n=4)
    with reopened(tmp_path / "c") as c:
        for settings, words in (
            ({"mode": "dense", "sparse_vector": {1: 1.0}}, "mode='dense'"),
            ({"sparse_space": "terms"}, "without a weight"),
            ({"mode": "sparse", "weights": {"sparse": 1}}, "mode='hybrid'"),
            ({"mode": "sparse", "syntax": "plain"}, "lexical leg"),
            ({"mode": "sparse", "effort": 9}, "dense leg"),
            ({"mode": "sparse", "sparse_vector": {DIM: 1.0}}, "terms from 0 to"),
            ({"mode": "sparse", "sparse_vector": {0: -1.0}}, "weights from 0"),
        ):
            with pytest.raises(InputError, match=words):
                c.search("amber", **settings)
        with pytest.raises(NotFoundError, match="'nowhere'"):
            c.search("amber", mode="sparse", sparse_space="nowhere")
        with pytest.raises(InputError, match="no text"):
            c.search(vector=np.ones(16), mode="sparse")
        c.add_space("own", dim=9, kind="sparse")
        with pytest.raises(InputError, match="several sparse spaces"):
            c.search("amber", mode="sparse")
        with pytest.raises(InputError, match="exists"):
            c.add_space("default", dim=9, kind="sparse")
        with pytest.raises(InputError, match="Leave metric out"):
            c.add_space("other", dim=9, kind="sparse", metric="cosine")
    with orthant.open(tmp_path / "d") as c, pytest.raises(InputError, match="without a sparse space"):
        c.search("amber", mode="sparse")
    with pytest.raises(InputError, match="space of its own"):
        orthant.open(tmp_path / "e", encoder=encoder())
    with pytest.raises(InputError, match="mapping of names"):
        orthant.open(tmp_path / "e", spaces=[encoder()])


def test_vectors_of_the_user(tmp_path):
    with orthant.open(tmp_path / "c") as c:
        c.add_space("own", dim=6, kind="sparse")
        matrix = sparse.csr_array(np.array([[0, 1, 0, 0, 2, 0], [3, 0, 0, 0, 0, 0], [0] * 6], dtype=np.float32))
        report = c.upsert(["a", "b", "c"], vectors={"own": matrix})
        assert report.vectors == {"own": 2} and report.without_vector == {"own": 1}
        c.upsert(["d", "e"], texts=["x", "y"], vectors={"own": [{4: 1.5}, None]})
        assert c.search(sparse_vector={4: 1.0}).ids == ["a", "d"]
        before = c.stats().generation
        twice = sparse.coo_array(([1.0, 2.0], ([0, 0], [3, 3])), shape=(1, 6))
        for bad, error in (
            ([{6: 1.0}], InputError),
            ([{1: -1.0}], InputError),
            ([{1: float("nan")}], InputError),
            (twice, InputError),
            ([{1: 1.0}, {2: 1.0}], DimensionError),
            (sparse.csr_array((1, 7)), DimensionError),
        ):
            with pytest.raises(error):
                c.upsert(["f"], texts=["z"], vectors={"own": bad})
        with pytest.raises(InputError, match="kind='sparse'"):
            c.upsert(["f"], vectors=matrix)
        assert c.stats().generation == before and "f" not in c
        assert any("brought by the user" in note for note in c.check().notes)


def test_another_encoder_is_refused(tmp_path):
    fill(tmp_path / "c", n=4)
    with pytest.raises(EncoderMismatchError, match="revision"):
        orthant.open(tmp_path / "c", encoder=FakeEncoder(), spaces={"terms": encoder("2")})
    changed = encoder()
    changed._functions["document"] = lambda texts: [{len(t) % DIM: 1.0} for t in texts]
    with pytest.raises(EncoderMismatchError, match="canary"):
        orthant.open(tmp_path / "c", encoder=FakeEncoder(), spaces={"terms": changed})
    with pytest.raises(InputError, match="encoder of its kind"):
        orthant.open(tmp_path / "c", encoder=FakeEncoder(), spaces={"terms": FakeEncoder()})
    with orthant.open(tmp_path / "c", encoder=FakeEncoder()) as c:
        with pytest.raises(InputError, match="not at hand"):
            c.upsert(["new"], texts=["amber"])
        with pytest.raises(InputError, match="no encoder at hand"):
            c.search("amber", mode="sparse")
        c.upsert(["new"], texts=["amber"], vectors={"terms": [None]})
        assert c.search(mode="sparse", sparse_vector=terms_of("amber"), k=9).ids.count("new") == 0


def test_another_process_sees_commits_and_older_releases_are_told(tmp_path):
    texts = fill(tmp_path / "c")
    with reopened(tmp_path / "c") as c:
        code = (
            "import sys, orthant\n"
            "c = orthant.open(sys.argv[1], read_only=True)\n"
            "v = {int(sys.argv[2]): 1.0}\n"
            "ask = lambda: print(*c.search(mode='sparse', sparse_vector=v, k=99).ids, flush=True)\n"
            "ask(); sys.stdin.readline(); ask()\n"
        )
        term = next(iter(terms_of("amber")))
        words = [sys.executable, "-c", code, str(tmp_path / "c"), str(term)]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
            first = reader.stdout.readline().split()
            assert set(first) >= set(truth(texts, "amber")) and "new" not in first
            c.upsert(["new"], texts=["amber"])
            c.delete([first[0]])
            second = reader.communicate("\n")[0].split()
        assert set(second) == {*first[1:], "new"}
    with sqlite3.connect(tmp_path / "c" / "store.sqlite") as connection:
        query = "SELECT value FROM meta WHERE key IN ('format', 'minimum_reader')"
        assert connection.execute(query).fetchall() == [("2",), ("2",)]
    connection.close()
    with orthant.open(tmp_path / "plain", encoder=FakeEncoder()) as c:
        c.upsert(["a"], texts=["amber"])
    with sqlite3.connect(tmp_path / "plain" / "store.sqlite") as connection:
        # Older releases go on reading what holds no weighted terms.
        assert connection.execute("SELECT value FROM meta WHERE key = 'minimum_reader'").fetchone() == ("1",)
    connection.close()


def test_a_newer_format_is_refused(tmp_path, monkeypatch):
    from orthant.collection.storage import database

    fill(tmp_path / "c", n=3)
    monkeypatch.setattr(database, "DATABASE_FORMAT", 1)
    with pytest.raises(StoreVersionError, match="format 2"):
        orthant.open(tmp_path / "c")


def test_snapshots_keep_and_bring_back_weighted_terms(tmp_path):
    texts = fill(tmp_path / "c", n=30)
    wanted = truth(texts, "amber kelp")
    with reopened(tmp_path / "c") as c:
        c.snapshot("before")
        c.delete(wanted[:3])
        c.upsert([wanted[4]], texts=["fjord"])
        c.add_space("late", dim=4, kind="sparse")
        c.upsert(["x"], vectors={"late": [{1: 1.0}], "terms": [None]})
        with reopened(tmp_path / "c", snapshot="before") as then:
            assert then.search("amber kelp", mode="sparse", k=30).ids == wanted
        c.restore("before")
        assert c.search("amber kelp", mode="sparse", k=30).ids == wanted
        assert set(c.sparse_spaces) == {"terms"} and c.check().ok
        c.upsert(["y"], texts=["amber kelp"])
    with reopened(tmp_path / "c") as c:
        assert sorted(c.search("amber kelp", mode="sparse", k=31).ids) == sorted([*wanted, "y"]) and c.check().ok


@pytest.mark.parametrize("target", ["folder", "file.zip"])
def test_exports_carry_weighted_terms(tmp_path, target):
    texts = fill(tmp_path / "c", n=25)
    with reopened(tmp_path / "c") as c:
        c.upsert(["bare"], metadata=[{"n": 99}])
        report = c.export(tmp_path / target)
        assert set(report.spaces) == {"default", "terms"}
        with pytest.raises(InputError, match="folder or an archive"):
            c.export(tmp_path / "x.parquet")
    with orthant.open(tmp_path / "d", encoder=FakeEncoder()) as c:
        # The encoder is not needed: the terms come along bit by bit.
        assert c.import_from(tmp_path / target).vectors == {"default": 25, "terms": 25}
    with reopened(tmp_path / "d") as c, reopened(tmp_path / "c", read_only=True) as original:
        assert c.search("amber kelp", mode="sparse", k=30).ids == truth(texts, "amber kelp")
        for ours, theirs in zip(*([x.get(list(x.ids()), vectors=True) for x in (c, original)]), strict=True):
            assert ours.sparse.keys() == theirs.sparse.keys()
            for name, vector in ours.sparse.items():
                np.testing.assert_array_equal(vector.values, theirs.sparse[name].values)
    with orthant.open(tmp_path / "e", spaces={"terms": encoder("2")}) as c:
        c.upsert(["a"], texts=["b"])
        with pytest.raises(EncoderMismatchError, match="terms"):
            c.import_from(tmp_path / target)


def test_marking_duplicates_keeps_weighted_terms(tmp_path):
    with orthant.open(tmp_path / "c") as c:
        c.add_space("own", dim=4, kind="sparse")
        texts = ["the same long text with many words in it"] * 2
        c.upsert(["a", "b"], texts=texts, vectors={"own": [{1: 1.0}, {1: 2.0}]})
        c.duplicates(by="text", threshold=0.9).mark()
        assert c.search(sparse_vector={1: 1.0}).ids == ["b", "a"] and c.check().ok


def _damage(path, statement, *values):
    connection = sqlite3.connect(path / "store.sqlite")
    with connection:
        connection.execute(statement, values)
    connection.close()


FLIP = "UPDATE sparse_vectors SET data = zeroblob(length(data)) WHERE row = 7"
LOSE = "DELETE FROM sparse_vectors WHERE row = 7"


@pytest.mark.parametrize("statement", [FLIP, LOSE])
@pytest.mark.parametrize("derived_too", [False, True])
def test_damaged_vectors_are_noticed_and_encoded_again(tmp_path, statement, derived_too):
    texts = fill(tmp_path / "c")
    _damage(tmp_path / "c", statement)
    if derived_too:
        for file in (tmp_path / "c" / "derived").rglob("sparse.terms"):
            file.write_bytes(file.read_bytes()[:-9])
    with reopened(tmp_path / "c") as c:
        if derived_too:
            # Nothing is left to answer from: the search says so, the others go on.
            with pytest.raises(StoreCorruptedError, match="check --repair"):
                c.search("amber", mode="sparse")
            assert c.search("amber", mode="lexical").ids and c.stats().sparse["terms"]["problem"]
        report = c.check()
        assert not report.ok and any("sparse vectors" in p.where and p.repairable for p in report.problems)
        assert c.check(repair=True).ok and c.check().ok
        assert c.search("amber fjord", mode="sparse", k=60).ids == truth(texts, "amber fjord")
    with reopened(tmp_path / "c") as c:
        assert c.search("amber fjord", mode="sparse", k=60).ids == truth(texts, "amber fjord") and c.check().ok


def test_damaged_vectors_of_the_user_are_reported_until_written_again(tmp_path):
    with orthant.open(tmp_path / "c") as c:
        c.add_space("own", dim=9, kind="sparse")
        c.upsert([f"r{i}" for i in range(9)], vectors={"own": [{i: 1.0, 8: 2.0} for i in range(8)] + [{8: 1.0}]})
    _damage(tmp_path / "c", FLIP)
    for file in (tmp_path / "c" / "derived").rglob("sparse.own"):
        file.unlink()
    with orthant.open(tmp_path / "c") as c:
        report = c.check(repair=True)
        assert not report.ok and "write these records again" in report.problems[-1].what
        with pytest.raises(StoreCorruptedError):
            c.search(sparse_vector={8: 1.0})
        c.upsert(["r7"], vectors={"own": [{8: 3.0}]})
        assert c.search(sparse_vector={8: 1.0}, k=1).ids == ["r7"] and c.check().ok
    with orthant.open(tmp_path / "c") as c:
        assert len(c.search(sparse_vector={8: 1.0}, k=20)) == 9 and c.check().ok


def test_why_not_knows_the_leg(tmp_path):
    texts = fill(tmp_path / "c", n=40)
    with reopened(tmp_path / "c") as c:
        order = truth(texts, "amber fjord")
        absent = next(f"r{i}" for i in range(40) if f"r{i}" not in order)
        why = c.why_not("amber fjord", absent, mode="sparse", k=3)
        assert why.stage == "terms" and "did not bring it" in str(why)
        last = c.why_not("amber fjord", order[-1], mode="sparse", k=3)
        assert last.stage == "page" and last.rank == len(order) and last.changes[0].settings == {"k": len(order)}
        c.upsert(["bare"], metadata=[{"n": 0}])
        assert c.why_not("amber", "bare", mode="sparse").stage == "no-terms"
        weights = {"dense": 0.1, "lexical": 0.1, "sparse": 0.8}
        seen = c.why_not("amber fjord", order[-1], k=2, weights=weights)
        assert set(seen.step("ranking").details["legs"]) == {"dense", "lexical", "sparse"}
        for change in seen.changes:
            again = c.search("amber fjord", **{"k": 2, "weights": weights, **change.settings})
            assert again.ids.index(order[-1]) + 1 == change.rank
        asked = (c.why_not("amber fjord", key, k=1, weights=weights, depth=1) for key in order[::-1])
        deep = next(why for why in asked if why.stage == "depth")
        assert deep.step("sparse").details["rank"] == order.index(deep.id) + 1 and "any leg" in str(deep)


def test_an_unused_encoder_is_never_asked(tmp_path):
    fill(tmp_path / "c", n=5)
    with reopened(tmp_path / "c") as c:
        c._encoders.given("terms")._functions["query"] = None
        c.search("amber", k=3)
        c.search("amber", k=3, mode="lexical")
