"""The OpenAPI document tells what every route answers, and every route answers that and nothing else."""

from __future__ import annotations

import json

import numpy as np
import pytest

import orthant
from collection.fakes import FakeEncoder, FakeSparseEncoder, FakeTokenEncoder
from orthant.papers import catalogue
from orthant.server import create_app
from orthant.server.keys import KeyFile
from server.serving import LOCAL, WORDS, make

TestClient = pytest.importorskip("fastapi.testclient", exc_type=ImportError).TestClient


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    home = tmp_path_factory.mktemp("answers")
    # Every kind of space in one, so that optional fields are there.
    with orthant.open(home / "all", encoder=FakeEncoder(), spaces={"s": FakeSparseEncoder()}) as every:
        every.upsert(
            [f"r{i}" for i in range(60)],
            texts=[f"{WORDS[i % 8]} {WORDS[i % 5]} text {i}" for i in range(60)],
            metadata=[{"n": i, "kind": WORDS[i % 3], "date": f"2024-01-{1 + i % 28:02}"} for i in range(60)],
        )
        with TestClient(
            create_app(
                {"all": every, "plain": make(home / "plain", count=60)},
                models={"static": "static"},
                upgrades={"second": FakeEncoder(seed=1)},
            ),
            base_url=LOCAL,
        ) as client:
            yield client


@pytest.fixture(scope="module")
def document(client):
    return json.loads(client.get("/openapi.json").text)


def operations(document):
    return [(method, path, told) for path, methods in document["paths"].items() for method, told in methods.items()]


def resolved(document, schema):
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


KINDS = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def wrong(document, schema, value, place="answer"):
    """What of a value a schema does not allow; a field that is not told is wrong as well."""
    schema = resolved(document, schema)
    if "anyOf" in schema:
        found = [wrong(document, one, value, place) for one in schema["anyOf"]]
        return [] if [] in found else [f"{place}: none of {found}"]
    if "const" in schema or "enum" in schema:
        allowed = schema.get("enum", [schema.get("const")])
        return [] if value in allowed else [f"{place}: {value!r} is none of {allowed}"]
    if "type" not in schema:
        return []
    kinds = [KINDS[one] for one in (schema["type"] if isinstance(schema["type"], list) else [schema["type"]])]
    if not any(isinstance(value, kind) and (not isinstance(value, bool) or kind is bool) for kind in kinds):
        return [f"{place}: {value!r} is no {schema['type']}"]
    if isinstance(value, list):
        return [
            one for i, item in enumerate(value[:50]) for one in wrong(document, schema["items"], item, f"{place}.{i}")
        ]
    if not isinstance(value, dict):
        return []
    properties, more = schema.get("properties", {}), schema.get("additionalProperties", not schema.get("properties"))
    out = [f"{place}: no {name}" for name in schema.get("required", ()) if name not in value]
    for name, held in value.items():
        if name in properties:
            out += wrong(document, properties[name], held, f"{place}.{name}")
        elif more is False:
            out.append(f"{place}: {name} is not told")
        elif isinstance(more, dict):
            out += wrong(document, more, held, f"{place}.{name}")
    return out


def test_no_route_without_a_shape_of_its_answer(document):
    for method, path, told in operations(document):
        content = told["responses"]["200"]["content"]
        for kind, about in content.items():
            schema = resolved(document, about["schema"])
            assert set(schema) & {"type", "anyOf"}, f"{method} {path} {kind}"
            # An object of anything says nothing.
            assert schema.get("type") != "object" or schema.get("properties"), f"{method} {path}"
            assert path == "/metrics" or schema.get("type") == "object" or "anyOf" in schema, f"{method} {path}"


def test_reports_are_told_whole_and_fields_described(document):
    schemas = document["components"]["schemas"]
    assert "truncated_tokens" in schemas["UpsertReport"]["required"] == list(schemas["UpsertReport"]["properties"])
    assert schemas["UpsertReport"]["properties"]["truncated_tokens"]["description"].startswith("Texts longer than")
    assert schemas["LegPlan"]["required"][-1] == "details"
    assert "stages" not in schemas["HitAnswer"]["required"]
    assert not [name for name, one in schemas.items() if not one.get("description") or "----" in one["description"]]


