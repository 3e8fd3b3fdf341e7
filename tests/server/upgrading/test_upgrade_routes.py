"""Encoders replaced over HTTP: rehearsed, run, paused, gone on with, committed, taken back; and never by a reader."""

from __future__ import annotations

import threading
import time

import pytest

import orthant
from collection.fakes import FakeEncoder
from orthant.server import KeyFile, create_app
from orthant.server.upgrading.runs import SHIPPED, Upgrades
from server.serving import LOCAL
from server.upgrading.slow import Slow

TestClient = pytest.importorskip("fastapi.testclient", exc_type=ImportError).TestClient
RECORDS = 120
BASE = "/collections/books/upgrade"


def texts(count=RECORDS):
    return [f"word{i} word{i % 7} word{i % 5} text" for i in range(count)]


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "books"
    with orthant.open(path, encoder=FakeEncoder()) as books:
        books.upsert([f"r{i}" for i in range(RECORDS)], texts=texts())
    return path


def served(folder, second, **settings):
    app = create_app({"books": lambda: orthant.open(folder, encoder=FakeEncoder())}, upgrades=second, **settings)
    return TestClient(app, base_url=LOCAL)


def ask(client, call, body=None, *, status=200, **about):
    response = client.post(f"{BASE}/{call}", json=body, **about)
    assert response.status_code == status, response.text
    return response.json()


def until(client, condition):
    for _ in range(2000):
        told = client.get(BASE).json()
        if condition(told):
            return told
        time.sleep(0.005)
    raise AssertionError(told)


def rested(client):
    return until(client, lambda told: told["run"]["state"] not in ("running", "pausing"))


def best(client, text):
    body = {"query": text, "mode": "dense", "k": 3, "include_text": False}
    hits = client.post("/collections/books/search", json=body).json()["hits"]
    return [(hit["id"], round(hit["score"], 5)) for hit in hits]


REHEARSAL = {"encoder": "second", "queries": [f"{text} asked" for text in texts(20)], "pairs": 100}


def test_rehearse_run_commit_and_roll_back(folder):
    second = Slow(1)
    with served(folder, {"second": second}) as client:
        assert client.get(BASE).json() == {
            "encoders": ["second"],
            "run": {"state": "idle", "share": None, "error": None},
            "upgrade": None,
            "rehearsal": None,
        }
        before = best(client, "word3 word4")
        found = ask(client, "rehearse", REHEARSAL)
        assert found["action"] in ("do", "reencode", "don't") and found["reason"]
        assert found["arms"]["new/new"] > found["arms"]["old/old"]
        low, high = found["shares"]["0.00"]["interval"]
        assert low <= found["shares"]["0.00"]["share"] <= high
        # Both questions are answered: records that the map has not seen, and this collection.
        assert set(found["now"]) == set(found["shares"]) == set(found["now_means"])
        assert (found["seen"], found["decided_by"]) == (100 / RECORDS, "unseen")
        assert ask(client, "rehearse", {**REHEARSAL, "decide_by": "now"})["decided_by"] == "now"
        ask(client, "rehearse", {**REHEARSAL, "decide_by": "later"}, status=400)
        found = ask(client, "rehearse", REHEARSAL)
        told = client.get(BASE).json()
        assert told["upgrade"] is None and told["rehearsal"] == found and best(client, "word3 word4") == before
        sampled = second.encoded
        ask(client, "run", {"encoder": "second", "pairs": 100, "using": "auto", "share": 0.0})
        told = rested(client)
        # The sample of the rehearsal is the map's.
        assert second.encoded == sampled
        assert told["upgrade"]["encoder"] == "second" and told["upgrade"]["phase"] == "running"
        ask(client, "run", {"share": 1.0})
        told = rested(client)
        assert told["upgrade"]["encoded"] == told["upgrade"]["records"] == RECORDS
        assert best(client, "word3 word4") == before
        assert ask(client, "commit")["phase"] == "committed"
        assert best(client, "word3 word4") != before
        assert client.get(BASE).json()["upgrade"]["phase"] == "committed"
        assert ask(client, "rollback", {})["phase"] == "closed"
        assert best(client, "word3 word4") == before
        assert client.get(BASE).json()["upgrade"] is None
        # And for good.
        ask(client, "run", {"encoder": "second", "pairs": 100, "using": "reencode"})
        rested(client)
        ask(client, "commit")
        assert ask(client, "release")["phase"] == "closed"
        assert best(client, "word3 word4") != before
        assert ask(client, "rollback", {}, status=404)["error"]["type"] == "NotFoundError"


def test_a_run_is_paused_between_batches_and_gone_on_with_by_another_server(folder):
    second = Slow(1, calls=0)
    with served(folder, {"second": second}) as client:
        assert ask(client, "pause", status=409)["error"]["message"].startswith("Got a pause without a run")
        told = ask(client, "run", {"encoder": "second", "using": "reencode", "batch_size": 16})
        assert told["run"]["state"] == "running"
        second.free.release(1)
        until(client, lambda told: (told["upgrade"] or {"encoded": 0})["encoded"] > 0)
        # Searches and writes go on; whatever would decide about it has to wait.
        assert best(client, "word3")
        body = {"ids": ["new"], "texts": ["word3 new"]}
        assert client.post("/collections/books/upsert", json=body).status_code == 200
        for call in ("run", "commit", "rollback", "release", "rehearse"):
            refused = ask(client, call, REHEARSAL if call == "rehearse" else {}, status=409)
            assert "an upgrade runs" in refused["error"]["message"]
        assert ask(client, "pause")["run"]["state"] == "pausing"
        second.free.release(1)
        told = rested(client)
        assert told["run"]["state"] == "paused" and 0 < told["upgrade"]["encoded"] < RECORDS
        refused = ask(client, "commit", status=400)
        assert "run() until nothing remains" in refused["error"]["message"]
    again = Slow(1)
    with served(folder, {"second": again}) as client:
        stood = client.get(BASE).json()
        assert stood["run"]["state"] == "idle" and stood["upgrade"]["encoded"] == told["upgrade"]["encoded"]
        ask(client, "run", {})
        assert rested(client)["upgrade"]["encoded"] == RECORDS + 1
        # What was encoded is not encoded again.
        assert again.encoded == RECORDS + 1 - told["upgrade"]["encoded"]
        assert ask(client, "commit")["phase"] == "committed"


