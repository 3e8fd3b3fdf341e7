"""A writer that is killed: it says what it is about to do, does it, and says that it is done."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from collection.fake_graph import FakeGraph
from collection.fakes import FakeEncoder, FakeSparseEncoder, FakeTokenEncoder, text_of
from orthant.collection.collection import Collection
from orthant.collection.storage import graphs, maintenance, merging
from orthant.collection.storage.files import FileLayer
from orthant.collection.storage.texts import dictionaries

ROWS = 60


class DyingLayer(FileLayer):
    """Kills its own process at a given call, before or after the call is carried out."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name in ("write_at", "sync", "replace", "create", "sync_folder", "remove", "truncate", "link"):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return value


def operations(seed: int) -> Any:
    """Yield an endless, seeded stream of upserts and deletions."""
    rng = np.random.default_rng(seed)
    while True:
        ids = [f"r{i}" for i in rng.choice(ROWS, size=int(rng.integers(1, 6)), replace=False)]
        if rng.random() < 0.3:
            yield {"delete": ids}
        else:
            stamp = int(rng.integers(1 << 30))
            yield {"upsert": {key: [text_of(rng) + f" v{stamp}", {"stamp": stamp}] for key in ids}}


def apply(collection: Collection, operation: dict) -> None:
    """Carry out one operation."""
    if "delete" in operation:
        collection.delete(operation["delete"])
    else:
        rows = operation["upsert"]
        collection.upsert(
            list(rows), texts=[row[0] for row in rows.values()], metadata=[row[1] for row in rows.values()]
        )


def after(model: dict, operation: dict) -> dict:
    """Return what a dict would hold after the operation."""
    if "delete" in operation:
        return {key: value for key, value in model.items() if key not in operation["delete"]}
    return {**model, **operation["upsert"]}


PATCHED = {
    maintenance: ("_TAIL_RECORDS", "_TAIL_SHARE", "_MINIMUM_SLOTS", "_DEAD_SHARE"),
    merging: (
        *("BREAK_EVEN", "_TAIL_ROWS", "_TAIL_SHARE", "_ROWS_PER_COMMIT", "_CLOSE_ROWS", "_CLOSE_SHARE"),
        "least_vectors",
    ),
    graphs: ("graph_class", "set_class"),
    dictionaries: ("_LEAST_RECORDS", "_LEAST_SAMPLE"),
}
"""What ``frequent_upkeep`` changes, for a test to put back."""


def frequent_upkeep() -> None:
    """Make compactions, merges of graphs and saves of derived files so frequent that crashes fall into them."""
    maintenance._TAIL_RECORDS, maintenance._TAIL_SHARE = 6, 0.0
    maintenance._MINIMUM_SLOTS, maintenance._DEAD_SHARE = 8, 0.15
    merging.BREAK_EVEN, merging._TAIL_ROWS, merging._TAIL_SHARE = 8, 4, 0.0
    merging._ROWS_PER_COMMIT, merging._CLOSE_ROWS, merging._CLOSE_SHARE = 10, 1, 0.0
    graphs.graph_class = lambda: FakeGraph
    merging.least_vectors = lambda space: 8
    graphs.set_class = _fake_sets
    dictionaries._LEAST_RECORDS, dictionaries._LEAST_SAMPLE = 16, 512


def _fake_sets() -> type:
    """Return codes that learn nothing and propose everything, with the files and the changes of real ones."""
    from orthant.index.multivector.attached import SetCodes

    class FakeSets(SetCodes):
        calibration = ((1, 1.0),)

        @classmethod
        def over(cls, blocks, *, dim, live=None, **settings):
            return super().over(blocks, dim=dim, method="exact", live=live)

        def calibrate(self, **settings):
            return self.calibration

        def search(self, Q, k, *, allowed=None, effort=None, threads=None):
            found = super().search(Q, k, allowed=allowed)
            told = {**found.cost.details, "effort": effort, "proposal_compared": 0}
            return replace(found, cost=replace(found.cost, plan="fake", details=told))

    return FakeSets


def main(path: str, seed: int, dying: int) -> None:
    frequent_upkeep()
    # Loaded before the clock of a kill runs.
    graphs.set_class()
    files = DyingLayer(dying) if dying else None
    spaces = {"terms": FakeSparseEncoder(), "words": FakeTokenEncoder()}
    with Collection(Path(path), encoder=FakeEncoder(), spaces=spaces, files=files) as collection:
        print(json.dumps("open"), flush=True)
        for operation in operations(seed):
            print(json.dumps(operation), flush=True)
            apply(collection, operation)
            print(json.dumps("done"), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
