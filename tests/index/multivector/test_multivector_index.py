"""The index of sets: exactness, every method, changes, files, streams, and what it refuses."""

from __future__ import annotations

import json
import shutil
import tracemalloc

import numpy as np
import pytest

from orthant.errors import DimensionError, InputError, NonFiniteError, NotFoundError, StoreCorruptedError
from orthant.index import MultiVector
from orthant.index.array_files import _digest
from orthant.index.multivector import scoring
from orthant.index.multivector.reduced import ReducedEncoding
from orthant.index.multivector.settings import choose_codes
from orthant.kernels.warmup import wait
from orthant.transforms import FixedDimensionalEncoding
from orthant.types import Ragged

DIM = 16
SMALL = FixedDimensionalEncoding(repetitions=12, bits=2, inner_dim=8, normalize=True)
METHODS = {
    "fde": {"method": "fde", "encoding": SMALL, "codes": "product"},
    "fde-reduced": {"method": "fde", "codes": "reduced", "reduced_dim": 24},
    "fde-graph": {"method": "fde", "encoding": SMALL, "codes": "graph"},
    "pooled": {"method": "pooled"},
    "plaid": {"method": "plaid", "cells": 64},
}


@pytest.fixture(scope="module", autouse=True)
def compiled():
    for group in ("maxsim", "fde", "cells", "graph", "build", "tables", "clustering"):
        wait(group)


def topics(n, *, seed=0, centres=60):
    """Sets of two topics each; few share both."""
    rng = np.random.default_rng(seed)
    middle = np.random.default_rng(99).standard_normal((centres, DIM))
    chosen = rng.integers(0, centres, (n, 2))
    lengths = rng.integers(4, 9, n)
    rows = [middle[np.resize(c, m)] + 0.5 * rng.standard_normal((m, DIM)) for c, m in zip(chosen, lengths, strict=True)]
    values = np.concatenate(rows)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return Ragged(values.astype(np.float32), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def naive(queries, sets, ids, k):
    """Scores one by one in float64."""
    out = []
    for i in range(len(queries)):
        one = queries[i].astype(np.float64)
        scores = np.float32([(one @ sets[j].astype(np.float64).T).max(axis=1).sum() for j in range(len(sets))])
        order = np.lexsort((ids, -scores))[:k]
        out.append((np.asarray(ids)[order], scores[order]))
    return np.array([ids for ids, _ in out]), np.array([scores for _, scores in out])


def recall(found, truth):
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), truth.tolist(), strict=True)])


@pytest.fixture(scope="module")
def sets():
    return topics(600)


@pytest.fixture(scope="module")
def queries():
    return topics(40, seed=1)


@pytest.fixture(scope="module")
def truth(sets, queries):
    return naive(queries, sets, np.arange(len(sets)), 10)


@pytest.fixture(scope="module")
def built(sets):
    out = {}
    for name, settings in METHODS.items():
        out[name] = MultiVector(DIM, exact_below=0, **settings)
        out[name].add(sets)
    return out


def test_exact_search_is_the_formula(sets, queries, truth, monkeypatch):
    index = MultiVector(DIM, "exact")
    for start in range(0, len(sets), 37):
        stop = min(len(sets), start + 37)
        index.add([sets[i] for i in range(start, stop)])
    for chunk in (64, 3):
        monkeypatch.setattr(scoring, "_QUERY_CHUNK", chunk)
        hits = index.search(queries, 10)
        np.testing.assert_array_equal(hits.ids, truth[0])
        np.testing.assert_allclose(hits.scores, truth[1], rtol=1e-6)
    assert hits.cost.plan == "scan" and hits.cost.details["products"] == len(queries.values) * len(sets.values)


def test_w78_small_collections_are_compared_as_a_whole_without_asking(sets):
    index = MultiVector(DIM, exact_below=100, encoding=SMALL)
    index.add([sets[i] for i in range(99)])
    assert index.method == "exact" and index.search(sets, 1, effort=5).cost.plan == "scan"
    index.add([sets[99]])
    assert index.method in ("pooled", "fde")


