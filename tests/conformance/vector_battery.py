"""What transforms and quantizers share: estimators that learn from vectors. ``apply`` is transform or encode."""

from __future__ import annotations

import copy
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from orthant.errors import DimensionError, DtypeError, InputError, NonFiniteError, NotFittedError
from orthant.estimator import Estimator

DIM = 16


def data(n: int, dim: int = DIM, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, dim)) * np.linspace(1, 0.3, dim) + 0.2
    return X.astype(np.float32)


def fitted(case, dim: int = DIM, rows: int | None = None, seed: int = 0):
    X = data(rows or case.rows, dim, seed)
    made = case.make(dim)
    assert made.fit(X, y=X.copy() if case.needs_targets else None) is made, "fit must return self"
    return made, X


def apply(made, X):
    return made.transform(X) if hasattr(made, "transform") else made.encode(X)


def check_scikit_learn_contract(case):
    from sklearn.base import clone

    made = case.make(DIM)
    assert isinstance(made, Estimator)
    for name, value in made.get_params(deep=False).items():
        assert getattr(made, name) is value
        assert made.set_params(**{name: value}) is made
    twin = clone(made)
    assert type(twin) is type(made) and repr(twin) == repr(made)
    fitted_one, X = fitted(case)
    fresh = clone(fitted_one)
    with pytest.raises(NotFittedError):
        apply(fresh, X)
    with pytest.raises(ValueError):
        made.set_params(no_such_parameter=1)


def check_fit_keeps_parameters(case):
    made = case.make(DIM)
    before = copy.deepcopy(made.get_params())
    made.fit(data(case.rows), y=data(case.rows) if case.needs_targets else None)
    assert repr(before) == repr(made.get_params()), "fit changed a constructor parameter"
    learned = [n for n in vars(made) if not n.startswith("_") and n not in made.get_params(deep=False)]
    assert learned and all(n.endswith("_") for n in learned), f"learned attributes must end in _: {learned}"


def check_not_fitted(case):
    with pytest.raises(NotFittedError):
        apply(case.make(DIM), data(3))


def check_does_not_change_the_input(case):
    made, X = fitted(case)
    np.testing.assert_array_equal(X, data(case.rows))
    before = data(9, seed=2)
    out = apply(made, before)
    out[:] = 0
    np.testing.assert_array_equal(before, data(9, seed=2))
    frozen = data(case.rows)
    frozen.setflags(write=False)
    np.testing.assert_array_equal(apply(made, frozen[:5]), apply(made, data(case.rows)[:5]))
    case.make(DIM).fit(frozen, y=frozen if case.needs_targets else None)


def check_does_not_share_memory_with_the_fitted_data(case):
    made, X = fitted(case)
    probe = data(5, seed=3)
    wanted = apply(made, probe)
    X[:] = 1e6
    np.testing.assert_array_equal(apply(made, probe), wanted)


def check_layouts(case):
    made, _ = fitted(case)
    X = np.round(data(8, seed=4) * 8)
    X[:, 0] = 3
    wide = np.zeros((16, 2 * DIM))
    wide[::2, 1::2] = X
    wanted = apply(made, X)
    for form in (
        X.astype(np.float64),
        np.asfortranarray(X),
        X.astype(">f4"),
        wide[::2, 1::2],
        X.astype(int),
        X.tolist(),
    ):
        np.testing.assert_array_equal(apply(made, form), wanted)


def check_empty_and_one_row(case):
    made, X = fitted(case)
    whole = apply(made, X)
    none = apply(made, data(0))
    assert none.shape == (0, whole.shape[1]) and none.dtype == whole.dtype
    np.testing.assert_allclose(apply(made, X[:1]), whole[:1], rtol=1e-5, atol=1e-6)


def check_rows_do_not_influence_each_other(case):
    made, X = fitted(case)
    whole = apply(made, X).astype(np.float64)
    order = np.random.default_rng(0).permutation(len(X))
    for rows in (order, order[:7], np.repeat(order[:3], 4)):
        np.testing.assert_allclose(apply(made, X[rows]), whole[rows], rtol=1e-4, atol=1e-5)


def check_refuses_bad_vectors(case):
    made, X = fitted(case)
    for value in (np.nan, np.inf):
        bad = X[:4].copy()
        bad[2, 1] = value
        with pytest.raises(NonFiniteError):
            apply(made, bad)
        with pytest.raises(NonFiniteError):
            case.make(DIM).fit(bad, y=X[:4] if case.needs_targets else None)
    for wrong in (data(3, DIM + 1), data(3, DIM - 1), X[0], X[None]):
        with pytest.raises(DimensionError):
            apply(made, wrong)
    for wrong in (np.full((2, DIM), "a"), np.full((2, DIM), 1j), [[1.0], [1.0, 2.0]]):
        with pytest.raises(DtypeError):
            apply(made, wrong)
    with pytest.raises(InputError):
        case.make(DIM).fit(data(0), y=data(0) if case.needs_targets else None)


def check_w73_every_dimension(case):
    for dim in case.dims:
        made, X = fitted(case, dim, rows=min(case.rows, 64), seed=dim)
        out = apply(made, X[:5])
        assert len(out) == 5 and np.isfinite(out.astype(np.float64)).all(), f"dimension {dim}"


def check_deterministic(case):
    one, X = fitted(case)
    two, _ = fitted(case)
    np.testing.assert_array_equal(apply(one, X), apply(two, X))
    np.testing.assert_array_equal(apply(one, X), apply(one, X))


def check_fitting_again_forgets(case):
    made, _ = fitted(case)
    other = data(case.rows, seed=7) * 3 + 1
    targets = other if case.needs_targets else None
    np.testing.assert_array_equal(
        apply(made.fit(other, y=targets), other), apply(case.make(DIM).fit(other, y=targets), other)
    )


def check_constant_and_duplicate_data(case):
    for X in (np.ones((50, DIM), dtype=np.float32), data(3)[np.arange(60) % 3]):
        made = case.make(DIM).fit(X, y=X if case.needs_targets else None)
        assert np.isfinite(apply(made, X).astype(np.float64)).all()


def check_save_and_load(case):
    made, X = fitted(case)
    if not hasattr(made, "save"):
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "saved"
        made.save(folder)
        for file in folder.rglob("*"):
            content = file.read_bytes() if file.is_file() else b""
            assert not content.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")), f"{file} is a pickle"
            assert str(folder).encode() not in content, f"{file} holds an absolute path"
        back = type(made).load(folder)
        assert repr(back) == repr(made)
        np.testing.assert_array_equal(apply(back, X), apply(made, X))


def check_eight_threads(case):
    made, X = fitted(case)
    wanted = apply(made, X)
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait(60)
        for i in range(5):
            rows = np.roll(np.arange(len(X)), 3 * number + i)
            np.testing.assert_allclose(apply(made, X[rows]), wanted[rows], rtol=1e-4, atol=1e-5)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


SHARED_CHECKS = {name: check for name, check in globals().items() if name.startswith("check_")}
