"""The endpoint against a server of our own: retries, rate, cost, cache, secrets."""

from __future__ import annotations

import json
import logging
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from orthant import http_json
from orthant.errors import InputError, NotFoundError
from orthant.learn.synthesis.endpoint import OpenAICompatible
from orthant.learn.synthesis.generator import GenerationError, TextGenerator

KEY = "sk-very-secret-4711"


class _Server:
    """Answers with what ``plan`` holds for a request, then with an upper-case echo of the prompt."""

    def __init__(self):
        outer = self
        self.requests, self.headers, self.plan, self.delay_s, self.busy, self.most = [], [], [], 0.0, 0, 0
        self.lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer.lock:
                    outer.requests.append((self.path, body))
                    outer.headers.append(dict(self.headers))
                    outer.busy += 1
                    outer.most = max(outer.most, outer.busy)
                    status, payload, extra = outer.plan.pop(0) if outer.plan else (200, outer.answer(body), {})
                if outer.delay_s:
                    time.sleep(outer.delay_s)
                with outer.lock:
                    outer.busy -= 1
                if status == 0:
                    self.connection.close()
                    return
                self.send_response(status)
                for name, value in extra.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # A client that gave up waiting is part of the tests.
        self.server.handle_error = lambda *arguments: None
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @staticmethod
    def answer(body, **changes):
        text = body["messages"][-1]["content"].upper()
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop", **changes}
        return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 4}}).encode()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = _Server()
    yield made
    made.close()


@pytest.fixture
def waits(monkeypatch):
    """Seconds that the endpoint would have slept."""
    slept = []
    monkeypatch.setattr(http_json.time, "sleep", slept.append)
    return slept


def _ask(server, prompts=("a", "b"), call=None, **options):
    generator = OpenAICompatible(server.url + "/", "tiny", **options)
    return generator, generator.generate(list(prompts), **(call or {}))


def test_texts_come_back_in_order_with_their_cost(server):
    generator, found = _ask(
        server,
        ("a", "b", "c"),
        {"max_tokens": 7, "temperature": 0.5, "seed": 3, "stop": ["\n"]},
        system="Be brief.",
        prices=(2.0, 5.0),
    )
    assert isinstance(generator, TextGenerator)
    assert [(g.text, g.finish, g.cached) for g in found] == [(t, "stop", False) for t in "ABC"]
    path, body = server.requests[0]
    assert path == "/v1/chat/completions"
    assert body == {
        "model": "tiny",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "a"}],
        "max_tokens": 7,
        "temperature": 0.5,
        "seed": 3,
        "stop": ["\n"],
    }
    assert "Authorization" not in server.headers[0]
    cost = generator.cost
    assert (cost.requests, cost.prompt_tokens, cost.completion_tokens) == (3, 30, 12)
    assert cost.price == pytest.approx((30 * 2 + 12 * 5) / 1e6)


def test_finish_length_is_reported(server):
    server.plan = [(200, server.answer({"messages": [{"content": "x"}]}, finish_reason="length"), {})]
    assert _ask(server, ("x",))[1][0].finish == "length"


@pytest.mark.parametrize(
    "failure",
    [(429, b"slow down", {}), (503, b"", {}), (0, b"", {}), (200, b"<html>oops", {}), (200, b'{"choices": []}', {})],
    ids=["429", "503", "dropped", "no json", "no choice"],
)
def test_passing_failures_are_retried_with_growing_waits(server, waits, failure):
    server.plan = [failure, failure]
    generator, found = _ask(server, ("a",), backoff_s=2.0)
    assert found[0].text == "A" and generator.cost.retries == 2 and len(server.requests) == 3
    assert len(waits) == 2 and 2.0 <= waits[0] <= 2.5 and 4.0 <= waits[1] <= 5.0


