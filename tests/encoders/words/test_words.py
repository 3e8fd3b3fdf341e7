"""Word vectors from raw text, and the files of other tools."""

from __future__ import annotations

import gzip
import sys
import types

import numpy as np
import pytest

import orthant
from orthant.artifact import load_artifact
from orthant.encoders import (
    BinaryParagraphVectors,
    DisambiguatedSkipGram,
    SubwordVectors,
    TopicEncoder,
    WordVectors,
    count_vectors,
    debias,
    from_gensim,
    load_encoder,
    read_corpus,
    train_skipgram,
    train_with_gensim,
)
from orthant.encoders.words.corpus import words_of
from orthant.encoders.words.debiasing import bias_directions
from orthant.errors import (
    DimensionError,
    InputError,
    MissingExtraError,
    NotFittedError,
    NotFoundError,
    OrthantError,
    StoreCorruptedError,
)

SEA = ["sea", "ship", "harbour", "sail", "anchor"]
KITCHEN = ["oven", "bread", "flour", "bake", "salt"]


def _texts(count=300, seed=0):
    rng = np.random.default_rng(seed)
    kinds = rng.integers(2, size=count)
    return [" ".join(rng.choice((SEA, KITCHEN)[kind], 8)) for kind in kinds], kinds


def _toy():
    return WordVectors(["ship", "harbour", "söt", "3"], np.random.default_rng(0).standard_normal((4, 5)))


def test_words_of_any_script_are_lower_cased_and_keep_apostrophes():
    assert words_of("Don't STOP: Ærø_ñ, 東京 2x") == ["don't", "stop", "ærø", "ñ", "東京", "2x"]


def test_a_corpus_numbers_words_by_frequency_and_leaves_rare_ones_out():
    corpus = read_corpus((t for t in ["b a a", ["a", "b", "c"], ""]), min_count=2)
    assert corpus.vocabulary.words == ("a", "b") and corpus.vocabulary.counts.tolist() == [3, 2]
    assert corpus.tokens.tolist() == [1, 0, 0, 0, 1] and corpus.offsets.tolist() == [0, 3, 5, 5]
    again = read_corpus(["c b", "a"], vocabulary=corpus.vocabulary)
    assert again.tokens.tolist() == [1, 0] and again.offsets.tolist() == [0, 1, 2]
    assert read_corpus(["a a b"], min_count=1, max_words=1).vocabulary.words == ("a",)


@pytest.mark.parametrize("texts", ["a bare text", [1], [["a", 2]], ["once"], []])
def test_what_is_no_corpus_is_refused(texts):
    with pytest.raises(InputError):
        read_corpus(texts, min_count=2)


@pytest.mark.parametrize("train", [train_skipgram, count_vectors])
def test_words_of_one_topic_are_neighbours(train):
    texts, _ = _texts()
    more = {"epochs": 10, "sample": 0} if train is train_skipgram else {}
    words = train(texts, dim=9, **more)
    assert {word for word, _ in words.neighbours("ship", k=4)} <= set(SEA)
    assert words.counts is not None and len(words) == 10
    np.testing.assert_array_equal(words.vectors, train(texts, dim=9, **more).vectors)


def test_more_threads_learn_as_well():
    texts, _ = _texts(6000)
    words = train_skipgram(texts, dim=8, epochs=2, threads=2, sample=0)
    assert {word for word, _ in words.neighbours("bread", k=4)} <= set(KITCHEN)


@pytest.mark.parametrize("settings", [{"dim": 0}, {"window": 0}, {"sample": 2}, {"rate": 0}, {"epochs": 0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(InputError):
        train_skipgram(["a a"], min_count=1, **settings)


@pytest.mark.parametrize("format", ["text", "binary", "glove"])
@pytest.mark.parametrize("ending", ["vec", "vec.gz"])
@pytest.mark.parametrize("told", [True, False])
def test_files_come_back_to_the_bit(tmp_path, format, ending, told):
    words, path = _toy(), tmp_path / f"toy.{ending}"
    words.write(path, format=format)
    again = WordVectors.read(path, format=format if told else None)
    assert again.words == words.words
    np.testing.assert_array_equal(again.vectors, words.vectors)
    assert len(WordVectors.read(path, limit=2)) == 2


def test_files_of_other_writers_are_read(tmp_path):
    row = np.array([1.5, -2], "<f4").tobytes()
    (tmp_path / "no_breaks.bin").write_bytes(b"2 2\n" + b"ship " + row + b"sea " + row)
    assert WordVectors.read(tmp_path / "no_breaks.bin").words == ("ship", "sea")
    (tmp_path / "blank.txt").write_text("at home 1 2\nsea 3 4 \nsea 5 6\n")
    with pytest.raises(StoreCorruptedError):
        WordVectors.read(tmp_path / "blank.txt")
    (tmp_path / "header.txt").write_text("3 2\nat home 1 2\nsea 3 4 \nsea 5 6\n")
    found = WordVectors.read(tmp_path / "header.txt")
    assert found.words == ("at home", "sea") and found["sea"].tolist() == [3, 4]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"2 2\nsea 1 2\nship 1\n",
        b"2 2\nsea 1 x\n",
        b"2 2\nsea 1 2\n",
        b"sea 1 nan\n",
        b"9 2\nsea \x00\x00\x80?\x00",
    ],
)
def test_damaged_files_are_told(tmp_path, data):
    path = tmp_path / "bad.bin"
    path.write_bytes(data)
    with pytest.raises(StoreCorruptedError):
        WordVectors.read(path)
    with pytest.raises(NotFoundError):
        WordVectors.read(tmp_path / "none")


def test_blanks_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="at home"):
        WordVectors(["at home"], [[1.0]]).write(tmp_path / "x")
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"sea 1 2\n"))
    assert WordVectors.read(tmp_path / "x.gz").dim == 2


