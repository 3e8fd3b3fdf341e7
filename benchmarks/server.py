"""Collections over HTTP: requests per second and tails from another process, beside the same calls in process.

``python benchmarks/server.py`` serves ``--records`` chunks of newsgroup messages with their vectors from this process,
and asks from a second one over loopback: single dense queries by ``--clients`` connections, batches of 64, and hybrid
searches by text and vector; queries are chunks of held-out messages. The rates of the same calls in the process of the
collection stand beside them. ``--mixed SECONDS`` runs 90 % reads and 10 %
writes instead, and counts errors, lost writes and memory; ten minutes of it are ``--mixed 600``.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from ann import make_if_missing
from orthant.evaluation.ann.measuring import anonymous_bytes
from orthant.evaluation.context import run_context
from orthant.evaluation.stores.inputs import newsgroup_corpus
from orthant.evaluation.stores.worker import total_bytes

RESULTS = Path(__file__).parent / "results" / "server.json"
MIXED = Path(__file__).parent / "results" / "server_mixed.json"


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10.0, help="of every measurement")
    parser.add_argument("--mixed", type=float, default=0.0, help="seconds of a mixed run instead")
    parser.add_argument("--folder", help="where the records are kept from run to run; left out, made anew each time")
    parser.add_argument("--no-save", action="store_true")
    parser.add_argument("--client", nargs=3, metavar=("URL", "WHAT", "QUERIES"), help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def read_queries(path):
    """Texts, and vectors of unit length."""
    with np.load(path) as found:
        return found["texts"].tolist(), found["vectors"]


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


def bodies_of(what, texts, vectors):
    def packed(X):
        return base64.b64encode(np.ascontiguousarray(X, dtype="<f4").tobytes()).decode()

    if what == "dense":
        return "search", [{"vector": packed(x), "mode": "dense", "k": 10, "include_text": False} for x in vectors]
    if what == "batch":
        sets = vectors[: len(vectors) // 64 * 64].reshape(-1, 64, vectors.shape[1])
        queries, settings = [None] * 64, {"mode": "dense", "k": 10, "include_text": False}
        return "search_many", [{"queries": queries, "vectors": packed(Q), **settings} for Q in sets]
    pairs = zip(texts, vectors, strict=True)
    return "search", [
        {"query": text, "vector": packed(x), "mode": "hybrid", "syntax": "plain", "k": 10} for text, x in pairs
    ]


async def load(url, what, queries, options):
    """Ask for some seconds by all connections, and return what every request took."""
    call, bodies = bodies_of(what, *read_queries(queries))
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


async def mixed(url, queries, options):
    """Nine searches for every write; afterwards every acknowledged write must be there."""
    texts, vectors = read_queries(queries)
    _, bodies = bodies_of("dense", texts, vectors)
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
                at = (i + 7 * number) % len(vectors)
                vector = base64.b64encode(vectors[at].astype("<f4").tobytes()).decode()
                body = json.dumps({"ids": [key], "texts": [texts[at]], "vectors": vector}).encode()
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


def build(folder, options):
    """Load the records, and write the queries for the other process."""
    import orthant

    make_if_missing("newsgroups_chunks")
    corpus = newsgroup_corpus(options.records, 0)
    asked = [query for query in corpus.queries if query.text]
    np.savez(
        folder / "queries.npz",
        texts=np.array([query.text for query in asked]),
        vectors=np.stack([query.vector for query in asked]),
    )
    with orthant.open(folder / "bench") as collection, collection.bulk():
        for begin in range(0, options.records, 10_000):
            part = slice(begin, min(begin + 10_000, options.records))
            ids = [f"r{i}" for i in range(part.start, part.stop)]
            given = {"metadata": corpus.metadata[part], "vectors": corpus.vectors[part]}
            collection.upsert(ids, texts=corpus.texts[part], **given)


def in_process(folder, options):
    """The same calls without a server: one by one, and in batches of 64."""
    import orthant
    from orthant.kernels.warmup import warm

    # Steady state: a process that has just begun answers by NumPy while the kernels are compiled behind it.
    warm(["graph", "scan", "retrieval"])
    texts, X = read_queries(folder / "queries.npz")
    sets, out = X[: len(X) // 64 * 64].reshape(-1, 64, X.shape[1]), {}
    with orthant.open(folder / "bench", read_only=True) as c:
        calls = {
            "dense": lambda i: c.search(vector=X[i % len(X)], mode="dense", k=10, include_text=False),
            "batch": lambda i: c.search_many(sets[i % len(sets)], mode="dense", include_text=False),
            "hybrid": lambda i: c.search(texts[i % len(X)], vector=X[i % len(X)], mode="hybrid", syntax="plain", k=10),
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


def memory():
    """Bytes of this process: of its own, and with mapped files, which the system may take back."""
    return {"anonymous": anonymous_bytes(), "resident": total_bytes()}


def ask_from_another_process(url, what, folder, options):
    command = [sys.executable, __file__, "--client", url, what, str(folder / "queries.npz")]
    command += ["--clients", str(options.clients), "--seconds", str(options.mixed or options.seconds)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    options = parse()
    if options.client:
        url, what, queries = options.client
        run = mixed(url, queries, options) if what == "mixed" else load(url, what, queries, options)
        print(json.dumps(asyncio.run(run)))
        return
    from orthant.server import background

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary)
        if not (folder / "bench").exists():
            build(folder, options)
        alone = {} if options.mixed else in_process(folder, options)
        with background({"bench": folder / "bench"}) as url:
            if options.mixed:
                # The first searches load the graph and compile; what comes after them is what must not grow.
                warm = argparse.Namespace(**{**vars(options), "mixed": min(30.0, options.mixed)})
                ask_from_another_process(url, "mixed", folder, warm)
                before = memory()
                report = ask_from_another_process(url, "mixed", folder, options)
                report |= {"memory_before": before, "memory_after": memory(), "context": run_context(seed=3)}
                report = {"records": options.records, "mixed_s": options.mixed, **report}
                print(json.dumps(report))
                if not options.no_save:
                    MIXED.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
                return
            served = {
                what: ask_from_another_process(url, what, folder, options) for what in ("dense", "batch", "hybrid")
            }
    share = 64 * served["batch"]["requests_per_s"] / (64 * alone["batch"]["calls_per_s"])
    report = {"records": options.records, "served": served, "in_process": alone}
    report["batch_share_of_in_process"] = round(share, 3)
    report["context"] = run_context(seed=3)
    print(json.dumps(report))
    if not options.no_save:
        RESULTS.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