def test_a_server_that_ends_lets_the_run_end_at_its_batch(folder):
    second = Slow(1, calls=0)
    with served(folder, {"second": second}) as client:
        ask(client, "run", {"encoder": "second", "using": "reencode", "batch_size": 16})
        second.free.release(1)
        until(client, lambda told: (told["upgrade"] or {"encoded": 0})["encoded"] > 0)
        threading.Timer(0.2, lambda: second.free.release(1)).start()
    with orthant.open(folder, encoder=FakeEncoder()) as books:
        assert books.upgrade(FakeEncoder(seed=1)).status().encoded == second.encoded < RECORDS


def test_records_that_fail_are_named_and_let_go(folder):
    class Refuses(FakeEncoder):
        def encode(self, items, **about):
            if any("word7 " in one for one in items):
                raise ValueError(f"no such word in {folder}")
            return super().encode(items, **about)

    with served(folder, {"second": Refuses(seed=1)}) as client:
        ask(client, "run", {"encoder": "second", "using": "reencode"})
        told = rested(client)["upgrade"]
        assert told["failed_count"] == len(told["failed"]) > 0
        assert "no such word" in told["failed"]["r7"] and str(folder) not in str(told)
        assert ask(client, "commit", status=400)["error"]["type"] == "InputError"
        assert ask(client, "accept", {}) == {"accepted": told["failed_count"]}
        assert ask(client, "commit")["phase"] == "committed"


def test_a_run_that_fails_says_so_and_hides_the_hosts_folders(folder, monkeypatch):
    def broken(*_, **__):
        raise orthant.errors.StoreError(f"Got a full disk at {folder}/vectors; expected room. Free some.")

    with served(folder, {"second": FakeEncoder(seed=1)}) as client:
        with monkeypatch.context() as patch:
            patch.setattr("orthant.collection.upgrade.plan.encode_rest", broken)
            ask(client, "run", {"encoder": "second", "using": "reencode"})
            told = rested(client)
        assert told["run"]["state"] == "failed" and "full disk" in told["run"]["error"]
        assert str(folder) not in told["run"]["error"]
        ask(client, "run", {})
        assert rested(client)["run"]["state"] == "idle"


def test_only_encoders_that_the_operator_allows(folder, tmp_path):
    with served(folder, {"second": FakeEncoder(seed=1)}) as client:
        for strange in ("/etc", "static", "some/model", str(tmp_path), ""):
            for call, body in (("rehearse", {**REHEARSAL, "encoder": strange}), ("run", {"encoder": strange})):
                refused = ask(client, call, body, status=400)["error"]["message"]
                assert "one of: second" in refused and "/etc" not in refused
        assert ask(client, "rehearse", {**REHEARSAL, "pairs": 10**6}, status=400)
        many = {"q": dict.fromkeys((f"r{i}" for i in range(20_000)), 1)}
        assert ask(client, "rehearse", {**REHEARSAL, "judgements": many}, status=400)
        for body in ({"share": 1.5}, {"batch_size": 0}, {"pause_s": -1}, {"seed": -1}, {"using": "magic"}):
            assert ask(client, "run", {"encoder": "second", **body}, status=400)
        assert client.get(BASE).json()["upgrade"] is None
    assert Upgrades(None, str).names == list(SHIPPED)
    with pytest.raises(orthant.errors.InputError):
        Upgrades({"a/b": "static"}, str)


def test_a_folder_of_the_operator_is_gone_on_with_by_its_fingerprint(folder, tmp_path):
    from orthant.encoders.static import StaticEncoder

    StaticEncoder.load().save(tmp_path / "house")
    allowed = {"house": str(tmp_path / "house")}
    with served(folder, allowed) as client:
        ask(client, "run", {"encoder": "house", "using": "reencode", "pairs": 100})
        told = rested(client)
        assert told["upgrade"]["encoder"] == "house" and str(tmp_path) not in str(told)
    with served(folder, allowed) as client:
        assert ask(client, "commit")["phase"] == "committed"


CALLS = ("rehearse", "run", "pause", "commit", "rollback", "release", "accept")


def test_nothing_of_it_is_open_to_keys_that_read_or_write(folder, tmp_path):
    keys = KeyFile(tmp_path / "keys.json")
    held = {scope: keys.add(scope, {"books": scope}) for scope in ("read", "write", "admin")}
    with served(folder, {"second": FakeEncoder(seed=1)}, keys=keys) as client:
        for scope, key in held.items():
            headers = {"Authorization": f"Bearer {key}"}
            expected = 200 if scope == "admin" else 403
            assert client.get(BASE, headers=headers).status_code == expected
            for call in CALLS:
                answer = client.post(f"{BASE}/{call}", json={}, headers=headers)
                assert (answer.status_code == 403) == (scope != "admin"), (scope, call)
        for call in CALLS:
            assert client.post(f"{BASE}/{call}", json={}).status_code == 401