@pytest.mark.parametrize("name", METHODS)
def test_w77_every_method_proposes_and_exact_maxsim_decides(built, queries, truth, name):
    index = built[name]
    hits = index.search(queries, 10, effort=60)
    assert hits.cost.plan == index.method != "exact"
    assert recall(hits.ids, truth[0]) > 0.85
    # A tenth of the sets were scored, and every score is that of the formula.
    assert hits.cost.details["products"] < 0.2 * len(queries.values) * index.stats().details["tokens"]
    scores = [index.score_ids(queries[i], hits.ids[i]) for i in range(len(queries))]
    np.testing.assert_array_equal(hits.scores, scores)
    assert recall(index.search(queries, 10, effort=10).ids, truth[0]) < recall(hits.ids, truth[0])
    np.testing.assert_array_equal(index.search(queries, 10, recall=1.0).ids, truth[0])
    assert index.check() == []


@pytest.mark.parametrize("name", METHODS)
def test_filters_come_before_candidates(built, sets, queries, name):
    rng = np.random.default_rng(0)
    for share in (0.03, 0.6):
        mask = rng.random(len(sets)) < share
        ids = np.flatnonzero(mask)
        wanted, _ = naive(queries, [sets[i] for i in ids], ids, 5)
        for allowed in (mask, ids):
            hits = built[name].search(queries, 5, allowed=allowed, effort=40)
            assert mask[hits.ids].all()
            assert recall(hits.ids, wanted) > (0.9 if share < 0.1 else 0.8)
    none = built[name].search(queries, 5, allowed=np.zeros(0, dtype=bool))
    assert (none.ids == -1).all() and (none.counts == 0).all()


@pytest.mark.parametrize("name", METHODS)
def test_changes_are_seen_at_once_and_survive_files(sets, queries, name, tmp_path):
    index = MultiVector(DIM, exact_below=0, **METHODS[name])
    index.add([sets[i] for i in range(400)])
    index.add([sets[i] for i in range(400, 500)], np.arange(1000, 1100))
    gone = np.arange(0, 400, 3)
    assert index.remove(gone) == len(gone) and index.remove(gone) == 0
    ids = np.concatenate([np.setdiff1d(np.arange(400), gone), np.arange(1000, 1100)])
    rows = np.where(ids < 1000, ids, ids - 600)
    wanted, _ = naive(queries, [sets[i] for i in rows], ids, 10)
    index.save(tmp_path / "a")
    loaded = [MultiVector.load(tmp_path / "a", mmap=mmap) for mmap in (True, False)]
    for one in (index, *loaded):
        assert one.method == METHODS[name]["method"] and len(one) == len(ids)
        found = one.search(queries, 10, effort=60).ids
        assert recall(found, wanted) > 0.8 and np.isin(found, ids).all() and one.check() == []
    assert isinstance(loaded[0]._state.sets.blocks[0].values.base, np.memmap)
    fresh = loaded[0].add([queries[0]])
    assert fresh.tolist() == [1100] and loaded[0].search([queries[0]], 1).ids[0, 0] == 1100
    loaded[0].rebuild()
    assert loaded[0].search([queries[0]], 1).ids[0, 0] == 1100 and loaded[0].check() == []
    assert loaded[0].remove(loaded[0].ids()) == len(ids) + 1
    assert loaded[0].search(queries, 3).counts.sum() == 0


def test_squeezing_out_the_dead_loses_nothing(sets, queries, monkeypatch):
    monkeypatch.setattr("orthant.index.multivector.index._COMPACT_ROWS", 10)
    index = MultiVector(DIM, "plaid", exact_below=0, cells=32)
    index.add(sets)
    index.remove(np.arange(0, 600, 2))
    assert index.stats().dead == 0 and index.check() == []
    left = np.arange(1, 600, 2)
    wanted, _ = naive(queries, [sets[i] for i in left], left, 10)
    assert recall(index.search(queries, 10, effort=60).ids, wanted) > 0.85


