"""How fast is a collection? Ingest, durability included, and search latency over 100,000 short texts.

Texts are chunks of about 40 words of the 20 Newsgroups messages; queries are message subjects and 8-word pieces of
messages that were left out of the corpus. Run alone on the machine: ``python benchmarks/collection_speed.py``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np

import orthant
from orthant.datasets.registry import data_hash, load
from orthant.evaluation.context import run_context

RECORDS = 100_000
BATCH = 4096
WORDS = 40


def chunks(limit: int) -> tuple[list[str], list[dict], list[str]]:
    texts: list[str] = []
    metadata: list[dict] = []
    queries: list[str] = []
    messages = load("newsgroups20")
    for number, (text, label) in enumerate(zip(messages.texts, messages.labels.tolist(), strict=True)):
        words = text.split()
        if number % 40 == 0:
            queries += [" ".join(words[i : i + 8]) for i in range(0, min(len(words) - 8, 80), 40)]
            continue
        group = messages.label_names[label]
        for i in range(0, max(1, len(words) - WORDS // 2), WORDS):
            texts.append(" ".join(words[i : i + WORDS]))
            metadata.append({"group": group, "message": number, "place": i, "long": len(words) > 300})
        if len(texts) >= limit:
            break
    return texts[:limit], metadata[:limit], queries


def ingest(folder: Path, texts: list[str], metadata: list[dict], encoder: str, *, bulk: bool) -> dict[str, float]:
    """Records per second until all are searchable, until the graph holds all of them, and until all is closed."""
    began = time.perf_counter()
    stages: dict[str, float] = {}
    with orthant.open(folder, encoder=encoder) as collection:
        with collection.bulk() if bulk else nullcontext():
            for i in range(0, len(texts), BATCH):
                part = slice(i, i + BATCH)
                ids = [f"chunk-{n}" for n in range(i, i + len(texts[part]))]
                report = collection.upsert(ids, texts=texts[part], metadata=metadata[part])
                for name, seconds in report.seconds.items():
                    stages[name] = stages.get(name, 0.0) + seconds
                stages["longest_graph"] = max(stages.get("longest_graph", 0.0), report.seconds["graph"])
            searchable = time.perf_counter() - began
        collection.finish()
        finished = time.perf_counter() - began
    closed = time.perf_counter() - began
    return {
        "records_per_s": len(texts) / searchable,
        "records_per_s_finished": len(texts) / finished,
        "records_per_s_until_closed": len(texts) / closed,
        **{f"{name}_s": seconds for name, seconds in stages.items()},
    }


def latencies(collection: orthant.Collection, queries: list[str], **settings: object) -> dict[str, float]:
    for query in queries[:10]:
        collection.search(query, k=10, **settings)
    seconds = []
    for query in queries:
        began = time.perf_counter()
        collection.search(query, k=10, **settings)
        seconds.append(time.perf_counter() - began)
    milliseconds = np.array(seconds) * 1e3
    return {f"p{p}_ms": float(np.percentile(milliseconds, p)) for p in (50, 95, 99)} | {
        "max_ms": float(milliseconds.max())
    }


def searches(folder: Path, queries: list[str]) -> tuple[dict[str, dict[str, float]], orthant.CollectionStats]:
    """Latencies by kind of search, and what the collection says of itself."""
    from orthant.kernels.warmup import warm

    # Steady state: a process that has just begun answers by NumPy while the kernels are compiled behind it.
    warm(["graph", "scan", "retrieval"])
    out = {}
    with orthant.open(folder) as collection:
        where = {"group": {"in": ["sci.space", "sci.med"]}, "long": True}
        for name, settings in {
            "lexical": {"mode": "lexical"},
            "dense": {"mode": "dense"},
            "dense_one_thread": {"mode": "dense", "threads": 1},
            "dense_exact": {"mode": "dense", "recall": 1.0},
            "hybrid": {"mode": "hybrid"},
            "hybrid_filtered": {"mode": "hybrid", "where": where},
        }.items():
            out[name] = latencies(collection, queries, **settings)
            print(f"{name}: {out[name]}", file=sys.stderr)
        return out, collection.stats()


def process_seconds(folder: Path, runs: int) -> list[float]:
    command = [sys.executable, "-m", "orthant", "search", str(folder), "how do I connect a modem", "--json"]
    out = []
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        out.append(time.perf_counter() - began)
    return out


def import_seconds(runs: int) -> dict[str, float]:
    def once(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - began

    numpy = [once("import numpy") for _ in range(runs)]
    ours = [once("import numpy, orthant") for _ in range(runs)]
    return {"numpy_s": statistics.median(numpy), "numpy_and_orthant_s": statistics.median(ours)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--encoder", default="static")
    parser.add_argument(
        "--searches",
        metavar="FOLDER",
        help="measure searches alone, on a collection kept here; what --out has of ingest stays",
    )
    parser.add_argument("--out", default=str(Path(__file__).parent / "results" / "collection_speed.json"))
    options = parser.parse_args()
    texts, metadata, queries = chunks(options.records)
    queries = queries[: options.queries]
    if options.searches:
        folder, out = Path(options.searches), Path(options.out)
        if not folder.exists():
            ingest(folder, texts, metadata, options.encoder, bulk=True)
        result = json.loads(out.read_text())
        result["search"] = searches(folder, queries)[0]
        result["search_context"] = run_context(seed=None, data_hash=data_hash("newsgroups20"))
        out.write_text(json.dumps(result, indent=1) + "\n")
        print(json.dumps(result["search"], indent=1))
        return
    ways: dict[str, list[dict[str, float]]] = {"ingest": [], "ingest_bulk": []}
    with tempfile.TemporaryDirectory() as base:
        for run in range(options.runs):
            for way, rates in ways.items():
                shutil.rmtree(Path(base) / "c", ignore_errors=True)
                folder = Path(base) / "c"
                rates.append(ingest(folder, texts, metadata, options.encoder, bulk=way == "ingest_bulk"))
                print(f"{way} {run}: " + ", ".join(f"{k} {v:,.2f}" for k, v in rates[-1].items()), file=sys.stderr)
        result = {
            "records": len(texts),
            "mean_words": statistics.mean(len(text.split()) for text in texts),
            "queries": len(queries),
            **{
                way: {name: [round(rate[name], 3) for rate in rates] for name in rates[0]}
                for way, rates in ways.items()
            },
            "ingest_records_per_s_median": statistics.median(rate["records_per_s"] for rate in ways["ingest_bulk"]),
        }
        result["search"], told = searches(folder, queries)
        result["bytes"], result["graph"] = told.bytes, told.spaces["default"]["graph"]
        result["process_start_to_first_hit_s"] = process_seconds(folder, options.runs)
    result["import"] = import_seconds(options.runs)
    result["context"] = run_context(seed=None, data_hash=data_hash("newsgroups20"))
    Path(options.out).parent.mkdir(exist_ok=True)
    Path(options.out).write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k != "context"}, indent=1))


if __name__ == "__main__":
    main()
