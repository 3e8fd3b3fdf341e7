"""Every registered transform through the battery, and broken ones that the battery must reject."""

from __future__ import annotations

import time

import numpy as np
import pytest

from conformance.reference import Centering, must_reject
from conformance.registry import TRANSFORMS, VectorCase
from conformance.vector_battery import DIM, SHARED_CHECKS, data, fitted
from orthant.types import Transform


def check_speaks_the_protocol(case):
    assert isinstance(case.make(DIM), Transform)


def check_output(case):
    made, X = fitted(case)
    out = made.transform(X)
    assert out.dtype == np.float32 and out.flags.c_contiguous and out.ndim == 2 and len(out) == len(X)
    assert np.isfinite(out).all() and not np.shares_memory(out, X)


def check_pipeline(case):
    from sklearn.pipeline import Pipeline

    X = data(case.rows)
    targets = X.copy() if case.needs_targets else None
    pipe = Pipeline([("first", Centering()), ("second", case.make(DIM))]).fit(X, targets)
    centred = Centering().fit(X).transform(X)
    np.testing.assert_array_equal(pipe.transform(X), case.make(DIM).fit(centred, targets).transform(centred))


def check_queries_keep_the_width(case):
    made, X = fitted(case)
    if hasattr(made, "transform_queries"):
        assert made.transform_queries(X[:4]).shape == made.transform(X[:4]).shape
        assert made.transform_queries(X[:4]).dtype == np.float32


CHECKS = SHARED_CHECKS | {name: check for name, check in globals().items() if name.startswith("check_")}


# Sixty rows, equal rows and constant ones are meant to be too few.
@pytest.mark.filterwarnings("ignore:.*the vectors span only:UserWarning")
@pytest.mark.filterwarnings("ignore:.*a drift from:UserWarning")
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", TRANSFORMS.values(), ids=lambda case: case.name)
def test_transform_conforms(case, check):
    CHECKS[check](case)


class FitReturnsNothing(Centering):
    def fit(self, X, y=None, *, queries=None):
        super().fit(X)


class CentersTheBatch(Centering):
    def transform(self, X):
        out = super().transform(X)
        return out - out.mean(axis=0) if len(out) else out


class CentersInPlace(Centering):
    def transform(self, X):
        wanted = super().transform(X)
        if isinstance(X, np.ndarray) and X.dtype == np.float32 and X.flags.writeable:
            X -= self.mean_
        return wanted


class TransformsUnfitted(Centering):
    def transform(self, X):
        return super().transform(X) if hasattr(self, "mean_") else np.asarray(X, dtype=np.float32)


class GivesFloat64(Centering):
    def transform(self, X):
        return super().transform(X).astype(np.float64)


class RoundsItsParameter(Centering):
    def __init__(self, *, factor=1.0):
        self.factor = [factor]


class ChangesItsParameter(Centering):
    def fit(self, X, y=None, *, queries=None):
        self.factor = self.factor * 2
        return super().fit(X)


class LearnsWithoutUnderscore(Centering):
    def fit(self, X, y=None, *, queries=None):
        self.mean = 0
        return super().fit(X)


class KeepsTheData(Centering):
    def fit(self, X, y=None, *, queries=None):
        super().fit(X)
        self.data_ = np.asarray(X)
        return self

    def transform(self, X):
        return super().transform(X) + self.data_[:1]


class Accumulates(Centering):
    def fit(self, X, y=None, *, queries=None):
        old = getattr(self, "mean_", 0)
        super().fit(X)
        self.mean_ = self.mean_ + old
        return self


class TakesNaN(Centering):
    def transform(self, X):
        return super().transform(
            np.nan_to_num(np.asarray(X)) if np.ndim(X) == 2 and np.asarray(X).dtype.kind == "f" else X
        )


class FailsAtDimension97(Centering):
    def transform(self, X):
        return super().transform(X) * np.float32("nan" if self.n_features_in_ == 97 else 1)


class Random(Centering):
    def fit(self, X, y=None, *, queries=None):
        super().fit(X)
        self.mean_ = self.mean_ + np.random.default_rng().random(len(self.mean_), dtype=np.float32)
        return self


class SharesAWorkspace(Centering):
    def transform(self, X):
        self.work_ = X
        time.sleep(0.001)
        return super().transform(self.work_)


class LosesItsMean(Centering):
    @classmethod
    def load(cls, path):
        out = super().load(path)
        out.mean_ = np.zeros_like(out.mean_)
        return out


BROKEN = [
    (FitReturnsNothing, "check_output"),
    (CentersTheBatch, "check_rows_do_not_influence_each_other"),
    (CentersTheBatch, "check_empty_and_one_row"),
    (CentersInPlace, "check_does_not_change_the_input"),
    (TransformsUnfitted, "check_not_fitted"),
    (GivesFloat64, "check_output"),
    (RoundsItsParameter, "check_scikit_learn_contract"),
    (ChangesItsParameter, "check_fit_keeps_parameters"),
    (LearnsWithoutUnderscore, "check_fit_keeps_parameters"),
    (KeepsTheData, "check_does_not_share_memory_with_the_fitted_data"),
    (Accumulates, "check_fitting_again_forgets"),
    (TakesNaN, "check_refuses_bad_vectors"),
    (FailsAtDimension97, "check_w73_every_dimension"),
    (Random, "check_deterministic"),
    (SharesAWorkspace, "check_eight_threads"),
    (LosesItsMean, "check_save_and_load"),
]


@pytest.mark.parametrize(("broken", "check"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_the_battery_rejects(broken, check):
    must_reject(CHECKS[check], VectorCase("broken", lambda dim: broken()))
