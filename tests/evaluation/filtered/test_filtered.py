"""Filtered search: which rows a cell allows, how arms are tuned and timed, and that wordings do not matter."""

from __future__ import annotations

import importlib.util
import json
import time
from types import SimpleNamespace

import numpy as np
import pytest

from orthant.errors import InputError
from orthant.evaluation.ann.inputs import prepare_inputs
from orthant.evaluation.filtered import arms as arms_module
from orthant.evaluation.filtered import run
from orthant.evaluation.filtered.cells import PREDICATES, RELATIONS, Cell, allowed_mask, make_groups, wordings
from orthant.kernels.bitmaps import to_rows


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((10, 12))
    X = centres[rng.integers(0, 10, 1_201)] + 0.6 * rng.standard_normal((1_201, 12))
    Q = centres[rng.integers(0, 10, 60)] + 0.6 * rng.standard_normal((60, 12))
    return prepare_inputs("x", X, {"in": Q}, metric="cosine", folder=tmp_path_factory.mktemp("x"), tune=20, judge=40)


@pytest.mark.parametrize("selectivity", [0.001, 0.013, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("far", [False, True])
def test_w04_all_wordings_allow_the_same_rows(selectivity, far):
    rank = np.random.default_rng(2).permutation(1_203)
    masks = dict(wordings(rank, selectivity=selectivity, far=far))
    assert len(masks) == 5 and set(PREDICATES) <= set(masks)
    first = masks["range"]
    assert all(np.array_equal(mask, first) for mask in masks.values())
    assert abs(first.sum() - max(8, selectivity * 1_203)) <= 8
    edge = rank[first]
    assert edge.min() == (1_203 - first.sum() if far else 0)


def test_relations_put_allowed_rows_near_or_far(inputs):
    def closeness(relation):
        means = []
        for group in make_groups(inputs, relation, kind="in", tune=8, judge=12, pivots=2):
            mask = allowed_mask(group.rank, "range", selectivity=0.05, far=relation == "anti-correlated")
            means.append((group.judge @ inputs.base[mask].T).mean() - (group.judge @ inputs.base.T).mean())
        return np.mean(means)

    near, random, far = (closeness(one) for one in ("correlated", "uncorrelated", "anti-correlated"))
    assert near > 0.2 and far < -0.2 and abs(random) < 0.1
    groups = make_groups(inputs, "correlated", kind="in", tune=8, judge=12, pivots=2)
    assert [(len(g.tune), len(g.judge)) for g in groups] == [(4, 6), (4, 6)]
    tune = {row.tobytes() for row in inputs.queries["in"].tune}
    assert not any(row.tobytes() in tune for g in groups for row in g.judge)
    with pytest.raises(InputError, match="queries 'nothing'"):
        make_groups(inputs, "correlated", kind="nothing", tune=1, judge=1)


@pytest.fixture(scope="module")
def result(inputs):
    return run.run_filtered(
        inputs, k=5, selectivities=(0.01, 0.5), tune=4, judge=8, cell_budget_s=0.02, asked=(0.9,), asked_queries=24
    )


def test_every_cell_has_every_arm_and_a_rival(result):
    json.dumps(result, allow_nan=False)
    about = [(c["relation"], c["selectivity"], c["predicate"]) for c in result["cells"]]
    assert about == [(r, s, p) for r in RELATIONS for s in (0.01, 0.5) for p in PREDICATES]
    for cell in result["cells"]:
        assert {"orthant", "exact-orthant", "exact-blas", "post-filter"} <= cell["arms"].keys()
        assert cell["arms"]["exact-orthant"]["recall"] == cell["arms"]["exact-blas"]["recall"] == 1
        rivals = {n: a["p50_ms"] for n, a in cell["arms"].items() if n != "orthant" and a["recall"] >= 0.95}
        assert cell["best_rival"] == min(rivals, key=rivals.get)
        assert cell["speedup"] == pytest.approx(
            min(rivals.values()) / cell["arms"]["orthant"]["p50_ms"], rel=0.01, abs=0.001
        )
        assert cell["recall_kept"] and cell["arms"]["orthant"]["plans"]
    if importlib.util.find_spec("faiss"):
        assert "faiss-hnsw-idselector" in result["cells"][0]["arms"] and result["missing"] == []


def test_recall_asked_under_filters_is_measured(result):
    assert [(one["relation"], one["selectivity"]) for one in result["kept"]] == [
        (relation, share) for relation in RELATIONS for share in (0.01, 0.5)
    ]
    for one in result["kept"]:
        assert one["asked"] == 0.9 and one["queries"] == 24 and one["lower_95"] <= one["measured"] == 1


def test_w04_equivalent_predicates_give_identical_results(result):
    assert len(result["equivalent"]) == 6
    assert all(one["identical"] and one["wordings"] == 15 for one in result["equivalent"])


def test_w04_an_index_that_looks_at_the_form_is_found_out(inputs):
    class Partial:
        def search(self, Q, k, *, allowed, recall, threads):
            ids = np.zeros((len(Q), k), dtype=np.int64) + (allowed.dtype == np.int64)
            return SimpleNamespace(ids=ids, scores=np.zeros(ids.shape))

    group = make_groups(inputs, "uncorrelated", kind="in", tune=2, judge=3)[0]
    plan = run._Plan(inputs, "in", 5, 0.95, 1.0, 2, 3)
    found = run._equivalent(SimpleNamespace(index=Partial()), group, plan, 0.1, False)
    assert not found["identical"] and len(found["unlike"]) == 5


def test_an_arm_is_tuned_on_its_own_queries_and_stops_in_time(inputs):
    group = make_groups(inputs, "uncorrelated", kind="in", tune=6, judge=20)[0]
    cell = Cell.of(allowed_mask(group.rank, "range", selectivity=0.1), group)
    plan = run._Plan(inputs, "in", 5, 0.95, 0.05, 6, 20)
    exact = arms_module.BlasScan(inputs)
    seen = []

    class Slow:
        name = "slow"

        def settings(self, cell, k):
            return [{"keep": 1}, {"keep": 5}, {"keep": 6}]

        def ready(self, cell):
            seen.clear()

        def search(self, q, k, cell, setting):
            seen.append(q[0].tobytes())
            time.sleep(0.004)
            ids, _ = exact.search(q, k, cell, {})
            ids[:, setting["keep"] :] = -1
            return ids, "kept"

    truths = [(run._truth(cell, cell.tune, plan), run._truth(cell, cell.judge, plan))]
    found = run._arm_in_cell(Slow(), [cell], truths, plan)
    assert found["settings"] == [{"keep": 5}] and found["recall"] == 1.0 and found["plans"] == ["kept"]
    tune = {row.tobytes() for row in cell.tune}
    assert set(seen[:12]) == tune and not set(seen[12:]) & tune
    assert 5 <= found["timed"] <= 20


def test_post_filtering_keeps_only_allowed_rows(inputs):
    group = make_groups(inputs, "uncorrelated", kind="in", tune=2, judge=3)[0]
    cell = Cell.of(allowed_mask(group.rank, "equality", selectivity=0.05), group)
    arm = arms_module.PostFilter(arms_module.ExactScan(inputs).index, len(inputs.base))
    settings = arm.settings(cell, 5)
    assert [one["count"] for one in settings] == sorted(one["count"] for one in settings)
    ids, _ = arm.search(cell.judge[:1], 5, cell, settings[-1])
    np.testing.assert_array_equal(ids, arms_module.ExactScan(inputs).search(cell.judge[:1], 5, cell, {})[0])
    few, _ = arm.search(cell.judge[:1], 5, cell, {"count": 5})
    assert set(few[few >= 0]) <= set(to_rows(cell.bitmap))


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_exact_arms_agree_under_every_metric(metric, tmp_path):
    rng = np.random.default_rng(5)
    X, Q = rng.standard_normal((400, 7)) + 0.4, rng.standard_normal((30, 7))
    made = prepare_inputs("x", X, {"in": Q}, metric=metric, folder=tmp_path, tune=10, judge=10)
    group = make_groups(made, "correlated", kind="in", tune=2, judge=6, pivots=1)[0]
    arms = [arms_module.ExactScan(made), arms_module.BlasScan(made)]
    if importlib.util.find_spec("faiss"):
        arms.append(arms_module.FaissFlat(made))
    for share in (0.05, 0.7):
        cell = Cell.of(allowed_mask(group.rank, "set", selectivity=share), group)
        for arm in arms:
            arm.ready(cell)
            ids = arm.search(cell.judge[:1], 6, cell, {})[0]
            np.testing.assert_array_equal(ids, arms[0].search(cell.judge[:1], 6, cell, {})[0])
