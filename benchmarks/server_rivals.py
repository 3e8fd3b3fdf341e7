"""Dense search over the network beside the servers of Chroma and milvus-lite, with the same vectors and clients.

``python benchmarks/server_rivals.py --python PATH`` loads ``--records`` chunks of newsgroup messages with vectors and
metadata into each, PATH being the interpreter of an environment that has the rivals, chooses the smallest search effort
that finds 95 % of the true ten nearest on one half of the queries, and asks the other half over loopback: by 32
connections one query each, by 4 connections 64 queries each, and by 32 one query with a filter of two fields. Each
server is a process of its own, and so are the clients, which do as little as possible: bodies are made before, answers
are only received. Orthant's server is asked once it says that graph and kernels are loaded: before that it compares
every vector, and shows a recall of 1 that it does not have. ``--folder`` keeps what was loaded; with ``--only NAME``
one server is asked and its figures are put beside the others'.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results" / "server_rivals.json"
SERVERS = ("orthant", "chroma", "milvus-lite")
KINDS = ("dense", "batch", "filtered")
K, RECALL, TUNED, JUDGED = 10, 0.95, 200, 1_000
# Filters of some servers take a tenth of a second.
FILTERED_TUNED, FILTERED_JUDGED = 60, 200
EFFORTS = (10, 16, 24, 32, 48, 64, 100, 160, 250, 400, 800, 1600)
CHARACTERS = 200


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--python", help="interpreter that has the rivals; default: this one")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument(
        "--seconds", type=float, default=8.0, help="of every measurement, after one that does not count"
    )
    parser.add_argument("--folder", help="where what was loaded is kept")
    parser.add_argument("--only", choices=SERVERS, help="ask this server alone")
    parser.add_argument("--load-only", action="store_true", help="load and tune, and measure nothing")
    parser.add_argument("--no-save", action="store_true")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def where_of(group):
    """The filter of one query, as each of the three words it."""
    return {
        "orthant": {"newsgroup": group, "characters": {"gte": CHARACTERS}},
        "chroma": {"$and": [{"newsgroup": {"$eq": group}}, {"characters": {"$gte": CHARACTERS}}]},
        "milvus-lite": f'newsgroup == "{group}" and characters >= {CHARACTERS}',
    }


# ---- loading and tuning: untimed ----------------------------------------------------------------------------------


def write_inputs(folder, records):
    """The records, the queries, and their true nearest with and without the filter."""
    from ann import make_if_missing
    from orthant.evaluation.stores.inputs import newsgroup_corpus

    make_if_missing("newsgroups_chunks")
    corpus = newsgroup_corpus(records, 0)
    asked = [query for query in corpus.queries if query.text.strip()][: TUNED + JUDGED]
    queries = np.stack([query.vector for query in asked])
    groups = np.array([one["newsgroup"] for one in corpus.metadata])
    long = np.array([one["characters"] for one in corpus.metadata]) >= CHARACTERS
    scores = queries @ corpus.vectors.T
    truth = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    allowed = (groups[None, :] == np.array([query.group for query in asked])[:, None]) & long
    filtered = np.argsort(-np.where(allowed, scores, -np.inf), axis=1, kind="stable")[:, :K]
    np.savez(folder / "queries.npz", vectors=queries, truth=truth, filtered=filtered)
    np.save(folder / "vectors.npy", corpus.vectors)
    about = {"groups": [query.group for query in asked], "metadata": corpus.metadata, "texts": corpus.texts}
    (folder / "records.json").write_text(json.dumps(about), encoding="utf-8")


def read_inputs(folder):
    with np.load(folder / "queries.npz") as found:
        held = dict(found)
    return {**held, **json.loads((folder / "records.json").read_text(encoding="utf-8"))}


def recall(found, truth):
    return float(np.mean([len(set(a) & set(b)) / K for a, b in zip(found, truth, strict=True)]))


def load_orthant(folder):
    import orthant

    held, X = read_inputs(folder), np.load(folder / "vectors.npy")
    with orthant.open(folder / "bench.orthant") as collection, collection.bulk():
        for begin in range(0, len(X), 10_000):
            part = slice(begin, min(begin + 10_000, len(X)))
            ids = [str(i) for i in range(part.start, part.stop)]
            collection.upsert(ids, texts=held["texts"][part], metadata=held["metadata"][part], vectors=X[part])


def tune_orthant(folder):
    # It is asked for a recall, and chooses the effort by itself.
    return {kind: {"recall": RECALL} for kind in KINDS}


def chosen(search, held):
    """The smallest effort that reaches the recall on the tuning queries, with and without the filter."""
    efforts = {}
    for kind, name, count in (("dense", "truth", TUNED), ("filtered", "filtered", FILTERED_TUNED)):
        for effort in EFFORTS:
            found = search(held["vectors"][:count], held["groups"][:count] if kind == "filtered" else None, effort)
            efforts[kind] = effort
            if recall(found, held[name][:count]) >= RECALL:
                break
    return {**efforts, "batch": efforts["dense"]}


def load_chroma(folder):
    import chromadb
    from chromadb.config import Settings

    held, X = read_inputs(folder), np.load(folder / "vectors.npy")
    settings = Settings(anonymized_telemetry=False)
    client = chromadb.PersistentClient(str(folder / "chroma"), settings=settings)
    hnsw = {"space": "cosine", "ef_construction": 100, "max_neighbors": 16}
    bench = client.create_collection("bench", embedding_function=None, configuration={"hnsw": hnsw})
    for begin in range(0, len(X), 5_000):
        part = slice(begin, min(begin + 5_000, len(X)))
        ids = [str(i) for i in range(part.start, part.stop)]
        bench.upsert(ids=ids, embeddings=X[part], documents=held["texts"][part], metadatas=held["metadata"][part])
    client.close()


def tune_chroma(folder):
    import chromadb
    from chromadb.config import Settings

    held, settings = read_inputs(folder), Settings(anonymized_telemetry=False)
    client = chromadb.PersistentClient(str(folder / "chroma"), settings=settings)
    bench = client.get_collection("bench", embedding_function=None)

    def search(vectors, groups, effort):
        nonlocal client, bench
        # A graph that is in memory keeps the effort that it was loaded with.
        bench.modify(configuration={"hnsw": {"ef_search": effort}})
        client.close()
        client.clear_system_cache()
        client = chromadb.PersistentClient(str(folder / "chroma"), settings=settings)
        bench = client.get_collection("bench", embedding_function=None)
        out = []
        for i, vector in enumerate(vectors):
            where = None if groups is None else where_of(groups[i])["chroma"]
            found = bench.query(query_embeddings=[vector], n_results=K, where=where, include=["distances"])
            out.append([int(one) for one in found["ids"][0]])
        return out

    efforts = chosen(search, held)
    client.close()
    return efforts


def milvus(folder):
    from pymilvus import MilvusClient

    # A folder, which the server of its own opens as it is.
    return MilvusClient(str(folder / "milvus.db"))


def load_milvus(folder):
    from pymilvus import DataType

    held, X = read_inputs(folder), np.load(folder / "vectors.npy")
    client = milvus(folder)
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("newsgroup", DataType.VARCHAR, max_length=64)
    schema.add_field("characters", DataType.INT64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=X.shape[1])
    indexes = client.prepare_index_params()
    indexes.add_index("vector", index_type="HNSW", metric_type="COSINE", params={"M": 16, "efConstruction": 200})
    for name in ("newsgroup", "characters"):
        indexes.add_index(name, index_type="INVERTED")
    client.create_collection("bench", schema=schema, index_params=indexes)
    for begin in range(0, len(X), 5_000):
        part = range(begin, min(begin + 5_000, len(X)))
        about = held["metadata"]
        client.insert(
            "bench",
            [
                {"id": i, "vector": X[i], "newsgroup": about[i]["newsgroup"], "characters": about[i]["characters"]}
                for i in part
            ],
        )
    client.flush("bench")
    client.load_collection("bench")
    client.close()


def tune_milvus(folder):
    # In a process of its own: what a process has just written it scans, and does not walk.
    held, client = read_inputs(folder), milvus(folder)
    client.load_collection("bench")

    def search(vectors, groups, effort):
        out = []
        for i, vector in enumerate(vectors):
            condition = "" if groups is None else where_of(groups[i])["milvus-lite"]
            given = {"limit": K, "filter": condition, "search_params": {"params": {"ef": effort}}}
            found = client.search("bench", data=[vector.tolist()], anns_field="vector", **given)
            out.append([hit["id"] for hit in found[0]])
        return out

    efforts = chosen(search, held)
    client.close()
    return efforts


# ---- servers --------------------------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def wait_until_prepared(port):
    """Wait for code that is compiled once per machine: until then every vector is compared."""
    import urllib.request

    while json.loads(urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=60).read())["preparing"]:
        time.sleep(0.1)


@contextlib.contextmanager
def served(name, folder, python):
    """One of the servers in a process of its own; yields its port."""
    port = free_port()
    beside = Path(python).parent
    commands = {
        "orthant": [
            *[sys.executable, "-m", "orthant", "serve", f"bench={folder / 'bench.orthant'}"],
            *["--no-keys", "--port", str(port)],
        ],
        "chroma": [str(beside / "chroma"), "run", "--path", str(folder / "chroma"), "--port", str(port)],
        "milvus-lite": [
            *[str(beside / "milvus-lite"), "server", "--data-dir", str(folder / "milvus.db")],
            *["--host", "127.0.0.1", "--port", str(port), "--max-workers", "32"],
        ],
    }
    quiet = {**os.environ, "ANONYMIZED_TELEMETRY": "False"}
    process = subprocess.Popen(commands[name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=quiet)
    try:
        deadline = time.monotonic() + 90
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the server of {name} did not start")
            time.sleep(0.1)
        if name == "orthant":
            wait_until_prepared(port)
        yield port
    finally:
        process.terminate()
        process.wait(30)


# ---- clients: a process of their own --------------------------------------------------------------------------------


def http_requests(name, kind, port, folder, effort):
    """Path and bodies of every request, and the function that reads the ids out of an answer."""
    import base64

    held = read_inputs(folder)
    X, groups = held["vectors"][TUNED:], held["groups"][TUNED:]
    if name == "orthant":

        def packed(vectors):
            return base64.b64encode(np.ascontiguousarray(vectors, dtype="<f4").tobytes()).decode()

        # Ids and scores, as from the others; it tells metadata and plan in any case.
        given = {"mode": "dense", "k": K, "include_text": False, "recall": effort["recall"]}
        if kind == "batch":
            bodies = [{"queries": [None] * 64, "vectors": packed(X[i : i + 64]), **given} for i in batches(X)]
            return (
                "/collections/bench/search_many",
                bodies,
                lambda told: [[int(h["id"]) for h in one["hits"]] for one in told["results"]],
            )
        bodies = [
            {"vector": packed(x), **given, **({"where": where_of(group)["orthant"]} if kind == "filtered" else {})}
            for x, group in zip(X, groups, strict=True)
        ]
        return "/collections/bench/search", bodies, lambda told: [[int(hit["id"]) for hit in told["hits"]]]
    base = "/api/v2/tenants/default_tenant/databases/default_database/collections"
    key = chroma_collection(port, base, effort)
    given = {"n_results": K, "include": ["distances"]}
    parts = [X[i : i + 64] for i in batches(X)] if kind == "batch" else [x[None] for x in X]
    bodies = [{"query_embeddings": part.tolist(), **given} for part in parts]
    if kind == "filtered":
        for body, group in zip(bodies, groups, strict=True):
            body["where"] = where_of(group)["chroma"]
    return f"{base}/{key}/query", bodies, lambda told: [[int(one) for one in ids] for ids in told["ids"]]


def batches(X):
    return range(0, len(X) // 64 * 64, 64)


def chroma_collection(port, base, effort):
    """The collection's key; its effort is set before the server loads the graph."""
    import urllib.request

    def ask(path, body=None, method=None):
        head = {"Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, head, method=method)
        return json.loads(urllib.request.urlopen(request, timeout=600).read() or b"null")

    key = ask(f"{base}/bench")["id"]
    ask(f"{base}/{key}", {"new_configuration": {"hnsw": {"ef_search": effort}}}, "PUT")
    return key


async def http_callers(name, kind, port, folder, effort, count):
    from server import Connection

    path, bodies, read = http_requests(name, kind, port, folder, effort)
    encoded = [json.dumps(body).encode() for body in bodies]
    connections = [await Connection(f"http://127.0.0.1:{port}").open() for _ in range(count)]

    def caller(connection):
        async def call(i):
            status, answer = await connection.ask(path, encoded[i])
            if status != 200:
                raise SystemExit(f"{name} answered {status}: {answer[:500]!r}")
            return answer

        return call

    return [caller(connection) for connection in connections], len(encoded), lambda raw: read(json.loads(raw))


async def milvus_callers(name, kind, port, folder, effort, count):
    import grpc
    from pymilvus import MilvusClient
    from pymilvus.client.prepare import Prepare
    from pymilvus.grpc_gen import milvus_pb2

    MilvusClient(f"http://127.0.0.1:{port}").load_collection("bench")
    held = read_inputs(folder)
    X, groups = held["vectors"][TUNED:], held["groups"][TUNED:]
    parts = [X[i : i + 64] for i in batches(X)] if kind == "batch" else [x[None] for x in X]
    encoded = [
        Prepare.search_requests_with_expr(
            "bench",
            "vector",
            {"metric_type": "COSINE", "params": {"ef": effort}},
            K,
            data=part.tolist(),
            expr=where_of(groups[i])["milvus-lite"] if kind == "filtered" else "",
            output_fields=[],
        ).SerializeToString()
        for i, part in enumerate(parts)
    ]

    def caller():
        # Channels of one address share a connection unless they are told not to.
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])
        ask = channel.unary_unary("/milvus.proto.milvus.MilvusService/Search", lambda raw: raw, lambda raw: raw)

        async def call(i):
            return await ask(encoded[i])

        return call

    def read(raw):
        told = milvus_pb2.SearchResults.FromString(raw)
        if told.status.code:
            raise SystemExit(f"milvus-lite answered {told.status.reason}")
        ids, tops = list(told.results.ids.int_id.data), list(told.results.topks)
        ends = np.cumsum(tops)
        return [ids[end - top : end] for end, top in zip(ends, tops, strict=True)]

    return [caller() for _ in range(count)], len(encoded), read


