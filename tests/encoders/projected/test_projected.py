"""An encoder with a head behind it: its vectors, its identity, its folder."""

from __future__ import annotations

import numpy as np
import pytest

import orthant
from orthant.encoders import ProjectedEncoder, StaticEncoder, load_encoder
from orthant.errors import DimensionError, EncoderMismatchError, InputError
from orthant.transforms import Layer, Network


def head(dim=8, seed=0, width=512):
    weight = np.random.default_rng(seed).standard_normal((dim, width)).astype(np.float32)
    return Network([Layer("linear", {"weight": weight})])


def test_vectors_are_the_heads_at_unit_length():
    made, base = ProjectedEncoder("static", head(), name="genre"), StaticEncoder.load()
    expected = base.encode(["a ship", "a fish"]) @ head().layers[0].arrays["weight"].T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(made.encode(["a ship", "a fish"]), expected, atol=1e-6)
    np.testing.assert_allclose(made.project(base.encode(["a ship"]))[0], expected[0], atol=1e-6)
    assert made.dim == 8 and made.encode([]).shape == (0, 8)


def test_identity_follows_base_head_and_name():
    made = [
        ProjectedEncoder("static", head(), name="genre"),
        ProjectedEncoder("static", head(), name="genre"),
        ProjectedEncoder("static", head(seed=1), name="genre"),
        ProjectedEncoder("static", head(), name="decade"),
        ProjectedEncoder(StaticEncoder.load(), head(), name="genre"),
    ]
    prints = [one.fingerprint for one in made]
    assert prints[0] == prints[1] == prints[4] and len(set(prints)) == 3


def test_a_folder_is_an_encoder_of_a_space(tmp_path):
    ProjectedEncoder("static", head(), name="genre").save(tmp_path / "genre")
    again = load_encoder(tmp_path / "genre")
    assert isinstance(again, ProjectedEncoder) and again.name == "genre"
    with orthant.open(tmp_path / "c", encoder="static", spaces={"genre": tmp_path / "genre"}) as made:
        made.upsert(["1", "2"], texts=["a ship at sea", "bread and butter"])
        assert made.spaces["genre"].dim == 8
        assert made.search("a ship at sea", spaces={"genre": 0.7, "default": 0.3}).ids == ["1", "2"]


def test_a_base_without_a_name_must_be_given(tmp_path):
    base = StaticEncoder.load()
    ProjectedEncoder(base, head(), name="genre").save(tmp_path)
    with pytest.raises(InputError, match="base="):
        ProjectedEncoder.load(tmp_path)
    assert ProjectedEncoder.load(tmp_path, base=base).dim == 8
    from orthant.encoders import CallableEncoder

    other = CallableEncoder(lambda texts: np.ones((len(texts), 512)), dim=512, name="ones")
    with pytest.raises(EncoderMismatchError):
        ProjectedEncoder.load(tmp_path, base=other)


def test_networks_that_do_not_fit_are_refused():
    with pytest.raises(DimensionError):
        ProjectedEncoder("static", head(width=99), name="genre")
    with pytest.raises(InputError):
        ProjectedEncoder("static", head(), name="")
    with pytest.raises(InputError):
        ProjectedEncoder("static", Network([]), name="genre")
