"""Drift: exact for a translation, the right partial sum over several steps, and no chain with a gap."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import DimensionError, EncoderMismatchError, InputError
from orthant.index import Flat
from orthant.transforms import DriftCompensator

DIM = 12


def history(seed: int = 0):
    """Queries by three successive models that differ by one translation each, and documents by the first."""
    rng = np.random.default_rng(seed)
    first = rng.standard_normal((150, DIM)).astype(np.float32)
    second = first + rng.standard_normal(DIM).astype(np.float32)
    third = second + rng.standard_normal(DIM).astype(np.float32)
    steps = [
        DriftCompensator(unit=False, source="m2", target="m1").fit(second, first),
        DriftCompensator(unit=False, source="m3", target="m2").fit(third, second),
    ]
    return rng.standard_normal((400, DIM)).astype(np.float32), first, second, third, steps


def ranking(documents, queries):
    index = Flat(DIM, "l2")
    index.add(documents)
    return index.search(queries, 10).ids


def test_a_translation_is_undone_exactly():
    documents, first, second, _, steps = history()
    wanted = ranking(documents, first)
    assert not np.array_equal(ranking(documents, second), wanted)
    np.testing.assert_array_equal(ranking(documents, steps[0].transform(second)), wanted)
    assert steps[0].explained_share_ == pytest.approx(1, abs=1e-5)


def test_each_index_gets_the_sum_of_the_steps_since_it_was_made():
    documents, first, second, third, steps = history()
    whole = DriftCompensator.between(steps, source="m3", target="m1")
    np.testing.assert_array_equal(ranking(documents, whole.transform(third)), ranking(documents, first))
    part = DriftCompensator.between(steps[::-1], source="m3", target="m2")
    np.testing.assert_array_equal(ranking(documents, part.transform(third)), ranking(documents, second))
    # A sum over all steps, whichever model made the index, is wrong.
    assert not np.array_equal(ranking(documents, whole.transform(third)), ranking(documents, second))
    assert whole.fingerprints == ("m3", "m1") and whole.explained_share_ is None
    np.testing.assert_allclose(steps[1].then(steps[0]).drift_, whole.drift_)


def test_steps_that_do_not_meet_are_refused():
    _, _, second, third, steps = history()
    for wrong in ({"source": "m3", "target": "m0"}, {"source": "m9", "target": "m1"}, {"source": "m1", "target": "m3"}):
        with pytest.raises(EncoderMismatchError, match="no chain"):
            DriftCompensator.between(steps, **wrong)
    with pytest.raises(EncoderMismatchError, match="no chain"):
        DriftCompensator.between(steps[:1], source="m3", target="m1")
    nameless = DriftCompensator(unit=False).fit(third, second)
    with pytest.raises(EncoderMismatchError, match="None"):
        nameless.then(steps[0])
    with pytest.raises(EncoderMismatchError):
        steps[0].then(steps[1])
    narrow = DriftCompensator(unit=False, source="m3", target="m2").fit(third[:, :5], second[:, :5])
    with pytest.raises(DimensionError, match="5 and 12"):
        narrow.then(steps[0])
    unit = DriftCompensator(source="m3", target="m2").fit(third, second)
    with pytest.raises(InputError, match="unit"):
        unit.then(steps[0])


def test_a_circle_of_steps_ends():
    _, first, second, _, _ = history()
    circle = [DriftCompensator(source=a, target=b).fit(second, first) for a, b in (("x", "y"), ("y", "z"), ("z", "x"))]
    with pytest.raises(EncoderMismatchError, match="no chain"):
        DriftCompensator.between(circle, source="x", target="w")


def test_directions_drift_not_lengths():
    rng = np.random.default_rng(0)
    old = rng.standard_normal((200, DIM)).astype(np.float32)
    step = DriftCompensator().fit(5 * old, old)
    assert np.abs(step.drift_).max() < 1e-6
    np.testing.assert_allclose(np.linalg.norm(step.transform(old), axis=1), 1, atol=1e-5)
    shifted = DriftCompensator(renormalize=True).fit(old + 1, old)
    np.testing.assert_allclose(np.linalg.norm(shifted.transform(old), axis=1), 1, atol=1e-5)


def test_a_rotation_is_no_drift_and_few_queries_warn():
    rng = np.random.default_rng(0)
    old = rng.standard_normal((300, DIM)).astype(np.float32)
    turned = old @ np.linalg.qr(rng.standard_normal((DIM, DIM)))[0].astype(np.float32)
    assert DriftCompensator().fit(turned, old).explained_share_ < 0.05
    with pytest.warns(UserWarning, match="99 queries"):
        DriftCompensator().fit(old[:99], old[:99])
