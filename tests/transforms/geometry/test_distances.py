from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import DimensionError, InputError, NonFiniteError
from orthant.transforms import (
    check_label_metric,
    graph_label_distances,
    mean_squared_label_distance,
    ring_label_distances,
    vector_label_distances,
)

LINE = np.abs(np.subtract.outer(np.arange(5.0), np.arange(5.0)))


def changed(i, j, value, *, both=True):
    out = LINE.copy()
    out[i, j] = value
    if both:
        out[j, i] = value
    return out


def test_a_metric_passes_as_a_symmetric_copy():
    found = check_label_metric(LINE + 1e-9 * np.arange(25).reshape(5, 5))
    assert np.array_equal(found, found.T) and not np.diag(found).any()
    assert np.abs(found - LINE).max() < 1e-6


@pytest.mark.parametrize(
    ("distances", "error", "told"),
    [
        (LINE[:2], DimensionError, r"\(2, 5\)"),
        (np.zeros((0, 0)), DimensionError, "square"),
        (changed(1, 1, 0.5), InputError, "label 1 to itself"),
        (changed(0, 2, 3, both=False), InputError, "and 2 back"),
        (changed(0, 3, -1), InputError, "label 0 to 3"),
        (changed(0, 3, np.inf), NonFiniteError, "label 0 to 3"),
        (changed(0, 4, 9), InputError, "by way of label"),
        (LINE**2, InputError, "root of squared"),
        (np.zeros((3, 3)), InputError, r"0 between labels 0 and 1; .* one label, .*require_metric"),
        (LINE[[0, 1, 2, 2]][:, [0, 1, 2, 2]], InputError, "0 between labels 2 and 3"),
    ],
)
def test_what_is_no_metric_is_refused_with_the_labels(distances, error, told):
    with pytest.raises(error, match=told):
        check_label_metric(distances)


def test_costs_pass_where_no_triangle_is_asked_for():
    assert np.array_equal(check_label_metric(LINE**2, triangle=False), LINE**2)
    assert not check_label_metric(np.zeros((3, 3)), triangle=False).any()


def test_many_labels_are_tried_with_some_detours():
    far = np.abs(np.subtract.outer(np.arange(450.0), np.arange(450.0)))
    check_label_metric(far)
    with pytest.raises(InputError, match="by way of"):
        check_label_metric(far**2)


def test_hops_of_a_tree_and_the_shorter_of_two_edges():
    assert graph_label_distances([(1, 0), (2, 0), (3, 1), (3, 1)])[3].tolist() == [2, 1, 3, 0]
    found = graph_label_distances([(0, 1), (1, 0), (1, 2)], weights=[5.0, 2.0, 1.5])
    assert found[0].tolist() == [0, 2, 3.5]
    check_label_metric(found)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: graph_label_distances([(0, 1), (2, 3)]), "no path from label 0 to label 2"),
        (lambda: graph_label_distances([(0, 1)], 3), "no path"),
        (lambda: graph_label_distances([(0, 5)], 3), "0 to 2"),
        (lambda: graph_label_distances([(0, 1)], weights=[0.0]), "above 0"),
        (lambda: graph_label_distances([0, 1]), "pairs of labels"),
        (lambda: ring_label_distances(1), "n=1"),
        (lambda: ring_label_distances(4, length=0), "length=0"),
        (lambda: vector_label_distances([[0.0, 0.0], [1.0, 0.0]]), "vectors of labels"),
        (lambda: mean_squared_label_distance([0], [7], LINE), "label 7"),
        (lambda: mean_squared_label_distance([0], [0, 1], LINE), "one number per item"),
    ],
)
def test_what_cannot_be_is_refused(call, told):
    with pytest.raises(InputError, match=told):
        call()


def test_rings_and_vectors_are_metrics():
    ring = ring_label_distances(24, length=360.0)
    assert ring[0, 23] == 15 and ring.max() == 180
    check_label_metric(ring)
    rows = np.random.default_rng(0).standard_normal((30, 5)) * np.arange(1, 31)[:, None]
    found = check_label_metric(vector_label_distances(rows))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(found, np.linalg.norm(unit[:, None] - unit, axis=2), atol=1e-6)


def test_the_mean_squared_distance_squares():
    assert mean_squared_label_distance([0, 1, 2], [0, 4, 1], LINE) == pytest.approx((0 + 9 + 1) / 3)
