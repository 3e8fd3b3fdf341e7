"""A joint space learned from pairs: texts find their pictures, changes move them, and seeds repeat."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from orthant.errors import DimensionError, InputError
from orthant.learn.multimodal import train_picture_text
from orthant.nn.pictures import PictureTower

COLOURS, SHAPES = ("red", "green", "blue"), ("bar", "column", "square")


def drawn(n, seed):
    rng = np.random.default_rng(seed)
    colour, shape = rng.integers(3, size=n), rng.integers(3, size=n)
    pictures = np.zeros((n, 16, 16, 4), dtype=np.uint8)
    for i in range(n):
        top, left = rng.integers(1, 5, size=2)
        height, width = ((3, 11), (11, 3), (8, 8))[shape[i]]
        pictures[i, top : top + height, left : left + width, colour[i]] = rng.integers(180, 256)
        pictures[i, top : top + height, left : left + width, 3] = 255
    names = [f"{COLOURS[c]} {SHAPES[s]}" for c, s in zip(colour, shape, strict=True)]
    return pictures, names, colour * 3 + shape


def test_new_pictures_are_found_by_name_and_by_a_change():
    pictures, names, _ = drawn(240, 0)
    settings = {"dim": 16, "channels": (8, 16), "epochs": 12, "batch_size": 40, "learning_rate": 5e-3, "seed": 1}
    texts = [[name, f"a {name}"] for name in names]
    made = train_picture_text(pictures, texts, **settings)
    again = train_picture_text(pictures, texts, **settings)
    assert made.fingerprint == again.fingerprint
    new, names, kinds = drawn(90, 5)
    gallery = made.encode_pictures(new)
    found = (made.encode(names) @ gallery.T).argmax(axis=1)
    assert (kinds[found] == kinds).mean() > 0.8
    red = np.flatnonzero(kinds // 3 == 0)
    queries = np.stack([made.compose(new[i], names[i], names[i].replace("red", "blue")) for i in red])
    reached = kinds[(queries @ gallery.T).argmax(axis=1)]
    assert (reached == 6 + kinds[red]).mean() > 0.8


def test_what_cannot_be_paired_is_refused():
    pictures, names, _ = drawn(6, 0)
    with pytest.raises(InputError, match="6 pictures and 5 texts"):
        train_picture_text(pictures, names[:5])
    with pytest.raises(InputError, match="picture 2 without a text"):
        train_picture_text(pictures, [[name] if i != 2 else [] for i, name in enumerate(names)])
    with pytest.raises(InputError, match="same text for all"):
        train_picture_text(pictures, ["thing"] * 6)
    with pytest.raises(DimensionError):
        train_picture_text(pictures[0], names[:1])
    with pytest.raises(InputError, match="halved"):
        PictureTower(side=12, channels=(4, 4, 4))
