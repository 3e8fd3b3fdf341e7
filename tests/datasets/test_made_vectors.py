"""Made vector sets: the same texts again, a cache that never serves others, no half sets."""

from __future__ import annotations

import json

import numpy as np
import pytest

from orthant.datasets.made import store, texts
from orthant.datasets.made.texts import MadeTexts, chunks
from orthant.errors import InputError, NotFoundError, StoreCorruptedError
from orthant.types import Ragged

DIM = 6


class LetterEncoder:
    """A vector per text, or one per word, that follows from its letters."""

    fingerprint = "letters"

    def __init__(self, window):
        self.window = window

    def _vector(self, text):
        return np.bincount(np.frombuffer(text.encode(), np.uint8) % DIM, minlength=DIM) + 0.5

    def encode(self, items):
        return np.array([self._vector(text) for text in items], dtype=np.float32)

    def encode_tokens(self, items):
        words = [text.split() for text in items]
        values = np.array([self._vector(w) for row in words for w in row], dtype=np.float32)
        return Ragged(values, np.cumsum([0, *map(len, words)]))


def few_texts(root, *, seed, per_token=False):
    base = [f"text {i} of many" for i in range(30)]
    queries = {"in": [f"query {i} abc" for i in range(8)], "out": ["far away", "other"]}
    return MadeTexts(("cisi",), base, queries, 50 if per_token else 30, 5, per_token, 16)


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A data folder, an empty cache, and two small sets."""
    folder = tmp_path / "data" / "cisi"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("one")
    monkeypatch.setenv("ORTHANT_DATA", str(folder.parent))
    monkeypatch.setenv("ORTHANT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(texts.TEXTS, "newsgroups_chunks", few_texts)
    monkeypatch.setitem(texts.TEXTS, "token_vectors", lambda root, *, seed: few_texts(root, seed=seed, per_token=True))
    return folder


def test_a_made_set_is_mapped_of_unit_length_and_complete(sources):
    made = store.make("newsgroups_chunks", LetterEncoder)
    assert isinstance(made.vectors.base, np.memmap) and made.vectors.base.shape == (30, DIM)
    assert {kind: len(Q) for kind, Q in made.vectors.queries.items()} == {"in": 5, "out": 2}
    np.testing.assert_allclose(np.linalg.norm(made.vectors.base, axis=1), 1, rtol=1e-6)
    again = store.load_made("newsgroups_chunks")
    np.testing.assert_array_equal(again.vectors.base, made.vectors.base)
    assert again.manifest["encoder"] == "letters" and again.manifest["complete"]
    assert not store.make("newsgroups_chunks", LetterEncoder, rows=7).manifest["complete"]


def test_tokens_stop_at_the_rows_wanted_and_queries_come_from_all_texts(sources):
    made = store.make("token_vectors", LetterEncoder)
    assert made.vectors.base.shape == (50, DIM)
    assert len(made.vectors.queries["in"]) == 5
    words = LetterEncoder(16).encode_tokens([f"query {i} abc" for i in range(8)]).values
    first = words[:5] / np.linalg.norm(words[:5], axis=1, keepdims=True)
    assert not np.allclose(made.vectors.queries["in"], first)


def test_another_text_or_recipe_makes_the_set_stale(sources, monkeypatch):
    with pytest.raises(NotFoundError, match=r"make_vectors\.py"):
        store.load_made("newsgroups_chunks")
    store.make("newsgroups_chunks", LetterEncoder)
    with monkeypatch.context() as patch:
        patch.setattr(store, "_RECIPE", 99)
        with pytest.raises(NotFoundError, match="another recipe"):
            store.load_made("newsgroups_chunks")
    (sources / "a.txt").write_text("two, longer")
    with pytest.raises(NotFoundError, match="another sources"):
        store.load_made("newsgroups_chunks")


def test_damage_is_told(sources):
    store.make("newsgroups_chunks", LetterEncoder)
    folder = store.cache_folder() / "vectors" / "newsgroups_chunks"
    with open(folder / "base.npy", "r+b") as handle:
        handle.truncate(200)
    with pytest.raises(StoreCorruptedError, match=r"base\.npy"):
        store.load_made("newsgroups_chunks")
    (folder / "manifest.json").write_text("{")
    with pytest.raises(StoreCorruptedError, match="not JSON"):
        store.load_made("newsgroups_chunks")
    with pytest.raises(InputError):
        store.load_made("nothing")


def test_an_interrupted_run_leaves_no_half_set(sources, monkeypatch):
    class Fails(LetterEncoder):
        def encode(self, items):
            if items[0].startswith("text"):
                raise KeyboardInterrupt
            return super().encode(items)

    store.make("newsgroups_chunks", LetterEncoder)
    before = json.dumps(store.load_made("newsgroups_chunks").manifest)
    with pytest.raises(KeyboardInterrupt):
        store.make("newsgroups_chunks", Fails)
    folder = store.cache_folder() / "vectors"
    assert [path.name for path in folder.iterdir()] == ["newsgroups_chunks"]
    assert json.dumps(store.load_made("newsgroups_chunks").manifest) == before


def test_chunks_cover_every_word_and_overlap():
    words = [str(i) for i in range(123)]
    parts = list(chunks(" ".join(words), words=50, stride=35))
    assert [part.split()[0] for part in parts] == ["0", "35", "70", "105"]
    assert set(" ".join(parts).split()) == set(words)
    assert list(chunks(" \n ")) == [] and list(chunks("one")) == ["one"]


@pytest.mark.data
def test_real_texts_are_as_many_as_promised_and_held_out(data_root):
    made = texts.newsgroups_chunks(data_root, seed=0)
    assert len(made.base) == made.rows == 140_000
    assert {kind: len(rows) for kind, rows in made.queries.items()} == {"in": 4_000, "out": 4_000}
    assert len(set(made.base) & set(made.queries["in"])) < 40
    tokens = texts.token_vectors(data_root, seed=0)
    assert not set(tokens.base) & set(tokens.queries["in"])
    assert len(tokens.base) > 20_000
