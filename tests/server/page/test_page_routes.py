"""The page's files and the routes that only it needs."""

from __future__ import annotations

import base64
import json
import re
import time

import numpy as np
import pytest

import orthant
from orthant.server import KeyFile, create_app
from orthant.server.page.files import POLICY
from orthant.server.page.maps import colours
from orthant.server.page.tools import check_file_name
from server.serving import LOCAL, make

TestClient = pytest.importorskip("fastapi.testclient", exc_type=ImportError).TestClient
FILES = ("index.html", "main.js", "api.js", "dom.js", "search.js", "map.js", "style.css", "icon.svg")


@pytest.fixture
def client(tmp_path):
    with TestClient(create_app({"books": make(tmp_path / "books")}), base_url=LOCAL) as client:
        yield client


def _map(client, **body):
    for _ in range(200):
        response = client.post("/collections/books/map", json=body)
        if response.status_code != 202:
            break
        time.sleep(0.02)
    assert response.status_code == 200, response.text
    return response.json()


def test_the_page_comes_with_a_policy_that_forbids_everything_from_elsewhere(client):
    found = client.get("/")
    assert found.url.path == "/page/" and found.headers["content-type"].startswith("text/html")
    assert found.headers["content-security-policy"] == POLICY
    for part in ("default-src 'none'", "script-src 'self'", "require-trusted-types-for 'script'"):
        assert part in POLICY
    assert "unsafe" not in POLICY
    for name in FILES:
        answer = client.get(f"/page/{name}")
        assert answer.status_code == 200 and answer.headers["x-content-type-options"] == "nosniff"
        again = client.get(f"/page/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304 and not again.content


def test_nothing_of_the_page_is_inline_or_elsewhere_or_made_of_text(client):
    page = client.get("/page/").text
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|\sstyle=|<style", page)
    for name in {*FILES, *re.findall(r'from "\./(\w+\.js)"', client.get("/page/main.js").text)}:
        text = client.get(f"/page/{name}").text.replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text, name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function", text), name


@pytest.mark.parametrize(
    "path", ["nothing.js", "..%2f..%2fapp.py", "%2e%2e/app.py", "main.js%00", "style.css/../../app.py"]
)
def test_no_other_file_can_be_had(client, path):
    assert client.get(f"/page/{path}").status_code == 404


def test_the_page_needs_no_key_and_its_data_do(tmp_path):
    keys = KeyFile(tmp_path / "keys.json")
    secret = keys.add("reader", {"books": "read"})
    secret = getattr(secret, "secret", secret)
    with TestClient(create_app({"books": make(tmp_path / "books")}, keys=keys), base_url=LOCAL) as client:
        assert client.get("/page/").status_code == 200 and client.get("/", follow_redirects=False).status_code == 307
        # The entrance is open, and nothing below it is.
        assert client.get("/elsewhere").status_code == 401 and client.get("/collections/books").status_code == 401
        assert client.get("/collections").status_code == 401
        for call, body in (("map", {}), ("map/values", {"field": "n"})):
            assert client.post(f"/collections/books/{call}", json=body).status_code == 401
        reader = {"Authorization": f"Bearer {secret}"}
        raw = {**reader, "Content-Type": "application/octet-stream"}
        answer = client.post("/collections/books/documents?file=a.txt", content=b"x", headers=raw)
        assert answer.status_code == 403


def test_a_map_holds_every_record_and_is_computed_once(client, monkeypatch):
    found = _map(client)
    places = np.frombuffer(base64.b64decode(found["places"]), "<f4").reshape(-1, 2)
    assert found["ids"] == [f"r{i}" for i in range(40)] and places.shape == (40, 2) and found["current"]
    monkeypatch.setattr("orthant.server.page.maps.lay_out", None)
    assert _map(client)["places"] == found["places"]
    assert _map(client, refresh=True)["places"] == found["places"]


def test_a_map_made_before_a_write_says_so_until_it_is_made_anew(client):
    before = _map(client)
    client.post("/collections/books/delete", json={"ids": ["r3"]})
    old = _map(client)
    assert not old["current"] and old["places"] == before["places"] and old["ids"][3] is None
    _map(client, refresh=True)
    new = _map(client)
    assert new["current"] and len(new["ids"]) == 39


def test_colours_follow_the_rows_of_the_map(client):
    assert client.post("/collections/books/map/values", json={"field": "kind"}).status_code == 404
    _map(client)
    kinds = client.post("/collections/books/map/values", json={"field": "kind"}).json()
    assert kinds["labels"] == ["amber", "basin", "cedar"] and kinds["counts"] == [14, 13, 13]
    assert kinds["codes"] == [i % 3 for i in range(40)]
    numbers = client.post("/collections/books/map/values", json={"field": "n"}).json()
    assert numbers["kind"] == "numbers" and numbers["codes"] == sorted(numbers["codes"])
    assert numbers["codes"][0] == 0 and numbers["codes"][-1] == 255


def test_colours_tell_values_that_python_takes_for_equal_apart():
    found = colours([1, True, "1", 1.0, None, ["x", 1]])
    assert found["distinct"] == 5 and found["codes"][4] == -1
    many = colours([f"v{i % 20}" for i in range(100)])
    assert many["labels"][-1] is None and many["counts"][-1] == 60 and len(many["labels"]) == 9
    tagged = colours([["all", "a"], ["b", "all"], ["all"], None])
    assert tagged["labels"] == ["a", "b"] and tagged["codes"] == [0, 1, -1, -1]
    assert colours([]) == {"kind": "values", "labels": [], "counts": [], "distinct": 0, "missing": 0, "codes": []}
    assert colours([float(i) for i in range(20)] + [1e300])["kind"] == "numbers"


def test_a_space_without_vectors_for_a_map_is_refused(client):
    assert client.post("/collections/books/map", json={"space": "none"}).status_code == 400
    assert client.post("/collections/other/map", json={}).status_code == 404


def _send(client, name, body):
    raw = {"Content-Type": "application/octet-stream"}
    return client.post("/collections/books/documents", params={"file": name}, content=body, headers=raw)


def test_a_document_is_indexed_and_replaces_itself(client):
    first = _send(
        client, "notes.md", b"# Lamps\n\nThe keeper trims the wick.\n\n# Boats\n\nA dory at the quay.\n"
    ).json()
    assert first["added"] == 1 and first["chunks_written"] >= 1
    found = client.post("/collections/books/search", json={"query": "wick", "mode": "lexical"}).json()["hits"]
    assert found[0]["metadata"]["source"] == "notes.md" and found[0]["metadata"]["folder"] == "uploads"
    assert _send(client, "notes.md", b"# Lamps\n\nThe keeper sleeps.\n").json()["updated"] == 1
    assert not client.post("/collections/books/search", json={"query": "wick", "mode": "lexical"}).json()["hits"]


def test_an_unreadable_document_is_refused_without_the_hosts_folders(client):
    answer = _send(client, "broken.pdf", b"%PDF-1.7 nothing")
    assert 400 <= answer.status_code < 500 or answer.status_code == 501
    assert "orthant-" not in answer.text and "/tmp" not in answer.text and json.loads(answer.text)["error"]["message"]


STRANGE = ("", "../a.txt", "a/b.md", "..\\a.txt", "a\x00.txt", ".hidden.md", "a.exe", "x" * 200 + ".md", "C:a.txt")


@pytest.mark.parametrize("name", STRANGE)
def test_names_of_files_are_only_names(client, name):
    with pytest.raises(orthant.errors.InputError):
        check_file_name(name)
    assert _send(client, name, b"x").status_code == 400


def test_a_map_that_fails_is_told_and_tried_anew(client, monkeypatch):
    def broken(*_, **__):
        raise orthant.errors.StoreError("Got a broken disk; expected another. Mend it.")

    with monkeypatch.context() as patch:
        patch.setattr("orthant.server.page.maps.lay_out", broken)
        answer = client.post("/collections/books/map", json={})
        while answer.status_code == 202:
            answer = client.post("/collections/books/map", json={})
        assert answer.status_code >= 500 and "broken disk" in answer.json()["error"]["message"]
    assert len(_map(client)["ids"]) == 40