QUERY = {"query": "amber", "mode": "lexical"}
VECTOR = np.ones(8).tolist()
ASKED = [
    (
        "post",
        "search",
        {"query": "amber basin", "explain": True, "facets": ["kind", "n"], "spaces": {"default": 0.5, "s": 0.5}},
    ),
    ("post", "search", {"query": "amber", "mode": "dense", "diversity": 0.5}),
    ("post", "search", {**QUERY, "group_by": "kind", "explain": True}),
    ("post", "search", {"query": "no such word anywhere", "mode": "lexical", "where": {"n": {"gte": 500}}}),
    ("post", "search_many", {"queries": ["amber", "cedar"]}),
    ("post", "similar", {"positive": "r1", "negative": ["r2"]}),
    ("post", "why_not", {"query": "amber", "record_id": "r1", "where": {"n": {"gte": 30}, "odd": 3}}),
    ("post", "why_not", {"query": "amber", "record_id": "r8"}),
    ("post", "upsert", {"ids": ["new"], "texts": ["delta"]}),
    ("post", "get", {"ids": ["r1", "absent"], "vectors": True}),
    ("post", "get", {"ids": ["r1"], "vectors": True, "form": "base64"}),
    ("post", "find", {"limit": 3}),
    ("get", "ids", None),
    ("post", "delete", {"ids": ["new"]}),
    ("post", "bulk", b'{"id": "line", "text": "fjord"}'),
    ("get", "", None),
    ("get", "stats", None),
    ("post", "snapshots", {"name": "a"}),
    ("get", "snapshots", None),
    ("post", "snapshots/a/restore", None),
    ("delete", "snapshots/a", None),
    ("post", "spaces", {"name": "more", "dim": 3}),
    ("post", "spaces", {"name": "terms", "dim": 30, "kind": "sparse"}),
    ("post", "check", {}),
    ("post", "finish", None),
    ("post", "diagnose", {"sample": 60}),
    ("post", "map", {}),
    ("post", "map/values", {"field": "kind"}),
    ("post", "map/values", {"field": "n"}),
    ("post", "documents?file=a.md", b"# Title\n\nwords"),
    ("get", "feed", None),
    ("get", "feed?query=amber", None),
    ("post", "upgrade/rehearse", {"encoder": "second", "queries": [f"text {i}" for i in range(12)], "pairs": 50}),
    ("post", "upgrade/run", {"encoder": "second", "using": "reencode", "pairs": 50}),
    ("get", "upgrade", None),
    ("post", "upgrade/accept", {}),
    ("post", "upgrade/commit", None),
    ("post", "upgrade/rollback", {}),
    ("post", "upgrade/run", {"encoder": "second", "using": "reencode", "batch_size": 1, "pause_s": 0.2}),
    ("post", "upgrade/pause", None),
    ("post", "upgrade/run", {}),
    ("post", "upgrade/commit", None),
    ("post", "upgrade/release", None),
]
ELSEWHERE = [
    ("get", "/healthz", None),
    ("get", "/readyz", None),
    ("get", "/collections", None),
    ("get", "/v1/models", None),
    ("get", "/v1/models/static", None),
    ("post", "/v1/embeddings", {"model": "static", "input": ["a kite", "a boat"]}),
    ("post", "/v1/embeddings", {"model": "static", "input": "a kite", "encoding_format": "base64"}),
    ("post", "/v1/rerank", {"model": "static", "query": "kite", "documents": ["a", "kite"], "return_documents": True}),
    ("post", "/v2/rerank", {"model": "static", "query": "kite", "documents": ["a", "kite"], "top_n": 1}),
    ("post", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}),
]
TYPES = {"bulk": "application/x-ndjson", "documents": "application/octet-stream"}


def sent(client, method, address, body):
    kind = next((kind for end, kind in TYPES.items() if address.partition("?")[0].endswith(end)), "application/json")
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    while True:
        response = client.request(method, address, content=content, headers={"content-type": kind} if content else {})
        # A map, and a run that has not come to its end.
        if response.status_code == 202 or (response.status_code == 409 and "an upgrade runs" in response.text):
            continue
        assert response.status_code == 200, f"{address}: {response.text}"
        return response.json()


def test_every_route_answers_what_the_document_tells(client, document):
    covered = {("get", "/metrics")}
    for method, call, body in [*ASKED, *ELSEWHERE]:
        address = call if call.startswith("/") else f"/collections/all/{call}".rstrip("/")
        answer = sent(client, method, address, body)
        bare = address.partition("?")[0].replace("/snapshots/a", "/snapshots/{snapshot}")
        path = bare.replace("/collections/all", "/collections/{name}").replace(
            "/v1/models/static", "/v1/models/{model}"
        )
        content = document["paths"][path][method]["responses"]["200"]["content"]
        assert not wrong(document, content["application/json"]["schema"], answer), f"{method} {address}"
        covered.add((method, path))
    assert covered == {(method, path) for method, path, _ in operations(document)}


def test_a_field_that_is_not_told_or_of_another_kind_is_noticed(document):
    schema = document["paths"]["/collections/{name}/delete"]["post"]["responses"]["200"]["content"]["application/json"]
    assert not wrong(document, schema["schema"], {"removed": 3})
    for strange in ({"removed": "3"}, {"removed": 3, "more": 1}, {}, [], {"removed": None}):
        assert wrong(document, schema["schema"], strange)


def test_tokens_are_told_as_they_met(tmp_path):
    with orthant.open(tmp_path / "t", encoder=FakeEncoder()) as tokens:
        tokens.add_space("parts", encoder=FakeTokenEncoder(), kind="tokens")
        tokens.upsert(["a", "b"], texts=["amber basin", "cedar"])
        with TestClient(create_app({"t": tokens}), base_url=LOCAL) as client:
            document = client.get("/openapi.json").json()
            met = {"query": "amber", "mode": "tokens", "space": "parts", "explain": True}
            for call, body in (
                ("search", met),
                ("get", {"ids": ["a"], "vectors": True}),
                ("get", {"ids": ["a"], "vectors": True, "form": "base64"}),
            ):
                told = document["paths"][f"/collections/{{name}}/{call}"]["post"]["responses"]["200"]
                answer = client.post(f"/collections/t/{call}", json=body).json()
                assert not wrong(document, told["content"]["application/json"]["schema"], answer)
            assert "alignment" in client.post("/collections/t/search", json=met).json()["hits"][0]


def test_papers_and_keys_change_nothing_of_it(tmp_path, document):
    keys = KeyFile(tmp_path / "keys.json")
    keys.add("a", {"*": "read"})
    record = catalogue.documents()[0]
    with orthant.open(tmp_path / "papers", encoder=FakeEncoder()) as papers:
        papers.upsert([record["id"]], texts=[record["text"]], metadata=[record["metadata"]])
    with TestClient(create_app({"papers": tmp_path / "papers"}, keys=keys), base_url=LOCAL) as keyed:
        told = keyed.get("/openapi.json").json()
    assert told["components"]["schemas"] == document["components"]["schemas"]
