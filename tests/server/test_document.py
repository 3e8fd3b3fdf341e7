"""What the OpenAPI document promises, and answers that it once did not: each was found by requests made from it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import orthant
from orthant.server import create_app
from orthant.server.keys import KeyFile
from server.serving import LOCAL, make

TestClient = pytest.importorskip("fastapi.testclient", exc_type=ImportError).TestClient


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    path = make(tmp_path_factory.mktemp("document") / "books", count=60)
    with TestClient(create_app({"books": path}), base_url=LOCAL) as client:
        yield client


@pytest.fixture(scope="module")
def document(client):
    return client.get("/openapi.json").json()


@pytest.mark.parametrize("query", [[[1.0, 2.0], [3.0]], [[False], 2.0, {}], [["a"]], [[[1.0]], [2.0]]])
@pytest.mark.parametrize("call", ["search", "search_many"])
def test_queries_of_uneven_rows_are_the_senders_mistake(client, call, query):
    body = {"queries": [query]} if call == "search_many" else {"query": query}
    response = client.post(f"/collections/books/{call}", json={**body, "mode": "dense"})
    assert response.status_code == 400
    assert response.json()["error"]["type"].endswith("Error")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("OPTIONS", "/collections/books/snapshots", "GET, POST"),
        ("PUT", "/collections/books/search", "POST"),
        ("PUT", "/collections/books/feed", "GET"),
    ],
)
def test_allow_names_every_method_of_an_address(client, method, path, allowed):
    response = client.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == allowed


def test_a_map_under_way_is_in_the_document(client, document):
    told = document["paths"]["/collections/{name}/map"]["post"]["responses"]["202"]
    schema = told["content"]["application/json"]["schema"]
    response = client.post("/collections/books/map", json={})
    if response.status_code == 202:
        assert set(response.json()) == set(schema["required"]) == set(schema["properties"])


def test_messages_of_agents_are_in_the_document(client, document):
    told = document["paths"]["/mcp"]["post"]
    schema = told["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["jsonrpc", "method"]
    assert client.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "ping"}).status_code == 200
    assert client.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"}).status_code == 202
    # A protocol error has the form of JSON-RPC, which the general form of errors is not.
    refused = client.post("/mcp", json={"jsonrpc": "2.0"})
    assert refused.status_code == 400
    forms = told["responses"]["400"]["content"]["application/json"]["schema"]["anyOf"]
    assert any(set(form["properties"]["error"]["required"]) <= set(refused.json()["error"]) for form in forms)


@pytest.mark.parametrize(
    ("call", "field", "bounds", "wrong"),
    [
        ("search", "k", {"minimum": 1}, 0),
        ("search", "offset", {"minimum": 0}, -1),
        ("search", "recall", {"minimum": 0, "maximum": 1}, 1.5),
        ("find", "limit", {"minimum": 1}, 0),
        ("snapshots", "name", {"minLength": 1, "maxLength": 64}, ""),
        ("spaces", "dim", {"minimum": 1}, 0),
    ],
)
def test_bounds_that_are_enforced_are_told(client, document, call, field, bounds, wrong):
    told = document["paths"][f"/collections/{{name}}/{call}"]["post"]
    schema = told["requestBody"]["content"]["application/json"]["schema"]["properties"][field]
    assert bounds.items() <= schema.items()
    body = {"search": {"query": "amber"}, "spaces": {"name": "other"}}.get(call, {})
    assert client.post(f"/collections/books/{call}", json={**body, field: wrong}).status_code == 400


def test_the_document_says_what_needs_a_key(client, document, tmp_path):
    assert "components" not in document or "securitySchemes" not in document["components"]
    keys = KeyFile(tmp_path / "keys.json")
    keys.add("a", {"*": "read"})
    with TestClient(create_app({"books": tmp_path / "b"}, keys=keys), base_url=LOCAL) as keyed:
        told = keyed.get("/openapi.json").json()
        assert told["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
        for path, methods in told["paths"].items():
            for method, call in methods.items():
                address = path.replace("{name}", "books").replace("{snapshot}", "a").replace("{model}", "a")
                shut = keyed.request(method, address).status_code == 401
                assert shut == (call["security"] == [{"key": []}]), path


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_server_that_is_told_to_end_while_it_starts_ends(tmp_path):
    # As process 1 of a container it would not even hear of it by default.
    program = (
        "import os, signal, time, orthant.server.running as running\n"
        "from orthant.cli.main import main\n"
        "def slow(*args, **settings):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(30)\n"
        "running.serve = slow\n"
        f"main(['serve', '--no-keys', '--create', {str(tmp_path / 'books')!r}])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(orthant.__file__).parents[1])}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, timeout=60, check=False)
    assert ended.returncode == 0
