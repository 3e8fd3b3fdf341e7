"""Operators of roles: orthogonal at any depth, undone exactly, in an order that matters, the same everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.encoders import Binder
from orthant.encoders.records.binding import symbols
from orthant.errors import DimensionError, InputError
from orthant.kernels.rotations import walsh_hadamard

STRUCTURES = ("hadamard", "householder", "dense")


@pytest.fixture(scope="module")
def rows():
    X = np.random.default_rng(0).standard_normal((6, 512)).astype(np.float32)
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def test_transform_is_the_matrix():
    matrix = np.ones((1, 1))
    for _ in range(4):
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    made = walsh_hadamard(np.eye(16, dtype=np.float32)) * 4
    # The same rows in another order would be orthogonal too; the transform is its own inverse only if symmetric.
    np.testing.assert_allclose(made, made.T, atol=1e-6)
    assert sorted(map(tuple, made.round().tolist())) == sorted(map(tuple, matrix.tolist()))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_forty_turns_keep_lengths_and_angles(structure, rows):
    binder, X = Binder(512, structure=structure), rows
    for i in range(40):
        X = binder.bind(f"r{i}", X)
    np.testing.assert_allclose(X @ X.T, rows @ rows.T, atol=1e-5)
    assert np.abs((X * rows).sum(axis=1)).max() < 0.25
    for i in reversed(range(40)):
        X = binder.unbind(f"r{i}", X)
    np.testing.assert_allclose(X, rows, atol=1e-5)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_one_turn_moves_and_two_do_not_commute(structure, rows):
    binder = Binder(512, structure=structure)
    assert np.abs(binder.bind("a", rows) @ rows.T).max() < 0.25
    ab, ba = binder.bind("a", binder.bind("b", rows)), binder.bind("b", binder.bind("a", rows))
    assert np.abs((ab * ba).sum(axis=1)).max() < 0.25
    assert (
        np.abs((binder.bind("a", rows) * Binder(512, structure=structure, seed=1).bind("a", rows)).sum(1)).max() < 0.25
    )


def test_operators_are_made_again_after_they_were_dropped(rows, monkeypatch):
    monkeypatch.setattr("orthant.encoders.records.binding._KEPT_BYTES", 1)
    small, free = Binder(512), Binder(512)
    for role in "abcab":
        np.testing.assert_array_equal(small.bind(role, rows), free.bind(role, rows))
    assert len(small._made) == 1


def test_symbols_do_not_change():
    # Stored vectors rest on these values.
    assert (symbols(['value "x"'], 16, 0)[0] > 0).astype(int).tolist() == [
        0,
        0,
        1,
        1,
        1,
        1,
        0,
        1,
        1,
        1,
        0,
        0,
        1,
        0,
        1,
        0,
    ]
    assert np.abs(symbols([f"s{i}" for i in range(50)], 1000, 1) @ symbols(["t"], 1000, 1).T).max() < 0.15


def test_bundle_and_refusals(rows):
    binder = Binder(512)
    total = binder.bundle(rows[:1], rows[1:2], rows[2:3])
    assert (total @ rows[:3].T / np.linalg.norm(total)).min() > 0.4
    with pytest.raises(DimensionError):
        binder.bundle(rows[:1], rows)
    with pytest.raises(DimensionError):
        binder.bundle()
    for wrong in ({"dim": 100}, {"dim": 1}, {"dim": 64, "structure": "x"}, {"dim": 64, "seed": -1}):
        with pytest.raises(InputError):
            Binder(**wrong)
    assert Binder(100, structure="householder").bind("a", np.ones((1, 100))).shape == (1, 100)
    with pytest.raises(DimensionError):
        binder.bind("a", rows[:, :100])
