"""Saving and loading Flat: maps, damage, versions, interrupted saves."""

from __future__ import annotations

import json

import numpy as np
import pytest

from orthant.errors import (
    StoreCorruptedError,
    StoreVersionError,
)
from orthant.index import Flat


def data(n: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def saved(tmp_path, n: int = 50):
    index = Flat(16, "l2")
    index.add(data(n))
    index.save(tmp_path / "index")
    return index, tmp_path / "index"


def test_load_maps_the_vectors_read_only(tmp_path):
    _, folder = saved(tmp_path)
    mapped, copied = Flat.load(folder), Flat.load(folder, mmap=False)
    assert isinstance(mapped._data.blocks[0].matrix.base, np.memmap)
    assert not mapped._data.blocks[0].matrix.flags.writeable
    assert not isinstance(copied._data.blocks[0].matrix.base, np.memmap)


def test_w26_the_error_names_file_and_block(tmp_path):
    index = Flat(256)
    index.add(data(3000, 256))
    index.save(tmp_path / "index")
    path = next((tmp_path / "index").glob("vectors-*"))
    content = bytearray(path.read_bytes())
    content[2 * (1 << 20) + 77] ^= 4
    path.write_bytes(content)
    with pytest.raises(StoreCorruptedError, match=rf"{path.name}.*block 2"):
        Flat.load(tmp_path / "index")


def test_w26_bytes_after_a_whole_last_block_are_noticed(tmp_path):
    index = Flat(256)
    index.add(data(1024, 256))
    index.save(tmp_path / "index")
    path = next((tmp_path / "index").glob("vectors-*"))
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(StoreCorruptedError, match="1048577 bytes"):
        Flat.load(tmp_path / "index")


def test_w49_a_newer_format_says_which_release_reads_it(tmp_path):
    from orthant.index import array_files

    _, folder = saved(tmp_path)
    record = json.loads((folder / "flat.json").read_text())
    record["body"]["format"] = record["body"]["minimum_reader"] = 9
    record["sha256"] = array_files._digest(record["body"])
    (folder / "flat.json").write_text(json.dumps(record))
    with pytest.raises(StoreVersionError, match="format 9"):
        Flat.load(folder)


def test_a_header_cannot_point_outside_its_folder(tmp_path):
    from orthant.index import array_files

    _, folder = saved(tmp_path)
    record = json.loads((folder / "flat.json").read_text())
    name = record["body"]["files"]["vectors"]["name"]
    (folder / name).rename(tmp_path / name)
    record["body"]["files"]["vectors"]["name"] = f"../{name}"
    record["sha256"] = array_files._digest(record["body"])
    (folder / "flat.json").write_text(json.dumps(record))
    with pytest.raises(StoreCorruptedError, match=name):
        Flat.load(folder)


def test_w27_a_save_that_dies_leaves_the_old_index(tmp_path, monkeypatch):
    index, folder = saved(tmp_path)
    wanted = index.search(data(3), 5)
    from orthant.index import array_files

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    other = Flat(16, "l2")
    other.add(data(70, seed=8))
    monkeypatch.setattr(array_files, "write_bytes_atomically", dies)
    with pytest.raises(KeyboardInterrupt):
        other.save(folder)
    monkeypatch.undo()
    np.testing.assert_array_equal(Flat.load(folder).search(data(3), 5).ids, wanted.ids)
    other.save(folder)
    assert len(Flat.load(folder)) == 70 and len(list(folder.iterdir())) == 3
