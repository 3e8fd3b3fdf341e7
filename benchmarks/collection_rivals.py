"""A collection beside Chroma, LanceDB, milvus-lite and txtai: ingest, search, memory, disk, churn, crashes.

100,000 chunks of newsgroup messages with metadata. Run alone on the machine; PATH is the interpreter of an environment
that has the rivals: ``python benchmarks/collection_rivals.py --python PATH``. ``--only orthant`` measures one store
anew and keeps what was measured of the others under the same settings, on the same data and machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from ann import make_if_missing
from orthant.cli.bench.collection import HOME, store_table
from orthant.evaluation.stores.inputs import newsgroup_corpus
from orthant.evaluation.stores.joining import joined
from orthant.evaluation.stores.run import StoreSettings, run_stores
from orthant.evaluation.stores.store import STORES

RESULT = Path(__file__).parent / "results" / "collection_rivals.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", help="interpreter that has the rivals; default: this one")
    parser.add_argument("--records", type=int, default=100_000, help="fewer is a trial; nothing is written")
    parser.add_argument("--only", nargs="+", choices=["orthant", *STORES], help="stores to measure anew")
    given = parser.parse_args()
    homes = {"orthant": HOME, **{name: info.home for name, info in STORES.items()}}
    if given.only:
        homes = {name: homes[name] for name in given.only}
    make_if_missing("newsgroups_chunks")
    begin = time.perf_counter()
    full = given.records == StoreSettings.records
    settings = StoreSettings(records=given.records, per_round=given.records // 100)
    record = run_stores(
        newsgroup_corpus(given.records, spare=given.records // 2),
        stores=homes,
        pythons=dict.fromkeys(STORES, given.python) if given.python else None,
        settings=settings,
        report=lambda text: print(f"  {text}", file=sys.stderr, flush=True),
    )
    record["seconds"] = round(time.perf_counter() - begin, 1)
    record["targets"] = {"place": 2}
    if given.only and full:
        record = joined(json.loads(RESULT.read_text(encoding="utf-8")), record)
    heads, lines = store_table(record)
    for line in (heads, *lines):
        print(" | ".join(line), file=sys.stderr)
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    if full:
        RESULT.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
