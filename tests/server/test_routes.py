"""Every route answers as the collection does, and refuses in one form."""

from __future__ import annotations

import base64
import io
import json
import random

import numpy as np
import pytest

import orthant
from orthant.collection.collection import Collection
from orthant.collection.stages.listing import Listing
from orthant.server import Limits, create_app
from orthant.server.routes import bodies
from orthant.server.wire import decode_vector, decode_vectors, result_json, result_values, results_json, to_json
from server.serving import LOCAL, make

TestClient = pytest.importorskip("fastapi.testclient", exc_type=ImportError).TestClient


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return make(tmp_path_factory.mktemp("served") / "books")


@pytest.fixture(scope="module")
def client(path):
    with TestClient(create_app({"books": path}, limits=Limits(max_k=200, max_records=100)), base_url=LOCAL) as client:
        yield client


@pytest.fixture
def fresh(tmp_path):
    with TestClient(create_app({"books": make(tmp_path / "books")}), base_url=LOCAL) as client:
        yield client


def ask(client, call, body, *, status=200):
    response = client.post(f"/collections/books/{call}", json=body)
    assert response.status_code == status, response.text
    return response.json()


SEARCHES = [
    {"query": "amber"},
    {"query": "amber basin", "k": 3, "explain": True, "where": {"n": {"lt": 20}}, "facets": ["kind"]},
    {"vector": [1.0] * 8, "k": 3, "mode": "dense", "steer": {"away": [[1.0, 0, 0, 0, 0, 0, 0, 0]], "strength": 0.5}},
    {"vector": [1.0] * 8, "k": 4, "recall": 1.0},
    {"query": "cedar", "vector": [0.5] * 8, "mode": "hybrid", "weights": {"dense": 0.7, "lexical": 0.3}},
    {"query": "text", "mode": "lexical", "group_by": "kind", "groups": 2, "per_group": 2},
    {"vector": [1.0] * 8, "mode": "dense", "diversity": 0.4, "k": 5, "include_text": False},
]


@pytest.mark.parametrize(
    ("body", "shared"),
    [
        ({"query": "amber"}, True),
        ({"query": "amber", "vector": [1.0] * 8, "mode": "hybrid", "where": {"n": {"lt": 20}}}, True),
        ({"vector": [1.0] * 8}, True),
        ({"query": "amber", "mode": "lexical", "facets": ["kind"]}, False),
        ({"vector": [1.0] * 8, "mode": "dense", "diversity": 0.4}, False),
    ],
)
def test_quick_searches_of_several_clients_share_a_pass(client, body, shared):
    metrics = client.app.state.service.metrics
    passes, queries = metrics.batched
    ask(client, "search", body)
    assert metrics.batched == (passes + shared, queries + shared)


@pytest.mark.parametrize("body", SEARCHES)
def test_a_search_over_http_is_the_search_of_the_collection(client, path, body):
    with orthant.open(path, read_only=True) as collection:
        expected = collection.search(**body)
    found = ask(client, "search", body)
    for answer in (found, json.loads(to_json(expected.to_dict()))):
        answer["plan"]["seconds"] = answer["plan"]["stages"] = None
        for leg in answer["plan"]["legs"]:
            leg["seconds"] = 0
        if answer is found:
            mine = answer
    assert mine == answer
    for told in (to_json(result_values(expected)), result_json(expected)):
        assert json.loads(told) == json.loads(to_json(expected.to_dict()))


def test_json_of_a_list_is_written_without_a_hit(tmp_path, monkeypatch):
    with orthant.open(tmp_path / "c") as collection:
        texts = ['a "kite" \\ é\n', None, "boat"]
        collection.upsert(["é", 'b"', "c"], texts=texts, metadata=[{"é": [1, None, "\u2028"]}, {}, {"x": 0.1}])
        collection.upsert(["d"], texts=["kite"], vectors=[[1.0, 0.0]])
        settings = {"vectors": [[1.0, 0.5]] * 2, "mode": "hybrid", "syntax": "plain", "facets": ["x"]}
        expected = [result.to_dict() for result in collection.search_many(["kite", "boat"], **settings)]
        found = collection.search_many(["kite", "boat"], **settings)
    monkeypatch.setattr(Listing, "hits", None)
    for told, one in zip(results_json(found), expected, strict=True):
        answer, wanted = json.loads(told), json.loads(to_json(one))
        for values in (answer, wanted):
            values.pop("plan")
        assert answer == wanted
        assert {hit["legs"]["dense"]["score"] is None for hit in answer["hits"]} == {True, False}


