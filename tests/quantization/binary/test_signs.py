"""Grids of principal directions, ITQ, RaBitQ: what each promises beyond the protocol."""

from __future__ import annotations

import numpy as np
import pytest

from orthant import load_artifact
from orthant.errors import InputError
from orthant.kernels.binary.planes import grid_values
from orthant.quantization import ITQ, RaBitQ, SignCodes
from orthant.quantization.binary.signs import STEPS, uniform_levels


def directions(n=1500, d=32, rank=12, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d)) + 0.1 * rng.standard_normal((n, d))
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("bits", [2, 4])
def test_steps_are_those_of_the_smallest_error_for_a_normal_distribution(bits):
    Y = np.random.default_rng(0).standard_normal((400, 256)).astype(np.float32)

    def error(step):
        values = grid_values(uniform_levels(Y, bits, step), bits) * step / 2
        return float(((Y / np.sqrt((Y**2).mean(axis=1, keepdims=True)) - values) ** 2).mean())

    assert error(STEPS[bits]) < min(error(0.9 * STEPS[bits]), error(1.1 * STEPS[bits]))


def test_bytes_are_exact():
    X = directions()
    for made, size in (
        (SignCodes(dim=20, bits=2, unit=True), 6),
        (SignCodes(dim=20, bits=2), 10),
        (ITQ(dim=16, unit=True), 2),
        (RaBitQ(bits=4), 20),
    ):
        assert made.fit(X).code_size == made.encode(X).shape[1] == size


def test_itq_turns_so_that_signs_lose_less():
    X = directions()

    def loss(made):
        Y = made.project(X)
        return float(((Y - np.where(Y >= 0, 1, -1) * np.abs(Y).mean()) ** 2).sum())

    assert loss(ITQ(dim=12, unit=True).fit(X)) < 0.95 * loss(ITQ(dim=12, unit=True, iterations=1).fit(X))


def test_rabitq_is_unbiased_over_rotations():
    rng = np.random.default_rng(0)
    x, q = (rng.standard_normal((1, 24)).astype(np.float32) * scale for scale in (3.0, 1.0))
    q += 0.5 * x
    training = np.concatenate([x, -x])
    estimates = []
    for seed in range(300):
        made = RaBitQ(bits=1, seed=seed).fit(training)
        estimates.append(float(made.score(q, made.encode(x), metric="dot")[0, 0]))
    exact, error = float(q[0] @ x[0]), np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - exact) < 4 * error
    # Keeping the length instead of the product would miss by this much.
    assert 0.15 * exact > 4 * error


def test_rabitq_codes_have_the_largest_cosine_that_was_tried():
    X = directions()
    made, plain = RaBitQ(bits=2).fit(X), SignCodes(bits=2).fit(X)
    plain.readout_ = made.readout_

    def cosine(quantizer):
        Y, g = made.project(X - made.mean_), grid_values(quantizer.levels(X), 2).astype(np.float64)
        return (Y * g).sum(axis=1) / np.linalg.norm(Y, axis=1) / np.linalg.norm(g, axis=1)

    assert (cosine(made) >= cosine(plain) - 0.01).all() and cosine(made).mean() > cosine(plain).mean()


def test_symmetric_scores_are_cosines_of_codes():
    X = directions()
    made = SignCodes(dim=12, bits=2, unit=True).fit(X)
    codes, values = made.encode(X[:50]), grid_values(made.levels(X[:50]), 2).astype(np.float64)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    np.testing.assert_allclose(made.symmetric_scores(codes[:5], codes), values[:5] @ values.T, atol=1e-6)


@pytest.mark.parametrize("made", [SignCodes(dim=9, unit=True), ITQ(dim=9), RaBitQ(bits=2)])
def test_artifacts_load_by_their_kind(made, tmp_path):
    X = directions()
    made.fit(X).save(tmp_path)
    again = load_artifact(tmp_path)
    assert type(again) is type(made) and again.fingerprint == made.fingerprint
    assert (again.encode(X) == made.encode(X)).all()


@pytest.mark.parametrize("bits", [0, 3, 8, True])
def test_other_bits_are_refused(bits):
    with pytest.raises(InputError, match="1, 2 or 4"):
        SignCodes(bits=bits).fit(directions(50))
    with pytest.raises(InputError, match="dim"):
        SignCodes(dim=33).fit(directions(50))
