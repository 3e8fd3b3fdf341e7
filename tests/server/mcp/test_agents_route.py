"""Agents over HTTP: tools by key, headers that must agree with the message, and nothing kept between two requests."""

from __future__ import annotations

import pytest

import orthant
from orthant.server import KeyFile, create_app
from orthant.server.mcp.protocol import VERSIONS
from server.serving import LOCAL, make

TestClient = pytest.importorskip("fastapi.testclient", exc_type=ImportError).TestClient

META = {"io.modelcontextprotocol/protocolVersion": VERSIONS[-1], "io.modelcontextprotocol/clientCapabilities": {}}


def post(client, method, params=None, *, headers=None, **message):
    body = {"jsonrpc": "2.0", "id": 1, "method": method, **({} if params is None else {"params": params}), **message}
    return client.post("/mcp", json=body, headers=headers or {})


def modern(client, method, params=None, **changed):
    headers = {"mcp-protocol-version": VERSIONS[-1], "mcp-method": method}
    if params is not None and "name" in params:
        headers["mcp-name"] = params["name"]
    return post(client, method, {**(params or {}), "_meta": META}, headers=headers | changed)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    path = make(tmp_path_factory.mktemp("served") / "books")
    with TestClient(create_app({"books": path}), base_url=LOCAL) as client:
        yield client


def test_both_eras_search(client):
    call = {"name": "search", "arguments": {"query": "amber", "k": 2, "mode": "lexical"}}
    old, new = post(client, "tools/call", call), modern(client, "tools/call", call)
    assert old.status_code == new.status_code == 200
    assert old.headers["content-type"] == "application/json"
    hits = old.json()["result"]["structuredContent"]["hits"]
    assert len(hits) == 2
    assert new.json()["result"]["structuredContent"]["hits"] == hits
    assert new.json()["result"]["resultType"] == "complete"
    assert "mcp-session-id" not in old.headers
    assert modern(client, "server/discover").json()["result"]["supportedVersions"] == list(VERSIONS)


def test_headers_that_disagree_with_the_message_are_refused(client):
    call = {"name": "stats", "arguments": {}}
    assert modern(client, "tools/call", call, **{"mcp-name": "=?base64?c3RhdHM=?="}).status_code == 200
    for changed in (
        {"mcp-name": "search"},
        {"mcp-name": "=?base64?!?="},
        {"mcp-method": "tools/list"},
        {"mcp-protocol-version": "2025-11-25"},
    ):
        response = modern(client, "tools/call", call, **changed)
        assert response.status_code == 400
        assert response.json()["error"]["code"] == -32020
    assert post(client, "tools/list", headers={"mcp-protocol-version": "2025-06-18"}).status_code == 200
    assert post(client, "tools/list", headers={"mcp-protocol-version": "soon"}).status_code == 400


def test_what_is_no_message_of_the_protocol(client):
    assert client.get("/mcp").status_code == 405
    assert client.delete("/mcp").status_code == 405
    assert client.post("/mcp", content=b"{}", headers={"content-type": "text/plain"}).status_code == 415
    assert client.post("/mcp", json={}, headers={"accept": "text/html"}).status_code == 406
    assert client.post("/mcp", json=[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]).status_code == 400
    assert modern(client, "prompts/list").status_code == 404
    told = client.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert (told.status_code, told.content) == (202, b"")
    foreign = {"origin": "http://evil.example"}
    assert post(client, "tools/list", headers=foreign).status_code == 403


def test_tools_are_those_of_the_key(tmp_path):
    keys = KeyFile(tmp_path / "keys.json")
    held = {
        who: {"Authorization": f"Bearer {keys.add(who, scopes)}"}
        for who, scopes in (("reader", {"*": "read"}), ("writer", {"books": "write"}), ("stranger", {"x": "admin"}))
    }
    paths = {"books": make(tmp_path / "books", count=4), "notes": make(tmp_path / "notes", count=4)}
    add = {"name": "add", "arguments": {"records": [{"id": "new", "text": "t"}], "collection": "books"}}

    def tools(client, who):
        return {tool["name"] for tool in post(client, "tools/list", headers=held[who]).json()["result"]["tools"]}

    with TestClient(create_app(paths, keys=keys, mcp_write=True), base_url=LOCAL) as client:
        assert post(client, "tools/list").status_code == 401
        assert "add" not in tools(client, "reader")
        assert "add" in tools(client, "writer")
        assert tools(client, "stranger") == set()
        assert post(client, "tools/call", add, headers=held["reader"]).json()["error"]["code"] == -32602
        secret = {"name": "stats", "arguments": {"collection": "notes"}}
        assert post(client, "tools/call", secret, headers=held["writer"]).json()["result"]["isError"]
        del add["arguments"]["collection"]
        done = post(client, "tools/call", add, headers=held["writer"]).json()["result"]
        assert done["structuredContent"]["added"] == 1
    with orthant.open(paths["books"], read_only=True) as books:
        assert "new" in books
    with TestClient(create_app(paths, keys=keys), base_url=LOCAL) as client:
        assert "add" not in tools(client, "writer")


def test_paths_of_the_host_are_hidden(tmp_path, monkeypatch):
    from orthant.collection.collection import Collection
    from orthant.errors import StoreError

    path = make(tmp_path / "books", count=4)
    with TestClient(create_app({"books": path}), base_url=LOCAL) as client:

        def broken(self):
            raise StoreError(f"damaged: {self.path}")

        monkeypatch.setattr(Collection, "stats", broken)
        result = post(client, "tools/call", {"name": "stats", "arguments": {}}).json()["result"]
    assert result["isError"]
    assert result["content"][0]["text"] == "damaged: books"