async def ask_in_turn(callers, number, requests):
    return [(i, await callers[number](i)) for i in range(number, requests, len(callers))]


async def measure(name, kind, port, folder, effort, options):
    """Requests per second and tails, and before them the recall of every judged query."""
    count = 4 if kind == "batch" else options.clients
    make = milvus_callers if name == "milvus-lite" else http_callers
    callers, requests, read = await make(name, kind, port, folder, effort, count)
    truth = read_inputs(folder)["filtered" if kind == "filtered" else "truth"][TUNED:]
    # By all of them at once, or a server that needs long for a query would be asked for minutes.
    checked = min(requests, FILTERED_JUDGED) if kind == "filtered" else requests
    answers = await asyncio.gather(*(ask_in_turn(callers, number, checked) for number in range(len(callers))))
    by_place = {i: raw for part in answers for i, raw in part}
    found = [ids for i in range(checked) for ids in read(by_place[i])]
    took, ends = [], time.perf_counter() + options.seconds + 1
    counts_from = ends - options.seconds

    async def one(number, call):
        i = number * 17
        while (began := time.perf_counter()) < ends:
            await call(i % requests)
            i += 1
            if began >= counts_from:
                took.append(time.perf_counter() - began)

    await asyncio.gather(*(one(n, call) for n, call in enumerate(callers)))
    p50, p99 = np.percentile(1e3 * np.array(took), [50, 99]).round(2).tolist()
    rate = len(took) / options.seconds
    return {
        "clients": count,
        "effort": effort,
        "recall@10": round(recall(found, truth[: len(found)]), 4),
        "requests_per_s": round(rate, 1),
        "queries_per_s": round(rate * (64 if kind == "batch" else 1), 1),
        "p50_ms": p50,
        "p99_ms": p99,
    }