def test_w21_streams_an_iterator_in_bounded_memory(tmp_path):
    taken = []

    def chunks():
        for i in range(30):
            taken.append(i)
            yield topics(400, seed=i)

    tracemalloc.start()
    index = MultiVector.stream(tmp_path / "s", chunks(), dim=DIM, method="plaid", cells=64, sample=300)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    tokens = index.stats().details["parts"]["tokens"]
    assert len(taken) == 30 and len(index) == 12_000 and index.method == "plaid"
    whole = MultiVector(DIM, "exact")
    for i in range(30):
        whole.add(topics(400, seed=i))
    queries = topics(20, seed=77)
    assert recall(index.search(queries, 5, effort=200).ids, whole.search(queries, 5).ids) > 0.9
    assert isinstance(index._state.sets.blocks[0].values.base, np.memmap)
    assert not list((tmp_path / "s").glob(".tokens*"))
    # Four bytes for each value came through; a quarter of it, the codes and the sample were held.
    assert peak < 12_000_000 and tokens > 4_000_000


def test_a_stream_that_breaks_leaves_no_index(tmp_path):
    def chunks():
        yield topics(10)
        yield Ragged(np.full((1, DIM), np.nan, np.float32), np.array([0, 1]))

    with pytest.raises(NonFiniteError):
        MultiVector.stream(tmp_path / "s", chunks(), dim=DIM)
    assert not list((tmp_path / "s").iterdir())
    for wrong in ([topics(3), (topics(3), [5, 6, 7])], [(topics(2), [1, 1])], [(topics(2), [1, 2]), (topics(1), [1])]):
        with pytest.raises(InputError):
            MultiVector.stream(tmp_path / "s", wrong, dim=DIM)


def test_a_report_measures_the_gap_and_recall_goes_by_it(sets, queries, truth):
    index = MultiVector(DIM, "pooled", exact_below=0)
    index.add(sets)
    with pytest.raises(InputError, match="report"):
        index.search(queries, recall=0.9)
    report = index.report(queries, efforts=(10, 40, 150))
    assert [row.effort for row in report.rows] == [10, 40, 150] and {row.method for row in report.rows} == {"pooled"}
    for row in report.rows:
        assert row.recall == pytest.approx(recall(index.search(queries, 10, effort=row.effort).ids, truth[0]))
    chosen = index.search(queries, 10, recall=report.rows[1].recall).cost.details["effort"]
    assert chosen == 40
    with pytest.raises(InputError):
        index.search(queries, recall=0.99999)
    auto = MultiVector(DIM, exact_below=0, encoding=SMALL, cells=64)
    auto.add(sets)
    every = auto.report(queries, efforts=(50,), methods=("fde", "pooled", "plaid"))
    assert [row.method for row in every.rows] == ["fde", "pooled", "plaid"] and "recall@10" in str(every)
    assert every.exact_products == pytest.approx(len(queries.values) * len(sets.values) / len(queries))
    assert every.to_dict()["rows"][2]["method"] == "plaid"


def test_auto_takes_what_follows_maxsim():
    rng = np.random.default_rng(0)

    def many_words(n):
        # Twenty words of four hundred each: a mean says little about any of them.
        words = np.random.default_rng(5).standard_normal((400, 64))
        words /= np.linalg.norm(words, axis=1, keepdims=True)
        return [words[rng.choice(400, 20, replace=False)] for _ in range(n)]

    def one_topic(n):
        centres = rng.standard_normal((n, 64))
        return [c + 0.3 * rng.standard_normal((20, 64)) for c in centres]

    for make, wanted in ((many_words, "fde"), (one_topic, "pooled")):
        encoding = FixedDimensionalEncoding(repetitions=20, bits=4, inner_dim=8, normalize=True)
        index = MultiVector(64, exact_below=500, sample=500, encoding=encoding, codes="graph")
        index.add(make(500))
        assert index.method == wanted