def test_artefacts_come_back_with_counts(tmp_path):
    words = WordVectors(["sea", "ship"], [[1, 2], [3, 4]], counts=[7, 1])
    words.save(tmp_path / "w")
    again = load_artifact(tmp_path / "w")
    assert again.fingerprint == words.fingerprint and again.counts.tolist() == [7, 1]


def test_rare_words_weigh_more_in_a_text():
    rows = [[1.0, 0.0], [0.0, 1.0]]
    counted = WordVectors(["the", "quay"], rows, counts=[990, 10]).encode(["the quay"])[0]
    assert counted[1] > 5 * counted[0]
    np.testing.assert_allclose(WordVectors(["the", "quay"], rows).encode(["the quay"])[0], [0.5**0.5] * 2, rtol=1e-6)
    vectors, report = WordVectors(["sea"], [[1.0]]).encode_with_report(["sea", "unknown"])
    assert vectors.tolist() == [[1.0], [0.0]] and report.empty_items == 1


def test_unknown_words_and_odd_tables_are_refused():
    with pytest.raises(NotFoundError):
        _toy()["sofa"]
    with pytest.raises(DimensionError):
        WordVectors(["a"], np.ones((2, 2)))
    with pytest.raises(InputError):
        WordVectors(["a", "a"], np.ones((2, 2)))


def test_both_ways_of_answering_analogies():
    words = WordVectors(["king", "queen", "man", "woman"], [[1, 1], [1, -1], [0, 1], [0, -1]])
    for method in ("add", "multiply"):
        assert words.analogy("man", "king", "woman", method=method)[0][0] == "queen"


@pytest.mark.parametrize("settings", [{}, {"real_dim": 12}, {"hidden": "smooth"}, {"hidden": "linear"}])
def test_codes_of_new_documents_join_those_of_their_topic(tmp_path, settings):
    texts, kinds = _texts(80)
    model = BinaryParagraphVectors(bits=32, min_count=1, sample=0, **settings).fit(texts)
    model.save(tmp_path / "m")
    codes = load_artifact(tmp_path / "m").encode(["ship sail sea anchor sea", "bake bread oven flour"])
    np.testing.assert_array_equal(
        codes.codes, model.encode(["ship sail sea anchor sea", "bake bread oven flour"]).codes
    )
    known, new = (np.unpackbits(part.codes, axis=1) for part in (model.documents_, codes))
    apart = (known[:, None] != new[None]).sum(axis=2)
    assert (apart.argmin(axis=1) == kinds).mean() > 0.9
    assert codes.vectors.shape == (2, settings.get("real_dim", 32)) and model.documents_.bit_balance.shape == (32,)


def test_documents_without_a_known_word_are_listed():
    model = BinaryParagraphVectors(bits=8, min_count=1, epochs=2).fit(["a b", "", "b a"])
    assert model.documents_.empty.tolist() == [1] and model.encode(["zzz", "a"]).empty.tolist() == [0]
    for wrong in ({"bits": 12}, {"bits": 0}, {"hidden": "x"}, {"rate": 0}):
        with pytest.raises(InputError):
            BinaryParagraphVectors(**wrong)
    with pytest.raises(NotFittedError):
        BinaryParagraphVectors().encode(["a"])


