"""The encoder against a server that misbehaves: order, roles, retries, batches, refusals, cost, secrets."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from encoders.api.stand_in import DIM, Server, vector
from orthant.encoders import ApiEncoder
from orthant.encoders.api.shapes import Answer, Shape
from orthant.encoders.fingerprint import Fingerprint
from orthant.errors import (
    DimensionError,
    EncoderMismatchError,
    EndpointError,
    InputError,
    NonFiniteError,
    NotFoundError,
)
from orthant.types import Encoder

KEY = "sk-very-secret-4711"
TEXTS = [f"text number {i}" for i in range(10)]


def _make(server, shape="openai", model="tiny", **options):
    return ApiEncoder(shape, model, url=server.url, **{"canary_every": None, **options})


def _expected(texts, **options):
    return np.stack([vector(text, model="first", **options) for text in texts])


def test_vectors_come_back_in_order_whatever_the_batches(server):
    encoder = _make(server)
    assert isinstance(encoder, Encoder) and encoder.dim == DIM
    for batch_size in (1, 3, 64):
        np.testing.assert_array_equal(encoder.encode(TEXTS, batch_size=batch_size), _expected(TEXTS))
    # Base64 carries float32 exactly; one text given twice is sent once.
    before = len(server.requests)
    out = encoder.encode(["a", "b", "a"])
    np.testing.assert_array_equal(out, _expected(["a", "b", "a"]))
    assert server.asked()[before:] == [["a", "b"]]


def test_openai_shape(server):
    encoder = _make(server, dimensions=5)
    assert encoder.dim == 5 and not server.requests, "with dimensions nothing has to be asked"
    np.testing.assert_array_equal(encoder.encode(["a"]), _expected(["a"], dim=5))
    path, body = server.requests[0]
    assert path == "/embeddings"
    assert body == {"model": "tiny", "input": ["a"], "encoding_format": "base64", "dimensions": 5}
    # A server that does not know base64 sends numbers.
    rows = [{"embedding": [1, 2, 3, 4, 5]}]
    server.plan = [(200, json.dumps({"data": rows}).encode(), {})]
    np.testing.assert_array_equal(encoder.encode(["z"]), [[1, 2, 3, 4, 5]])


def test_cohere_shape_tells_roles_apart(server):
    encoder = _make(server, "cohere", dimensions=6)
    document, query = encoder.encode(["a"]), encoder.encode(["a"], role="query")
    np.testing.assert_array_equal(document, _expected(["search_documenta"], dim=6))
    np.testing.assert_array_equal(query, _expected(["search_querya"], dim=6))
    assert [body["input_type"] for _, body in server.requests] == ["search_document", "search_query"]
    assert server.requests[0][0] == "/embed"
    assert server.requests[0][1] == {
        "model": "tiny",
        "texts": ["a"],
        "input_type": "search_document",
        "embedding_types": ["float"],
        "truncate": "NONE",
        "output_dimension": 6,
    }


def test_tei_shape_takes_name_revision_window_and_batch_from_the_server(server):
    encoder = _make(server, "tei", None)
    found = Fingerprint.parse(encoder.fingerprint)
    assert (found.name, found.revision, encoder.max_tokens) == ("tei:BAAI/bge", "abc123", 512)
    np.testing.assert_array_equal(encoder.encode(TEXTS, batch_size=64), _expected(TEXTS))
    assert max(map(len, server.asked())) == 4
    assert server.requests[-1][1]["truncate"] is False
    with pytest.raises(EncoderMismatchError, match="'BAAI/bge' from the server"):
        _make(server, "tei", "other")
    with pytest.raises(InputError, match="dimensions"):
        _make(server, "tei", None, dimensions=4)
    server.info = None  # answers 404: the user has to say the name
    assert Fingerprint.parse(_make(server, "tei", "mine").fingerprint).name == "tei:mine"
    with pytest.raises(InputError, match="Name the model"):
        _make(server, "tei", None)


def test_w36_ollama_digest_is_part_of_the_fingerprint(server):
    first = _make(server, "ollama", "nomic")
    np.testing.assert_array_equal(first.encode(["a"]), _expected(["a"]))
    assert server.requests[-1] == ("/api/embed", {"model": "nomic", "input": ["a"], "truncate": False})
    server.tags["models"][0]["digest"] = "e2" * 32  # the tag was pulled again
    assert first.fingerprint != _make(server, "ollama", "nomic").fingerprint
    assert _make(server, "ollama", "nomic", revision="mine").fingerprint.count("mine") == 1


def test_a_shape_of_your_own(server):
    shape = Shape(
        "mine",
        "/any",
        lambda r: {"inputs": [f"{r.role}:{t}" for t in r.texts]},
        lambda a: Answer(a["data"]),
    )
    server.answer = lambda path, body, rows: json.dumps({"data": rows}).encode()
    encoder = _make(server, shape, "m")
    np.testing.assert_array_equal(encoder.encode(["a"], role="query"), _expected(["query:a"]))
    assert server.requests[-1][0] == "/any" and encoder.fingerprint.startswith("name=mine:m|")


def test_prompts_are_put_before_texts_and_into_the_fingerprint(server):
    encoder = _make(server, query_prompt="query: ", document_prompt="passage: ")
    np.testing.assert_array_equal(encoder.encode(["a"], role="query"), _expected(["query: a"]))
    np.testing.assert_array_equal(encoder.encode(["a"]), _expected(["passage: a"]))
    assert Fingerprint.parse(encoder.fingerprint).prompt == "query='query: ' document='passage: '"
    prints = {_make(server, **o).fingerprint for o in ({}, {"revision": "2"}, {"dimensions": 4}, {"query_prompt": "q"})}
    assert len(prints | {encoder.fingerprint, _make(server, model="x").fingerprint}) == 6


def test_blank_texts_are_not_sent(server):
    encoder = _make(server, document_prompt="passage: ")
    before = len(server.requests)
    out, report = encoder.encode_with_report(["", "a", " \n"])
    assert server.asked()[before:] == [["passage: a"]]
    assert not out[0].any() and not out[2].any() and out[1].any()
    assert (report.items, report.empty_items, report.truncated_items) == (3, 2, 0)


def test_batches_by_tokens(server):
    encoder = _make(server, dimensions=DIM, count_tokens=lambda text: len(text.split()), max_batch_tokens=4, parallel=1)
    encoder.encode(["a b", "c d", "e f g h i", "j", "k l m", "n"])
    assert server.asked() == [["a b", "c d"], ["e f g h i"], ["j", "k l m"], ["n"]]


@pytest.mark.parametrize(
    "failure",
    [(429, b"", {}), (503, b"", {}), (0, b"", {}), (200, b"<html>", {}), (200, b'{"data": 7}', {}), (200, b"[]", {})],
    ids=["429", "503", "dropped", "no json", "no vectors", "a list"],
)
def test_passing_failures_are_retried(server, waits, failure):
    encoder = _make(server, dimensions=DIM, backoff_s=2.0)
    server.plan = [failure, failure]
    np.testing.assert_array_equal(encoder.encode(["a"]), _expected(["a"]))
    assert encoder.cost.retries == 2 and 2.0 <= waits[0] <= 2.5 and 4.0 <= waits[1] <= 5.0


def test_the_servers_wait_comes_first(server, waits):
    server.plan = [(429, b"", {"Retry-After": "7"}), (429, b"", {"Retry-After": "nan"})]
    _make(server, dimensions=DIM).encode(["a"])
    assert waits[0] == 7.0 and 2.0 <= waits[1] <= 2.5


def test_rates_by_requests_and_by_tokens(server, waits):
    _make(server, dimensions=DIM, requests_per_minute=60, parallel=1).encode(["a", "b", "c"], batch_size=1)
    assert len(waits) == 2 and 0.8 < waits[0] <= 1.0 and 1.6 < waits[1] <= 2.0
    waits.clear()
    slow = _make(server, dimensions=DIM, tokens_per_minute=60, count_tokens=len, parallel=1)
    slow.encode(["x" * 10, "y" * 30, "z"], batch_size=1)
    assert len(waits) == 2 and 9.5 < waits[0] <= 10 and 39 < waits[1] <= 40
    assert slow.estimate(["q" * 60, "r" * 60]).seconds == pytest.approx(120)


def test_requests_run_side_by_side(server):
    server.delay_s = 0.05
    encoder = _make(server, dimensions=DIM, parallel=3)
    np.testing.assert_array_equal(encoder.encode(TEXTS, batch_size=1), _expected(TEXTS))
    assert 1 < server.most <= 3


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda rows: rows[:-1], DimensionError, r"1 vectors from openai:tiny for 2 texts \(positions 2 to 3\)"),
        (lambda rows: [*rows, rows[0]], DimensionError, "3 vectors"),
        (lambda rows: [rows[0], rows[1][:-1]], DimensionError, "dimension 7 from openai:tiny for position 3"),
        (lambda rows: [[float("nan")] * DIM, rows[1]], NonFiniteError, "for position 2"),
        (lambda rows: [rows[0], [float("inf")] * DIM], NonFiniteError, "for position 3"),
    ],
    ids=["too few", "too many", "short", "nan", "infinite"],
)
def test_wrong_answers_name_the_position(server, tmp_path, change, error, text):
    encoder = _make(server, dimensions=DIM, parallel=1, cache=tmp_path)
    server.plan = [None, change]
    with pytest.raises(error, match=text):
        encoder.encode(TEXTS[:6], batch_size=2)
    assert len(server.requests) == 2, "a wrong answer is not asked for again, and nothing after it"
    np.testing.assert_array_equal(encoder.encode(TEXTS[:6]), _expected(TEXTS[:6]))
    assert server.asked()[2:] == [TEXTS[2:6]], "of the wrong answer nothing was kept"


def test_null_in_a_vector_is_refused(server):
    encoder = _make(server, "ollama", "nomic", dimensions=DIM)
    server.plan = [lambda rows: [[None, *rows[0][1:]]]]
    with pytest.raises(NonFiniteError, match="position 0"):
        encoder.encode(["a"])


def test_a_server_that_ignores_dimensions_is_noticed(server):
    encoder = _make(server, dimensions=4)
    server.plan = [lambda rows: [row + row for row in rows]]
    with pytest.raises(DimensionError, match=r"dimension 8 .*position 0.*expected 4"):
        encoder.encode(["a"])


def test_a_refused_text_is_found_and_the_others_are_kept(server, tmp_path):
    encoder = _make(server, dimensions=DIM, cache=tmp_path, parallel=1)
    server.refuse = lambda texts: (413, b'{"error": "too long"}', {}) if "long" * 50 in texts else None
    texts = [*TEXTS[:5], "long" * 50, *TEXTS[5:8]]
    with pytest.raises(
        EndpointError, match=r"status 413 .*too long.* position 5, 200 characters.* 5 of 9 texts"
    ) as found:
        encoder.encode(texts)
    assert found.value.status == 413
    before = len(server.requests)
    encoder.encode([*texts[:5], *texts[6:]])
    assert server.asked()[before:] == [texts[6:]], "what stood before it is in the cache"


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_no_text_is_to_blame_for_is_asked_once(server, status):
    server.plan = [(status, b"no", {})] * 9
    with pytest.raises(EndpointError, match=f"status {status}"):
        _make(server, dimensions=DIM, parallel=1).encode(TEXTS, batch_size=2)
    assert len(server.requests) == 1


def test_a_server_that_is_down(server, waits):
    encoder = _make(server, dimensions=DIM, retries=1)
    server.close()
    with pytest.raises(EndpointError, match=r"no answer .*2 times.*0 of 1 texts"):
        encoder.encode(["a"])
    with pytest.raises(EndpointError):
        _make(server, retries=0)


def test_cost_and_estimate(server):
    encoder = _make(server, dimensions=DIM, price=2.0, count_tokens=len)
    estimate = encoder.estimate(["aa", "bbb", "aa", ""], batch_size=1)
    assert not server.requests
    assert (estimate.texts, estimate.cached, estimate.requests, estimate.tokens) == (4, 2, 2, 5)
    assert estimate.price == pytest.approx(10e-6)
    encoder.encode(["aa", "bbb", "aa", ""], batch_size=1)
    cost = encoder.cost
    assert (cost.requests, cost.tokens, cost.estimated_tokens) == (2, 4, 0)  # the server counts 2 per text
    assert cost.price == pytest.approx(8e-6)
    unsaid = _make(server, "tei", None, count_tokens=len)
    unsaid.encode(["aaaa"])
    assert unsaid.cost.tokens == unsaid.cost.estimated_tokens > 4  # TEI says nothing; the probe is counted too


def test_the_key_is_nowhere_but_in_the_header(server, monkeypatch, tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("ORTHANT_TEST_KEY", KEY)
    encoder = _make(server, key_from_env="ORTHANT_TEST_KEY", cache=tmp_path / "c")
    encoder.encode(["a"])
    assert server.headers[-1]["Authorization"] == f"Bearer {KEY}"
    server.plan = [(401, f"bad key {KEY}".encode(), {})]
    with pytest.raises(EndpointError, match=r"bad key \*\*\*") as caught:
        encoder.encode(["b"])
    shown = [repr(encoder), encoder.fingerprint, str(caught.value), caplog.text, *capfd.readouterr()]
    shown += [str(vars(x)) for x in (encoder, encoder._client, encoder._fetcher)]
    assert not any(KEY in text for text in shown)
    assert not any(KEY.encode() in path.read_bytes() for path in (tmp_path / "c").iterdir())
    monkeypatch.delenv("ORTHANT_TEST_KEY")
    before = len(server.requests)
    with pytest.raises(NotFoundError, match="no environment variable ORTHANT_TEST_KEY"):
        encoder.encode(["c"])
    assert len(server.requests) == before


def test_a_providers_key_goes_to_no_other_address(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    _make(server).encode(["a"])
    assert all("Authorization" not in headers for headers in server.headers)
    own = ApiEncoder("openai", "m", dimensions=3, canary_every=None)
    assert own._client.key() == KEY


def test_redirects_do_not_carry_the_key_away(server, monkeypatch):
    monkeypatch.setenv("ORTHANT_TEST_KEY", KEY)
    other = Server()
    server.plan = [(307, b"", {"Location": other.url}), (302, b"", {"Location": other.url})]
    for _ in range(2):
        with pytest.raises(EndpointError, match="status 30"):
            _make(server, dimensions=DIM, key_from_env="ORTHANT_TEST_KEY").encode(["a"])
    assert not other.requests
    other.close()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"url": "ftp://x"}, "no plain http"),
        ({"url": "http://user:hunter2@x/v1"}, "no plain http"),
        ({"url": "http://x/v1?key=hunter2"}, "no plain http"),
        ({"url": "http://x:99999/v1"}, "no plain http"),
        ({"shape": "openia"}, "shape"),
        ({"model": " "}, "model"),
        ({"dimensions": 0}, "dimensions"),
        ({"max_batch": 0}, "max_batch"),
        ({"max_batch_tokens": 0}, "max_batch_tokens"),
        ({"parallel": 0}, "parallel"),
        ({"tokens_per_minute": 0}, "tokens_per_minute"),
        ({"price": -1}, "price"),
        ({"canary_every": 0}, "canary_every"),
        ({"canary_tolerance": 3}, "canary_tolerance"),
        ({"query_prompt": 3}, "str"),
        ({"revision": 3}, "revision"),
    ],
)
def test_bad_settings_are_refused(options, text):
    given = {"shape": "openai", "model": "m", "url": "http://127.0.0.1:9", "retries": 0, **options}
    with pytest.raises(InputError, match=text) as caught:
        ApiEncoder(**{"dimensions": 3, "canary_every": None, **given})
    assert "hunter2" not in str(caught.value)


def test_half_a_character_is_refused_before_anything_is_sent(server):
    encoder = _make(server, dimensions=DIM)
    with pytest.raises(InputError, match=r"items\[1\]"):
        encoder.encode(["a", "\ud800"])
    assert not server.requests
