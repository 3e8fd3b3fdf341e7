"""Ways that read the words of stored texts."""

import numpy as np
import pytest

from collection.fakes import FakeEncoder
from collection.upgrade.encoders import Newer, texts
from orthant.collection.collection import Collection
from orthant.collection.upgrade.maps import fit_bridge
from orthant.collection.upgrade.vocabulary import count_words, encode_words, frequent_words, window_of
from orthant.errors import InputError

COUNT = 300


class Told(Newer):
    """Says what it was asked to encode."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.asked = []

    def encode_with_report(self, items, **settings):
        self.asked += items
        return super().encode_with_report(items, **settings)


@pytest.fixture
def opened(tmp_path):
    with Collection(tmp_path / "c", encoder=FakeEncoder()) as collection:
        collection.upsert([f"r{i}" for i in range(COUNT)], texts=texts(COUNT))
        yield collection


def test_words_of_texts_are_counted_within_the_window():
    assert frequent_words(["A keeper and a light", "the light", "ash"], None)[0] == "light"
    assert "light" not in frequent_words(["a b c light"], 3)
    counts = count_words(["a a b", "", "c z a"], ["a", "b", "c"], 2).toarray()
    assert counts.tolist() == [[2, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert window_of(FakeEncoder()) == int(0.75 * FakeEncoder().max_tokens)
    unlimited = FakeEncoder()
    unlimited.max_tokens = None
    assert window_of(unlimited) is None


def test_words_that_an_encoder_refuses_are_left_out():
    encoder = Told(refuses="word3")
    words = encode_words(encoder, ["word1", "word2", "word3"], window=None)
    assert words.vocabulary == ("word1", "word2")


@pytest.mark.parametrize("using", ["words", "joint-words"])
def test_w38_words_bring_more_of_a_new_model_than_old_vectors_alone(opened, tmp_path, using):
    def found(way):
        plan = opened.upgrade(Newer(noise=1.0), using=way, pairs=120)
        plan.run()
        plan.commit()
        answers = [[hit.id for hit in opened.search(text, mode="dense", k=10)] for text in texts(40, seed=7)]
        plan.rollback()
        return answers

    with Collection(tmp_path / "ideal", encoder=Newer(noise=1.0)) as ideal:
        ideal.upsert([f"r{i}" for i in range(COUNT)], texts=texts(COUNT))
        truth = [[hit.id for hit in ideal.search(text, mode="dense", k=10)] for text in texts(40, seed=7)]

    def share(answers):
        return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(answers, truth, strict=True)])

    assert share(found(using)) > share(found({"words": "low-rank", "joint-words": "joint"}[using])) + 0.1


def test_no_text_is_encoded_beyond_the_sample_and_a_stopped_run_goes_on_with_the_stored_map(opened):
    encoder = Told()
    plan = opened.upgrade(encoder, using="words", pairs=100)
    plan.run()
    whole = [text for text in encoder.asked if " " in text]
    assert len(set(whole)) <= 100 + 12
    plan.commit()
    before = [(hit.id, hit.score) for hit in opened.search("word1 word2", mode="dense")]
    # The map is read back from disk for what was not mapped yet.
    again = opened.upgrade(Told(), using="words")
    again._bridge = None
    opened.upsert(["late"], texts=["word1 word2 word5 word9"])
    again.run(0.0)
    assert [
        (hit.id, hit.score) for hit in opened.search("word1 word2", mode="dense", k=11) if hit.id != "late"
    ] == before
    again.rollback()


def test_records_without_a_text_are_mapped_by_their_vectors(opened):
    opened.upsert(["bare"], vectors=FakeEncoder().encode(["word1 word2 word3 word4"]))
    plan = opened.upgrade(Newer(), using="words", pairs=COUNT)
    plan.run()
    plan.commit()
    assert "bare" in [hit.id for hit in opened.search("word1 word2 word3 word4", mode="dense", k=20)]
    plan.rollback()


def test_texts_without_words_are_refused():
    old = FakeEncoder().encode(texts(40))
    with pytest.raises(InputError, match="no word of the texts"):
        fit_bridge("words", old, Newer().encode(texts(40)), words=encode_words(Newer(), [], window=None).of([""] * 40))
