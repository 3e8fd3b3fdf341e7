"""One graph of all ranges: only rows of the range, its links those of a graph of the prefix, few comparisons."""

from __future__ import annotations

import numpy as np
import pytest

from index.graph_data import clustered, flat_of, recall
from orthant.errors import DimensionError, InputError, NonFiniteError
from orthant.index.filtered import SegmentGraph


@pytest.fixture(scope="module")
def data():
    X, _ = clustered(1600, dim=24, seed=1)
    Q, _ = clustered(30, dim=24, seed=2)
    values = np.random.default_rng(0).integers(0, 400, 1600)
    return X, Q, values, SegmentGraph(X, values, degree=8, beam=32)


RANGES = [(None, None), (None, 200), (200, None), (100, 300), (350, 360), (-5, 1000), (7, 7), (3.5, 3.9)]


@pytest.mark.parametrize("ends", RANGES)
def test_ranges_hold_their_rows_and_no_others(data, ends):
    X, Q, values, index = data
    low, high = (-np.inf if ends[0] is None else ends[0]), (np.inf if ends[1] is None else ends[1])
    rows = np.flatnonzero((values >= low) & (values <= high))
    hits = index.search(Q, 10, low=ends[0], high=ends[1], effort=128)
    assert np.isin(hits.ids[hits.ids >= 0], rows).all()
    assert (hits.counts == min(10, len(rows))).all()
    if len(rows):
        assert recall(hits, flat_of(X).search(Q, 10, allowed=rows)) > 0.94
    narrow = index.search(Q, 10, low=ends[0], high=ends[1], effort=10)
    if len(rows) > 400:
        assert narrow.cost.distances < 0.4 * len(rows) * len(Q) and narrow.cost.plan == "segment-graph"


def test_links_of_a_prefix_are_those_of_a_graph_of_the_prefix(data):
    index = data[3]
    for count in (1, 70, 500, 1100):
        first, table = index._grow(count)
        sources = np.repeat(np.arange(count), np.diff(first))
        holds = (table[1] == 0) & (table[2] >= count)
        alone = set(zip(sources[holds].tolist(), table[0][holds].tolist(), strict=True))
        assert index.links_of_prefix(count) == alone
        assert (len(alone) > 0) == (count > 1)
    # Some links were crowded out later: without their ends, the prefix would have others.
    late = index.links_of_prefix(1600)
    assert not index.links_of_prefix(500) <= late


def test_ties_and_bad_values(data):
    X = data[0][:6]
    index = SegmentGraph(X, [3, 1, 3, 2, 3, 1], degree=4, beam=8)
    assert index.bounds(3, 3) == (3, 6) and index.bounds(None, 1) == (0, 2) and index.bounds(1.5, 1.7) == (2, 2)
    assert sorted(index.search(X[0], 6, low=3, high=3).ids[0].tolist()) == [-1, -1, -1, 0, 2, 4]
    for ends in ((2, 1), (float("nan"), 1)):
        with pytest.raises(InputError, match=r"low|NaN"):
            index.search(X, 1, low=ends[0], high=ends[1])
    with pytest.raises(NonFiniteError):
        SegmentGraph(X, [1, 2, 3, 4, 5, np.nan])
    with pytest.raises(InputError, match="one number per row"):
        SegmentGraph(X, list("abcdef"))
    with pytest.raises(DimensionError):
        SegmentGraph(X, [1, 2])
