"""Correlations against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from orthant.errors import DimensionError, DtypeError, InputError, NonFiniteError
from orthant.measures import kendall, pearson, spearman


def test_values_equal_scipy_with_ties():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 8, 60), rng.normal(size=60).round(1)
    assert spearman(a, b) == pytest.approx(scipy.stats.spearmanr(a, b).statistic)
    assert pearson(a, b) == pytest.approx(scipy.stats.pearsonr(a, b).statistic)
    assert kendall(a, b) == pytest.approx(scipy.stats.kendalltau(a, b).statistic)
    assert spearman(a, -a) == pytest.approx(-1.0)


@pytest.mark.parametrize("function", [spearman, pearson, kendall])
def test_undefined_input_is_refused(function):
    for error, a, b in (
        (NonFiniteError, [1, np.nan, 3], [1, 2, 3]),
        (NonFiniteError, [1, 2, 3], [1, 2, np.inf]),
        (InputError, [1, 1, 1], [1, 2, 3]),
        (DimensionError, [1, 2], [1, 2, 3]),
        (DimensionError, [1], [1]),
        (DtypeError, ["x", "y"], [1, 2]),
    ):
        with pytest.raises(error):
            function(a, b)
