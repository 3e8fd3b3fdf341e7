"""The study: every arm under every kind of filter, exact answers by a plain loop, buckets and the cheapest point."""

from __future__ import annotations

import json

import numpy as np
import pytest

from orthant.datasets.readers.filtered import FilteredVectors, Filters
from orthant.errors import InputError
from orthant.evaluation.filtered import rivals
from orthant.evaluation.filtered.asking import ask_all, exact_answers
from orthant.evaluation.filtered.specialists import ARMS
from orthant.evaluation.filtered.study import cheapest, run_study


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((8, 12))
    X = (centres[rng.integers(0, 8, 900)] + 0.5 * rng.standard_normal((900, 12))).astype(np.float32)
    Q = (centres[rng.integers(0, 8, 20)] + 0.5 * rng.standard_normal((20, 12))).astype(np.float32)
    kinds = [None, *rng.integers(0, 4, 899).tolist()]
    tags = [tuple(rng.choice(list("abcd"), rng.integers(0, 3), replace=False)) for _ in range(900)]
    numbers = [None, *rng.integers(0, 100, 899).tolist()]
    asked = {
        "equality": [0, 1, 2, 3, 9] * 4,
        "set": list("abcdz") * 4,
        "range": [(0, 60), (20, 24), (50, 99), (7, 7)] * 5,
    }
    values = {"equality": kinds, "set": tags, "range": numbers}
    filters = {kind: Filters(kind, kind, values[kind], asked[kind]) for kind in asked}
    return FilteredVectors("made", X, Q, "cosine", filters)


@pytest.mark.parametrize("kind", ["equality", "range", "set"])
def test_rows_and_answers_are_those_of_a_plain_loop(data, kind):
    filters = data.filters[kind]
    asked = ask_all(filters, range(20))
    truth = exact_answers(data.base, data.queries, asked, 10, "cosine")
    unit = data.base / np.linalg.norm(data.base, axis=1, keepdims=True)
    for i, one in enumerate(asked):
        mask = filters.allowed(filters.asked[i])
        np.testing.assert_array_equal(one.mask, mask)
        order = [row for row in np.argsort(-(unit @ data.queries[i]), kind="stable").tolist() if mask[row]][:10]
        assert truth.ids[i][truth.ids[i] >= 0].tolist() == order
    assert asked[0] is asked[5] if kind != "range" else asked[0] is asked[4]


@pytest.fixture(scope="module")
def result(data):
    return run_study(data, k=5, queries=16, arms=[*ARMS], threads=1)


def test_every_method_is_swept_where_it_serves(result):
    json.dumps(result, allow_nan=False)
    for entry in result["kinds"]:
        assert {arm["arm"] for arm in entry["arms"]} == {name for name, kinds in ARMS.items() if entry["kind"] in kinds}
        for arm in entry["arms"]:
            last = arm["points"][-1]
            assert last["recall"] >= 0.98 and last["compared"] > 0, (entry["kind"], arm["arm"])
            assert sum(one["queries"] for one in last["by_bucket"]) == entry["queries"]
        scan = next(arm for arm in entry["arms"] if arm["arm"] == "scan")
        assert [point["recall"] for point in scan["points"]] == [1.0]
    # Values that no row has leave nothing to find.
    assert [entry["queries"] for entry in result["kinds"]] != [16, 16, 16]


def test_the_cheapest_point_reaches_the_recall():
    def point(recall, compared, qps):
        return {"by_bucket": [{"bucket": "0-1", "recall": recall, "compared": compared, "qps": qps}]}

    entry = {"arms": [
        {"arm": "x", "points": [point(0.8, 5, 90.0), point(0.95, 20, 30.0), point(0.99, 50, 10.0)]},
        {"arm": "y", "points": [point(0.7, 1, 99.0)]}, {"arm": "z", "points": [point(0.96, None, 40.0)]},
    ]}  # fmt: skip
    assert cheapest(entry, 0.9) == {"0-1": {"x": 20, "y": None, "z": None}}
    assert cheapest(entry, 0.9, by="qps") == {"0-1": {"x": 30.0, "y": None, "z": 40.0}}


def test_truth_that_came_along_is_compared_and_bad_calls_are_refused(data):
    filters = data.filters["equality"]
    asked = ask_all(filters, range(20))
    exact = exact_answers(data.base, data.queries, asked, 5, "cosine")
    truth = tuple(ids[ids >= 0] for ids in exact.ids)
    wrong = tuple(np.zeros(5, np.int64) for _ in exact.ids)
    found = []
    for given in (truth, wrong):
        made = Filters("equality", "x", filters.values, filters.asked, given)
        part = FilteredVectors("x", data.base, data.queries, "cosine", {"equality": made})
        found.append(run_study(part, k=5, queries=20, arms=["scan"])["kinds"][0]["truth_agreement"])
    assert found[0] == 1.0 and found[1] < 0.2
    for wrong_call in ({"arms": ["magic"]}, {"kinds": ["colour"]}, {"buckets": (0.1, 1)}, {"k": 0}):
        with pytest.raises(InputError):
            run_study(data, **wrong_call)


@pytest.mark.parametrize("name", sorted({*rivals.RIVALS, *rivals.STORES}))
def test_rivals_keep_to_the_filter(data, name):
    if rivals.why_missing(name) is not None:
        assert "not installed" in rivals.why_missing(name)
        pytest.skip(f"{name} is not installed")
    for kind, filters in data.filters.items():
        arm = rivals.make_rival(name, data.base, filters, "cosine", threads=1)
        for i, asked in enumerate(ask_all(filters, range(3))):
            ids, _ = arm.ask(data.queries[i : i + 1], 5, asked, arm.settings()[-1])
            assert asked.mask[ids[ids >= 0]].all() and len(ids) == 5, kind
            if name == "numpy-table":
                truth = exact_answers(data.base, data.queries[i : i + 1], [asked], 5, "cosine")
                np.testing.assert_array_equal(ids, truth.ids[0])
                assert 0 < arm.took_s < 5
        if name in rivals.STORES:
            arm.close()
