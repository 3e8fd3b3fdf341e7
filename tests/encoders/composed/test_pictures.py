"""The picture encoder against torch, on disk, in a collection, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

import orthant
from orthant.artifact import load_artifact
from orthant.encoders.callable import CallableEncoder
from orthant.encoders.composed.pictures import PictureTextEncoder, picture_values
from orthant.encoders.registry import load_encoder
from orthant.errors import DimensionError, DtypeError, EncoderMismatchError, InputError


def weights(text_dim=512, dim=6, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {
        "text": (dim, text_dim),
        "convolution_0": (5, 4, 3, 3),
        "bias_0": (5,),
        "convolution_1": (7, 5, 3, 3),
        "bias_1": (7,),
        "projection": (dim, 7 * 2 * 2),
        "projection_bias": (dim,),
    }
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def pictures():
    return np.random.default_rng(1).integers(0, 256, (9, 8, 8, 4)).astype(np.uint8)


def test_pictures_lie_over_white_with_their_opacity(pictures):
    values = picture_values(pictures)
    assert values.shape == (9, 4, 8, 8)
    alpha = pictures[2, 3, 4, 3] / 255
    np.testing.assert_allclose(values[2, :3, 3, 4], pictures[2, 3, 4, :3] / 255 * alpha + 1 - alpha, atol=1e-6)
    grey = picture_values(pictures[..., 0])
    np.testing.assert_allclose(grey[:, 0], pictures[..., 0] / 255, atol=1e-6)
    assert (grey[:, 3] == 1).all()
    with pytest.raises(DtypeError):
        picture_values(pictures / 255)
    with pytest.raises(DimensionError):
        picture_values(pictures[:, :5])


def test_numpy_computes_what_torch_does(pictures):
    torch = pytest.importorskip("torch")
    from orthant.nn.pictures import PictureTower

    arrays = weights()
    tower = PictureTower(dim=6, side=8, channels=(5, 7))
    with torch.no_grad():
        for i in range(2):
            tower.convolutions[i].weight.copy_(torch.from_numpy(arrays[f"convolution_{i}"]))
            tower.convolutions[i].bias.copy_(torch.from_numpy(arrays[f"bias_{i}"]))
        tower.projection.weight.copy_(torch.from_numpy(arrays["projection"]))
        tower.projection.bias.copy_(torch.from_numpy(arrays["projection_bias"]))
        expected = torch.nn.functional.normalize(tower(torch.from_numpy(picture_values(pictures))), dim=1).numpy()
    made = PictureTextEncoder(arrays, side=8)
    np.testing.assert_allclose(made.encode_pictures(pictures), expected, atol=1e-5)
    np.testing.assert_allclose(made.encode_pictures(pictures, batch_size=2), expected, atol=1e-5)


def test_saved_and_read_it_is_the_same_and_a_collection_takes_it(pictures, tmp_path):
    made = PictureTextEncoder(weights(), side=8)
    made.save(tmp_path / "m")
    read = load_artifact(tmp_path / "m")
    assert read.fingerprint == made.fingerprint == load_encoder(tmp_path / "m").fingerprint
    np.testing.assert_array_equal(read.encode_pictures(pictures), made.encode_pictures(pictures))
    static = load_encoder("static").encode(["a boat"]) @ weights()["text"].T
    np.testing.assert_allclose(read.encode(["a boat"]), static / np.linalg.norm(static), atol=1e-6)
    with orthant.open(tmp_path / "c", encoder=made) as shelf:
        shelf.upsert([f"p{i}" for i in range(9)], vectors=made.encode_pictures(pictures))
        query = made.compose(pictures[3], "a boat", "a red boat")
        expected = (made.encode_pictures(pictures) @ query).argmax()
        assert shelf.search(vector=query, k=1).ids == [f"p{expected}"]
        assert len(shelf.search("a boat", mode="dense", k=2)) == 2


def test_another_text_encoder_and_other_sizes_are_refused(pictures, tmp_path):
    lengths = CallableEncoder(lambda texts: [[len(text), 1.0] for text in texts], dim=2, name="lengths")
    other = CallableEncoder(lambda texts: [[len(text), 1.0] for text in texts], dim=2, name="others")
    with pytest.raises(DimensionError):
        PictureTextEncoder(weights(), side=8, text_encoder=lengths)
    made = PictureTextEncoder(weights(text_dim=2), side=8, text_encoder=lengths)
    made.save(tmp_path / "m")
    with pytest.raises(InputError, match="no text encoder"):
        PictureTextEncoder.load(tmp_path / "m")
    with pytest.raises(EncoderMismatchError):
        PictureTextEncoder.load(tmp_path / "m", text_encoder=other)
    assert PictureTextEncoder.load(tmp_path / "m", text_encoder=lengths).fingerprint == made.fingerprint
    with pytest.raises(DimensionError):
        made.encode_pictures(pictures[:, :4, :4])
