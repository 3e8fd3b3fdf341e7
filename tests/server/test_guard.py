"""As an attacker would: wrong hosts and origins, headers twice, bodies too large and too slow, paths of the host."""

from __future__ import annotations

import socket
import threading
import time
from urllib.parse import urlsplit

import pytest

from orthant.server import Limits, background, create_app
from orthant.server.keys import KeyFile
from server.serving import LOCAL, make, raw

TestClient = pytest.importorskip("fastapi.testclient", exc_type=ImportError).TestClient


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    limits = Limits(max_body_bytes=20_000, header_timeout_s=0.4, body_timeout_s=0.4, max_connections=20)
    with background({"books": make(tmp_path_factory.mktemp("guarded") / "books")}, limits=limits) as url:
        yield url


HEAD = b"POST /collections/books/search HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\n"


def status(answer):
    return int(answer.split()[1]) if answer else 0


def test_another_name_of_this_machine_is_refused_without_keys(url, tmp_path):
    # A page whose name was pointed at 127.0.0.1 sends its own name as Host.
    assert status(raw(url, b"GET /collections HTTP/1.1\r\nHost: evil.example\r\n\r\n")) == 421
    assert status(raw(url, b"GET /collections HTTP/1.1\r\nHost: localhost:1\r\n\r\n")) == 200
    assert status(raw(url, b"GET /collections HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n")) == 421
    keys = KeyFile(tmp_path / "keys.json")
    key = keys.add("a", {"*": "read"})
    with TestClient(create_app({"books": make(tmp_path / "b")}, keys=keys), base_url="http://a.example") as client:
        assert client.get("/collections", headers={"authorization": f"Bearer {key}"}).status_code == 200


