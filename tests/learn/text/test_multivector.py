from __future__ import annotations

import json

import numpy as np
import pytest

from learn.text.text_models import TEXTS, tokenizer_folder
from orthant.errors import InputError
from orthant.transforms import TokenClusterer
from orthant.types import Ragged

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

from orthant.learn.text.backbone import load_backbone  # noqa: E402
from orthant.learn.text.encoder import load_text_model  # noqa: E402
from orthant.learn.text.multivector import build_token_encoder  # noqa: E402
from orthant.nn.token_reducers import ClusterReducer, StrideReducer, TailReducer  # noqa: E402


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return tokenizer_folder(tmp_path_factory.mktemp("words"))


def build(words, **settings):
    return build_token_encoder(load_backbone(words), **{"dim": 8, "query_tokens": 12, "device": "cpu", **settings})


def arrays(found):
    return [one.numpy() for one in found]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"reducer": ClusterReducer(k=4), "query_reducer": ClusterReducer(k=2)},
        {"reducer": ClusterReducer(ratio=0.5, normalize=True)},
        {"query_reducer": TailReducer(3), "dim": None, "prompts": {"query": "q: ", "document": "d: "}},
        {"reducer": StrideReducer(2), "expand_queries": True, "skip_punctuation": True},
    ],
)
def test_saved_models_load_equal(settings, words, tmp_path):
    model = build(words, **settings)
    model.save_pretrained(str(tmp_path), create_model_card=False)
    again = load_text_model(tmp_path, device="cpu")
    for encode in ("encode_query", "encode_document"):
        pairs = zip(getattr(model, encode)(TEXTS), getattr(again, encode)(TEXTS), strict=True)
        for expected, found in pairs:
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    reduced = "reducer" in settings or "query_reducer" in settings
    types = [module["type"] for module in json.loads((tmp_path / "modules.json").read_text())]
    assert any(one.startswith("orthant.") for one in types) == reduced
    assert types[-1].endswith("ReducerModule" if reduced else "Normalize")
    assert again.prompts == model.prompts and again[0].query_length == 12


def test_clusters_in_the_model_are_those_of_the_numpy_twin(words):
    plain, reduced = build(words), build(words, reducer=ClusterReducer(k=4))
    full = arrays(plain.encode_document(TEXTS))
    for tokens in full:
        np.testing.assert_allclose(np.linalg.norm(tokens, axis=1), 1, atol=1e-6)
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in full])])
    twin = TokenClusterer(k=4).transform(Ragged(np.concatenate(full), offsets))
    for row, found in enumerate(arrays(reduced.encode_document(TEXTS))):
        assert len(found) == min(4, len(full[row]))
        np.testing.assert_allclose(found, twin[row], atol=1e-5)


def test_queries_and_documents_are_reduced_as_asked(words):
    model = build(words, reducer=ClusterReducer(k=4))
    assert max(map(len, model.encode_document(TEXTS))) == 4
    assert max(map(len, model.encode_query(TEXTS))) == 12
    assert [len(one) for one in build(words, expand_queries=True).encode_query(TEXTS)] == [12] * 4
    with_marks, without = build(words), build(words, skip_punctuation=True)
    lost = [
        len(a) - len(b) for a, b in zip(with_marks.encode_document(TEXTS), without.encode_document(TEXTS), strict=True)
    ]
    assert lost == [0, 0, 2, 0]


def test_gradients_reach_the_backbone_through_the_clusters(words):
    model = build(words, reducer=ClusterReducer(k=2))
    features = model.preprocess(TEXTS, task="document")
    model(features, task="document")["token_embeddings"].square().sum().backward()
    slope = model[0].auto_model.embeddings.word_embeddings.weight.grad
    assert slope is not None and slope.abs().sum() > 0 and model[1].linear.weight.grad.abs().sum() > 0


def test_scores_are_sums_of_best_matches(words):
    model = build(words, reducer=ClusterReducer(k=4), query_reducer=ClusterReducer(k=2))
    queries, documents = model.encode_query(TEXTS), model.encode_document(TEXTS)
    expected = [[float((q @ d.T).max(dim=1).values.sum()) for d in documents] for q in queries]
    np.testing.assert_allclose(model.similarity(queries, documents).numpy(), expected, atol=1e-5)


def test_what_does_not_fit_is_refused(words):
    with pytest.raises(InputError, match="dimension=0"):
        build(words, dim=0)
    with pytest.raises(InputError, match="a Linear"):
        build(words, reducer=torch.nn.Linear(2, 2))
    with pytest.raises(InputError, match="query_tokens=500"):
        build(words, query_tokens=500)
    with pytest.raises(InputError, match="document_tokens=1"):
        build(words, document_tokens=1)
    with pytest.raises(InputError, match="expand_queries without"):
        build(words, query_tokens=None, expand_queries=True)