def test_a_plan_that_a_batch_shares_is_written_once(path, monkeypatch):
    from orthant.collection.results import Plan

    written, plain = [], Plan.to_dict
    monkeypatch.setattr(Plan, "to_dict", lambda self: written.append(self) or plain(self))
    with orthant.open(path, read_only=True) as collection:
        found = collection.search_many([None] * 9, vectors=np.eye(9, 8) + 0.1, mode="dense")
        assert len(results_json(found)) == 9
    assert len(written) == 1


def test_bodies_have_the_arguments_of_the_calls():
    import inspect

    for model, method in (
        (bodies.SearchBody, Collection.search),
        (bodies.SearchManyBody, Collection.search_many),
        (bodies.SimilarBody, Collection.similar),
        (bodies.WhyNotBody, Collection.why_not),
        (bodies.FindBody, Collection.find),
        (bodies.DeleteBody, Collection.delete),
    ):
        parameters = inspect.signature(method).parameters
        assert set(model.model_fields) == set(parameters) - {"self"}, model.__name__
        for name, field in model.model_fields.items():
            default = parameters[name].default
            if not field.is_required() and default not in ((), inspect.Parameter.empty):
                assert field.get_default(call_default_factory=True) == default, (model.__name__, name)


def test_several_queries_and_examples(client):
    found = ask(client, "search_many", {"queries": ["amber", "basin"], "k": 2})["results"]
    assert [len(one["hits"]) for one in found] == [2, 2]
    matrix = np.eye(8, dtype="<f4")[:3]
    packed = base64.b64encode(matrix.tobytes()).decode()
    of_numbers = ask(client, "search_many", {"queries": [None] * 3, "vectors": matrix.tolist(), "k": 2})["results"]
    of_bytes = ask(client, "search_many", {"queries": [None] * 3, "vectors": packed, "k": 2})["results"]
    assert [[h["id"] for h in one["hits"]] for one in of_numbers] == [
        [h["id"] for h in one["hits"]] for one in of_bytes
    ]
    like = ask(client, "similar", {"positive": ["r1"], "negative": "r2", "k": 3})
    assert len(like["hits"]) == 3
    assert "r1" not in [hit["id"] for hit in like["hits"]]
    told = ask(client, "why_not", {"query": "heath", "record_id": "r1", "mode": "lexical"})
    assert not told["found"]
    assert told["sentence"]


def test_records_are_written_read_and_removed(fresh):
    vector = np.arange(1, 9, dtype="<f4")
    packed = base64.b64encode(vector.tobytes()).decode()
    report = ask(fresh, "upsert", {"ids": ["x", "y"], "texts": ["new", None], "vectors": [packed, None]})
    assert report["records"] == 2
    x, y, z = ask(fresh, "get", {"ids": ["x", "y", "z"], "vectors": True, "form": "base64"})["records"]
    assert x["vectors"]["default"] == packed
    assert "vectors" not in y
    assert z is None
    assert ask(fresh, "find", {"where": {"n": {"gte": 38}}})["records"][0]["id"] == "r38"
    assert ask(fresh, "delete", {"ids": ["x", "none"]}) == {"removed": 1}
    assert fresh.get("/collections/books/ids").json()["ids"][-1] == "y"
    assert fresh.get("/collections/books").json()["records"] == 41


def test_arrow_in_place_of_json(fresh):
    pa = pytest.importorskip("pyarrow")
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(1, 17, dtype=np.float32)), 8)
    table = pa.table({"id": ["p", "q"], "text": ["a", "b"], "metadata": ['{"n": 1}', None], "vector_default": vectors})

    def send(table):
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        kind = {"content-type": "application/vnd.apache.arrow.stream"}
        return fresh.post("/collections/books/upsert", content=sink.getvalue(), headers=kind)

    assert send(table).json()["vectors"] == {"default": 2}
    (p,) = ask(fresh, "get", {"ids": ["p"], "vectors": True})["records"]
    assert p["metadata"] == {"n": 1}
    assert p["vectors"]["default"] == list(range(1, 9))
    assert send(table.append_column("more", pa.array([1, 2]))).status_code == 400
    assert (
        fresh.post("/collections/books/upsert", content=b"?", headers={"content-type": "text/plain"}).status_code == 415
    )