def test_pages_of_other_origins_cannot_write(url):
    with TestClient(create_app({}), base_url=LOCAL) as client:
        for headers in ({"origin": "http://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
            response = client.post("/collections/books/upsert", json={"ids": ["x"]}, headers=headers)
            assert response.status_code == 403
            assert "access-control-allow-origin" not in response.headers
        # Its own pages may, and there is no such collection here.
        assert client.post("/collections/b/delete", json={}, headers={"origin": LOCAL}).status_code == 404
        # What a form can send without asking is no JSON.
        assert (
            status(raw(url, HEAD.replace(b"application/json", b"text/plain") + b"Content-Length: 2\r\n\r\n{}")) == 415
        )
        preflight = client.options("/collections", headers={"origin": "http://evil.example"})
        assert "access-control-allow-origin" not in preflight.headers


@pytest.mark.parametrize("extra", [b"Host: evil\r\n", b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"])
def test_headers_that_decide_are_there_once(url, extra):
    assert status(raw(url, b"GET /collections HTTP/1.1\r\nHost: HOST\r\n" + extra + b"\r\n")) == 400


def test_smuggled_and_injected_heads_are_refused(url):
    both = HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n"
    assert status(raw(url, both)) == 400
    for length in (b"-1", b"1e3", b"0x10", b"9" * 40):
        assert status(raw(url, HEAD + b"Content-Length: " + length + b"\r\n\r\n")) in (400, 413)
    answer = raw(url, b"GET /collections/a%0d%0aSet-Cookie:x=1 HTTP/1.1\r\nHost: HOST\r\n\r\n")
    assert b"set-cookie" not in answer.partition(b"\r\n\r\n")[0].lower()


def test_large_bodies_are_refused_before_and_while_they_come(url):
    assert status(raw(url, HEAD + b"Content-Length: 20001\r\n\r\n")) == 413
    chunk = b"2000\r\n" + b" " * 0x2000 + b"\r\n"
    answer = raw(url, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk * 4)
    assert status(answer) == 413
    assert b"connection: close" in answer.lower()


def test_large_heads_are_cut_off(url):
    answer = raw(url, b"GET / HTTP/1.1\r\nHost: HOST\r\n" + b"X: " + b"a" * 300_000)
    assert status(answer) in (0, 400, 431)


def closed_after(url, begin):
    parts = urlsplit(url)
    # A server that never gives up is noticed by the time that a read may take.
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
        connection.sendall(begin.replace(b"HOST", b"127.0.0.1"))
        found = b""
        while piece := connection.recv(65536):
            found += piece
        return found


def test_slow_heads_and_bodies_are_given_up(url):
    assert closed_after(url, b"GET /healthz HT") == b""
    assert status(closed_after(url, HEAD + b"Content-Length: 100\r\n\r\n{")) == 408


def test_a_connection_that_rests_between_requests_stays(url):
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        for _ in range(2):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            found = b""
            while b"alive" not in found:
                piece = connection.recv(65536)
                assert piece, "closed"
                found += piece
            time.sleep(0.6)


@pytest.mark.parametrize(
    "path",
    [
        "/collections/..%2f..%2fetc%2fpasswd",
        "/collections/%2e%2e/%2e%2e/etc/passwd",
        "/../../etc/passwd",
        "/collections/books/snapshots/..%2f..%2fbooks",
        "/docs/../../pyproject.toml",
        "/collections/books%00/stats",
        "//etc/passwd",
    ],
)
def test_no_path_of_the_host_is_reachable(url, path):
    for method in (b"GET", b"DELETE"):
        answer = raw(url, method + b" " + path.encode() + b" HTTP/1.1\r\nHost: HOST\r\n\r\n")
        assert status(answer) in (400, 404, 405)
        assert b"root:" not in answer


def test_errors_hide_folders(tmp_path):
    path = make(tmp_path / "books")
    app = create_app({"books": path})
    with TestClient(app, base_url=LOCAL) as client:
        service = app.state.service
        assert service.hide(f"Got {path}/store.sqlite") == "Got books/store.sqlite"

        @app.get("/broken")
        async def broken():
            raise ValueError(f"secret of a client in {path}")

        response = client.get("/broken")
    assert response.status_code == 500
    assert response.json()["error"]["type"] == "InternalError"
    assert "secret" not in response.text
    assert str(tmp_path) not in response.text


def test_searches_have_a_time_and_writes_do_not(tmp_path, monkeypatch):
    from orthant.collection.collection import Collection

    app = create_app({"books": make(tmp_path / "books")}, limits=Limits(call_timeout_s=0.05))
    real, slow, told = Collection.upsert, {"find": Collection.find}, threading.Event()

    def upsert(self, *args, **kwargs):
        time.sleep(0.3)
        return real(self, *args, **kwargs)

    def find(self, *args, **kwargs):
        assert told.wait(60)
        return slow["find"](self, *args, **kwargs)

    monkeypatch.setattr(Collection, "upsert", upsert)
    monkeypatch.setattr(Collection, "find", find)
    with TestClient(app, base_url=LOCAL) as client:
        assert client.post("/collections/books/find", json={}).status_code == 504
        told.set()
        assert client.post("/collections/books/upsert", json={"ids": ["x"], "texts": ["x"]}).status_code == 200


def test_more_than_may_wait_is_told_to_come_back(tmp_path, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor, as_completed

    from orthant.collection.collection import Collection

    seen = threading.Event()

    def find(self, *args, **kwargs):
        assert seen.wait(60)
        return []

    monkeypatch.setattr(Collection, "find", find)
    limits = Limits(concurrency=1, max_waiting=1)
    app = create_app({"books": make(tmp_path / "books")}, limits=limits)
    with TestClient(app, base_url=LOCAL) as client, ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(client.post, "/collections/books/find", json={}) for _ in range(6)]
        # One runs and one waits until the other four have been refused.
        answered = as_completed(asked)
        refused = [next(answered).result() for _ in range(4)]
        seen.set()
        found = [one.result() for one in asked]
    assert [one.status_code for one in refused] == [503] * 4
    assert sorted(one.status_code for one in found) == [200] * 2 + [503] * 4
    assert refused[0].headers["retry-after"] == "1"
    assert refused[0].json()["error"]["type"] == "OverloadedError"