def test_senses_follow_the_context_and_come_back_from_disk(tmp_path):
    texts, _ = _texts(400)
    mixed = [[*(words := text.split())[:4], "bank", *words[4:]] for text in texts]
    model = DisambiguatedSkipGram(senses=2, dim=8, epochs=10, min_count=1, sample=0).fit(mixed)
    sea, kitchen = model.disambiguate("bank", SEA), model.disambiguate("bank", KITCHEN)
    assert sea.argmax() != kitchen.argmax() and min(sea.max(), kitchen.max()) > 0.7
    assert {word for word, _ in model.neighbours("bank", int(sea.argmax()), k=3)} <= set(SEA)
    np.testing.assert_allclose(model.priors_.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(model.disambiguate("bank", ["?"]), model.priors_[model.vocabulary_.index["bank"]])
    model.save(tmp_path / "s")
    again = load_artifact(tmp_path / "s")
    np.testing.assert_array_equal(again.disambiguate("bank", SEA), sea)
    assert len(model.words()) == 11
    with pytest.raises(NotFoundError):
        model.disambiguate("sofa", SEA)
    with pytest.raises(InputError, match="context of one text"):
        model.disambiguate("bank", "river shore")
    for wrong in ({"senses": 1}, {"temperature": 0}, {"gamma": float("nan")}):
        with pytest.raises(InputError):
            DisambiguatedSkipGram(**wrong)


def test_a_training_that_diverges_is_an_error():
    texts, _ = _texts(40)
    with np.errstate(all="ignore"), pytest.raises(InputError, match="diverged"):
        DisambiguatedSkipGram(senses=2, dim=4, min_count=1, sample=0, gamma=-1e300).fit(texts)


def test_topics_name_their_words_and_refuse_too_few_texts():
    texts, _ = _texts(60)
    made = TopicEncoder(2, method="lda").fit(texts)
    assert {frozenset(words) for words in made.topics(k=5)} == {frozenset(SEA), frozenset(KITCHEN)}
    assert made.encode(["?"]).sum() == pytest.approx(1)
    with pytest.raises(InputError):
        TopicEncoder(50).fit(texts[:3])
    with pytest.raises(NotFittedError):
        TopicEncoder().encode(["a"])


def test_gensim_models_are_taken_over_with_parts_of_words(monkeypatch):
    class Keyed:
        index_to_key, vectors, vectors_ngrams = ["sea", "ship"], np.eye(2, dtype=np.float32), None

        def get_vecattr(self, word, name):
            return {"sea": 9, "ship": 1}[word]

        def get_vector(self, word):
            return np.full(2, 0.5, np.float32)

    calls = {}

    class FastText:
        def __init__(self, sentences, **settings):
            calls.update(settings, sentences=sentences)
            self.wv = Keyed()

    module = types.SimpleNamespace(FastText=FastText, Word2Vec=FastText)
    monkeypatch.setitem(sys.modules, "gensim", types.SimpleNamespace(models=module))
    monkeypatch.setitem(sys.modules, "gensim.models", module)
    words = train_with_gensim(["Sea ship", ["sea"]], dim=2, buckets=10)
    assert isinstance(words, SubwordVectors) and words["seaside"].tolist() == [0.5, 0.5]
    assert words.counts.tolist() == [9, 1] and calls["sentences"] == [["sea", "ship"], ["sea"]]
    assert calls["vector_size"] == 2 and calls["bucket"] == 10 and calls["sg"] == 1
    with pytest.raises(InputError):
        from_gensim(object())
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    with pytest.raises(MissingExtraError):
        train_with_gensim(["a"])


def test_neutral_words_lose_the_axis_and_equalised_pairs_keep_one_distance():
    rng = np.random.default_rng(0)
    names = ["she", "he", "woman", "man", "queen", "nurse", "clerk"]
    rows = rng.standard_normal((7, 6))
    rows[:5, 0] = [3, -3, 3, -3, 3]
    words = WordVectors(names, rows)
    pairs = [("she", "he"), ("woman", "man")]
    fair = debias(words, pairs, keep=["queen"], equalize=[("she", "he")])
    axis = bias_directions(words, pairs)
    along = axis.component(fair.vectors)[:, 0]
    np.testing.assert_allclose(along[5:], 0, atol=1e-6)
    assert abs(along[4]) > 0.3
    assert fair.similarity("nurse", "she") == pytest.approx(fair.similarity("nurse", "he"), abs=1e-6)
    assert abs(words.similarity("nurse", "she") - words.similarity("nurse", "he")) > 0.01
    with pytest.raises(OrthantError):
        debias(words, [("lord", "lady")])


def test_folders_of_words_and_topics_open_a_collection_again(tmp_path):
    texts, _ = _texts(60)
    kinds = {
        "lsa": TopicEncoder(2, method="lsa").fit(texts),
        "lda": TopicEncoder(2, method="lda").fit(texts),
        "words": count_vectors(texts, dim=4, min_count=1),
    }
    for name, made in kinds.items():
        made.save(tmp_path / name)
        with orthant.open(tmp_path / f"{name}.orthant", encoder=made) as notes:
            notes.upsert(["a", "b"], texts=texts[:2])
        again = load_encoder(tmp_path / name)
        assert type(again) is type(made) and again.fingerprint == made.fingerprint
        np.testing.assert_array_equal(again.encode(texts), made.encode(texts))
        with orthant.open(tmp_path / f"{name}.orthant", encoder=tmp_path / name) as notes:
            assert notes.search(texts[0], mode="dense", k=2)[0].score == pytest.approx(1, abs=1e-5)
    assert load_encoder(tmp_path / "lsa").topics(k=3) == kinds["lsa"].topics(k=3)
    with pytest.raises(NotFittedError):
        TopicEncoder().save(tmp_path / "none")
    senses = DisambiguatedSkipGram(senses=2, dim=4, epochs=1, min_count=1).fit(texts)
    senses.save(tmp_path / "senses")
    with pytest.raises(InputError, match=r"'encoder\.senses'.*its own class"):
        load_encoder(tmp_path / "senses")
