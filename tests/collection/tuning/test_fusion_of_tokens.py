"""Fusion weights that count tokens: learned as searches have them, stored, and used by searches that can run them."""

from __future__ import annotations

import numpy as np
import pytest

import orthant
from collection.fakes import WORDS, FakeEncoder, FakeTokenEncoder
from orthant.errors import InputError
from orthant.measures.ranking import score_run

WEIGHTS = {"lexical": 0.3, "tokens": 0.7}


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Records whose right answer is what shares most words, which tokens see and one vector does not."""
    path = tmp_path_factory.mktemp("fused") / "c"
    rng = np.random.default_rng(4)
    texts = {f"r{i}": " ".join(rng.choice(WORDS, 7, replace=False)) for i in range(80)}
    with orthant.open(path, encoder=FakeEncoder()) as collection:
        collection.add_space("late", encoder=FakeTokenEncoder(), kind="tokens")
        collection.upsert(list(texts), texts=list(texts.values()))
    judged = {" ".join(rng.permutation(text.split())[:3]): [key] for key, text in list(texts.items())[:30]}
    return path, judged


@pytest.fixture
def opened(filled, tmp_path):
    import shutil

    path = shutil.copytree(filled[0], tmp_path / "c")
    with orthant.open(path, encoder=FakeEncoder()) as collection:
        collection.use_encoder("late", FakeTokenEncoder())
        yield collection, filled[1]


def value(collection, judged, **options):
    run = {query: collection.search(query, k=10, **options).ids for query in judged}
    grades = {query: dict.fromkeys(ids, 1.0) for query, ids in judged.items()}
    return score_run(run, grades, ["ndcg@10"])["ndcg@10"].mean


def test_every_setting_is_valued_as_a_search_with_it_answers(opened):
    collection, judged = opened
    report = collection.tune_fusion(judged, methods=("minmax",), depth=6)
    assert set(report.present["weights"]) == {"dense", "lexical", "tokens"}
    # Without a weight for tokens their candidates are not among those of a search.
    assert report.values["present"] == pytest.approx(value(collection, judged, depth=6), abs=1e-6)
    chosen = report.chosen["weights"]
    assert report.in_sample == pytest.approx(value(collection, judged, depth=6, weights=chosen), abs=1e-6)
    assert report.values["tokens alone"] == pytest.approx(value(collection, judged, mode="tokens"), abs=0.05)
    two = collection.tune_fusion(judged, legs=["lexical", "dense"])
    assert set(two.chosen["weights"]) == {"dense", "lexical"}
    with pytest.raises(InputError, match="'lexical' and another"):
        collection.tune_fusion(judged, legs=["dense", "tokens"])


def test_stored_weights_turn_the_token_leg_on(opened):
    collection, _ = opened
    query = " ".join(WORDS[:3])
    collection.set_fusion(WEIGHTS)
    found = collection.search(query)
    assert found.plan.fusion["weights"] == pytest.approx(WEIGHTS)
    assert found.ids == collection.search(query, weights=WEIGHTS).ids and {"tokens"} < set(found[0].legs)
    # What a call says itself comes first, and other modes have no weights.
    assert "tokens" not in collection.search(query, weights={"dense": 1, "lexical": 1}).plan.fusion["weights"]
    assert collection.search(query, fusion="rrf").plan.fusion["weights"] == {"dense": 0.4, "lexical": 0.6}
    assert collection.search(query, mode="dense").plan.mode == "dense"
    assert collection.search(np.ones(16, dtype=np.float32)).plan.mode == "dense"
    assert collection.search(query, space="late").plan.mode == "tokens"


def test_a_search_without_the_model_leaves_the_leg_out_and_says_so(opened):
    collection, _ = opened
    collection.set_fusion({"dense": 0.2, "lexical": 0.3, "tokens": 0.5})
    path = collection.path
    collection.close()
    with orthant.open(path, encoder=FakeEncoder(), read_only=True) as again:
        found = again.search(" ".join(WORDS[:3]))
        assert found.plan.fusion["weights"] == pytest.approx({"dense": 0.4, "lexical": 0.6})
        assert "tokens" in found.plan.warnings[0]
        again.use_encoder("late", FakeTokenEncoder())
        assert not again.search(" ".join(WORDS[:3])).plan.warnings


def test_stored_weights_turn_weighted_terms_on(opened):
    pytest.importorskip("scipy")
    from collection.fakes import FakeSparseEncoder

    collection, judged = opened
    collection.add_space("terms", encoder=FakeSparseEncoder())
    collection.upsert(["more"], texts=[" ".join(WORDS[:3])])
    collection.set_fusion({"lexical": 0.5, "sparse": 0.5})
    found = collection.search(" ".join(WORDS[:3]))
    assert "sparse" in found[0].legs and found.plan.fusion["weights"]["sparse"] == pytest.approx(0.5)
    assert set(collection.tune_fusion(judged).present["weights"]) == {"dense", "lexical", "sparse", "tokens"}
