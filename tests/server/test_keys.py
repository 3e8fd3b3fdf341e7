"""Keys: hashed at rest, compared in constant time, scoped, revoked at once."""

from __future__ import annotations

import hmac
import json
import os
import stat

import pytest

from orthant.errors import InputError, NotFoundError, StoreCorruptedError
from orthant.server import create_app
from orthant.server.keys import Grant, KeyFile
from orthant.server.metrics import LOGGER
from server.serving import LOCAL, make

TestClient = pytest.importorskip("fastapi.testclient", exc_type=ImportError).TestClient


@pytest.fixture
def keys(tmp_path):
    return KeyFile(tmp_path / "folder" / "keys.json")


def test_only_a_hash_is_kept(keys):
    key = keys.add("reader", {"books": "read"})
    held = keys.path.read_text()
    assert key not in held
    assert key.rpartition("_")[2] not in held
    assert keys.verify(key) == Grant(keys.list()[0].key, {"books": "read"})
    assert "hash" not in keys.list()[0].to_dict()
    if os.name == "posix":
        assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600


def test_wrong_keys_are_compared_in_constant_time_and_refused(keys, monkeypatch):
    key = keys.add("reader", {"*": "read"})
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or real(a, b))
    unknown = "orth_" + "0" * 12 + key[17:]
    for wrong in (key[:-1] + ("A" if key[-1] != "A" else "B"), unknown, "", "x", key + "\n", key.upper(), None):
        assert keys.verify(wrong) is None
    assert len(compared) == 7
    assert keys.verify(key) is not None


def test_scopes_hold_those_before_them():
    grant = Grant("k", {"books": "write", "*": "read"})
    assert grant.allows("books", "read")
    assert grant.allows("books", "write")
    assert not grant.allows("books", "admin")
    assert grant.allows("other", "read")
    assert not grant.allows("other", "write")
    assert not Grant("k", {"books": "admin"}).allows("*", "read")


def test_bad_labels_scopes_and_files_are_refused(keys):
    for label, scopes in (
        ("", {"*": "read"}),
        ("a b", {"*": "read"}),
        ("a", {}),
        ("a", {"*": "root"}),
        ("a", {"../x": "read"}),
    ):
        with pytest.raises(InputError):
            keys.add(label, scopes)
    assert not keys.path.exists()
    keys.add("a", {"*": "read"})
    with pytest.raises(InputError):
        keys.add("a", {"*": "read"})
    with pytest.raises(NotFoundError):
        keys.revoke("b")
    keys.path.write_text("{")
    with pytest.raises(StoreCorruptedError):
        KeyFile(keys.path).list()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    keys = KeyFile(folder / "keys.json")
    made = {
        "reader": keys.add("reader", {"books": "read"}),
        "writer": keys.add("writer", {"books": "write"}),
        "admin": keys.add("admin", {"*": "admin"}),
    }
    app = create_app({"books": make(folder / "b"), "diary": make(folder / "d")}, keys=keys)
    with TestClient(app, base_url=LOCAL) as client:

        def ask(who, method, path, body=None):
            headers = {"authorization": f"Bearer {made.get(who, who)}"} if who else {}
            return client.request(method, path, json=body, headers=headers)

        ask.keys = keys
        yield ask


CALLS = [
    ("POST", "/collections/books/search", {"query": "amber"}, "read"),
    ("POST", "/collections/books/upsert", {"ids": ["x"], "texts": ["x"]}, "write"),
    ("POST", "/collections/books/delete", {"ids": ["x"]}, "write"),
    ("POST", "/collections/books/check", {}, "admin"),
    ("POST", "/collections/books/snapshots", {"name": "s"}, "admin"),
    ("POST", "/collections/diary/search", {"query": "amber"}, "admin"),
    ("GET", "/metrics", None, "admin"),
]


@pytest.mark.parametrize(("method", "path", "body", "scope"), CALLS)
def test_scopes_are_asked_for_everywhere(served, method, path, body, scope):
    order = ("read", "write", "admin")
    for who, held in (("reader", "read"), ("writer", "write"), ("admin", "admin")):
        allowed = order.index(held) >= order.index(scope)
        response = served(who, method, path, body)
        assert response.status_code == (200 if allowed else 403), (who, response.text)
    for who in (None, "nonsense", "orth_" + "0" * 12 + "_" + "A" * 43):
        assert served(who, method, path, body).status_code == 401


def test_every_route_needs_a_key_but_five(served):
    document = served(None, "GET", "/openapi.json").json()
    public = set()
    for path, methods in document["paths"].items():
        for method in methods:
            if served(None, method.upper(), path.replace("{name}", "books"), {}).status_code != 401:
                public.add(path)
    assert public == {"/healthz", "/readyz"}
    assert served(None, "GET", "/docs").status_code == 200


def test_a_key_does_not_tell_which_collections_exist(served):
    there = served("reader", "GET", "/collections/diary")
    absent = served("reader", "GET", "/collections/nowhere")
    assert (there.status_code, there.text) == (absent.status_code, absent.text)
    assert [one["name"] for one in served("reader", "GET", "/collections").json()["collections"]] == ["books"]


def test_revoked_and_added_keys_count_at_once(served):
    keys = served.keys
    key = keys.add("late", {"books": "read"})
    assert served(key, "GET", "/collections/books").status_code == 200
    keys.revoke("late")
    assert served(key, "GET", "/collections/books").status_code == 401


def test_keys_are_in_no_log(served, caplog, monkeypatch):
    # A program that serves keeps its log to itself.
    monkeypatch.setattr(LOGGER, "propagate", True)
    caplog.set_level("DEBUG")
    caplog.set_level("DEBUG", logger=LOGGER.name)
    served("orth_secretsecretsecret", "GET", "/collections/books")
    served("reader", "GET", "/collections/books")
    assert "secret" not in caplog.text
    assert "key=" in caplog.text


def test_another_form_of_file_is_refused(keys):
    keys.add("a", {"*": "read"})
    held = json.loads(keys.path.read_text())
    keys.path.write_text(json.dumps({**held, "format": 99}))
    with pytest.raises(StoreCorruptedError):
        KeyFile(keys.path).list()
