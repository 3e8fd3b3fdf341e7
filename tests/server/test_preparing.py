"""A server begins to load graphs and code as it starts, says so, and answers meanwhile."""

from __future__ import annotations

import threading
import time

import pytest

from orthant.errors import StoreCorruptedError
from orthant.server import Limits, create_app, service
from server.serving import LOCAL, make

TestClient = pytest.importorskip("fastapi.testclient", exc_type=ImportError).TestClient


def until(client, preparing):
    deadline = time.monotonic() + 30
    while client.get("/readyz").json() != {"status": "ready", "preparing": preparing}:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_prepared_is_said_and_nobody_waits_for_it(tmp_path, monkeypatch):
    gate, seen = threading.Event(), []

    def prepare(generation):
        seen.append(generation.count)
        gate.wait(30)

    monkeypatch.setattr(service, "prepare_searches", prepare)
    app = create_app({"books": make(tmp_path / "books")}, limits=Limits(concurrency=2))
    with TestClient(app, base_url=LOCAL) as client:
        try:
            until(client, True)
            answer = client.post("/collections/books/search", json={"vector": [1.0] * 8, "k": 2})
            assert len(answer.json()["hits"]) == 2
        finally:
            gate.set()
        until(client, False)
    assert seen == [40]


def test_a_thread_that_compiles_is_said(tmp_path, monkeypatch):
    left = ["graph"]
    monkeypatch.setattr(service, "pending", lambda: left)
    with TestClient(create_app({"books": make(tmp_path / "books")}), base_url=LOCAL) as client:
        until(client, True)
        left.clear()
        until(client, False)


def test_a_damaged_collection_is_served_and_told_to_who_searches(tmp_path, monkeypatch):
    def prepare(generation):
        raise StoreCorruptedError("a graph that is damaged")

    monkeypatch.setattr(service, "prepare_searches", prepare)
    with TestClient(create_app({"books": make(tmp_path / "books")}), base_url=LOCAL) as client:
        until(client, False)
