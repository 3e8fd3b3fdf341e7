"""Make the vector sets of the index benchmarks from the texts of ORTHANT_DATA, once, into ORTHANT_CACHE.

Encodes with all-MiniLM-L6-v2 (int8, one thread): minutes of CPU time per set.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
import warnings

from orthant.datasets.made.store import MADE_SETS, load_made, make
from orthant.encoders.transformer import TransformerEncoder
from orthant.errors import NotFoundError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(MADE_SETS), help=f"from {', '.join(MADE_SETS)}; default all")
    parser.add_argument("--rows", type=int, help="base vectors, for a small trial")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    # Windows are short by design, and the report of each set says so.
    warnings.filterwarnings("ignore", message=".*texts were longer than.*")
    for name in given.names:
        try:
            made = load_made(name)
            if len(made.vectors) == given.rows or (given.rows is None and made.manifest["complete"]):
                print(f"{name}: in the cache, {made.vectors.base.shape}")
                continue
        except NotFoundError:
            pass
        print(f"{name}: encoding", file=sys.stderr)
        encoder = functools.partial(_minilm, threads=given.threads)
        made = make(name, encoder, rows=given.rows, report=_Progress())
        print(f"{name}: {made.vectors.base.shape} in {made.manifest['cpu_seconds']} CPU seconds")


def _minilm(max_tokens: int, *, threads: int) -> TransformerEncoder:
    return TransformerEncoder.minilm(backend="onnx-int8", max_tokens=max_tokens, threads=threads)


class _Progress:
    """One line on stderr every ten seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, part: str, done: int, total: int) -> None:
        if time.monotonic() - self._last > 10 or done == total:
            self._last = time.monotonic()
            print(f"  {part}: {done:,} of {total:,}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
