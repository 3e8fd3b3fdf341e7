"""Steered queries: the formulas, what a search does with them, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.collection.collection import Collection
from orthant.collection.stages.steering import steer_vectors
from orthant.encoders.callable import CallableEncoder
from orthant.errors import DimensionError, InputError

WORDS = ("red", "blue", "boat", "kite", "cold", "warm")


def counts(texts):
    return [[text.split().count(word) for word in WORDS] for text in texts]


@pytest.fixture
def notes(tmp_path):
    encoder = CallableEncoder(counts, dim=len(WORDS), name="words")
    with Collection(tmp_path / "c", encoder=encoder) as made:
        texts = ["red boat", "blue boat", "red kite", "blue kite", "cold boat", "cold kite warm"]
        made.upsert([text.replace(" ", "-") for text in texts], texts=texts)
        yield made


def test_taking_out_leaves_what_lies_across_and_keeps_lengths():
    rng = np.random.default_rng(0)
    Q, away = rng.standard_normal((4, 8)), rng.standard_normal((2, 8))
    out = steer_vectors(Q, away=away)
    np.testing.assert_allclose(out @ away.T, 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), np.linalg.norm(Q, axis=1), rtol=1e-5)
    np.testing.assert_allclose(steer_vectors(Q, away=away, strength=0.0), Q, rtol=1e-5)
    basis = np.linalg.qr(away.T)[0]
    for strength in (0.5, 1.5):
        expected = Q - strength * Q @ basis @ basis.T
        expected *= (np.linalg.norm(Q, axis=1) / np.linalg.norm(expected, axis=1))[:, None]
        np.testing.assert_allclose(steer_vectors(Q, away=away, strength=strength), expected, atol=1e-5)


def test_towards_adds_a_unit_direction_or_the_difference_of_two():
    rng = np.random.default_rng(1)
    q, a, b = rng.standard_normal((3, 8))
    unit = [x / np.linalg.norm(x) for x in (q, a, b)]
    for expected, options in (
        (unit[0] + 0.5 * unit[1], {}),
        (unit[0] + 0.5 * (unit[1] - unit[2]), {"instead_of": [b * 3]}),
    ):
        expected *= np.linalg.norm(q) / np.linalg.norm(expected)
        out = steer_vectors([q], toward=[a], strength=0.5, **options)
        np.testing.assert_allclose(out[0], expected, atol=1e-5)


def test_a_search_moves_its_vector_and_not_its_words(notes):
    plain = notes.search("red boat", mode="dense", k=3)
    assert plain.ids[0] == "red-boat"
    away = notes.search("red boat", mode="dense", k=2, steer={"away": ["red"]})
    assert set(away.ids) <= {"blue-boat", "cold-boat", "red-boat"} and "red-kite" not in away.ids
    np.testing.assert_allclose(away[0].score, np.sqrt(0.5), atol=1e-6)
    changed = notes.search(
        "red boat", mode="dense", k=1, steer={"toward": "blue", "instead_of": "red", "strength": 1.5}
    )
    assert changed.ids == ["blue-boat"]
    by_vector = notes.search("red boat", mode="dense", k=1, steer={"toward": [np.eye(6)[1] - np.eye(6)[0]]})
    assert by_vector.ids == ["blue-boat"]
    hybrid = notes.search("red boat", k=3, explain=True, steer={"away": ["red"]})
    assert hybrid.ids[0] == "red-boat" and hybrid[0].legs["lexical"].score > 0
    many = notes.search_many(["red boat", "blue kite"], mode="dense", k=1, steer={"toward": ["cold"], "strength": 2})
    assert [result.ids[0] for result in many] == ["cold-boat", "cold-kite-warm"]


@pytest.mark.parametrize(
    ("steer", "says"),
    [
        ("blue", "a mapping"),
        ({}, "'toward' and 'away'"),
        ({"towards": ["blue"]}, "'towards' in steer"),
        ({"instead_of": ["red"], "away": ["blue"]}, "without 'toward'"),
        ({"away": ["red"], "strength": 3}, "strength"),
        ({"away": [" "]}, "an empty text"),
        ({"away": ["unheard"]}, "no token"),
        ({"away": ["red boat"]}, "100 % lies"),
        ({"away": 7}, "texts or vectors"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused(notes, steer, says):
    with pytest.raises(InputError, match=says):
        notes.search("red boat", mode="dense", steer=steer)


def test_other_dimensions_words_alone_and_l2_are_refused(notes, tmp_path):
    with pytest.raises(InputError, match="with spaces="):
        notes.search("red boat", spaces={"default": 1.0}, steer={"away": ["red"]})
    with pytest.raises(DimensionError):
        notes.search("red boat", mode="dense", steer={"away": [[1.0, 0.0]]})
    with pytest.raises(InputError, match="without a dense leg"):
        notes.search("red boat", mode="lexical", steer={"away": ["red"]})
    with Collection(tmp_path / "l2", metric="l2") as far:
        far.upsert(["a"], vectors=np.eye(2)[:1])
        with pytest.raises(InputError, match="l2"):
            far.search([1.0, 0.5], steer={"away": [[0.0, 1.0]]})
