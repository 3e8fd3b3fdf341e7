"""The gap between two kinds of vectors, and how far it is closed."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import DimensionError, InputError
from orthant.measures import counterpart_ranks
from orthant.transforms import GapAlignment


def kinds(gap: float = 1.5, seed: int = 0, n: int = 300):
    rng = np.random.default_rng(seed)
    meaning = rng.standard_normal((n, 16))
    offset = np.zeros(16)
    offset[0] = gap
    noise = [0.6 * rng.standard_normal((n, 16)) for _ in range(2)]
    sides = meaning + noise[0] + 2 * offset, meaning + noise[1] - 2 * offset
    return [(side / np.linalg.norm(side, axis=1, keepdims=True)).astype(np.float32) for side in sides]


def found(aligned: GapAlignment, images, texts) -> float:
    return float((1 / counterpart_ranks(aligned.transform(images), aligned.transform_target(texts), mixed=True)).mean())


def test_the_gap_is_closed_in_step_with_the_strength():
    images, texts = kinds()
    distances = {}
    for strength in (-1.0, 0.0, 0.5, 1.0):
        aligned = GapAlignment(strength=strength).fit(images, texts)
        moved = aligned.transform(images), aligned.transform_target(texts)
        distances[strength] = np.linalg.norm(moved[0].mean(axis=0) - moved[1].mean(axis=0))
        np.testing.assert_allclose(np.linalg.norm(moved[0], axis=1), 1, atol=1e-5)
    assert distances[-1.0] > distances[0.0] > distances[0.5] > distances[1.0]
    assert distances[1.0] < 0.5 * distances[0.0] and distances[0.0] == pytest.approx(aligned.gap_norm_, rel=1e-5)
    unchanged = GapAlignment(strength=0.0).fit(images, texts)
    np.testing.assert_allclose(unchanged.transform(images), images, atol=1e-6)
    assert unchanged.separability_ > 0.95


def test_counterparts_are_found_in_a_mixed_index_once_the_gap_is_closed():
    train, held_out = kinds(seed=0), kinds(seed=1)
    scores = {s: found(GapAlignment(strength=s).fit(*train), *held_out) for s in (-1.0, 0.0, 1.0)}
    assert scores[1.0] > scores[0.0] + 0.1 > scores[-1.0] + 0.1
    chosen = GapAlignment().fit(*train)
    assert chosen.strength_ > 0.4 and found(chosen, *held_out) >= max(scores.values()) - 0.02


def test_without_a_gap_nothing_is_separable_and_little_is_moved():
    images, texts = kinds(gap=0.0)
    chosen = GapAlignment().fit(images, texts)
    assert chosen.separability_ < 0.65 and chosen.gap_norm_ < 0.2
    assert GapAlignment().fit(images[:3], texts[:3]).strength_ == 0


def test_bad_kinds_are_refused():
    images, texts = kinds(n=20)
    with pytest.raises(DimensionError, match="20 source rows and 19"):
        GapAlignment().fit(images, texts[:19])
    with pytest.raises(DimensionError, match="one width"):
        GapAlignment().fit(images, texts[:, :5])
    with pytest.raises(InputError, match="strength"):
        GapAlignment(strength=2.5).fit(images, texts)
    images[4] = 0
    with pytest.raises(InputError, match="source vectors with 1 zero row"):
        GapAlignment().fit(images, texts)
