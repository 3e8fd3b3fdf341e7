"""Queries of a description and its change: the three formulas, what is refused, and choosing the numbers."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.encoders.composed.prompt_direction import PromptDirection
from orthant.errors import DimensionError, InputError


def _unit(X):
    return X / np.linalg.norm(X, axis=-1, keepdims=True)


@pytest.fixture
def parts():
    rng = np.random.default_rng(0)
    return [rng.standard_normal((6, 12)) for _ in range(3)]


def test_the_plain_settings_are_the_parts_themselves(parts):
    text, changed, image = parts
    np.testing.assert_allclose(PromptDirection().compose(text, changed), _unit(changed), atol=1e-6)
    base = PromptDirection(alpha_text=1.0, beta=1.0).compose(text, changed, image=image)
    np.testing.assert_allclose(base, _unit(changed), atol=1e-6)
    alone = PromptDirection(alpha_image=0.0, beta=0.0).compose(text, changed, image=image)
    np.testing.assert_allclose(alone, _unit(image), atol=1e-6)
    np.testing.assert_allclose(PromptDirection(alpha_text=0.0).compose(text, changed), _unit(text), atol=1e-6)


def test_the_blend_is_of_parts_that_are_not_normalised(parts):
    text, changed, image = parts
    t, p, v = (_unit(x) for x in parts)
    expected = _unit(0.3 * (v + 2.0 * (p - t)) + 0.7 * (t - 1.5 * (p - t)))
    made = PromptDirection(alpha_text=-1.5, alpha_image=2.0, beta=0.7)
    np.testing.assert_allclose(made.compose(text * 3, changed, image=image * 0.1), expected, atol=1e-6)
    one = made.compose(text[0], changed[0], image=image[0])
    assert one.shape == (12,)
    np.testing.assert_allclose(one, expected[0], atol=1e-6)


def test_a_change_that_changes_nothing_is_said_and_what_does_not_fit_is_refused(parts):
    text, changed, image = parts
    with pytest.warns(UserWarning, match="1 of 6 queries nowhere"):
        out = PromptDirection(alpha_text=2.0).compose(text, np.concatenate([text[:1], changed[1:]]))
    np.testing.assert_allclose(out[0], _unit(text[0]), atol=1e-6)
    with pytest.raises(InputError):
        PromptDirection(beta=1.1)
    with pytest.raises(InputError):
        PromptDirection(alpha_image=float("nan"))
    with pytest.raises(DimensionError):
        PromptDirection().compose(text, changed[:, :5])
    with pytest.raises(DimensionError):
        PromptDirection().compose(text, changed, image=image[:3])
    with pytest.raises(InputError):
        PromptDirection().compose(text, changed * 0)
    with pytest.raises(InputError, match="cancel"):
        PromptDirection(alpha_text=0.5).compose([1.0, 0.0], [-1.0, 0.0])


def test_tuning_finds_how_much_of_the_picture_is_wanted():
    rng = np.random.default_rng(1)
    # Shapes are seen in pictures only, and texts name the colour: neither part alone tells the answer.
    shape, colour = np.repeat(np.arange(8), 4), np.tile(np.arange(4), 8)
    gallery = np.concatenate([np.eye(8)[shape], np.eye(4)[colour]], axis=1)
    before = np.concatenate([np.zeros((32, 8)), np.eye(4)[colour]], axis=1) + 0.02 * rng.standard_normal((32, 12))
    answers = (np.arange(32) // 4) * 4 + (np.arange(32) + 1) % 4
    after = before[answers]
    plain = PromptDirection(beta=1.0)
    tuned = plain.tuned(before, after, gallery, answers, image=gallery, leave_out=np.arange(32))
    found = (tuned.compose(before, after, image=gallery) @ gallery.T).argmax(axis=1)
    assert (found == answers).all() and tuned.beta < 1.0
    assert ((plain.compose(before, after, image=gallery) @ gallery.T).argmax(axis=1) == answers).mean() < 0.5
    text_only = plain.tuned(before, after, gallery, answers)
    assert text_only.alpha_image == plain.alpha_image and text_only.beta == 1.0
    with pytest.raises(InputError):
        plain.tuned(before, after, gallery, answers[:3])
    with pytest.raises(InputError):
        plain.tuned(before, after, gallery[:3], answers)
