"""Embeddings and reranking over HTTP: the vectors of the encoder, in known shapes, and clear refusals."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

import orthant
from orthant.encoders.callable import CallableEncoder
from orthant.encoders.registry import load_encoder
from orthant.errors import InputError
from orthant.server import KeyFile, Limits, create_app
from orthant.server.openai import ServedModel
from orthant.server.openai.embeddings import embed
from orthant.types import Ragged
from server.serving import LOCAL

TestClient = pytest.importorskip("fastapi.testclient", exc_type=ImportError).TestClient

TEXTS = ["a lighthouse keeper's diary", "engines of war"]


class Overlap:
    """A reranker: words in common."""

    def score(self, query, records):
        return np.array([len(set(query.split()) & set(one.split())) for one in records], dtype=np.float32)


class Narrow:
    """An encoder that reads three words, and treats queries differently."""

    dim, fingerprint, max_tokens = 4, "narrow", 3

    def encode(self, items, *, role="document", batch_size=64, progress=False):
        return self.encode_with_report(items, role=role)[0]

    def encode_with_report(self, items, *, role="document", batch_size=64, progress=False):
        from orthant.types import EncodeReport

        X = np.array([[3.0, 4.0, len(t), 1.0 if role == "query" else 2.0] for t in items], dtype=np.float32)
        over = [max(0, len(t.split()) - 3) for t in items]
        return X, EncodeReport(len(items), sum(one > 0 for one in over), sum(over))


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "books"
    with orthant.open(path, encoder="static") as books:
        books.upsert(["a"], texts=["a red kite"])
    models = {"words": ServedModel("static", dimensions=[64]), "narrow": Narrow(), "judge": Overlap()}
    app = create_app({"books": path}, models=models, limits=Limits(max_inputs=5))
    with TestClient(app, base_url=LOCAL) as client:
        yield client


def ask(client, path, body, *, status=200, **settings):
    response = client.post(path, json=body, **settings)
    assert response.status_code == status, response.text
    return response.json()


@pytest.mark.parametrize("model", ["words", "books"])
def test_vectors_are_those_of_the_encoder_in_both_forms(client, model):
    encoder = load_encoder("static")
    expected = encoder.encode(TEXTS)
    found = ask(client, "/v1/embeddings", {"model": model, "input": TEXTS})
    assert [one["index"] for one in found["data"]] == [0, 1]
    assert np.array_equal(np.array([one["embedding"] for one in found["data"]], dtype=np.float32), expected)
    tokens = int(encoder.token_counts(TEXTS).sum())
    assert found["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    packed = ask(client, "/v1/embeddings", {"model": model, "input": TEXTS[0], "encoding_format": "base64"})
    assert np.array_equal(np.frombuffer(base64.b64decode(packed["data"][0]["embedding"]), "<f4"), expected[0])


def test_only_declared_widths_are_cut_and_normalised(client):
    whole = load_encoder("static").encode(TEXTS)
    found = ask(client, "/v1/embeddings", {"model": "words", "input": TEXTS, "dimensions": 64})
    X = np.array([one["embedding"] for one in found["data"]], dtype=np.float32)
    assert X.shape == (2, 64)
    assert np.allclose(np.linalg.norm(X, axis=1), 1, atol=1e-6)
    assert np.allclose(X, whole[:, :64] / np.linalg.norm(whole[:, :64], axis=1)[:, None], atol=1e-6)
    dim = whole.shape[1]
    assert len(
        ask(client, "/v1/embeddings", {"model": "books", "input": "a", "dimensions": dim})["data"][0]["embedding"]
    )
    for model, width in (("words", 65), ("books", 64), ("words", dim + 1), ("words", 0)):
        error = ask(client, "/v1/embeddings", {"model": model, "input": "a", "dimensions": width}, status=400)["error"]
        assert str(dim) in error["message"]


def test_widths_are_read_from_the_folder(tmp_path):
    load_encoder("static").save(tmp_path / "model")
    assert ServedModel(tmp_path / "model").dimensions == ()
    config = tmp_path / "model" / "config.json"
    told = json.loads(config.read_text())
    config.write_text(json.dumps(told | {"matryoshka_dimensions": [128, 32]}))
    assert ServedModel(tmp_path / "model").dimensions == (32, 128)
    config.write_text(json.dumps(told | {"matryoshka_dimensions": "all"}))
    with pytest.raises(InputError, match="matryoshka_dimensions"):
        ServedModel(tmp_path / "model")
    with pytest.raises(InputError):
        ServedModel("static", dimensions=[10_000])


def test_texts_beyond_the_window_are_refused_or_counted(client):
    long = {"model": "narrow", "input": ["one two three four five", "six"]}
    error = ask(client, "/v1/embeddings", long, status=400)["error"]
    assert "1 text(s)" in error["message"]
    assert "truncate" in error["message"]
    usage = ask(client, "/v1/embeddings", long | {"truncate": True})["usage"]
    assert usage == {"prompt_tokens": 4, "total_tokens": 4, "truncated_tokens": 2}


def test_what_a_text_is_reaches_the_encoder(client):
    for role, value in (("query", 1.0), ("document", 2.0)):
        found = ask(client, "/v1/embeddings", {"model": "narrow", "input": "a", "input_type": role})
        assert found["data"][0]["embedding"][3] == value


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([1, 2, 3], "token ids"),
        ([[1, 2], [3]], "token ids"),
        ([], "no input"),
        ("", "empty"),
        (["a", ""], "input 1"),
        (["a", 3], "input 1 of type int"),
        ([True], "of type bool"),
        ([{"text": "a"}], "of type dict"),
        (["a"] * 6, "max_inputs"),
    ],
)
def test_what_is_no_text_is_refused(client, given, told):
    error = ask(client, "/v1/embeddings", {"model": "words", "input": given}, status=400)["error"]
    assert told in error["message"]
    assert error["type"] == "InputError"


def test_unknown_models_and_settings_are_refused(client):
    for model in ("text-embedding-3-small", "books/none", "none/default", "", "../words"):
        error = ask(client, "/v1/embeddings", {"model": model, "input": "a"}, status=404)["error"]
        assert error["code"] == "model_not_found"
    ask(client, "/v1/embeddings", {"model": "words", "input": "a", "pooling": "max"}, status=400)
    ask(client, "/v1/embeddings", {"model": "judge", "input": "a"}, status=400)


def test_models_are_listed_without_being_loaded(client):
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list"
    by_name = {one["id"]: one for one in listed["data"]}
    assert set(by_name) == {"words", "narrow", "judge", "books"}
    assert by_name["words"]["dimensions"] == [64]
    assert by_name["words"]["fingerprint"] == by_name["books"]["fingerprint"] == load_encoder("static").fingerprint
    assert by_name["judge"]["kind"] == "rerank"
    assert client.get("/v1/models/words").json() == by_name["words"]
    assert client.get("/v1/models/none").status_code == 404


def test_documents_are_ordered_best_first(client):
    body = {"model": "judge", "query": "red kite", "documents": ["blue boat", {"text": "a red kite"}, "red boat"]}
    found = ask(client, "/v1/rerank", body)
    assert [one["index"] for one in found["results"]] == [1, 2, 0]
    assert [one["relevance_score"] for one in found["results"]] == [2.0, 1.0, 0.0]
    assert "document" not in found["results"][0]
    top = ask(client, "/v2/rerank", body | {"top_n": 1, "return_documents": True})["results"]
    assert top == [{"index": 1, "relevance_score": 2.0, "document": {"text": "a red kite"}}]
    by_vectors = ask(client, "/v1/rerank", body | {"model": "books", "query": "a bird of prey, the kite"})["results"]
    assert by_vectors[0]["index"] == 1
    assert by_vectors[0]["relevance_score"] <= 1
    for wrong in ({"documents": []}, {"documents": [{"title": "a"}]}, {"documents": ["a"] * 6}, {"top_n": 0}):
        ask(client, "/v1/rerank", body | wrong, status=400)


def test_a_space_of_tokens_compares_token_by_token(tmp_path):
    class Letters:
        dim, fingerprint = 26, "letters"

        def encode_tokens(self, items, *, role="document", batch_size=64):
            rows = [np.eye(26, dtype=np.float32)[[ord(c) - 97 for c in one if "a" <= c <= "z"] or [0]] for one in items]
            return Ragged(np.concatenate(rows), np.cumsum([0, *map(len, rows)]))

    def opened():
        return orthant.open(tmp_path / "books", encoder="static", spaces={"late": Letters()})

    with opened() as books:
        books.upsert(["a"], texts=["a red kite"])
    with TestClient(create_app({"books": opened}), base_url=LOCAL) as client:
        kinds = {one["id"]: one["kind"] for one in client.get("/v1/models").json()["data"]}
        assert kinds == {"books": "embedding", "books/late": "rerank"}
        body = {"model": "books/late", "query": "abc", "documents": ["bad", "cab", "def"]}
        found = ask(client, "/v1/rerank", body)["results"]
        assert [(one["index"], one["relevance_score"]) for one in found] == [(1, 3.0), (0, 2.0), (2, 0.0)]
        error = ask(client, "/v1/embeddings", {"model": "books/late", "input": "a"}, status=400)["error"]
        assert "/v1/rerank" in error["message"]


def test_names_and_keys_are_shared_with_collections(tmp_path):
    keys = KeyFile(tmp_path / "keys.json")
    held = {"Authorization": f"Bearer {keys.add('one', {'words': 'read'})}"}
    models = {"words": "static", "other": "static"}
    with TestClient(create_app({"books": tmp_path / "b"}, keys=keys, models=models), base_url=LOCAL) as client:
        assert client.get("/v1/models").status_code == 401
        assert [one["id"] for one in client.get("/v1/models", headers=held).json()["data"]] == ["words"]
        ask(client, "/v1/embeddings", {"model": "words", "input": "a"}, headers=held)
        for name in ("other", "books", "none"):
            ask(client, "/v1/embeddings", {"model": name, "input": "a"}, status=403, headers=held)
    with pytest.raises(InputError, match="called 'books'"):
        create_app({"books": tmp_path / "b"}, models={"books": "static"})


def test_encoders_that_do_not_count_are_counted_by_words():
    lengths = CallableEncoder(lambda texts: [[len(one), 1.0] for one in texts], dim=2, name="lengths")
    assert embed(lengths, ["one two", "three"]).tokens == 3
