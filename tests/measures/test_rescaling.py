from __future__ import annotations

import numpy as np
import pytest

from orthant.measures.rescaling import min_max


@pytest.mark.parametrize("low", [None, 0.0])
def test_each_row_is_rescaled_by_its_own_scores(low):
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.5, 9.0, (6, 8))
    scores[rng.random(scores.shape) < 0.3] = -np.inf
    scores[4], scores[5] = 3.0, -np.inf
    for row, found in zip(scores, min_max(scores, low=low), strict=True):
        present = row[np.isfinite(row)]
        bottom = low if low is not None else min(present, default=0.0)
        spread = max(present, default=0.0) - bottom
        wanted = [(s - bottom) / spread if spread > 0 else float(low is None) for s in row]
        np.testing.assert_allclose(found, np.where(np.isfinite(row), wanted, 0.0), atol=1e-12)
        np.testing.assert_array_equal(found, min_max(row, low=low))
