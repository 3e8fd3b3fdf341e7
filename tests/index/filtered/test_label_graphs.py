"""Graphs for labels: nothing without the label is returned, nothing is lost at full effort, and links heed labels."""

from __future__ import annotations

import numpy as np
import pytest

from index.graph_data import clustered, flat_of, recall
from orthant.errors import DimensionError, InputError
from orthant.index.filtered import FilteredVamana, Labels, NavigatingGraph, StitchedVamana, vamana


@pytest.fixture(scope="module")
def data():
    X, _ = clustered(1500, dim=24, seed=1)
    Q, _ = clustered(30, dim=24, seed=2)
    rng = np.random.default_rng(0)
    sets = [set(rng.choice(6, rng.integers(1, 4), replace=False).tolist()) for _ in range(1499)] + [{7}]
    return X, Q, Labels(sets), flat_of(X)


@pytest.mark.parametrize("kind", [FilteredVamana, StitchedVamana])
def test_one_label_is_searched_among_its_rows_only(data, kind):
    X, Q, labels, flat = data
    index = kind(X, labels, degree=12, beam=32)
    few, many = [], []
    for label in range(6):
        rows = labels.rows(label)
        for effort, recalls in ((10, few), (128, many)):
            hits = index.search(Q, 10, label=label, effort=effort)
            assert np.isin(hits.ids, rows).all()
            recalls.append(recall(hits, flat.search(Q, 10, allowed=rows)))
        assert hits.cost.distances < len(Q) * len(rows) and hits.cost.plan == index._plan
    assert np.mean(many) > 0.99 and np.mean(many) > np.mean(few)
    # One row has the last label: it is all there is.
    hits = index.search(Q[:2], 10, label=7)
    assert (
        hits.ids[:, 0].tolist() == [1499, 1499] and (hits.ids[:, 1:] == -1).all() and hits.cost.plan == "scan-allowed"
    )


def test_pruning_without_regard_to_labels_loses_rare_ones(data, monkeypatch):
    X, Q, _, flat = data
    rng = np.random.default_rng(3)
    labels = Labels([{int(i)} for i in rng.integers(0, 30, 1500)])

    def found():
        index = FilteredVamana(X, labels, degree=4, beam=16)
        hits = [index.search(Q, 10, label=label, effort=64) for label in range(30)]
        looked = sum(one.cost.details["expanded"] for one in hits)
        return np.mean([recall(h, flat.search(Q, 10, allowed=labels.rows(n))) for n, h in enumerate(hits)]), looked

    heeding, _ = found()
    whole = FilteredVamana._links
    monkeypatch.setattr(FilteredVamana, "_links", lambda self, **given: whole(self))
    _, walked = found()
    # Links that do not heed labels lead nowhere within one: answers come from scans, not from walks.
    assert heeding > 0.97
    monkeypatch.undo()
    assert walked < 0.5 * found()[1]


def test_labels_are_told_from_rows_and_back():
    labels = Labels([("b", "a"), "b", ()])
    assert labels.names == ("a", "b") and len(labels) == 3
    assert labels.rows("b").tolist() == [0, 1] and labels.rows("a", "b").tolist() == [0]
    assert labels.marks(3).ravel().tolist() == [3, 2, 0]
    assert labels.columns(3).ravel().tolist() == [1, 3]
    for wrong in ("c", ["a"]):
        with pytest.raises(InputError, match="Check its spelling"):
            labels.code(wrong)
    for mixed in (["a", 1], ["a", None], [[["a"]], "b"], [None, None, 3]):
        with pytest.raises(InputError, match="empty set"):
            Labels(mixed)
    with pytest.raises(InputError, match="2 GiB"):
        Labels(range(2000)).marks(10_000_000)


def test_only_matching_rows_can_be_reached_and_all_of_them(data):
    X, Q, labels, flat = data
    index = NavigatingGraph(X, labels, degree=8, beam=24, cross=4)
    assert index.groups == len(
        {tuple(labels.codes[a:b]) for a, b in zip(labels.offsets, labels.offsets[1:], strict=False)}
    )
    for asked in ([0], [5], [0, 1], [2, 3, 4], [7], []):
        rows = labels.rows(*asked) if asked else np.arange(1500)
        np.testing.assert_array_equal(index.reachable(asked), rows)
        hits = index.search(Q, 10, labels=asked, effort=1500)
        assert np.isin(hits.ids[hits.ids >= 0], rows).all()
        assert (hits.counts == min(10, len(rows))).all()
        assert recall(hits, flat.search(Q, 10, allowed=rows)) > 0.95


def test_groups_are_followed_by_their_smallest_supersets():
    X = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    sets = [{"a"}, {"b"}, {"a", "b"}, {"a", "c"}, {"a", "b", "c"}, set(), {"d"}, {"a"}]
    index = NavigatingGraph(X, sets, degree=4, beam=8)

    def names(group):
        bits = int(index._marks[group, 0])
        return "".join(name for code, name in enumerate(index.labels.names) if bits >> code & 1)

    found = {names(g): sorted(names(o) for o in index.supersets(g)) for g in range(index.groups)}
    assert found == {
        "": ["a", "b", "d"], "a": ["ab", "ac"], "b": ["ab"], "ab": ["abc"], "ac": ["abc"], "abc": [], "d": [],
    }  # fmt: skip
    with pytest.raises(InputError, match=r"Pass \['a'\]"):
        index.search(X, 1, labels="a")


@pytest.mark.parametrize("kind", [FilteredVamana, StitchedVamana, NavigatingGraph])
def test_labels_that_do_not_fit_are_refused(kind):
    X = np.ones((4, 3), np.float32)
    with pytest.raises(DimensionError, match="3 rows"):
        kind(X, [1, 2, 3])
    with pytest.raises(InputError, match="NaN"):
        kind(X, [1.0, 2.0, float("nan"), 4.0])
    with pytest.raises(InputError, match="beam"):
        kind(X, [1, 2, 3, 4], degree=8, beam=4)
    index = kind(X, [1, 2, 3, 4], degree=4, beam=4)
    with pytest.raises(InputError, match="label 9"):
        index.search(X, 1, **({"labels": [9]} if kind is NavigatingGraph else {"label": 9}))
    with pytest.raises(DimensionError):
        index.search(X[:, :2], 1, **({"labels": [1]} if kind is NavigatingGraph else {"label": 1}))


def test_starts_are_shared_out(data):
    index = vamana.FilteredVamana(data[0][:60], [{1, 2, 3, 4}] * 60, degree=4, beam=8)
    assert len(set(index._starts.tolist())) == 4