def lines(*records):
    return "\n".join(one if isinstance(one, str) else json.dumps(one) for one in records)


def bulk(client, content):
    return client.post("/collections/books/bulk", content=content, headers={"content-type": "application/x-ndjson"})


def test_bulk_says_how_far_it_came(fresh):
    many = [{"id": f"b{i}", "text": f"line {i}", "metadata": {"n": -1}} for i in range(2300)]
    report = bulk(fresh, lines(*many)).json()
    assert (report["records"], report["batches"]) == (2300, 3)
    refused = bulk(fresh, lines(*many[:1500], '{"id": 7}', *many[1500:]))
    assert refused.status_code == 400
    # Batches of a thousand: the first is stored, the one with the bad line is not.
    assert refused.json()["error"]["records"] == 1000
    assert "line 1501" in refused.json()["error"]["message"]
    assert bulk(fresh, b"").json()["records"] == 0


def test_bulk_refuses_an_endless_line(tmp_path):
    app = create_app({"books": tmp_path / "new"}, limits=Limits(max_record_bytes=1000))
    with TestClient(app, base_url=LOCAL) as client:
        refused = bulk(client, b'{"id": "' + b"x" * 5000)
        assert refused.status_code == 413
        assert bulk(client, lines({"id": "a", "text": "ok"})).json()["records"] == 1


def test_collections_as_a_whole(fresh, tmp_path):
    assert [one["name"] for one in fresh.get("/collections").json()["collections"]] == ["books"]
    stats = fresh.get("/collections/books/stats")
    assert stats.json()["records"] == 40
    assert str(tmp_path) not in stats.text
    assert ask(fresh, "snapshots", {"name": "before"})["records"] == 40
    ask(fresh, "delete", {"where": {"n": {"lt": 10}}})
    assert ask(fresh, "snapshots/before/restore", {})["brought_back"] == 10
    assert [one["name"] for one in fresh.get("/collections/books/snapshots").json()["snapshots"]] == ["before"]
    assert fresh.delete("/collections/books/snapshots/before").status_code == 200
    assert ask(fresh, "check", {})["ok"]
    assert ask(fresh, "finish", {})["merged"] == {"default": 0}
    assert ask(fresh, "spaces", {"name": "more", "dim": 3})["dim"] == 3
    assert set(fresh.get("/collections/books").json()["spaces"]) == {"default", "more"}


@pytest.mark.parametrize(
    ("call", "body", "status", "kind"),
    [
        ("search", {"query": "x", "k": 0}, 400, "InputError"),
        ("search", {"query": "x", "k": 201}, 400, "InputError"),
        ("search", {"query": "x", "k": "5"}, 400, "InputError"),
        ("search", {"query": "x", "kk": 5}, 400, "InputError"),
        ("search", {"vector": [1.0]}, 400, "DimensionError"),
        ("search", {"vector": "no base64!"}, 400, "InputError"),
        ("search", {"query": "x", "where": {"n": {"oops": 1}}}, 400, "FilterError"),
        ("search", {"query": "x", "rerank": "../../model"}, 400, "InputError"),
        ("search", {"query": "x", "space": "none"}, 404, "NotFoundError"),
        ("search", {"query": "x", "offset": 10**9}, 400, "InputError"),
        ("search", {"query": "x", "threads": 10**6}, 400, "InputError"),
        ("get", {"ids": ["a"] * 101}, 400, "InputError"),
        ("find", {"limit": 101}, 400, "InputError"),
        ("upsert", {"ids": ["a", "a"]}, 400, "InputError"),
        ("snapshots", {"name": "../up"}, 400, "InputError"),
        ("diagnose", {"space": "none"}, 400, "InputError"),
    ],
)
def test_refusals_have_one_form(client, call, body, status, kind):
    error = ask(client, call, body, status=status)["error"]
    assert error["type"] == kind
    assert error["message"].startswith("Got ")


def test_nothing_else_is_served(client):
    for method, path in (("GET", "/nowhere"), ("GET", "/collections/books/search"), ("GET", "/collections/none")):
        response = client.request(method, path)
        assert response.status_code in (404, 405)
        assert set(response.json()["error"]) == {"type", "message"}


