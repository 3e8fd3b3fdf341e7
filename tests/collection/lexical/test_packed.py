"""Postings and words in a file: fewer bytes, the same answers, and files of the earlier format."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthant.collection.lexical import varbytes
from orthant.collection.lexical.analysis import SEPARATOR, Analyzer
from orthant.collection.lexical.chunks import CHUNK_ARRAYS, Documents
from orthant.collection.lexical.file import read_arrays, write_arrays
from orthant.collection.lexical.index import Lexical
from orthant.collection.lexical.packed import PackedDocuments, pack_documents
from orthant.collection.lexical.vocabulary import Vocabulary, from_streams
from orthant.errors import InputError
from orthant.kernels.bitmaps import from_mask

WORDS = [f"{a}{b}" for a in ("amber", "birch", "cedar", "delta") for b in range(60)]
PHRASES = [(3, 4), (1,), (130, 2), (2, 130, 2), (129, 200), (-1, 3), (5, 300)]


def texts_of(count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    # A few words are in most texts, and some often in one.
    return [" ".join(WORDS[i] for i in rng.zipf(1.3, rng.integers(0, 40)) % len(WORDS)) for _ in range(count)]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 2**55) | st.integers(0, 300), max_size=60))
def test_numbers_come_back_from_bytes(numbers):
    data = varbytes.pack(np.array(numbers, dtype=np.int64))
    assert varbytes.unpack(data).tolist() == numbers and varbytes.count_numbers(data) == len(numbers)
    assert np.flatnonzero(data == 0).size == numbers.count(0)


def test_parts_meet_without_a_seam(monkeypatch):
    numbers = np.random.default_rng(0).integers(0, 2**40, 5000) >> np.random.default_rng(1).integers(0, 40, 5000)
    whole = varbytes.pack(numbers)
    monkeypatch.setattr(varbytes, "_PART", 37)
    assert varbytes.pack(numbers).tobytes() == whole.tobytes()
    np.testing.assert_array_equal(varbytes.unpack(whole), numbers)
    np.testing.assert_array_equal(varbytes.unpack(whole, np.uint32), numbers.astype(np.uint32))


@pytest.fixture(scope="module")
def plain():
    return Lexical.empty().with_batch(np.arange(0, 1800, 3), texts_of(600, seed=2)).compacted()


@pytest.fixture
def packed(plain):
    return PackedDocuments(pack_documents(plain.chunks[0].documents))


def test_every_array_comes_back(plain, packed, monkeypatch):
    monkeypatch.setattr("orthant.collection.lexical.packed._PART", 100)
    documents = plain.chunks[0].documents
    assert list(packed) == list(CHUNK_ARRAYS)
    for name in CHUNK_ARRAYS:
        np.testing.assert_array_equal(packed[name], documents[name])
        assert packed[name].dtype == documents[name].dtype, name
    assert packed.token_count == documents.token_count
    assert sum(stream.nbytes for stream in packed.streams.values()) < documents.nbytes / 2
    assert pack_documents(packed)["docs"] is packed.streams["docs"]


@pytest.mark.parametrize("narrow", [1, 10**9])
def test_phrases_are_found_as_bytes(plain, packed, narrow, monkeypatch):
    # Read one by one or all in order: whatever the lists of the terms say.
    monkeypatch.setattr("orthant.collection.lexical.chunks._NARROW", narrow)
    documents, vocabulary, found = plain.chunks[0].documents, plain._vocabulary, 0
    assert isinstance(documents, Documents)
    for words in PHRASES:
        terms = vocabulary.terms_of_words([word for word in words if word >= 0])
        for left, right in zip(documents.phrase(words, terms), packed.phrase(words, terms), strict=True):
            np.testing.assert_array_equal(left, right)
        found += len(packed.phrase(words, terms)[0])
    assert found > 100


def test_a_phrase_is_not_found_in_the_second_byte_of_another_word():
    # 385 is the bytes 129, 3; the word 3 alone is not in it.
    tokens = np.array([385, 0, 3, 0], dtype=np.int32)
    arrays = {name: np.zeros(0, np.int32) for name in CHUNK_ARRAYS}
    arrays |= {"tokens": tokens, "indptr": np.zeros(1, np.int64), "rows": np.arange(2)}
    packed = PackedDocuments(pack_documents(Documents(arrays)))
    assert packed.phrase([3], [])[0].tolist() == [1]
    assert packed.phrase([385], [])[0].tolist() == [0]


def _save_as_before(index: Lexical, path) -> None:
    """Write a file of format 1: arrays as they are in memory."""
    vocabulary = index._vocabulary.words()
    _, terms, term_of = from_streams(index._vocabulary.to_streams(), packed=True)
    arrays = {"words": "\n".join(vocabulary[1:]).encode(), "terms": terms, "term_of": term_of}
    for i, chunk in enumerate(index.chunks):
        arrays.update({f"{i}.{name}": array for name, array in chunk.documents.items()})
        if chunk.dead is not None:
            arrays[f"{i}.dead"] = from_mask(chunk.dead)
    settings = {
        "analyzer": {"stem": index.analyzer.stem, "stopwords": index.analyzer.stopwords},
        "fingerprint": index.analyzer.fingerprint,
        "k1": index.k1,
        "b": index.b,
        "chunks": [[c.live, c.length, len(c.documents.rows), c.dead is not None] for c in index.chunks],
    }
    write_arrays(path, version=1, settings=settings, arrays=arrays)


def test_files_of_the_earlier_format_answer_the_same_and_become_smaller(tmp_path):
    index = Lexical.empty().with_batch(np.arange(600), texts_of(600, seed=2)).without([3, 77])
    _save_as_before(index, tmp_path / "old")
    old = Lexical.load(tmp_path / "old")
    old.check()
    old.save(tmp_path / "new")
    new = Lexical.load(tmp_path / "new")
    new.check()
    assert isinstance(new.chunks[0].documents, PackedDocuments)
    for query in ("amber1 birch2", '"amber1 amber2"', '"amber1 amber1" -cedar', "bir*", "+delta3 amber"):
        for left, middle, right in zip(*(one.search(query, k=40) for one in (index, old, new)), strict=True):
            np.testing.assert_array_equal(left, middle)
            np.testing.assert_array_equal(left, right)
    assert 2 * (tmp_path / "new").stat().st_size < (tmp_path / "old").stat().st_size
    assert read_arrays(tmp_path / "new", version=2)[1]["packed"]


def test_a_search_by_words_leaves_the_texts_packed_and_makes_no_dictionary(tmp_path, plain):
    plain.save(tmp_path / "index")
    loaded = Lexical.load(tmp_path / "index")
    assert len(loaded.search("amber1 birch5")[0])
    documents, vocabulary = loaded.chunks[0].documents, loaded._vocabulary
    assert "tokens" not in documents._unpacked._held and "docs" in documents._unpacked._held
    assert vocabulary._stored is not None and len(vocabulary._words) == 1
    more = loaded.with_batch([9000], ["a newword beside amber1"])
    assert vocabulary._stored is None and more.search("newword")[0].tolist() == [9000]
    assert more.search('"newword beside amber1"')[0].tolist() == [9000]


def test_a_stored_vocabulary_says_what_the_one_that_was_saved_says():
    texts = [f"{word} the {word}s naïve 東京都" for word in WORDS]
    first = Vocabulary(Analyzer())
    first.encode(Analyzer().split_batch(texts))
    stored = Vocabulary.stored(Analyzer(), lambda: from_streams(first.to_streams(), packed=True))
    words = first.words()
    assert stored.words() == words and words[0] == SEPARATOR
    for word in [*words, "absent", "amber", ""]:
        assert stored.word_number(word) == first.word_number(word)
        assert stored.term_number(word) == first.term_number(word)
    numbers = list(range(1, len(words)))
    assert stored.terms_of_words(numbers) == first.terms_of_words(numbers)
    for part, prefix in (("amber", True), ("1", False), ("zz", True)):
        assert stored.words_with(part, prefix=prefix) == first.words_with(part, prefix=prefix)
    assert [stored.spelling(t) for t in range(20)] == [first.spelling(t) for t in range(20)]
    same = stored.to_streams()
    assert all(bytes(same[name]) == bytes(array) for name, array in first.to_streams().items())


def test_words_with_equal_checksums_are_kept_apart(monkeypatch):
    monkeypatch.setattr("orthant.collection.lexical.vocabulary.zlib.crc32", lambda data: len(data))
    first = Vocabulary(Analyzer())
    first.encode(["aa", "bb", "cc", "ddd"])
    stored = Vocabulary.stored(Analyzer(), lambda: from_streams(first.to_streams(), packed=True))
    assert [stored.word_number(word) for word in ("aa", "bb", "cc", "ddd", "ee")] == [1, 2, 3, 4, -1]


def test_what_was_saved_is_mapped_and_goes_on(tmp_path):
    texts = [f"amber w{i % 40} grove w{i % 7} w{i}" for i in range(3000)]
    built = Lexical.empty().with_batch(np.arange(3000), texts).compacted()
    built.save(tmp_path / "lexical")
    mapped = built.on_file(tmp_path / "lexical")
    assert mapped._vocabulary is built._vocabulary
    assert isinstance(mapped.chunks[0].documents, PackedDocuments)
    more = np.arange(3000, 3100)
    left, right = (one.with_batch(more, texts[:100]) for one in (built, mapped))
    for query in ("w3 grove", '"amber w5"', "w2999", "-amber w1"):
        for a, b in ((built, mapped), (left, right)):
            for x, y in zip(a.search(query, k=50), b.search(query, k=50), strict=True):
                np.testing.assert_array_equal(x, y)
    with pytest.raises(InputError, match="use its rules"):
        Lexical.empty(analyzer=Analyzer(stem=None)).on_file(tmp_path / "lexical")