def test_the_servers_wait_comes_first(server, waits):
    server.plan = [(429, b"", {"Retry-After": "7"}), (429, b"", {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"})]
    _ask(server, ("a",), backoff_s=1.0)
    assert waits[0] == 7.0 and 2.0 <= waits[1] <= 2.5


def test_an_endpoint_that_stays_down_keeps_what_was_answered(server, waits, tmp_path):
    server.plan = [(200, server.answer({"messages": [{"content": "a"}]}), {}), *[(500, b"", {})] * 3]
    with pytest.raises(GenerationError, match=r"status 500.* 3 times.*1 of 3 prompts were answered") as caught:
        _ask(server, ("a", "b", "c"), retries=2, cache=tmp_path / "cache")
    assert [g and g.text for g in caught.value.partial] == ["A", None, None]
    generator, found = _ask(server, ("a", "b", "c"), cache=tmp_path / "cache")
    assert [(g.text, g.cached) for g in found] == [("A", True), ("B", False), ("C", False)]
    assert generator.cost.cached == 1


def test_nobody_listens(server, waits):
    server.close()
    with pytest.raises(GenerationError, match=r"no answer .*2 times"):
        _ask(server, ("a",), retries=1)


def test_a_slow_answer_times_out(server):
    server.delay_s = 0.5
    with pytest.raises(GenerationError, match="no answer"):
        _ask(server, ("a",), retries=0, timeout_s=0.05)


def test_refused_requests_are_not_repeated(server):
    server.plan = [(401, f'{{"error": "bad key {KEY}"}}'.encode(), {})]
    generator = OpenAICompatible(server.url, "tiny", key_from_env="ORTHANT_TEST_KEY")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORTHANT_TEST_KEY", KEY)
        with pytest.raises(GenerationError, match=r"status 401.*bad key \*\*\*") as caught:
            generator.generate(["a", "b"])
    assert len(server.requests) == 1 and server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in str(caught.value)


def test_redirects_do_not_carry_the_key_away(server, monkeypatch):
    monkeypatch.setenv("ORTHANT_TEST_KEY", KEY)
    other = _Server()
    server.plan = [(307, b"", {"Location": other.url}), (302, b"", {"Location": other.url})]
    for _ in range(2):
        with pytest.raises(GenerationError, match="status 30"):
            _ask(server, ("a",), key_from_env="ORTHANT_TEST_KEY")
    assert other.requests == []
    other.close()


def test_the_key_is_nowhere_but_in_the_header(server, monkeypatch, tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("ORTHANT_TEST_KEY", KEY)
    generator, _ = _ask(server, ("a",), key_from_env="ORTHANT_TEST_KEY", cache=tmp_path / "c")
    shown = [repr(generator), str(vars(generator)), generator.fingerprint, caplog.text, *capfd.readouterr()]
    shown += [p.read_text() for p in (tmp_path / "c").rglob("*.json")]
    assert len(shown) == 7 and not any(KEY in text for text in shown)
    monkeypatch.delenv("ORTHANT_TEST_KEY")
    with pytest.raises(NotFoundError, match="no environment variable ORTHANT_TEST_KEY"):
        generator.generate(["a"])


def test_cache_tells_requests_models_and_revisions_apart(server, tmp_path):
    _ask(server, ("a", "b"), cache=tmp_path)
    for call, options, expected in (
        ({}, {}, 2),
        ({"seed": 1}, {}, 4),
        ({"max_tokens": 9}, {}, 6),
        ({}, {"revision": "2"}, 8),
        ({}, {"system": "x"}, 10),
    ):
        _ask(server, ("a", "b"), call, cache=tmp_path, **options)
        assert len(server.requests) == expected
    for path in tmp_path.rglob("*.json"):
        path.write_text("{")
    assert _ask(server, ("a",), cache=tmp_path)[1][0].text == "A"  # a damaged file is asked for again


def test_rate_is_not_exceeded(server, waits):
    _ask(server, ("a", "b", "c"), requests_per_minute=60)
    assert len(waits) == 2 and 0.8 < waits[0] <= 1.0 and 1.6 < waits[1] <= 2.0


def test_requests_run_side_by_side(server):
    server.delay_s = 0.1
    prompts = [f"p{i}" for i in range(8)]
    _, found = _ask(server, prompts, parallel=4)
    assert [g.text for g in found] == [p.upper() for p in prompts]
    assert 1 < server.most <= 4


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"url": "ftp://x/v1"}, "no plain http"),
        ({"url": "http://user:hunter2@x/v1"}, "no plain http"),
        ({"url": "localhost:8000"}, "no plain http"),
        ({"model": " "}, "model"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"retries": -1}, "retries"),
        ({"parallel": 0}, "parallel"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"prices": (-1, 0)}, "prices"),
    ],
)
def test_bad_settings_are_refused(options, text):
    with pytest.raises(InputError, match=text) as caught:
        OpenAICompatible(**{"url": "http://localhost/v1", "model": "m", **options})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ({"prompts": "a"}, "prompts as one str"),
        ({"prompts": ["a", " "]}, r"prompts\[1\]"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": -0.1}, "temperature"),
        ({"seed": -1}, "seed"),
        ({"stop": [""]}, "empty stop"),
    ],
)
def test_bad_requests_are_refused(call, text):
    generator = OpenAICompatible("http://127.0.0.1:9/v1", "m", retries=0)
    with pytest.raises(InputError, match=text):
        generator.generate(**{"prompts": ["a"], **call})
