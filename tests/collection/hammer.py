"""Eight threads at once on one collection."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from collection.fakes import FakeEncoder
from orthant.collection.collection import Collection
from orthant.collection.storage import maintenance


def hammer(path: Path, seconds: float, encoder: FakeEncoder, *, records: int, missing: float = 0.0) -> None:
    """Search, write, delete, finish, save and compact from eight threads; every hit must be what it says it is.

    A record whose own vector is the query may be missing from a share of the searches.
    """
    stop, errors = time.perf_counter() + seconds, []
    met: list[bool] = []
    with Collection(path, encoder=encoder) as collection:
        ids = [f"stay{i}" for i in range(records)]
        collection.upsert(ids, texts=[f"stay {key}" for key in ids], metadata=[{"stay": True} for _ in ids])

        def work(seed: int, act) -> None:
            rng = np.random.default_rng(seed)
            try:
                act(rng)
                while time.perf_counter() < stop:
                    act(rng)
            except BaseException as error:
                errors.append(error)
                raise

        def search(rng) -> None:
            i = int(rng.integers(records))
            hits = collection.search(f"stay stay{i}", mode="dense", k=5)
            met.append(hits.ids[0] == f"stay{i}")
            q = encoder.encode([f"stay stay{i}"])[0]
            for hit in hits:
                assert hit.text.endswith(f" {hit.id}")
                assert hit.score == pytest.approx(float(encoder.encode([hit.text])[0] @ q), abs=1e-5)

        def filtered(rng) -> None:
            i = int(rng.integers(60))
            mode = ("dense", "hybrid")[i % 2]
            hits = collection.search(f"go go{i}", mode=mode, k=5, where={"stay": True})
            assert len(hits) == 5 and all(hit.metadata == {"stay": True} for hit in hits)

        def write(rng) -> None:
            some = [f"go{i}" for i in rng.choice(60, size=20, replace=False)]
            collection.upsert(some, texts=[f"go {key}" for key in some])

        def delete(rng) -> None:
            collection.delete([f"go{i}" for i in rng.choice(60, size=20, replace=False)])

        def look_after(rng) -> None:
            collection.finish()
            collection._store.save_derived()
            with collection._store.writer():
                maintenance.compact(collection._store, "default")
            time.sleep(0.01)

        acts = [search, search, search, filtered, filtered, write, delete, look_after]
        threads = [threading.Thread(target=work, args=pair) for pair in enumerate(acts)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        assert len(met) > 50 and np.mean(met) >= 1.0 - missing
        report = collection.check()
        assert report.ok, report.problems