# ---- all of it ------------------------------------------------------------------------------------------------------


def worker(options):
    """What runs in the interpreter of the rivals, or as the process of the clients."""
    what, name, folder, *more = options.worker
    folder = Path(folder)
    if what == "load":
        found = {"orthant": load_orthant, "chroma": load_chroma, "milvus-lite": load_milvus}[name](folder)
    elif what == "tune":
        found = {"orthant": tune_orthant, "chroma": tune_chroma, "milvus-lite": tune_milvus}[name](folder)
    else:
        kind, port, effort = more
        found = asyncio.run(measure(name, kind, int(port), folder, json.loads(effort), options))
    print(json.dumps(found))


def run(python, options, *arguments):
    command = [python, __file__, "--clients", str(options.clients), "--seconds", str(options.seconds)]
    here = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    if python != sys.executable:
        # Of this environment the rivals' interpreter needs nothing but this folder.
        here["PYTHONPATH"] = str(Path(__file__).parent)
    done = subprocess.run([*command, "--worker", *arguments], stdout=subprocess.PIPE, text=True, env=here, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def versions(python):
    names = "('chromadb', 'milvus-lite')"
    code = f"import json, importlib.metadata as m; print(json.dumps({{n: m.version(n) for n in {names}}}))"
    return json.loads(subprocess.run([python, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout)


def main():
    options = parse()
    if options.worker:
        worker(options)
        return
    from orthant.evaluation.context import run_context

    python = options.python or sys.executable
    with contextlib.ExitStack() as stack:
        folder = Path(options.folder or stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "queries.npz").exists():
            write_inputs(folder, options.records)
        names = [options.only] if options.only else SERVERS
        pythons = {name: sys.executable if name == "orthant" else python for name in names}
        for name in names:
            if not (folder / f"{name}.json").exists():
                loaded = folder / f"{name}.loaded"
                if not loaded.exists():
                    run(pythons[name], options, "load", name, str(folder))
                    loaded.touch()
                efforts = run(pythons[name], options, "tune", name, str(folder))
                (folder / f"{name}.json").write_text(json.dumps(efforts))
        if options.load_only:
            return
        for name in names:
            efforts, found = json.loads((folder / f"{name}.json").read_text()), {}
            for kind in KINDS:
                with served(name, folder, python) as port:
                    # Chroma is asked over HTTP, by the same client as Orthant.
                    asking = python if name == "milvus-lite" else sys.executable
                    given = [kind, str(port), json.dumps(efforts[kind])]
                    found[kind] = run(asking, options, "ask", name, str(folder), *given)
                    print(name, kind, json.dumps(found[kind]), file=sys.stderr)
            keep(name, found, options, {"rivals": versions(python), "context": run_context(seed=0)})


def keep(name, found, options, about):
    """Put the figures of one server beside those of the others."""
    held = json.loads(RESULTS.read_text())["results"] if RESULTS.exists() else {}
    held[name] = found
    merged = {one: held[one] for one in SERVERS if one in held}
    report = {"records": options.records, "k": K, "target_recall": RECALL, "results": merged, **about}
    print(json.dumps(report))
    if not options.no_save and options.records == 100_000:
        RESULTS.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