NASTY = (
    *(None, True, 0, -1, 10**30, 1e308, "", "\x00", "x" * 3000, "\u202e", "'; DROP TABLE records; --", "../../etc"),
    *([], [[]], [None], ["a", 1], [1e39] * 8, [0.0] * 8, {}, {"a": {"b": {}}}, {"$where": "1"}, {"or": []}),
    *(
        {"not": {"not": {"n": 1}}},
        {"n": {"in": [{}]}},
        {"base64": "AAAA", "shape": [1, -1]},
        {"indices": [1], "values": "x"},
    ),
)


def test_fuzzed_bodies_are_refused_and_never_an_error_of_the_server(fresh):
    document = fresh.get("/openapi.json").json()
    calls = []
    for path, methods in document["paths"].items():
        content = methods.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json")
        # Mistakes of JSON-RPC have its own form.
        if content and not path.endswith("/diagnose") and path != "/mcp":
            calls.append((path.replace("{name}", "books").replace("{snapshot}", "s"), content["schema"]))
    assert len(calls) >= 9
    chance, seen = random.Random(0), set()
    for _ in range(300):
        path, schema = chance.choice(calls)
        body = {"query": "amber"} if "query" in schema["properties"] else {}
        body |= {name: ["r1"] for name in schema.get("required", ()) if name in ("ids", "queries", "positive")}
        for name in chance.sample(
            sorted(schema["properties"]), k=min(chance.choice([0, 1, 1, 2]), len(schema["properties"]))
        ):
            body[name] = chance.choice(NASTY)
        response = fresh.post(path, json=body)
        seen.add(response.status_code)
        assert response.status_code in (200, 202, 400, 404), (path, body, response.text[:500])
        if response.status_code >= 400:
            assert set(response.json()["error"]) >= {"type", "message"}
    assert seen >= {200, 400}
    assert fresh.post("/collections/books/check", json={}).json()["ok"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[" * 100_000, b'{"query": NaN}', b"\xff\xfe", b'"text"', b'{"query": "\\ud800"}', b"null"]
)
def test_bodies_that_are_no_json(client, content):
    response = client.post("/collections/books/search", content=content, headers={"content-type": "application/json"})
    assert response.status_code == 400, response.text
    assert response.json()["error"]["type"] == "InputError"


def test_html_in_records_stays_text(fresh):
    evil = "<script>alert(1)</script>"
    ask(fresh, "upsert", {"ids": ["e"], "texts": [evil], "metadata": [{"h": evil}]})
    response = fresh.post("/collections/books/search", json={"query": "alert"})
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.json()["hits"][0]["text"] == evil


def test_vectors_on_the_wire():
    X = np.arange(6, dtype="<f4").reshape(2, 3)
    packed = base64.b64encode(X.tobytes()).decode()
    assert decode_vectors({"a": packed}, 2)["a"].tolist() == X.tolist()
    assert decode_vector({"base64": packed, "shape": [2, 3]}).tolist() == X.tolist()
    assert decode_vectors([{"3": 0.5}, None], 2) == [{3: 0.5}, None]
    assert json.loads(to_json({"a": float("nan"), "b": np.float32(2), "c": (1, float("inf"))})) == {
        "a": None,
        "b": 2.0,
        "c": [1, None],
    }
    for bad in ("AAA", "AAAA", {"base64": packed, "shape": [3, 3]}):
        with pytest.raises(orthant.errors.InputError):
            decode_vector(bad)


def test_the_documentation_needs_no_other_host(client):
    page = client.get("/docs")
    assert "script" not in page.text.lower()
    assert "//" not in page.text.replace("<!doctype", "").replace("://", "") or "http" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for path in client.get("/openapi.json").json()["paths"]:
        assert f"<code>{path}</code>" in page.text


def test_metrics_count_by_route_and_hold_nothing_of_clients(client, caplog):
    caplog.set_level("INFO", logger="orthant.server")
    secret = "unmistakable"
    ask(client, "search", {"query": secret})
    client.get(f"/collections/{secret}")
    client.get(f"/{secret}?{secret}={secret}", headers={"x-test": secret})
    client.request("".join(chr(c) for c in b"BREW"), "/healthz")
    text = client.get("/metrics").text
    assert 'orthant_requests_total{method="POST",route="/collections/{name}/search",status="200"}' in text
    assert 'orthant_collection_records{collection="books"} 40' in text
    assert 'method="other"' in text
    assert secret not in text
    assert secret not in caplog.text
    assert "/collections/{name}/search 200" in caplog.text
