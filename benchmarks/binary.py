"""What codes of a few bits find, and how quickly they are scanned, beside FAISS at equal bytes.

    python benchmarks/binary.py [--quick] [--rows 1000000] [--only recall|rates]

Recall@10 of the exact neighbours, without re-ranking, at 32 and 64 bytes for each vector (constants and lengths
counted), on sentence vectors with queries like them and unlike them, and on chunks of newsgroups where these are at
hand; codes are fitted on other rows than are searched. Then rows scanned for each second by one thread: `CodeScan`,
beside FAISS's IndexBinaryFlat and IndexPQFastScan at as many bytes of code, on random codes, as data do not matter.
Run it alone on the machine. FAISS's arms are missing where it is not installed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from orthant.datasets.made.store import load_made
from orthant.datasets.registry import data_hash, load
from orthant.errors import NotFoundError
from orthant.evaluation.context import run_context
from orthant.index import Flat
from orthant.kernels.topk import top_k
from orthant.kernels.warmup import wait
from orthant.measures import recall_at_k
from orthant.quantization import (
    ITQ,
    SQ8,
    CodeScan,
    ProductQuantizer,
    RaBitQ,
    RecurrentBinary,
    ResidualQuantizer,
    SignCodes,
)
from orthant.transforms import LeanVec

SEED = 7
REPEATS = 7
QUERIES = 32
HERE = Path(__file__).parent


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def unit(rows: Any) -> Any:
    wide = rows.astype(np.float64)
    return (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)


def vector_sets(rows: int) -> Iterator[tuple[str, Any, Any, Any]]:
    """Name, rows, rows to fit on, queries."""
    rng = np.random.default_rng(SEED)
    found = load("minilm_short_texts", texts="drop")
    order = rng.permutation(len(found.base))
    base, fit = unit(found.base[order[:rows]]), unit(found.base[order[rows : 2 * rows]])
    for kind in ("in", "out"):
        yield f"minilm_short_texts-{kind}", base, fit, unit(found.queries[kind][:1000])
    try:
        chunks = load_made("newsgroups_chunks").vectors
    except NotFoundError as error:
        say(f"newsgroups_chunks: missing ({error})")
        return
    # Runs of chunks of one document: a permutation would put them on both sides.
    order = np.arange(len(chunks.base))
    part = min(rows, (len(order) - 1000) // 2)
    cut = (order[:part], order[part : 2 * part], order[2 * part : 2 * part + 1000])
    yield "newsgroups_chunks", *(unit(np.asarray(chunks.base[which])) for which in cut)


def scans(size: int) -> dict[str, Any]:
    """Codes of directions; two bytes are the length that a scan keeps for codes of more than one bit."""
    grid = 4 * (size - 2)
    return {
        "signs": SignCodes(dim=min(384, 8 * size), bits=1, unit=True, seed=SEED),
        "itq": ITQ(dim=min(384, 8 * size), bits=1, unit=True, seed=SEED),
        "signs-2bit": SignCodes(dim=grid, bits=2, unit=True, seed=SEED),
        "itq-2bit": ITQ(dim=grid, bits=2, unit=True, seed=SEED),
        "recurrent-2bit": RecurrentBinary(dim=grid, bits=2, unit=True, seed=SEED),
        "recurrent-4bit": RecurrentBinary(dim=grid // 2, bits=4, unit=True, seed=SEED),
    }


def others(size: int) -> dict[str, Any]:
    return {
        "rabitq-1bit": RaBitQ(dim=min(384, 8 * (size - 4)), bits=1, seed=SEED),
        "rabitq-2bit": RaBitQ(dim=4 * (size - 4), bits=2, seed=SEED),
        "rabitq-4bit": RaBitQ(dim=2 * (size - 4), bits=4, seed=SEED),
        "opq": ProductQuantizer(m=size, rotation="opq", iterations=10, seed=SEED),
        "residual": ResidualQuantizer(levels=size, iterations=5, seed=SEED),
        "leanvec-sq8": (LeanVec(dim=size), SQ8()),
    }


def recall_of(quantizer: Any, base: Any, fit: Any, queries: Any, truth: Any) -> float:
    metric = "cosine"
    if isinstance(quantizer, tuple):
        lean, quantizer = quantizer
        fit, base = lean.fit(fit).transform(fit), lean.transform(base)
        queries, metric = lean.transform_queries(queries), "dot"
    quantizer.fit(fit)
    scores = quantizer.score(queries, quantizer.encode(base), metric=metric)
    return float(recall_at_k(top_k(scores, 10)[0], truth))


def recalls(rows: int, sizes: tuple[int, ...]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, base, fit, queries in vector_sets(rows):
        index = Flat(base.shape[1], "cosine")
        index.add(base)
        truth = index.search(queries, 10).ids
        for size in sizes:
            found: dict[str, Any] = {}
            for arm, quantizer in scans(size).items():
                scan = CodeScan(quantizer.fit(fit))
                scan.add(base)
                found[arm] = {
                    how: float(recall_at_k(scan.search(queries, 10, queries=how).ids, truth))
                    for how in ("codes", "floats")
                }
            for arm, quantizer in others(size).items():
                found[arm] = {"floats": recall_of(quantizer, base, fit, queries, truth)}
            out.setdefault(name, {})[str(size)] = found
            for arm, figures in found.items():
                say(f"{name} {size} bytes {arm}: {figures}")
    return out


def rate(search: Callable[[], Any], rows: int) -> float:
    """Rows for each second and query of the fastest of some runs."""
    search()
    spent = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        search()
        spent.append(time.perf_counter() - begun)
    return rows * QUERIES / min(spent)


def rates(rows: int, sizes: tuple[int, ...]) -> dict[str, Any]:
    wait("binary")
    rng = np.random.default_rng(SEED)
    out: dict[str, Any] = {}
    for size in sizes:
        found: dict[str, float] = {}
        for bits in (1, 2, 4):
            dim = 8 * size // bits
            quantizer = SignCodes(bits=bits, unit=True).fit(rng.standard_normal((2 * dim, dim)))
            scan = CodeScan(quantizer)
            scan.add_codes(rng.integers(0, 256, (rows, size)).astype(np.uint8))
            queries = rng.standard_normal((QUERIES, dim)).astype(np.float32)
            for how in ("codes", "floats"):
                search = partial(scan.search, queries, 10, queries=how, threads=1, compiled=True)
                found[f"scan-{bits}bit-{how}"] = rate(search, rows)
        found |= faiss_rates(rows, size, rng)
        out[str(size)] = found
        for arm, value in found.items():
            say(f"{size} bytes {arm}: {value / 1e6:.0f} million rows a second")
    return out


def faiss_rates(rows: int, size: int, rng: Any) -> dict[str, float]:
    try:
        import faiss
    except ImportError:
        say("FAISS: missing")
        return {}
    faiss.omp_set_num_threads(1)
    codes = rng.integers(0, 256, (rows, size)).astype(np.uint8)
    binary = faiss.IndexBinaryFlat(8 * size)
    binary.add(codes)
    found = {"faiss-binary-flat": rate(lambda: binary.search(codes[:QUERIES], 10), rows)}
    # Two dimensions for each group of 4 bits: the look-ups cost the same whatever the vectors are.
    vectors = rng.standard_normal((rows, 4 * size)).astype(np.float32)
    fast = faiss.IndexPQFastScan(4 * size, 2 * size, 4)
    fast.train(vectors[:5000])
    fast.add(vectors)
    return found | {"faiss-pq-fast-scan": rate(lambda: fast.search(vectors[:QUERIES], 10), rows)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rows, 32 bytes only; nothing is written")
    parser.add_argument("--rows", type=int, default=1_000_000, help="codes scanned for the rates")
    parser.add_argument("--only", choices=("recall", "rates"))
    arguments = parser.parse_args()
    sizes = (32,) if arguments.quick else (32, 64)
    path = HERE / "results" / "binary.json"
    result = json.loads(path.read_text()) if path.exists() else {}
    if arguments.only != "rates":
        result["recall"] = recalls(4_000 if arguments.quick else 25_000, sizes)
        result["data"] = {"minilm_short_texts": data_hash("minilm_short_texts")}
    if arguments.only != "recall":
        result["rows_per_second"] = rates(100_000 if arguments.quick else arguments.rows, sizes)
        result["rows_scanned"] = arguments.rows
    result["context"] = run_context(seed=SEED, packages=("faiss-cpu",))
    if not arguments.quick:
        path.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    print(json.dumps(result, indent=2, sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
