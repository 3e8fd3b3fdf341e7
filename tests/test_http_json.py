"""The JSON client by itself; what it does for its users is tested with them."""

from __future__ import annotations

import pytest

from encoders.api.stand_in import Server
from orthant import http_json
from orthant.errors import EndpointError, InputError, NotFoundError
from orthant.http_json import JsonClient, UnexpectedAnswerError
from orthant.urls import check_url


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = Server()
    yield made
    made.close()


def test_get_and_post(server):
    client = JsonClient()
    assert client.ask(server.url + "/info", None, read=lambda answer: answer["model_id"]) == "BAAI/bge"
    rows = client.ask(server.url + "/embed", {"inputs": ["a", "b"]}, read=len)
    assert rows == 2 and server.requests == [("/embed", {"inputs": ["a", "b"]})]


def test_an_endless_answer_is_refused(server):
    server.plan = [(200, b"[" + b"0," * 5000 + b"0]", {})]
    with pytest.raises(EndpointError, match="over 1000 bytes"):
        JsonClient(largest_answer_bytes=1000).ask(server.url, {"inputs": []}, read=len)
    assert len(server.requests) == 1


def test_a_reader_may_ask_for_another_attempt_and_its_own_errors_pass_through(server, monkeypatch):
    monkeypatch.setattr(http_json.time, "sleep", lambda seconds: None)
    tries = []

    def read(answer):
        tries.append(answer)
        if len(tries) < 3:
            raise UnexpectedAnswerError("not yet")
        raise InputError("of the reader")

    with pytest.raises(InputError, match="of the reader"):
        JsonClient().ask(server.url, {"inputs": ["a"]}, read=read)
    assert len(tries) == 3
    tries.clear()
    client = JsonClient(retries=1)
    with pytest.raises(EndpointError, match=r"not yet from .* 2 times") as caught:
        client.ask(server.url, {"inputs": ["a"]}, read=read)
    assert caught.value.status is None and client.retried == 1


def test_deeply_nested_json_is_no_crash(server):
    server.plan = [(200, b"[" * 200_000, {})]
    with pytest.raises(EndpointError, match="no JSON"):
        JsonClient(retries=0).ask(server.url, {"inputs": []}, read=len)


def test_long_waits_of_a_server_are_bounded(server, monkeypatch):
    slept = []
    monkeypatch.setattr(http_json.time, "sleep", slept.append)
    server.plan = [(503, b"", {"Retry-After": "86400"}), (503, b"", {"Retry-After": "-5"})]
    JsonClient().ask(server.url, {"inputs": []}, read=len)
    assert slept == [120.0, 0.0]


def test_keys(monkeypatch):
    monkeypatch.delenv("ORTHANT_TEST_KEY", raising=False)
    assert JsonClient().key() == ""
    with pytest.raises(NotFoundError, match="ORTHANT_TEST_KEY"):
        JsonClient(key_from_env="ORTHANT_TEST_KEY").key()
    monkeypatch.setenv("ORTHANT_TEST_KEY", " k \n")
    assert JsonClient(key_from_env="ORTHANT_TEST_KEY").key() == "k"


@pytest.mark.parametrize(
    "url",
    [
        *("", 7, "x", "file:///etc/passwd", "http://", "http://u@x", "http://:p@x", "http://x?k=1", "http://x#f"),
        *("http://x:0", "http://x:1:2", "http://x y", "http://[x", "http://x\n"),
    ],
)
def test_addresses_that_are_none(url):
    with pytest.raises(InputError, match="no plain http"):
        check_url(url)
