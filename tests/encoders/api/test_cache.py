"""Vectors on disk: resumed, told apart, shared by threads and processes, and mended where damaged."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from encoders.api.stand_in import DIM, vector
from orthant.encoders import ApiEncoder
from orthant.encoders.api.vector_cache import VectorCache
from orthant.errors import EndpointError, StoreError

TEXTS = [f"text number {i}" for i in range(8)]


def _make(server, folder, **options):
    given = {"canary_every": None, "dimensions": DIM, "parallel": 1, **options}
    return ApiEncoder("openai", given.pop("model", "tiny"), url=server.url, cache=folder, **given)


def test_a_failed_call_resumes(server, waits, tmp_path):
    server.plan = [None, None, *[(500, b"", {})] * 3]
    with pytest.raises(EndpointError, match=r"3 times.*4 of 8 texts were answered before"):
        _make(server, tmp_path, retries=2).encode(TEXTS, batch_size=2)
    before = len(server.requests)
    encoder = _make(server, tmp_path)
    assert encoder.estimate(TEXTS, batch_size=2).cached == 4
    out, report = encoder.encode_with_report(TEXTS, batch_size=2)
    np.testing.assert_array_equal(out, np.stack([vector(text, model="first") for text in TEXTS]))
    assert server.asked()[before:] == [TEXTS[4:6], TEXTS[6:]]
    assert report.cache_hits == encoder.cost.cached == 4


def test_a_failure_stops_the_requests_beside_it(server, tmp_path):
    def refuse(texts):
        if texts == ["t0"]:
            failed.wait(60)  # while the first waits, the second fails
            time.sleep(0.4)
        elif texts == ["t1"]:
            failed.set()
        return (401, b"", {}) if texts == ["t1"] else None

    failed = threading.Event()

    server.refuse = refuse
    with pytest.raises(EndpointError):
        _make(server, tmp_path, parallel=2).encode([f"t{i}" for i in range(40)], batch_size=1)
    assert len(server.requests) <= 4


def test_what_changes_a_vector_changes_the_key(server, tmp_path):
    expected = 0
    for options in ({}, {"model": "x"}, {"revision": "2"}, {"dimensions": 5}, {"document_prompt": "p "}):
        for _ in range(2):
            _make(server, tmp_path, **options).encode(["a"])
        expected += 1
        assert len(server.requests) == expected
    # OpenAI's request is the same for both roles, so the role changes nothing.
    _make(server, tmp_path).encode(["a"], role="query")
    assert len(server.requests) == expected


def test_damaged_entries_are_asked_for_again(server, tmp_path):
    _make(server, tmp_path).encode(TEXTS)
    path = tmp_path / "vectors.sqlite"
    with sqlite3.connect(path) as database:
        keys = [key for (key,) in database.execute("SELECT key FROM vectors")]
        database.execute("UPDATE vectors SET vector = zeroblob(32) WHERE key = ?", keys[:1])
        database.execute("UPDATE vectors SET vector = x'00' WHERE key = ?", keys[1:2])
        # A sound vector under another text's key.
        database.execute(
            "UPDATE vectors SET (vector, crc) = (SELECT vector, crc FROM vectors WHERE key = ?) WHERE key = ?",
            (keys[3], keys[2]),
        )
    database.close()
    before = len(server.requests)
    out, report = _make(server, tmp_path).encode_with_report(TEXTS)
    np.testing.assert_array_equal(out, np.stack([vector(text, model="first") for text in TEXTS]))
    assert report.cache_hits == 5 and len(server.asked()[before]) == 3
    assert _make(server, tmp_path).encode_with_report(TEXTS)[1].cache_hits == 8


def test_a_file_that_is_no_database_is_set_aside(server, tmp_path):
    (tmp_path / "vectors.sqlite").write_bytes(b"garbage" * 1000)
    with pytest.warns(UserWarning, match="damaged"):
        _make(server, tmp_path).encode(["a"])
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1
    assert _make(server, tmp_path).encode_with_report(["a"])[1].cache_hits == 1


def test_a_cache_that_cannot_be_written_is_an_error(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cache that works"):
        _make(server, tmp_path / "file" / "folder").encode(["a"])


def test_texts_are_not_kept(server, tmp_path):
    _make(server, tmp_path).encode(["a very private text"])
    assert b"private" not in (tmp_path / "vectors.sqlite").read_bytes()


def test_eight_threads(server, tmp_path):
    encoder = _make(server, tmp_path, parallel=2)
    wanted = np.stack([vector(text, model="first") for text in TEXTS])

    def work(i):
        order = np.roll(np.arange(len(TEXTS)), i)
        np.testing.assert_array_equal(encoder.encode([TEXTS[j] for j in order], batch_size=2), wanted[order])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(16)))


def test_two_processes(tmp_path):
    code = (
        "import sys, numpy as np\n"
        "from orthant.encoders.api.vector_cache import VectorCache\n"
        "cache, me = VectorCache(sys.argv[1]), int(sys.argv[2])\n"
        "for i in range(30):\n"
        "    cache.put('m', {bytes([me, i]): np.full(4, i, np.float32), b'both': np.ones(4, np.float32)})\n"
        "    assert len(cache.get('m', [bytes([me, j]) for j in range(i + 1)])) == i + 1\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, tmp_path, str(n)], env=os.environ) for n in (1, 2)]
    assert [process.wait(60) for process in both] == [0, 0]
    found = VectorCache(tmp_path).get("m", [bytes([n, i]) for n in (1, 2) for i in range(30)])
    assert len(found) == 60 and all(vector[0] == key[1] for key, vector in found.items())


def test_many_keys_and_forgetting(tmp_path):
    cache = VectorCache(tmp_path)
    keys = [i.to_bytes(4, "big") for i in range(1200)]
    assert cache.get("m", keys) == {} and not cache.path.exists(), "reading makes no file"
    for label, part in (("old", keys[:700]), ("new", keys[700:])):
        cache.put("m", {key: np.ones(2, np.float32) for key in part}, batch=label)
    assert len(cache.get("m", keys)) == 1200 and not cache.get("other", keys)
    assert cache.forget("m", batch="new") == 500
    assert set(cache.get("m", keys)) == set(keys[:700])
