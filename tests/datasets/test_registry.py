"""The registry: names, options, root, hashes, and what a user is told when something is missing."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from orthant import datasets
from orthant.datasets import inventory, registry
from orthant.datasets.readers import images
from orthant.errors import InputError, MissingExtraError, NotFoundError


def test_every_folder_of_the_data_root_has_a_reader(data_root):
    folders = {p.name for p in data_root.iterdir() if p.is_dir() and not p.name.startswith(".")}
    assert folders == set(datasets.names())
    assert datasets.available(root=data_root) == datasets.names()


def test_names_are_sorted_and_filtered_by_view():
    assert datasets.names() == sorted(inventory.INVENTORY)
    assert {"cranfield", "limit", "wordnet"} <= set(datasets.names("retrieval"))
    assert "adult" not in datasets.names("retrieval")
    with pytest.raises(InputError, match="retrieval"):
        datasets.names("retreival")


def test_describe_names_licence_views_and_options():
    info = datasets.describe("medquad")
    assert (info.licence, tuple(info.views)) == ("open", ("retrieval", "documents"))
    assert info.options == {"retrieval": ("every", "sample", "seed"), "documents": ()}
    assert {datasets.describe(n).licence for n in datasets.names()} == {"open", "tests"}
    assert all(datasets.describe(n).attribution and datasets.describe(n).what for n in datasets.names())


def test_parts_in_the_inventory_are_those_the_readers_take(data_root):
    for name in ("limit", "nl2code", "longtexts", "vectors_small", "sentence_classes"):
        with pytest.raises(InputError) as caught:
            datasets.load(name, part="nothing", root=data_root)
        assert all(repr(part) in str(caught.value) for part in datasets.describe(name).parts)


def test_unknown_name_proposes_close_ones():
    with pytest.raises(NotFoundError, match="did you mean 'cranfield'"):
        datasets.load("cranfeld")
    with pytest.raises(NotFoundError, match=r"names\(\)"):
        datasets.describe("zzzzzz")


def test_root_comes_from_the_argument_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("ORTHANT_DATA", raising=False)
    with pytest.raises(NotFoundError, match="ORTHANT_DATA is not set"):
        datasets.root()
    monkeypatch.setenv("ORTHANT_DATA", str(tmp_path / "gone"))
    with pytest.raises(NotFoundError, match="Set the environment variable ORTHANT_DATA"):
        datasets.load("cranfield")
    monkeypatch.setenv("ORTHANT_DATA", str(tmp_path))
    assert datasets.root() == tmp_path
    assert datasets.available() == []
    other = tmp_path / "other"
    other.mkdir()
    assert datasets.root(other) == other


def test_missing_folder_and_missing_file_are_named(tmp_path):
    with pytest.raises(NotFoundError, match=r"without its folder .*cranfield"):
        datasets.load("cranfield", root=tmp_path)
    (tmp_path / "cranfield").mkdir()
    with pytest.raises(NotFoundError, match=r"without its file .*corpus\.jsonl\.gz"):
        datasets.load("cranfield", root=tmp_path)
    with pytest.raises(NotFoundError, match="emoji"):
        datasets.data_hash("emoji", root=tmp_path)


def test_w75_an_option_without_effect_is_refused(tmp_path):
    with pytest.raises(InputError, match="no option but limit"):
        datasets.load("cranfield", split="test", root=tmp_path)
    with pytest.raises(InputError, match="every, sample, seed, limit"):
        datasets.load("medquad", lang="en", root=tmp_path)
    with pytest.raises(InputError, match="view of cranfield"):
        datasets.load("cranfield", view="pairs", root=tmp_path)
    with pytest.raises(InputError, match="retrieval"):
        datasets.load_retrieval("stsb", root=tmp_path)
    with pytest.raises(InputError, match="limit=0"):
        datasets.load("cranfield", limit=0, root=tmp_path)


def test_limit_keeps_the_first_rows(data_root):
    whole = datasets.load("cranfield", root=data_root)
    part = datasets.load("cranfield", limit=7, root=data_root)
    assert list(part.queries) == list(whole.queries)[:7]
    assert set(part.qrels) <= set(part.queries)
    assert len(part.corpus) == 1400
    for name, kind in (("rte", "first"), ("banking77", "texts"), ("catalogue", "documents"), ("emoji", "images")):
        found = datasets.load(name, limit=3, root=data_root)
        assert len(found) == len(getattr(found, kind)) == 3
    table = datasets.load("criteo_sample", limit=4, root=data_root)
    assert len(table) == len(table.numeric["I1"]) == len(table.categorical["C1"]) == 4
    with pytest.raises(InputError, match="Graph"):
        datasets.load("graphs", limit=3, root=data_root)


def test_data_hash_follows_names_and_contents(tmp_path):
    folder = tmp_path / "npl"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"one")
    first = datasets.data_hash("npl", root=tmp_path)
    assert len(first) == 64
    (folder / ".hidden").write_bytes(b"x")
    assert datasets.data_hash("npl", root=tmp_path) == first
    (folder / "a.txt").write_bytes(b"two, longer")
    changed = datasets.data_hash("npl", root=tmp_path)
    assert changed != first
    (folder / "a.txt").rename(folder / "b.txt")
    assert datasets.data_hash("npl", root=tmp_path) not in (first, changed)


def test_data_hash_reads_the_files_once(tmp_path, monkeypatch):
    folder = tmp_path / "cisi"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"content")
    first = datasets.data_hash("cisi", root=tmp_path)

    def refuse() -> None:
        raise AssertionError("hashed again")

    monkeypatch.setattr(registry.hashlib, "sha256", refuse)
    assert datasets.data_hash("cisi", root=tmp_path) == first


def test_pictures_without_pillow_name_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"orthant\[images\]"):
        images.cifar10(root=tmp_path)
    with pytest.raises(MissingExtraError):
        images.omniglot_runs(root=tmp_path)


def test_records_join_title_and_text():
    assert datasets.Document("1", "a", "b").content == "a\nb"
    assert datasets.Document("1", "", "b").content == "b"
    assert datasets.Document("1", "a", "").content == "a"
    vectors = datasets.VectorSet("v", np.zeros((4, 3), np.float32), base_records=[{"id": i} for i in range(4)])
    assert vectors.dim == 3
    assert [r["id"] for r in vectors.head(2).base_records] == [0, 1]
    words = datasets.WordVectors("w", ("a", "b"), np.eye(2, dtype=np.float32)).head(1)
    assert (words.words, words.vectors.shape) == (("a",), (1, 2))


def test_listing_data_sets_imports_nothing_heavy():
    code = (
        "import sys, orthant.datasets as d; d.names(); d.describe('cora' if False else 'graphs');"
        "bad = {'numba', 'scipy', 'sklearn', 'pandas', 'pyarrow', 'torch', 'tokenizers', 'PIL'} & set(sys.modules);"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env={**_environment()})


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
