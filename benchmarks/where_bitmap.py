"""How long a where-expression takes to become a bitmap, and how fast metadata becomes columns.

100,000 generated records with six fields; each figure is the median of 20 runs on one thread, with its spread.
"""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import orthant
from orthant.collection.columns.table import Columns, check_metadata
from orthant.collection.columns.where import parse_where
from orthant.kernels.bitmaps import from_rows

ROWS = 100_000
REPEATS = 20
BUDGET_MS = 10.0
SEED = 0
RESULT = Path(__file__).parent / "results" / "where_bitmap.json"


def records() -> list[dict[str, Any]]:
    rng = random.Random(SEED)
    genres = ["novel", "memoir", "poetry", "essay", "drama"]
    tags = [f"tag{i}" for i in range(40)]
    return [
        {
            "year": rng.randrange(1800, 2025),
            "genre": rng.choice(genres),
            "author": f"author {rng.randrange(3000)}",
            "title": f"the {rng.choice(tags)} of {rng.random():.12f}",
            "price": rng.random() * 50,
            "tags": rng.sample(tags, rng.randrange(4)),
        }
        for _ in range(ROWS)
    ]


def expressions(metadata: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    authors = [f"author {i}" for i in range(0, 3000, 30)]
    return {
        "range": {"year": {"gte": 1900}},
        "range and set": {"year": {"gte": 1900, "lt": 2000}, "genre": {"in": ["novel", "memoir"]}},
        "range, 100 strings, not": {"year": {"gte": 1900}, "author": {"in": authors}, "not": {"genre": "novel"}},
        "100 integers, float range, exclusion": {
            "year": {"in": list(range(1800, 2000, 2))},
            "price": {"gt": 10.5},
            "genre": {"nin": ["essay"]},
        },
        "100 floats": {"price": {"in": [record["price"] for record in metadata[:100]]}},
        "100 distinct strings": {"title": {"in": [record["title"] for record in metadata[:100]]}},
        "list membership": {"tags": {"contains": "tag7"}},
        "substring of 3,000 strings": {"author": {"contains": "or 12"}},
        "substring of 100,000 strings": {"title": {"contains": "tag1"}},
        "three substrings of 100,000 strings": {
            "or": [{"title": {"contains": text}} for text in ("the", "of 0.", "e tag")]
        },
    }


def measure(call: Callable[[], Any]) -> dict[str, float]:
    samples, busy = [], []
    for _ in range(REPEATS):
        start, cpu = time.perf_counter(), time.process_time()
        call()
        samples.append((time.perf_counter() - start) * 1e3)
        busy.append((time.process_time() - cpu) * 1e3)
    ordered = sorted(samples)
    figures = {
        "median_ms": statistics.median(ordered),
        "p10_ms": ordered[1],
        "p90_ms": ordered[-2],
        "cpu_median_ms": statistics.median(busy),
    }
    return {name: round(value, 4) for name, value in figures.items()}


def grow(metadata: list[dict[str, Any]], batch: int) -> Columns:
    columns = Columns.empty()
    for at in range(0, len(metadata), batch):
        part = metadata[at : at + batch]
        columns = columns.with_batch(np.arange(at, at + len(part)), part)
    return columns


def main() -> None:
    metadata = records()
    columns = grow(metadata, 1000)
    live = from_rows(np.arange(ROWS))
    holed = live.copy()
    holed &= np.random.default_rng(SEED).integers(0, 2**64, len(live), dtype=np.uint64)
    compacted = columns.compacted(holed)
    rows = []
    for name, expression in expressions(metadata).items():
        where = parse_where(expression)
        row: dict[str, Any] = {"expression": name, "matches": columns.evaluate(where, live=live).count}
        row |= measure(lambda where=where: columns.evaluate(where, live=live))
        row["compacted"] = measure(lambda where=where: compacted.evaluate(where, live=holed))
        rows.append(row)
        print(
            f"{row['median_ms']:8.3f} ms  (p90 {row['p90_ms']:.3f}, CPU {row['cpu_median_ms']:.3f})"
            f"  {row['matches']:7d} rows  {name}"
        )
    flat = [{key: record[key] for key in ("year", "genre", "author", "price")} for record in metadata]
    other: dict[str, Any] = {
        "check_metadata_us_per_record": measure(lambda: [check_metadata(r, where="record") for r in flat]),
        "with_batch_10000_ms": measure(lambda: grow(flat, 10_000)),
    }
    checked = other.pop("check_metadata_us_per_record")
    other["check_metadata_us_per_record"] = round(checked["median_ms"] / ROWS * 1e3, 3)
    other["with_batch_records_per_s"] = round(ROWS / other["with_batch_10000_ms"]["median_ms"] * 1e3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "columns"
        wide = grow([{**record, **{f"n{j}": j * i for j in range(4)}} for i, record in enumerate(metadata)], 10_000)
        wide.save(path)
        other["load_10_fields"] = measure(lambda: Columns.load(path))
        other["file_bytes"] = path.stat().st_size
    print(json.dumps(other, indent=2))
    result = {
        "rows": ROWS,
        "repeats": REPEATS,
        "seed": SEED,
        "budget_ms": BUDGET_MS,
        "within_budget": all(row["median_ms"] < BUDGET_MS for row in rows),
        "results": rows,
        "other": other,
        "context": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "orthant": orthant.__version__,
            "machine": platform.machine(),
            "system": platform.system(),
            "cpus": os.cpu_count(),
            "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        },
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
