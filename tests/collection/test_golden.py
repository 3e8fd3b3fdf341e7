"""Collections written by earlier releases still open, read and write (W40, W52)."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import orthant
from orthant.collection.storage.database import DATABASE_FORMAT

GOLDEN = Path(__file__).parents[1] / "golden"


def test_w40_every_format_has_a_golden_file():
    assert {path.name for path in GOLDEN.glob("collection-*")} == {
        f"collection-{i + 1}" for i in range(DATABASE_FORMAT)
    }


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.glob("collection-*")))
@pytest.mark.parametrize("rebuilt", [False, True])
def test_w40_w52_golden_collections_open(name, rebuilt, tmp_path):
    folder = tmp_path / "old"
    shutil.copytree(GOLDEN / name, folder)
    if rebuilt:
        shutil.rmtree(folder / "derived")
    with orthant.open(folder) as collection:
        assert list(collection.ids()) == ["a", "c", "d", "e"]
        assert collection.get("d").metadata == {"note": None, "deep": {"x": True}}
        assert collection.get("c").text is None
        np.testing.assert_array_equal(collection.get("d", vectors=True).vectors["default"], [3.0, 4.0])
        assert collection.search(vector=[3.0, 4.0], k=1).ids == ["d"]
        assert collection.search(vector=[1.0, 1.0, 1.0], space="other", k=1)[0].score == 6.0
        assert collection.search("boat", mode="lexical").ids == ["e"]
        assert collection.search("kite", mode="lexical", where={"year": {"lt": 2000}}).ids == ["a"]
        assert collection.check().ok
        collection.upsert(["f"], texts=["a new boat"], vectors=[[0.0, 2.0]])
    with orthant.open(folder, read_only=True) as collection:
        assert collection.search("boat", mode="lexical").ids == ["f", "e"]
        assert collection.check().ok


def test_golden_tokens_are_read(tmp_path):
    folder = tmp_path / "old"
    shutil.copytree(GOLDEN / "tokens-2", folder)
    with orthant.open(folder, read_only=True) as collection:
        result = collection.search(np.eye(2), mode="tokens")
        assert [(hit.id, hit.score) for hit in result] == [("e", 3.0), ("a", 2.0), ("d", 1.0)]
