"""Collections over HTTP: requests per second and tails from another process, beside the same calls in process.

``python benchmarks/server.py`` serves ``--records`` vectors with texts from this process, and asks from a second one
over loopback: single dense queries by ``--clients`` connections, batches of 64, and hybrid searches by text. The rates
of the same calls in the process of the collection stand beside them. ``--mixed SECONDS`` runs 90 % reads and 10 %
writes instead, and counts errors, lost writes and memory; ten minutes of it are ``--mixed 600``.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from orthant.evaluation.context import run_context

RESULTS = Path(__file__).parent / "results" / "server.json"
WORDS = 2_000


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10.0, help="of every measurement")
    parser.add_argument("--mixed", type=float, default=0.0, help="seconds of a mixed run instead")
    parser.add_argument("--no-save", action="store_true")
    parser.add_argument("--client", nargs=2, metavar=("URL", "WHAT"), help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def texts_of(count, rng):
    """Texts of words whose frequencies fall like those of a language."""
    words = np.array([f"w{i}" for i in range(WORDS)])
    share = 1 / np.arange(1, WORDS + 1)
    drawn = rng.choice(words, size=(count, 30), p=share / share.sum())
    return [" ".join(row) for row in drawn]


def vectors_of(count, dim, rng):
    """Vectors around centres that are drawn once, so that queries have neighbours."""
    centres = np.random.default_rng(7).standard_normal((500, dim)).astype(np.float32)
    near = centres[rng.integers(0, 500, count)]
    return near + 0.5 * rng.standard_normal((count, dim)).astype(np.float32)


# ---- the second process: connections that do as little as possible, so that the server is what is measured ----


class Connection:
    """One keep-alive connection of HTTP/1.1."""

    def __init__(self, url):
        host, _, port = url.removeprefix("http://").partition(":")
        self.host, self.port = host, int(port)

    async def open(self):
        """Connect."""
        self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        return self

    async def ask(self, path, body):
        """Post a body; returns the status and the answer."""
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        self.writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        answer = await self.reader.readexactly(length)
        return int(head.split(b" ", 2)[1]), answer


def bodies_of(what, dim, rng):
    def packed(X):
        return base64.b64encode(np.ascontiguousarray(X, dtype="<f4").tobytes()).decode()

    if what == "dense":
        X = vectors_of(512, dim, rng)
        return "search", [{"vector": packed(x), "mode": "dense", "k": 10, "include_text": False} for x in X]
    if what == "batch":
        X = vectors_of(64 * 16, dim, rng).reshape(16, 64, dim)
        queries = [None] * 64
        made = [{"queries": queries, "vectors": packed(Q), "mode": "dense", "k": 10, "include_text": False} for Q in X]
        return "search_many", made
    X, texts = vectors_of(512, dim, rng), texts_of(512, rng)
    pairs = zip(texts, X, strict=True)
    return "search", [
        {"query": " ".join(t.split()[:4]), "vector": packed(x), "mode": "hybrid", "k": 10} for t, x in pairs
    ]


async def load(url, what, options):
    """Ask for some seconds by all connections, and return what every request took."""
    rng = np.random.default_rng(11)
    call, bodies = bodies_of(what, options.dim, rng)
    encoded = [json.dumps(body).encode() for body in bodies]
    clients = 4 if what == "batch" else options.clients
    connections = [await Connection(url).open() for _ in range(clients)]
    took, failed = [], 0
    ends = time.perf_counter() + options.seconds + 1
    counts_from = ends - options.seconds

    async def one(number, connection):
        nonlocal failed
        i = number * 17
        while (began := time.perf_counter()) < ends:
            status, _ = await connection.ask(f"/collections/bench/{call}", encoded[i % len(encoded)])
            i += 1
            failed += status != 200
            if began >= counts_from:
                took.append(time.perf_counter() - began)

    await asyncio.gather(*(one(n, c) for n, c in enumerate(connections)))
    ms = 1e3 * np.array(took)
    p50, p99 = np.percentile(ms, [50, 99]).round(2).tolist()
    rate = len(took) / options.seconds
    return {"clients": clients, "requests_per_s": round(rate, 1), "p50_ms": p50, "p99_ms": p99, "failed": failed}


async def mixed(url, options):
    """Nine searches for every write; afterwards every acknowledged write must be there."""
    rng = np.random.default_rng(13)
    _, bodies = bodies_of("dense", options.dim, rng)
    searches = [json.dumps(body).encode() for body in bodies]
    ends, counted = time.perf_counter() + options.seconds, {"reads": 0, "writes": 0, "errors": 0}
    acknowledged: list[str] = []

    async def one(number, connection):
        i = 0
        while time.perf_counter() < ends:
            i += 1
            if i % 10:
                status, _ = await connection.ask(
                    "/collections/bench/search", searches[(i + 31 * number) % len(searches)]
                )
                counted["reads"] += 1
            else:
                # A bounded set of ids: memory must come back although writes go on.
                key = f"m{number}-{i % 500}"
                vector = base64.b64encode(vectors_of(1, options.dim, rng).astype("<f4").tobytes()).decode()
                body = json.dumps({"ids": [key], "texts": ["w1 w2"], "vectors": vector}).encode()
                status, _ = await connection.ask("/collections/bench/upsert", body)
                counted["writes"] += 1
                if status == 200:
                    acknowledged.append(key)
            counted["errors"] += status != 200

    connections = [await Connection(url).open() for _ in range(options.clients)]
    await asyncio.gather(*(one(n, c) for n, c in enumerate(connections)))
    keys = sorted(set(acknowledged))
    lost = 0
    for begin in range(0, len(keys), 1000):
        body = json.dumps({"ids": keys[begin : begin + 1000]}).encode()
        _, answer = await connections[0].ask("/collections/bench/get", body)
        lost += sum(record is None for record in json.loads(answer)["records"])
    return {**counted, "acknowledged_ids": len(keys), "lost": lost}


# ---- the first process: the collection and its server ----


def build(path, options):
    import orthant

    rng = np.random.default_rng(3)
    with orthant.open(path) as collection, collection.bulk():
        for begin in range(0, options.records, 10_000):
            count = min(10_000, options.records - begin)
            ids = [f"r{begin + i}" for i in range(count)]
            meta = [{"n": begin + i} for i in range(count)]
            collection.upsert(
                ids, texts=texts_of(count, rng), metadata=meta, vectors=vectors_of(count, options.dim, rng)
            )


def in_process(path, options):
    """The same calls without a server: one by one, and in batches of 64."""
    import orthant

    rng = np.random.default_rng(11)
    X, texts = vectors_of(64 * 16, options.dim, rng), texts_of(512, rng)
    out = {}
    with orthant.open(path, read_only=True) as c:
        calls = {
            "dense": lambda i: c.search(vector=X[i % 512], mode="dense", k=10, include_text=False),
            "batch": lambda i: c.search_many(X[64 * (i % 16) : 64 * (i % 16) + 64], mode="dense", include_text=False),
            "hybrid": lambda i: c.search(" ".join(texts[i % 512].split()[:4]), vector=X[i % 512], mode="hybrid", k=10),
        }
        for name, call in calls.items():
            for i in range(20):
                call(i)
            took, ends = [], time.perf_counter() + options.seconds / 2
            while (began := time.perf_counter()) < ends:
                call(len(took))
                took.append(time.perf_counter() - began)
            rate = len(took) / sum(took)
            out[name] = {"calls_per_s": round(rate, 1), "p99_ms": round(1e3 * float(np.percentile(took, 99)), 2)}
    return out


def ask_from_another_process(url, what, options):
    command = [sys.executable, __file__, "--client", url, what, "--dim", str(options.dim)]
    command += ["--clients", str(options.clients), "--seconds", str(options.mixed or options.seconds)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    options = parse()
    if options.client:
        url, what = options.client
        print(json.dumps(asyncio.run(mixed(url, options) if what == "mixed" else load(url, what, options))))
        return
    from orthant.server import background

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench"
        build(path, options)
        alone = {} if options.mixed else in_process(path, options)
        with background({"bench": path}) as url:
            if options.mixed:
                import psutil

                memory = psutil.Process(os.getpid()).memory_info
                # The first searches load the graph and compile; what comes after them is what must not grow.
                warm = argparse.Namespace(**{**vars(options), "mixed": 5.0})
                ask_from_another_process(url, "mixed", warm)
                before = memory().rss
                report = {
                    **ask_from_another_process(url, "mixed", options),
                    "rss_before": before,
                    "rss_after": memory().rss,
                }
                print(json.dumps({"records": options.records, "mixed_s": options.mixed, **report}))
                return
            served = {what: ask_from_another_process(url, what, options) for what in ("dense", "batch", "hybrid")}
    share = 64 * served["batch"]["requests_per_s"] / (64 * alone["batch"]["calls_per_s"])
    report = {"records": options.records, "dim": options.dim, "served": served, "in_process": alone}
    report["batch_share_of_in_process"] = round(share, 3)
    report["context"] = run_context(seed=3)
    print(json.dumps(report))
    if not options.no_save:
        RESULTS.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