def test_what_reduces_is_walked_and_what_does_not_is_scanned():
    rng = np.random.default_rng(0)
    words = np.random.default_rng(5).standard_normal((400, 64))
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    unlike = [words[rng.choice(400, 20, replace=False)] for _ in range(500)]
    # Topics of a plane of few dimensions.
    centres = rng.standard_normal((500, 8)) @ rng.standard_normal((8, 64))
    alike = [centre + 0.3 * rng.standard_normal((20, 64)) for centre in centres]
    for sets, wanted in ((unlike, "product"), (alike, "reduced")):
        tokens = Ragged(np.concatenate(sets).astype(np.float32), np.cumsum([0, *map(len, sets)], dtype=np.int64))
        settings = MultiVector(64, "fde", reduced_dim=16)._settings
        assert choose_codes(tokens, settings) == wanted


def test_reduced_encodings_keep_the_products_of_whole_ones(sets, queries):
    encoding = FixedDimensionalEncoding(repetitions=20, bits=1, inner_dim=8, normalize=True).fit(sets)
    whole = encoding.transform_queries(queries) @ encoding.transform(sets).T
    errors = []
    for dim in (8, 32, 200):
        side = ReducedEncoding.learned(sets, encoding, dim=dim)
        assert side.dim == dim and side.transform(sets).shape == (len(sets), dim)
        found = side.transform_queries(queries) @ side.transform(sets).T
        errors.append(float(np.abs(found - whole).mean() / np.abs(whole).mean()))
    assert errors[0] > 2 * errors[1] and errors[1] < 0.15 and errors[2] < 0.02
    # No more directions than there are sets to span them.
    few = Ragged(sets.values[: sets.offsets[5]], sets.offsets[:6])
    assert ReducedEncoding.learned(few, encoding, dim=32).dim == 5


def test_indexes_of_the_first_format_are_read(built, queries, tmp_path):
    built["fde"].save(tmp_path)
    header = tmp_path / "multivector.json"
    body = json.loads(header.read_bytes())["body"]
    del body["settings"]["reduced_dim"], body["reduced"]
    for name, held in body.pop("beside").items():
        (tmp_path / held).rename(tmp_path / name)
    body |= {"format": 1, "minimum_reader": 1}
    header.write_text(json.dumps({"body": body, "sha256": _digest(body)}))
    again = MultiVector.load(tmp_path)
    np.testing.assert_array_equal(again.search(queries, 5).ids, built["fde"].search(queries, 5).ids)


def test_a_reduction_of_other_encodings_is_noticed(sets, tmp_path):
    for name, repetitions in (("a", 8), ("b", 9)):
        encoding = FixedDimensionalEncoding(repetitions=repetitions, bits=1, inner_dim=8)
        index = MultiVector(DIM, "fde", exact_below=0, codes="reduced", reduced_dim=16, encoding=encoding)
        index.add([sets[i] for i in range(100)])
        index.save(tmp_path / name)
    own, other = (next((tmp_path / name).glob("reduced-*")) for name in ("a", "b"))
    shutil.rmtree(own / "reduction")
    (other / "reduction").rename(own / "reduction")
    with pytest.raises(StoreCorruptedError):
        MultiVector.load(tmp_path / "a")


def test_carving_changes_candidates_and_never_a_score(built, queries):
    whole, carved = (
        built["pooled"].search(queries, 5, effort=60),
        built["pooled"].search(queries, 5, effort=60, carve=0.8),
    )
    assert carved.cost.details["products"] < whole.cost.details["products"]
    assert recall(carved.ids, whole.ids) > 0.9
    for i, ids in enumerate(carved.ids):
        np.testing.assert_array_equal(carved.scores[i], built["pooled"].score_ids(queries[i], ids))


def test_pruned_cells_and_probes_bound_the_work(sets, queries, truth):
    found = {}
    for probes, prune in ((1, 0.0), (8, 0.0), (8, 0.9)):
        index = MultiVector(DIM, "plaid", exact_below=0, cells=64, probes=probes, prune=prune)
        index.add(sets)
        hits = index.search(queries, 10, effort=60)
        found[probes, prune] = (hits.cost.details["proposal_compared"], recall(hits.ids, truth[0]))
    assert found[1, 0.0][0] < 0.5 * found[8, 0.0][0]
    assert found[8, 0.9][1] < found[8, 0.0][1]


