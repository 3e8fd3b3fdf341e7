"""Encoders of named concepts: what they weigh, what they save, and that a collection searches and explains them."""

from __future__ import annotations

import numpy as np
import pytest

import orthant
from orthant import load_artifact
from orthant.encoders import ConceptEncoder, ExplicitSemanticAnalysis, load_sparse_encoder
from orthant.encoders.concepts.rows import strongest
from orthant.encoders.registry import is_sparse_spec
from orthant.errors import DimensionError, EncoderMismatchError, InputError
from orthant.transforms import Layer, Network

ARTICLES = {
    "ships": ["a ship sails the sea", "the captain steers a ship"],
    "fish": "a fish swims in the sea",
    "bread": "bread is baked of flour",
}


def network(dim=512, concepts=3, end="relu"):
    weight = np.random.default_rng(0).standard_normal((concepts, dim)).astype(np.float32)
    return Network([Layer("linear", {"weight": weight}), Layer(end)])


def test_a_text_belongs_to_the_articles_that_share_its_rare_words():
    sea = ExplicitSemanticAnalysis(ARTICLES)
    rows = sea.encode_sparse(["the captain of the ship", "sea", "flour!", "nothing known: xyzzy"]).toarray()
    assert sea.vocabulary[rows[0].argmax()] == "ships"
    assert rows[1][2] == 0 and rows[1][0] > 0 and rows[1][1] > 0
    assert rows[2].tolist() == [0, 0, 1]
    assert not rows[3].any()
    assert np.linalg.norm(rows[:3], axis=1) == pytest.approx(1)


def test_the_weights_are_those_of_the_formula():
    sea = ExplicitSemanticAnalysis({"one": "x x y", "two": "y z"})
    rarity = {"x": np.log(3), "y": np.log(3 / 2), "z": np.log(3)}
    one = np.array([(1 + np.log(2)) * rarity["x"], rarity["y"], 0])
    two = np.array([0, rarity["y"], rarity["z"]])
    table = np.stack([one / np.linalg.norm(one), two / np.linalg.norm(two)])
    text = np.array([rarity["x"], rarity["y"], 0])
    expected = table @ text
    assert sea.encode_sparse(["y x"]).toarray()[0] == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)


def test_only_the_strongest_are_kept():
    weights = np.array([[0.1, 0.5, 0.0, 0.4], [0, 0, 0, 0]], dtype=np.float32)
    kept = strongest(weights, 2).toarray()
    assert kept[0] == pytest.approx(np.array([0, 0.5, 0, 0.4]) / np.hypot(0.5, 0.4))
    assert not kept[1].any()


@pytest.mark.parametrize("kind", ["explicit", "concepts"])
def test_saved_encoders_are_found_again(tmp_path, kind):
    made = (
        ExplicitSemanticAnalysis(ARTICLES)
        if kind == "explicit"
        else ConceptEncoder("static", network(), list(ARTICLES), keep=2)
    )
    made.save(tmp_path / "saved")
    assert is_sparse_spec(tmp_path / "saved")
    again = load_sparse_encoder(tmp_path / "saved")
    assert type(again) is type(made) and again.fingerprint == made.fingerprint
    assert again.vocabulary == made.vocabulary
    texts = ["the ship", "bread and fish"]
    assert (again.encode_sparse(texts) != made.encode_sparse(texts)).nnz == 0
    assert load_artifact(tmp_path / "saved").fingerprint == made.fingerprint
    with pytest.raises(InputError, match="space of its own"):
        orthant.open(tmp_path / "c", encoder=str(tmp_path / "saved"))


def test_a_collection_tells_scores_in_names_of_concepts(tmp_path):
    with orthant.open(tmp_path / "c", spaces={"concepts": ExplicitSemanticAnalysis(ARTICLES)}) as made:
        made.upsert(["1", "2"], texts=["the captain of the ship", "a fish and bread"])
        hit = made.search("who sails a ship?", spaces={"concepts": 1.0}, explain=True)[0]
        assert hit.id == "1" and hit.explain()[0][0] == "ships"
        # What is named adds up: without these concepts the score would be less by just so much.
        assert sum(part for _, part in hit.explain(3)) == pytest.approx(hit.legs["sparse"].score, rel=1e-5)


def test_another_base_is_refused(tmp_path):
    ConceptEncoder("static", network(), list(ARTICLES)).save(tmp_path)
    from orthant.encoders import CallableEncoder

    other = CallableEncoder(lambda texts: np.ones((len(texts), 512)), dim=512, name="ones")
    with pytest.raises(EncoderMismatchError, match="ones"):
        ConceptEncoder.load(tmp_path, base=other)


def test_what_cannot_be_explained_is_refused():
    with pytest.raises(InputError, match="sigmoid or a ReLU"):
        ConceptEncoder("static", network(end="tanh"), list(ARTICLES))
    with pytest.raises(DimensionError):
        ConceptEncoder("static", network(concepts=2), list(ARTICLES))
    for concepts in (["sea", "sea", "land"], ["sea"], "sea", ["sea", "", "land"]):
        with pytest.raises(InputError):
            ConceptEncoder("static", network(), concepts)
    with pytest.raises(InputError, match="'empty'"):
        ExplicitSemanticAnalysis({"empty": "...", "ships": "a ship"})
    with pytest.raises(InputError, match="mapping"):
        ExplicitSemanticAnalysis(["a ship"])
