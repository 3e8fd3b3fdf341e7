"""Spans tell routes, counts and outcomes, and nothing that a client wrote."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from orthant.server import create_app
from orthant.server.tracing import Tracing, tracing_from_environment
from server.serving import LOCAL, make

trace = pytest.importorskip("opentelemetry.trace", reason="opentelemetry-api is not installed")
TestClient = pytest.importorskip("fastapi.testclient", exc_type=ImportError).TestClient


class Span:
    def __init__(self, name, attributes, parent):
        self.name, self.attributes, self.parent, self.status = name, dict(attributes), parent, None

    def update_name(self, name):
        self.name = name

    def set_attribute(self, name, value):
        self.attributes[name] = value

    def set_status(self, status):
        self.status = status


class Recorder:
    """A tracer that keeps what it is told, and the provider of it."""

    def __init__(self):
        self.spans = []

    def get_tracer(self, name, *_, **__):
        # Whoever else asks for a tracer gets one that cannot trace, and fails the request.
        return self if name == "orthant.server" else None

    @contextmanager
    def start_as_current_span(self, name, *, attributes, record_exception, set_status_on_exception, **settings):
        assert not record_exception
        assert not set_status_on_exception
        context = settings.get("context")
        parent = None if context is None else trace.get_current_span(context).get_span_context().trace_id
        self.spans.append(Span(name, attributes, parent))
        yield self.spans[-1]


@pytest.fixture
def traced(tmp_path, monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: recorder)
    app = create_app({"books": make(tmp_path / "books")})
    with TestClient(app, base_url=LOCAL) as client:
        yield client, recorder.spans


def test_spans_of_requests_and_calls(traced):
    client, spans = traced
    spans.clear()
    secret = "unmistakable"
    parent = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "baggage": f"a={secret}", "x-test": secret}
    client.post("/collections/books/search", json={"query": secret, "where": {secret: 1}}, headers=parent)
    client.post("/collections/books/search", json={"query": f'"{secret}', "vector": [1.0]})
    client.post("/collections/books/upsert", json={"ids": [secret], "texts": [secret]})
    client.get("/collections/books/stats")
    client.get(f"/{secret}?{secret}")
    client.request("BREW", f"/collections/{secret}")
    named = [span.name for span in spans]
    assert named[0] == "POST /collections/{name}/search"
    assert spans[0].parent == int("ab" * 16, 16)
    assert spans[0].attributes["http.response.status_code"] == 200
    assert {"orthant.search_together", "orthant.pass", "orthant.read", "orthant.write", "GET none"} <= set(named)
    assert named[-1].startswith("other ")
    assert next(span for span in spans if span.name == "orthant.write").attributes == {"orthant.collection": "books"}
    for span in spans:
        assert secret not in span.name
        assert secret not in str(span.attributes)


def test_failures_are_told_by_class(traced):
    _, spans = traced
    with pytest.raises(ValueError, match="what a client wrote"), Tracing(_recorder_of(spans)).span("orthant.read"):
        raise ValueError("what a client wrote")
    assert spans[-1].attributes["error.type"] == "ValueError"
    assert spans[-1].status is trace.StatusCode.ERROR


def _recorder_of(spans):
    recorder = Recorder()
    recorder.spans = spans
    return recorder


def test_the_environment_decides():
    assert not tracing_from_environment({})
    asked = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    assert not tracing_from_environment(asked | {"OTEL_SDK_DISABLED": "true"})
    assert not tracing_from_environment(asked | {"OTEL_TRACES_EXPORTER": "none"})


def test_asking_for_traces_without_the_sdk_is_refused(monkeypatch):
    import sys

    from orthant.errors import MissingExtraError

    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    with pytest.raises(MissingExtraError, match="otel"):
        tracing_from_environment({"OTEL_TRACES_EXPORTER": "console"})