def test_tokens_come_back(built, sets):
    back = built["plaid"].reconstruct([7, 3])
    np.testing.assert_array_equal(back[0], sets[7])
    np.testing.assert_array_equal(back[1], sets[3])
    with pytest.raises(NotFoundError, match="9999"):
        built["plaid"].reconstruct([9999])
    assert np.isneginf(built["plaid"].score_ids(sets[0], [9999])).all()


def test_memory_is_told_before(built, sets):
    for name in ("plaid", "fde"):
        stats = built[name].stats()
        per_set = len(sets.values) / len(sets)
        told = MultiVector.estimate_memory(
            len(sets), DIM, tokens_per_set=per_set, method=name, columns=SMALL.repetitions * 32
        )
        # Centroids and codebooks do not grow with the sets, so they are not part of it.
        assert abs(told["total"] - (stats.memory_bytes - stats.details["parts"]["stage"])) < 0.35 * told["total"]
        assert told["tokens"] == stats.details["parts"]["tokens"]


def test_a_graph_of_other_sets_is_noticed(sets, tmp_path):
    for name, count in (("a", 200), ("b", 150)):
        index = MultiVector(DIM, "pooled", exact_below=0)
        index.add([sets[i] for i in range(count)])
        index.save(tmp_path / name)
    (graph,) = (tmp_path / "a").glob("graph-*")
    graph.rename(tmp_path / "old")
    next((tmp_path / "b").glob("graph-*")).rename(graph)
    with pytest.raises(StoreCorruptedError):
        MultiVector.load(tmp_path / "a")


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "colbert"}, {"dim": 0}, {"exact_below": -1}, {"method": "exact", "cells": 8},
        {"method": "plaid", "encoding": SMALL}, {"method": "pooled", "codes": "graph"}, {"codes": "zip"},
        {"encoding": "fde"}, {"probes": 0}, {"prune": 2.0}, {"sample": 0}, {"method": "fde", "probes": 3},
        {"method": "fde", "codes": "reduced", "block": 8}, {"method": "fde", "codes": "product", "reduced_dim": 9},
        {"reduced_dim": 0}, {"method": "plaid", "reduced_dim": 8},
    ],
    ids=str,
)  # fmt: skip
def test_refuses_settings(settings):
    with pytest.raises(InputError):
        MultiVector(**{"dim": 4, **settings})


def test_refuses_sets_and_queries(built, sets):
    index = MultiVector(DIM)
    empty = Ragged(sets.values[:5], np.array([0, 2, 2, 5]))
    for call in (index.add, index.search, built["fde"].add, built["plaid"].search):
        with pytest.raises(InputError, match="without a single vector"):
            call(empty)
        with pytest.raises(DimensionError):
            call([np.ones((3, DIM + 1))])
        with pytest.raises(NonFiniteError):
            call([np.full((3, DIM), np.inf)])
    assert len(index) == 0
    with pytest.raises(InputError):
        MultiVector(DIM, "exact").search(sets, 5, effort=10)
    for wrong in ({"effort": 3}, {"effort": 20, "recall": 0.5}, {"recall": 2}, {"carve": 7}):
        with pytest.raises(InputError):
            built["fde"].search(sets, 10, **wrong)
    for wrong in ({"methods": ("exact",)}, {"efforts": (5,)}, {"k": 10**6, "efforts": (10**6,)}):
        with pytest.raises(InputError):
            built["fde"].report(sets, **wrong)
    for name in ("efforts", "methods"):
        for nothing in ((), [], 50, "plaid"):
            with pytest.raises(InputError, match=rf"Got {name}=.*one at least"):
                built["fde"].report(sets, **{name: nothing})
    with pytest.raises(InputError):
        index.report(sets)
    with pytest.raises(InputError):
        MultiVector.estimate_memory(10, 4, tokens_per_set=0.5)
