"""Recurrent binarisation: its equations, its closed form, and codes beside those of an older version."""

from __future__ import annotations

import numpy as np
import pytest

from orthant import load_artifact
from orthant.errors import DimensionError, EncoderMismatchError, InputError, NotFittedError, StoreCorruptedError
from orthant.quantization import ITQ, LVQ, CodeScan, RecurrentBinary, SignCodes
from orthant.transforms.layers import Layer
from orthant.transforms.network import Network
from quantization.binary.test_signs import directions


def linear(weight):
    return Network([Layer("linear", {"weight": np.asarray(weight, dtype=np.float32)})])


def test_levels_follow_the_equations():
    rng = np.random.default_rng(0)
    W = [rng.standard_normal((3, 5)) for _ in range(2)]
    R = rng.standard_normal((5, 3))
    X = rng.standard_normal((40, 5)).astype(np.float32)
    made = RecurrentBinary.from_networks([linear(w) for w in W], [linear(R)], sample=X)
    f = X / np.linalg.norm(X, axis=1, keepdims=True)
    first = np.where(f @ W[0].T >= 0, 1, -1)
    back = first @ R.T
    second = np.where((f - back / np.linalg.norm(back, axis=1, keepdims=True)) @ W[1].T >= 0, 1, -1)
    assert (made.levels(X) == (2 * (first > 0) + (second > 0))).all()
    assert made.unit and made.code_size == 2


def test_zero_is_positive():
    made = RecurrentBinary.from_networks([linear(np.zeros((8, 2)))], [], sample=np.eye(2))
    assert made.encode(np.eye(2)).tolist() == [[255], [255]]


def test_the_second_level_codes_what_the_first_left_over():
    X = directions()

    def error(made):
        return float(((made.fit(X).decode(made.encode(X)) - X) ** 2).sum())

    errors = [error(RecurrentBinary(dim=12, bits=bits, unit=True)) for bits in (1, 2, 4)]
    assert errors[1] < 0.5 * errors[0] and errors[2] < 0.7 * errors[1]
    # In closed form it is about what an even grid after the same rotation loses.
    assert errors[1] < 1.05 * error(ITQ(dim=12, bits=2, unit=True))


def test_a_rotation_that_another_one_learned_gives_the_same_codes(monkeypatch):
    X = directions()
    first = RecurrentBinary(dim=12, bits=1, unit=True).fit(X)
    alone = RecurrentBinary(dim=12, bits=2, unit=True).fit(X)
    monkeypatch.setattr(ITQ, "fit", None)  # not looked for again
    shared = RecurrentBinary(dim=12, bits=2, unit=True).fit_turned(X, first)
    assert shared.fingerprint == alone.fingerprint and (shared.encode(X) == alone.encode(X)).all()
    with pytest.raises(DimensionError, match="10 of"):
        RecurrentBinary(dim=10, unit=True).fit_turned(X, first)
    with pytest.raises(NotFittedError):
        RecurrentBinary(dim=12, unit=True).fit_turned(X, RecurrentBinary())


def test_the_closed_form_behind_a_map_is_that_of_mapped_vectors():
    X = directions(d=24)
    # Three directions count four times as much.
    projection = np.eye(24)[:10] * np.where(np.arange(10) < 3, 4.0, 1.0)[:, None]
    made = RecurrentBinary().fit_through(X, projection)
    mapped = (X @ projection.T).astype(np.float32)
    exact = (mapped[:50] @ mapped.T) / np.linalg.norm(mapped[:50], axis=1)[:, None] / np.linalg.norm(mapped, axis=1)
    plain = RecurrentBinary(dim=10, unit=True).fit(X)

    def error(quantizer):
        codes = quantizer.encode(X)
        return float(np.abs(quantizer.symmetric_scores(codes[:50], codes) - exact).mean())

    assert error(made) < 0.6 * error(plain)
    with pytest.raises(DimensionError):
        RecurrentBinary().fit_through(X, projection[:, :20])


def test_a_trained_one_loads_by_its_kind_and_damage_is_found(tmp_path):
    X = directions()
    made = RecurrentBinary(dim=12, unit=True).fit(X)
    made.save(tmp_path)
    again = load_artifact(tmp_path)
    assert (again.encode(X) == made.encode(X)).all() and again.fingerprint == made.fingerprint
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"linear"', '"linearly"'))
    with pytest.raises(StoreCorruptedError):
        RecurrentBinary.load(tmp_path)


def test_codes_beside_older_ones_are_found():
    old, rng = directions(2000), np.random.default_rng(1)
    new = old @ np.linalg.qr(rng.standard_normal((32, 32)))[0].astype(np.float32)
    older = RecurrentBinary(dim=12, unit=True).fit(old[:1500])
    newer = RecurrentBinary().fit_beside(new[:1500], older, old[:1500])
    alone = RecurrentBinary(dim=12, unit=True).fit(new[:1500])
    codes = older.encode(old)

    def share(made):
        scores = made.symmetric_scores(made.encode(new[1500:]), codes)
        return float((scores.argmax(axis=1) == np.arange(1500, 2000)).mean())

    assert share(newer) > 0.5 and share(alone) < 0.05
    scan = CodeScan(newer)
    scan.add_codes(codes, made_by=older)
    scan.add(new[:100])
    assert len(scan) == 2100
    with pytest.raises(EncoderMismatchError, match="compatible_with"):
        CodeScan(alone).add_codes(codes, made_by=older)


def test_what_does_not_belong_together_is_refused():
    X = directions(100)
    with pytest.raises(DimensionError):
        RecurrentBinary.from_networks([linear(np.ones((3, 5)))] * 2, [linear(np.ones((4, 3)))], sample=np.ones((2, 5)))
    older = RecurrentBinary(dim=4, unit=True).fit(X)
    with pytest.raises(DimensionError, match="in one order"):
        RecurrentBinary().fit_beside(X, older, X[:50])
    with pytest.raises(InputError, match="unit"):
        CodeScan(SignCodes().fit(X)).search(X[:1], queries="codes")


def test_quantizers_of_another_kind_or_not_fitted_are_refused():
    X = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)
    for other, error in (("x", InputError), (LVQ().fit(X), InputError), (RecurrentBinary(), NotFittedError)):
        with pytest.raises(error):
            RecurrentBinary().fit_beside(X, other, X)
        with pytest.raises(error):
            RecurrentBinary().fit_turned(X, other)
    scan = CodeScan(RecurrentBinary().fit(X))
    codes = scan.quantizer.encode(X)
    for maker, error in (("x", InputError), (LVQ().fit(X), InputError), (RecurrentBinary(), NotFittedError)):
        with pytest.raises(error):
            scan.add_codes(codes, made_by=maker)
    assert len(scan) == 0
