"""The process of one store: loads, searches, churns and writes until it is killed, a JSON line per request.

Run by ``orthant.evaluation.stores.run`` with the interpreter of the store's own environment.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from orthant.evaluation.ann.measuring import anonymous_bytes
from orthant.evaluation.serving import serve
from orthant.evaluation.stores.inputs import read_queries, read_rows
from orthant.evaluation.stores.store import Effort, Query, load_store

_WARM = 5
_UPKEEP_EVERY = 10


def total_bytes() -> int | None:
    """Return the resident memory of this process, mapped files included.

    Returns
    -------
    int or None
        Bytes; None where the system does not tell.

    Examples
    --------
    >>> total_bytes() is None or total_bytes() > 1_000_000
    True
    """
    return _status("VmRSS:")


def peak_bytes() -> int | None:
    """Return the most memory that was resident since the start of this process or `forget_peak`.

    Returns
    -------
    int or None
        Bytes; None where the system does not tell.

    Examples
    --------
    >>> peak_bytes() is None or peak_bytes() > 1_000_000
    True
    """
    return _status("VmHWM:")


def forget_peak() -> None:
    """Let `peak_bytes` begin anew; nothing happens where the system has no such thing."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _status(name: str) -> int | None:
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    lines = status.read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), None)


class Worker:
    """One store in a folder."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.inputs, self.folder = Path(spec["inputs"]), Path(spec["folder"])
        self.k = int(spec["k"])
        self.store = load_store(spec["home"])

    def about(self) -> dict[str, Any]:
        """What it offers and which versions do so."""
        versions: dict[str, str | None] = {}
        for name in self.store.packages:
            try:
                versions[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                versions[name] = None
        return {"modes": list(self.store.modes), "notes": list(self.store.notes), "versions": versions}

    def load(self, records: int) -> dict[str, Any]:
        """Fill an empty store and bring it into its final form; reading the input is not counted."""
        dim = np.load(self.inputs / "vectors.npy", mmap_mode="r", allow_pickle=False).shape[1]
        batches = list(read_rows(self.inputs, range(records), self.store.batch))
        self.store.create(self.folder, dim)
        forget_peak()
        wall, cpu = time.perf_counter(), time.process_time()
        self.store.load(batches)
        searchable = time.perf_counter() - wall
        self.store.finish()
        finished = time.perf_counter() - wall
        self.store.close()
        closed = time.perf_counter() - wall
        seconds = {"written_s": searchable, "finished_s": finished, "closed_s": closed}
        # The input is in memory meanwhile, whatever the store.
        return {**seconds, "cpu_s": time.process_time() - cpu, "peak_bytes": peak_bytes()}

    def open(self) -> dict[str, Any]:
        """Open the store."""
        self.store.open(self.folder)
        return {}

    def close(self) -> dict[str, Any]:
        """Close the store."""
        self.store.close()
        return {}

    def first(self, effort: Effort) -> dict[str, Any]:
        """Open and answer one query: what a command that is run once waits for."""
        self.store.open(self.folder)
        return {"ids": self.store.search(read_queries(self.inputs).judge[0], "dense", self.k, effort)}

    def efforts(self) -> dict[str, Any]:
        """Settings to choose from."""
        return {"efforts": self.store.efforts()}

    def ask(self, mode: str, part: str, effort: Effort, budget_s: float) -> dict[str, Any]:
        """Ask queries one by one until they are through or the time is; each is timed alone."""
        queries: list[Query] = getattr(read_queries(self.inputs), part)
        for query in queries[:_WARM]:
            self.store.search(query, mode, self.k, effort)
        found, seconds = [], []
        began, cpu = time.perf_counter(), time.process_time()
        for query in queries:
            start = time.perf_counter()
            ids = self.store.search(query, mode, self.k, effort)
            seconds.append(time.perf_counter() - start)
            found.append(ids)
            if time.perf_counter() - began > budget_s:
                break
        return {"found": found, "seconds": seconds, "cpu_s": time.process_time() - cpu}

    def memory(self) -> dict[str, Any]:
        """Memory of this process: what no file backs, all, and the most that it ever was."""
        return {"total_bytes": total_bytes(), "anonymous_bytes": anonymous_bytes(), "peak_bytes": peak_bytes()}

    def churn(self, records: int, rounds: int, per_round: int, pool: int, budget_s: float) -> dict[str, Any]:
        """Delete the oldest and add as many new ones, round by round; upkeep every few rounds and at the end."""
        numbers = np.concatenate([np.arange(records, pool), np.arange(rounds * per_round)])[: rounds * per_round]
        batches = list(read_rows(self.inputs, numbers, per_round))
        began, done = time.perf_counter(), 0
        for done, rows in enumerate(batches, start=1):
            oldest = range((done - 1) * per_round, done * per_round)
            self.store.delete([f"c{n}" for n in oldest])
            self.store.write(rows)
            if done % _UPKEEP_EVERY == 0:
                self.store.maintain()
            if time.perf_counter() - began > budget_s:
                break
        self.store.maintain()
        seconds = time.perf_counter() - began
        self.store.close()
        return {"rounds": done, "seconds": seconds}

    def write_on(self, first: int, count: int, batch: int, acknowledged: str, fresh: bool) -> dict[str, Any]:
        """Write batch after batch and note each that was acknowledged; the process is killed meanwhile."""
        batches = list(read_rows(self.inputs, range(first, first + count), batch))
        if fresh:
            self.store.create(self.folder, batches[0].vectors.shape[1])
        else:
            self.store.open(self.folder)
        note = os.open(acknowledged, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        for rows in batches:
            self.store.write(rows)
            os.write(note, b".")
        return {"all": True}

    def survived(self, acknowledged: list[list[int]], flight: list[int]) -> dict[str, Any]:
        """Open after a kill: how many of the acknowledged records, and of the batch in flight, are there."""
        self.store.open(self.folder)
        numbers = [f"c{n}" for start, stop in acknowledged for n in range(start, stop)]
        there = self.store.present(numbers) if numbers else 0
        begun = self.store.present([f"c{n}" for n in range(*flight)])
        query = read_queries(self.inputs).judge[0]
        hits = self.store.search(query, "dense", self.k, self.store.efforts()[-1])
        self.store.close()
        return {"asked": len(numbers), "there": there, "in_flight_there": begun, "hits": len(hits)}


if __name__ == "__main__":
    serve(Worker)
