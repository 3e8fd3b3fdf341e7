"""A server as a process: how it starts, ends and dies, and what is left of the writes it acknowledged."""

from __future__ import annotations

import gc
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import orthant
from orthant.client import connect
from orthant.errors import EndpointError, InputError, OrthantError
from orthant.server import background, serve
from orthant.server.keys import KeyFile
from server.serving import make


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_others_are_let_in_with_keys_only(tmp_path, host):
    for keys in (None, tmp_path / "keys.json"):
        with pytest.raises(InputError, match="without a key"):
            serve({"books": tmp_path / "b"}, host=host, port=0, keys=keys)
    assert not (tmp_path / "b").exists()


def test_a_certificate_needs_its_key(tmp_path):
    with pytest.raises(InputError, match="tls"):
        serve({"books": tmp_path / "b"}, port=0, tls_certificate="c.pem")


def test_a_collection_that_does_not_open_is_said(tmp_path):
    (tmp_path / "notes.txt").write_text("no collection")
    with pytest.raises(InputError, match="with other files"), background({"books": tmp_path}):
        pass
    with pytest.raises(InputError, match="with other files"):
        serve({"books": tmp_path}, port=0)


def test_a_collection_that_does_not_open_is_one_line_of_the_command(tmp_path):
    (tmp_path / "notes.txt").write_text("no collection")
    command = [sys.executable, "-m", "orthant", "serve", str(tmp_path), "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1, ended.stderr
    assert "with other files (notes.txt)" in ended.stderr and "Traceback" not in ended.stderr


def test_w22_rounds_of_serving_leave_nothing_open(tmp_path):
    psutil = pytest.importorskip("psutil")
    path, process = make(tmp_path / "books"), psutil.Process()

    def round_():
        with background({"books": path}) as url, connect(url, "books") as books:
            assert books.search("amber", k=2).ids

    def held():
        # What only waits for the collector of cycles is not kept open.
        gc.collect()
        return process.num_fds() if hasattr(process, "num_fds") else 0, threading.active_count()

    round_()
    before = held()
    for _ in range(4):
        round_()
    after = held()
    assert after[0] <= before[0] + 1
    assert after[1] <= before[1] + 1


def test_w31_w53_clients_write_delete_and_search_together(tmp_path):
    # Not the seed of the records, whose equals would come first.
    rng = np.random.default_rng(1)
    with background({"books": make(tmp_path / "books", count=200)}) as url:

        def work(number):
            with connect(url, "books") as books:
                for i in range(12):
                    ids = [f"t{number}-{i}-{j}" for j in range(3)]
                    X = rng.standard_normal((3, 8)).astype(np.float32)
                    books.upsert(ids, texts=["amber new"] * 3, vectors=X)
                    assert books.search(vector=X[1], k=1, mode="dense", where={"n": {"exists": False}}) is not None
                    found = books.search(vector=X[1], k=1, mode="dense")
                    assert found.ids == [ids[1]]
                    assert books.delete(ids[:1]) == 1

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(work, range(6)))
        with connect(url, "books") as books:
            assert len(books) == 200 + 6 * 12 * 2
            assert books.check().ok


class Process:
    """``orthant serve`` in a process of its own."""

    def __init__(self, *arguments):
        source = Path(orthant.__file__).parents[1]
        environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "orthant", "serve", "--port", "0", *map(str, arguments)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.said = ""
        while not (found := re.search(r"page: (http://[\d.:]+)/", self.said)):
            line = self.process.stderr.readline()
            assert line, self.said
            self.said += line
        self.url = found[1]

    def end(self, number):
        self.process.send_signal(number)
        self.process.wait(60)
        self.process.stderr.close()
        return self.process.returncode


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_w31_an_acknowledged_write_survives_the_end_of_the_server(tmp_path, number):
    server = Process("--no-keys", "--create", tmp_path / "books")
    acknowledged, begun = [], threading.Event()

    def write(worker):
        with connect(server.url, "books", retries=0) as books:
            for i in range(10_000):
                try:
                    books.upsert([f"w{worker}-{i}"], texts=[f"text {i}"])
                except (EndpointError, OrthantError):
                    return
                acknowledged.append(f"w{worker}-{i}")
                if len(acknowledged) > 40:
                    begun.set()

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(write, worker) for worker in range(4)]
        assert begun.wait(60)
        code = server.end(number)
        for one in done:
            one.result()
    assert code in ((0, -signal.SIGTERM) if number == signal.SIGTERM else (-signal.SIGKILL,))
    with orthant.open(tmp_path / "books") as books:
        assert set(acknowledged) <= set(books.ids())
        assert len(books) <= len(acknowledged) + 4
        assert books.check().ok


def test_keys_of_the_command_line_open_the_server(tmp_path, monkeypatch):
    keys = KeyFile(tmp_path / "keys.json")
    monkeypatch.setenv("BOOKS_KEY", keys.add("me", {"books": "read"}))
    server = Process("--keys", keys.path, f"books={make(tmp_path / 'b')}")
    try:
        with connect(server.url, "books", key_from_env="BOOKS_KEY") as books:
            assert books.search("amber", k=1).ids
            with pytest.raises(EndpointError) as refused:
                books.delete(["r1"])
            assert refused.value.status == 403
        with pytest.raises(EndpointError) as refused:
            connect(server.url, "books").stats()
        assert refused.value.status == 401
    finally:
        server.end(signal.SIGTERM if os.name == "posix" else signal.SIGBREAK)
