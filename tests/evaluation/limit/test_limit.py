"""Generated tasks, free vectors, constructions, and several vectors against one."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from orthant.collection.lexical.analysis import stem_english
from orthant.errors import DimensionError, InputError
from orthant.evaluation.limit import (
    MultiVectorSearcher,
    WordVectors,
    capacity_bound,
    compare_arms,
    critical_n,
    curve_vectors,
    fit_free_vectors,
    generate,
    pattern_rows,
    sign_rank_upper_bound,
)
from orthant.evaluation.limit.words import FIRST_NAMES, ITEMS, LAST_NAMES


def _pairs(n):
    rows = np.zeros((n * (n - 1) // 2, n), dtype=int)
    for i, pair in enumerate(combinations(range(n), 2)):
        rows[i, list(pair)] = 1
    return rows


def test_words_are_many_and_never_ambiguous():
    stems = [stem_english(word.lower()) for word in (*ITEMS, *FIRST_NAMES, *LAST_NAMES)]
    assert len(ITEMS) > 1300
    assert len(set(stems)) == len(stems)


def test_the_small_task_is_the_published_recipe():
    task = generate(seed=3)
    assert (len(task.corpus), len(task.queries)) == (46, 1000)
    assert sum(len(held) for held in task.qrels.values()) == 2000
    assert len({frozenset(held) for held in task.qrels.values()}) == 1000
    assert len({document.id for document in task.corpus}) == 46
    texts = {document.id: document.text for document in task.corpus}
    for query, text in list(task.queries.items())[::97]:
        thing = text.removeprefix("Who likes ").removesuffix("?")
        assert {
            key
            for key, held in texts.items()
            if thing in held.replace(".", " ").split(" likes ")[1].replace(" and ", ", ").strip().split(", ")
        } == set(task.qrels[query])
    liked = [text.split(" likes ")[1].replace(" and ", ", ").count(", ") + 1 for text in texts.values()]
    assert min(liked) >= 45
    assert generate(seed=3) == task != generate(seed=4)


def test_nobodys_things_are_cut():
    task = generate(4, 6, min_items=1)
    assert all(document.text.count(",") + document.text.count(" and ") + 1 == 3 for document in task.corpus)


def test_patterns():
    assert pattern_rows("cycle", 3, 3) == [(0, 1), (1, 2), (0, 2)]
    assert pattern_rows("disjoint", 4, 2) == [(0, 1), (2, 3)]
    assert pattern_rows("random", 9, 5, seed=1) == pattern_rows("random", 9, 5, seed=1) != pattern_rows("random", 9, 5)
    assert max(max(row) for row in pattern_rows("dense", 50, 1000)) == 45


@pytest.mark.parametrize(
    "settings",
    [
        {"n_docs": 1, "n_queries": 1},
        {"n_docs": 45},
        {"n_docs": 10, "n_queries": 10, "pattern": "disjoint"},
        {"n_docs": 5000, "n_queries": 1750, "min_items": 45},
        {"n_docs": 60, "n_queries": 1790, "k": 2},
        {"n_docs": 3, "n_queries": 2, "items": ["tea", "green tea", "milk"], "min_items": 1},
        {"pattern": "square"},
    ],
)
def test_bad_tasks_are_refused(settings):
    with pytest.raises(InputError):
        generate(**settings)


def test_fifty_thousand_people_have_names_of_their_own():
    from orthant.evaluation.limit.generating import _names

    names = _names(50_000, np.random.default_rng(0))
    assert len(set(names)) == 50_000


def test_free_vectors_serve_what_the_curve_says():
    found = fit_free_vectors(7, 4)
    assert found.accuracy == 1.0
    scores = found.queries @ found.documents.T
    for row, pair in zip(scores, combinations(range(7), 2), strict=True):
        assert set(np.argsort(-row)[:2]) == set(pair)
    assert np.allclose(np.linalg.norm(found.documents, axis=1), 1, atol=1e-5)
    assert fit_free_vectors(12, 3, max_steps=300).accuracy < 1.0


def test_steps_without_unit_length_leave_the_sphere():
    free = fit_free_vectors(8, 3, max_steps=200, normalize=False)
    assert np.abs(np.linalg.norm(free.documents, axis=1) - 1).max() > 0.05


def test_critical_n_grows_with_the_dimension():
    low, high = critical_n(3, seeds=(0,), max_steps=1000), critical_n(4, seeds=(0,), max_steps=1000)
    assert low.documents < high.documents
    assert low.tried[low.documents] == 1.0 and all(v < 1.0 for n, v in low.tried.items() if n > low.documents)


@pytest.mark.slow
@pytest.mark.parametrize("dim", [6, 8, 10])
def test_critical_n_is_the_published_one(dim):
    assert abs(critical_n(dim).documents - capacity_bound(dim).documents) <= 3


def test_more_people_than_names_and_no_task_are_refused_at_once():
    # Before a list is made for each of them.
    with pytest.raises(InputError, match="n_docs"):
        generate(10**12, 5, pattern="cycle")
    with pytest.raises(InputError, match="seed=-1"):
        generate(seed=-1)
    with pytest.raises(InputError, match="a task str"):
        compare_arms("limit", {"words": None})


def test_bad_sizes_are_refused():
    for call in (lambda: fit_free_vectors(2, 3), lambda: fit_free_vectors(2000, 3), lambda: critical_n(4, seeds=())):
        with pytest.raises(InputError):
            call()


def test_capacity_says_when_it_extrapolates():
    assert not capacity_bound(45).extrapolated and capacity_bound(46).extrapolated
    assert 480_000 < capacity_bound(512).documents < 530_000


@pytest.mark.parametrize(("n", "k"), [(46, 2), (400, 2), (30, 3)])
def test_a_curve_serves_all_sets_in_two_dimensions_per_document(n, k):
    sets = np.array(list(combinations(range(n), k))[::7])
    Q, D = curve_vectors(n, sets)
    assert Q.shape[1] == D.shape[1] == 2 * k
    assert np.allclose(np.linalg.norm(D, axis=1), 1)
    assert (np.sort(np.argsort(-(Q @ D.T), axis=1)[:, :k]) == sets).all()


def test_curve_vectors_refuse_what_they_cannot_hold():
    for n, sets in ((9000, [[0, 1]]), (9, [[0, 0]]), (9, [[0, 9]]), (9, [[0, 1, 2, 3, 4]])):
        with pytest.raises(InputError):
            curve_vectors(n, sets)
    with pytest.raises(DimensionError):
        curve_vectors(9, [0, 1])
    with pytest.raises(DimensionError, match="unequal length"):
        curve_vectors(9, [[0, 1], [2]])
    with pytest.raises(DimensionError, match="unequal length"):
        sign_rank_upper_bound([[0, 1], [1]])


def test_sign_rank_of_all_pairs_is_at_most_five_and_certified():
    pairs = _pairs(46)
    found = sign_rank_upper_bound(pairs)
    assert (found.bound, found.dimensions) == (5, 4)
    queries, documents = found.certificate
    assert queries.shape[1] == documents.shape[1] == 5
    assert ((queries @ documents.T > 0) == (pairs > 0)).all()


def test_certificates_are_right_where_they_are_given():
    rng = np.random.default_rng(0)
    for _ in range(60):
        pattern = (rng.random((6, rng.integers(2, 9))) < 0.4).astype(int)
        found = sign_rank_upper_bound(pattern)
        assert found.bound <= min(pattern.shape)
        if found.certificate is not None:
            queries, documents = found.certificate
            assert ((queries @ documents.T > 0) == (pattern > 0)).all()
    with pytest.raises(InputError):
        sign_rank_upper_bound([[0, 2]])
    with pytest.raises(DimensionError):
        sign_rank_upper_bound([1, 0])


def test_several_vectors_find_what_one_misses():
    from orthant.encoders.registry import load_encoder

    encoder = load_encoder("static")
    task = generate(23, 250, seed=1)
    report = compare_arms(task, {"one": encoder, "several": WordVectors(encoder), "absent": None}, metrics=["recall@2"])
    one, several = (report.reports[name].metrics["recall@2"] for name in ("one", "several"))
    assert several > 0.95 > one + 0.2
    assert report.reports["absent"] is None and report.to_dict()["arms"]["absent"] is None
    assert "did not run" in str(report)


def test_a_searcher_takes_the_best_match_of_every_query_vector():
    class Letters:
        dim, fingerprint, max_tokens = 26, "letters", None

        def encode(self, items, *, role="document", batch_size=64, progress=False):
            return np.array([[s.count(chr(97 + i)) for i in range(26)] for s in items], np.float32)

    searcher = MultiVectorSearcher(WordVectors(Letters()), {"both": "a b", "one": "a a", "none": "z"})
    assert searcher.search_texts(["a b"], k=3) == [[("both", 2.0), ("one", 1.0), ("none", 0.0)]]
    with pytest.raises(InputError):
        searcher.search_texts(["?"], k=1)
