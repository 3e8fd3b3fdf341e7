"""Scores by cells are MaxSim of centroids, less what is pruned."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.kernels.multivector import cells as module
from orthant.kernels.multivector.cells import cell_scores


@pytest.mark.parametrize("compiled", [True, False])
def test_scores_are_best_table_entries_of_kept_cells(compiled, monkeypatch):
    rng = np.random.default_rng(0)
    for width in (1, 3, 4, 17, 32):
        table = rng.standard_normal((9, width)).astype(np.float32)
        cells = rng.integers(0, 9, 60).astype(np.int32)
        kept = rng.random(9) < 0.7
        spans = np.array([[0, 7], [7, 8], [20, 50], [8, 20], [50, 60]])
        wanted = [
            np.maximum(np.where(kept[cells[a:b]][:, None], table[cells[a:b]], 0), 0).max(axis=0).sum() for a, b in spans
        ]
        np.testing.assert_allclose(cell_scores(table, kept, cells, spans, compiled=compiled), wanted, rtol=1e-5)
        monkeypatch.setattr(module, "_CHUNK_VALUES", 1)
        np.testing.assert_allclose(cell_scores(table, kept, cells, spans, compiled=compiled), wanted, rtol=1e-5)


def test_no_sets():
    empty = cell_scores(np.ones((1, 1), np.float32), np.ones(1, bool), np.zeros(0, np.int32), np.zeros((0, 2), int))
    assert empty.shape == (0,)
