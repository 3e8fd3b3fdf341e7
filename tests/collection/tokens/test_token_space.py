"""Spaces of tokens: what is stored, what is found, and that the scores are MaxSim."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import orthant
from collection.fakes import WORDS, FakeEncoder, FakeTokenEncoder, text_of
from orthant.encoders import MaxSimReranker
from orthant.errors import DimensionError, EncoderMismatchError, InputError, NonFiniteError, NotFoundError, warn
from orthant.types import Ragged


def filled(path, count=60, **space):
    rng = np.random.default_rng(3)
    texts = [text_of(rng, int(rng.integers(1, 9))) for _ in range(count)]
    collection = orthant.open(path, encoder=FakeEncoder())
    collection.add_space("tokens", encoder=FakeTokenEncoder(), kind="tokens", **space)
    ids = [f"r{i}" for i in range(count)]
    collection.upsert(ids, texts=texts, metadata=[{"n": i} for i in range(count)])
    return collection, dict(zip(ids, texts, strict=True))


def by_hand(query, texts, keep=lambda key: True):
    scores = MaxSimReranker(FakeTokenEncoder()).score(query, list(texts.values()))
    return sorted(((key, s) for key, s in zip(texts, scores, strict=True) if keep(key)), key=lambda pair: -pair[1])


def same(result, expected, tolerance=1e-5):
    found = {hit.id: hit.score for hit in result}
    assert [hit.score for hit in result] == pytest.approx([s for _, s in expected[: len(result)]], abs=tolerance)
    for key, score in expected:
        assert key not in found or found[key] == pytest.approx(score, abs=tolerance)


QUERY = "amber harbor fjord"


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float16", 5e-3)])
def test_the_scores_are_maxsim_after_writes_deletions_and_reopening(tmp_path, dtype, tolerance):
    collection, texts = filled(tmp_path / "c", dtype=dtype)
    same(collection.search(QUERY, mode="tokens", k=60), by_hand(QUERY, texts), tolerance)
    collection.delete(["r1", "r2", "r40"])
    collection.upsert(["r5"], texts=["amber amber harbor"])
    texts = {key: text for key, text in texts.items() if key not in ("r1", "r2", "r40")} | {"r5": "amber amber harbor"}
    result = collection.search(QUERY, mode="tokens", k=60)
    assert len(result) == 57
    same(result, by_hand(QUERY, texts), tolerance)
    collection.close()
    with orthant.open(tmp_path / "c", encoder=FakeEncoder()) as again:
        with pytest.raises(InputError, match="use_encoder"):
            again.search(QUERY, mode="tokens")
        again.use_encoder("tokens", FakeTokenEncoder())
        same(again.search(QUERY, mode="tokens", k=60), by_hand(QUERY, texts), tolerance)


def test_a_filter_is_exact_and_reads_only_what_it_lets_through(tmp_path):
    collection, texts = filled(tmp_path / "c")
    with collection:
        whole = collection.search(QUERY, mode="tokens").plan.legs[0].details
        some = collection.search(QUERY, mode="tokens", where={"n": {"lt": 6}})
        same(some, by_hand(QUERY, texts, keep=lambda key: int(key[1:]) < 6))
        assert len(some) == 6
        details = some.plan.legs[0].details
        assert details["tokens"] == sum(len(texts[f"r{i}"].split()) for i in range(6)) < whole["tokens"]
        assert details["bytes_read"] == 4 * 8 * details["tokens"]
        assert details["distances"] == 3 * details["tokens"]


def test_several_queries_at_once_are_those_one_by_one(tmp_path):
    collection, _ = filled(tmp_path / "c")
    with collection:
        queries = ["amber harbor", "kelp", "!", "orchid pebble delta ember"]
        many = collection.search_many(queries, mode="tokens")
        assert [r.ids for r in many] == [collection.search(q, mode="tokens").ids for q in queries]
        assert many[2].ids == [] and "no token" in many[2].plan.warnings[0]


def test_pages_join_and_min_score_cuts(tmp_path):
    collection, _ = filled(tmp_path / "c")
    with collection:
        whole = collection.search(QUERY, mode="tokens", k=30)
        pages = [collection.search(QUERY, mode="tokens", k=10, offset=o) for o in (0, 10, 20)]
        assert [key for page in pages for key in page.ids] == whole.ids
        least = whole[6].score
        assert all(hit.score >= least for hit in collection.search(QUERY, mode="tokens", min_score=least))
        grouped = collection.search(QUERY, mode="tokens", group_by="n", groups=5)
        assert [group.hits[0].id for group in grouped.groups] == whole.ids[:5]


def test_the_alignment_names_the_tokens_and_adds_up_to_the_score(tmp_path):
    collection, _ = filled(tmp_path / "c")
    with collection:
        for hit in collection.search("amber harbor", mode="tokens", explain=True):
            assert sum(match.score for match in hit.alignment) == pytest.approx(hit.score, abs=1e-5)
            for match in hit.alignment:
                assert match.record_text == hit.text.split()[match.record_token]
                if match.query_text in hit.text.split():
                    assert match.record_text == match.query_text
            assert hit.to_dict()["alignment"][0]["query_text"] == "amber"
        assert collection.search("amber", mode="tokens")[0].alignment == ()


def test_tokens_are_a_third_leg_or_take_the_place_of_the_dense_one(tmp_path):
    collection, _ = filled(tmp_path / "c")
    with collection:
        three = collection.search(QUERY, weights={"dense": 1, "lexical": 1, "tokens": 2})
        assert {leg.name for leg in three.plan.legs} == {"dense", "lexical", "tokens"}
        for hit in three:
            parts = (leg.weight * leg.normalized for leg in hit.legs.values())
            assert hit.score == pytest.approx(sum(parts), abs=1e-6)
        assert three[0].legs["tokens"].weight == 0.5
        two = collection.search(QUERY, weights={"lexical": 1, "tokens": 3})
        assert set(two[0].legs) == {"lexical", "tokens"}
        named = collection.search(QUERY, space="tokens", mode="hybrid", weights={"lexical": 1, "tokens": 3})
        assert named.ids == two.ids
        ranked = collection.search(QUERY, weights={"dense": 1, "lexical": 1, "tokens": 1}, fusion="rrf")
        assert ranked[0].legs["tokens"].normalized <= 1
        excluded = collection.search("amber -harbor", weights={"lexical": 1, "tokens": 1}, k=60)
        assert all("harbor" not in hit.text.split() for hit in excluded)
        with pytest.raises(InputError, match="only these legs"):
            collection.search(QUERY, weights={"dense": 1, "colbert": 1})


def test_stored_tokens_order_candidates_again_without_encoding_a_record(tmp_path):
    collection, texts = filled(tmp_path / "c")
    with collection:
        encoder = collection._encoders.given("tokens")
        encoder.encoded.clear()
        first = collection.search(QUERY, mode="dense", k=20)
        result = collection.search(QUERY, mode="dense", k=20, rerank="tokens", rerank_depth=20, explain=True)
        assert set(result.ids) == set(first.ids)
        same(result, by_hand(QUERY, {key: texts[key] for key in first.ids}))
        assert encoder.encoded == []
        assert result[0].stages["rerank"].rank == 1 and len(result[0].alignment) == 3
        expected = MaxSimReranker(FakeTokenEncoder())
        assert collection.search(QUERY, mode="dense", k=20, rerank=expected, rerank_depth=20).ids == result.ids


def test_a_candidate_without_tokens_comes_last_and_is_counted(tmp_path):
    collection, _ = filled(tmp_path / "c", count=8)
    with collection:
        collection.upsert(["bare"], texts=["amber harbor fjord"], vectors={"tokens": [None]})
        assert "bare" not in collection.search(QUERY, mode="tokens", k=20).ids
        result = collection.search(QUERY, mode="dense", k=9, rerank="tokens:tokens")
        assert result.ids[-1] == "bare"
        assert "1 of 9 candidates" in result.plan.warnings[0]


def test_brought_tokens_need_no_encoder(tmp_path):
    rng = np.random.default_rng(0)
    sets = [rng.standard_normal((n, 4)).astype(np.float32) for n in (3, 1, 5)]
    with orthant.open(tmp_path / "c") as collection:
        collection.add_space("brought", dim=4, kind="tokens")
        report = collection.upsert(["a", "b", "c", "d"], vectors={"brought": [*sets, None]})
        assert report.vectors == {"brought": 3} and report.without_vector == {"brought": 1}
        np.testing.assert_array_equal(collection.get("c", vectors=True).vectors["brought"], sets[2])
        assert "brought" not in collection.get("d", vectors=True).vectors
        query = rng.standard_normal((2, 4)).astype(np.float32)
        found = collection.search(query, mode="tokens")
        expected = {key: (query @ x.T).max(axis=1).sum() for key, x in zip("abc", sets, strict=True)}
        assert found.ids == sorted(expected, key=expected.get, reverse=True)
        assert found[0].score == pytest.approx(max(expected.values()), abs=1e-5)
        ragged = Ragged(np.concatenate(sets), np.cumsum([0, 3, 1, 5]))
        collection.upsert(["x", "y", "z"], vectors={"brought": ragged})
        np.testing.assert_array_equal(collection.get("z", vectors=True).vectors["brought"], sets[2])


@pytest.mark.parametrize(
    ("tokens", "error"),
    [
        ([np.zeros((2, 5))], DimensionError),
        ([np.full((2, 4), np.nan)], NonFiniteError),
        ([np.ones((1, 4)), np.ones((1, 4))], DimensionError),
        (np.ones((1, 4)), InputError),
        ([np.ones((70_000, 4))], InputError),
        ([np.full((1, 4), 1e6)], InputError),
    ],
)
def test_tokens_that_do_not_fit_change_nothing(tmp_path, tokens, error):
    with orthant.open(tmp_path / "c") as collection:
        collection.add_space("brought", dim=4, kind="tokens", dtype="float16")
        with pytest.raises(error):
            collection.upsert(["a"], vectors={"brought": tokens})
        assert len(collection) == 0


def test_what_tokens_cannot_do_is_said(tmp_path):
    collection, _ = filled(tmp_path / "c", count=5)
    with collection:
        with pytest.raises(InputError, match="mode='tokens'"):
            collection.search("amber", mode="dense", space="tokens")
        with pytest.raises(InputError, match="one vector per token"):
            collection.upgrade(FakeEncoder(seed=4), space="tokens")
        with pytest.raises(InputError, match="one vector per token"):
            collection.similar(["r0"], space="tokens")
        with pytest.raises(InputError, match="one vector per token"):
            collection.search("amber", space="tokens", diversity=0.5)
        with pytest.raises(NotFoundError, match="space of tokens"):
            collection.search("amber", mode="dense", rerank="tokens:other")
        with pytest.raises(InputError, match="rerank='colbert'"):
            collection.search("amber", rerank="colbert")
        with pytest.raises(InputError, match="another name"):
            collection.add_space("default", encoder=FakeTokenEncoder(), kind="tokens")
        with pytest.raises(InputError, match="dot products"):
            collection.add_space("more", dim=3, kind="tokens", metric="l2")
        with pytest.raises(InputError, match="dtype"):
            collection.add_space("more", dim=3, dtype="float16")
        with pytest.raises(EncoderMismatchError, match="fake-tokens"):
            collection.use_encoder("tokens", FakeTokenEncoder(fingerprint="another"))
        with pytest.raises(NotFoundError):
            collection.use_encoder("absent", FakeTokenEncoder())
        collection.add_space("second", dim=3, kind="tokens")
        with pytest.raises(InputError, match="2 spaces of tokens"):
            collection.search("amber", mode="tokens")
        assert collection.search("amber", space="tokens").plan.mode == "tokens"


def test_a_changed_model_behind_the_same_name_is_noticed(tmp_path):
    filled(tmp_path / "c", count=3)[0].close()
    changed = FakeTokenEncoder()
    changed._words = FakeEncoder(8, seed=9)
    with (
        orthant.open(tmp_path / "c", encoder=FakeEncoder()) as collection,
        pytest.raises(EncoderMismatchError, match="canary"),
    ):
        collection.use_encoder("tokens", changed)


def test_why_not_tells_the_rank_that_is_true(tmp_path):
    collection, texts = filled(tmp_path / "c")
    with collection:
        order = [key for key, _ in by_hand(QUERY, texts)]
        why = collection.why_not(QUERY, order[20], mode="tokens", k=5)
        assert why.stage == "page"
        assert abs(why.rank - 21) <= 3
        assert any("k" in change.settings for change in why.changes)
        collection.upsert(["bare"], vectors={"tokens": [None], "default": [None]})
        assert collection.why_not(QUERY, "bare", mode="tokens").stage == "no-vector"


def test_statistics_count_records_and_tokens(tmp_path):
    collection, texts = filled(tmp_path / "c", count=10)
    with collection:
        collection.delete(["r0"])
        space = collection.stats().spaces["tokens"]
        assert space["vectors"] == 9 and space["without_vector"] == 0 and space["plan"] == "scan"
        assert space["tokens"] == sum(len(text.split()) for key, text in texts.items() if key != "r0")
        assert space["dead_slots"] == len(texts["r0"].split())
    assert set(" ".join(texts.values()).split()) <= set(WORDS)


def test_open_takes_a_model_of_tokens_by_the_name_of_its_space(tmp_path):
    with orthant.open(tmp_path / "c", spaces={"late": FakeTokenEncoder()}) as collection:
        collection.upsert(["a", "b"], texts=["amber harbor", "kelp"])
        assert collection.spaces["late"].kind == "tokens"
    with orthant.open(tmp_path / "c", spaces={"late": FakeTokenEncoder()}) as collection:
        assert collection.search("amber", mode="tokens").ids == ["a", "b"]


def test_tokens_and_weighted_terms_are_legs_of_one_search(tmp_path):
    pytest.importorskip("scipy")
    collection, texts = filled(tmp_path / "c")
    with collection:
        collection.add_space("terms", dim=4, kind="sparse")
        collection.upsert(["both"], texts=[QUERY], vectors={"terms": [{0: 1.0}]})
        weights = {"dense": 1, "lexical": 1, "sparse": 1, "tokens": 1}
        result = collection.search(QUERY, weights=weights, sparse_vector={0: 2.0})
        assert set(result[0].legs) == {"dense", "lexical", "sparse", "tokens"}
        assert result[0].id == "both" and result[0].score == pytest.approx(1, abs=1e-6)
        assert collection.search(QUERY, weights=weights, sparse_vector={0: 2.0}, depth=2, k=8).plan.fusion["depth"] == 2
    assert len(texts) == 60


def test_why_not_knows_the_rerank_by_stored_tokens(tmp_path):
    collection, _ = filled(tmp_path / "c")
    with collection:
        order = collection.search(QUERY, mode="dense", rerank="tokens", k=20, rerank_depth=20).ids
        why = collection.why_not(QUERY, order[12], mode="dense", rerank="tokens", rerank_depth=20, k=3)
        assert why.stage != "found" and why.changes and why.changes[0].rank == 13


def test_token_vectors_are_no_vector_and_a_vector_beside_them_is_not_passed_over(tmp_path):
    with orthant.open(tmp_path / "c") as collection:
        collection.add_space("own", dim=2, kind="tokens")
        collection.upsert(["a"], vectors={"default": [[1.0, 0.0]], "own": [np.eye(2)]})
        for matrix in (np.eye(2), [[1.0, 0.0], [0.0, 1.0]]):
            with pytest.raises(DimensionError, match=r"of shape \(2, 2\); expected one vector"):
                collection.search(vector=matrix, mode="tokens")
            with pytest.raises(InputError, match="beside vector="):
                collection.search(matrix, vector=[1.0, 0.0], mode="tokens")
            assert collection.search(matrix, mode="tokens").ids == ["a"]
        with pytest.raises(InputError, match="'tokens'"):
            collection.add_space("more", dim=2, kind="token")


def test_no_warning_tells_of_texts_that_are_not_the_users(tmp_path):
    class Cutting(FakeTokenEncoder):
        def encode_tokens(self, items, **options):
            if any(len(item) > 20 for item in items):
                warn("texts were cut")
            return super().encode_tokens(items, **options)

    with warnings.catch_warnings(), orthant.open(tmp_path / "c") as collection:
        warnings.simplefilter("error")
        collection.add_space("late", encoder=Cutting(), kind="tokens")
        collection.search("cat", mode="tokens")
        with pytest.raises(UserWarning, match="texts were cut"):
            collection.upsert(["a"], texts=["a text that is longer than twenty letters"])
    with warnings.catch_warnings(), orthant.open(tmp_path / "c", read_only=True) as reader:
        warnings.simplefilter("error")
        reader.use_encoder("late", Cutting())
        reader.search("cat", mode="tokens")
