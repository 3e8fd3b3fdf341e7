"""kill -9 at random and at chosen moments: nothing acknowledged is lost, nothing is torn (W27)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import orthant
from collection.fakes import FakeEncoder, FakeSparseEncoder, FakeTokenEncoder
from faults import child
from faults.verify import check_equal, contents
from orthant.collection.collection import Collection

pytestmark = pytest.mark.skipif(os.name == "nt", reason="SIGKILL")

_CHILD = Path(child.__file__)
_PATH = os.pathsep.join([str(Path(orthant.__file__).parents[1]), str(_CHILD.parents[1])])


def _run_and_kill(path: Path, *, seed: int, dying: int, after_s: float) -> list:
    """Return the lines of a child that was killed."""
    command = [sys.executable, str(_CHILD), str(path), str(seed), str(dying)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": _PATH}) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        if not dying:
            time.sleep(after_s)
            process.kill()
        lines += process.stdout.readlines()
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def _replayed(lines: list, model: dict) -> list[dict]:
    """Return the states that may be found: the acknowledged one, and the one after the call that was in flight."""
    pending = None
    for line in lines:
        if line == "done":
            model, pending = child.after(model, pending), None
        elif line != "open":
            pending = line
    return [model] if pending is None else [model, child.after(model, pending)]


def _kills(tmp_path: Path, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path, model = tmp_path / "c", {}
    acknowledged = 0
    for i in range(count):
        dying = int(rng.integers(3, 240)) if i % 2 else 0
        lines = _run_and_kill(path, seed=seed * 1000 + i, dying=dying, after_s=float(rng.uniform(0.01, 0.4)))
        acknowledged += lines.count("done")
        allowed = _replayed(lines, model)
        # Every third kill is left for the next child to clean up after; a reader must cope with it as it is.
        read_only = i % 3 == 2 and path.exists()
        spaces = {"terms": FakeSparseEncoder(), "words": FakeTokenEncoder()}
        with Collection(path, encoder=FakeEncoder(), spaces=spaces, read_only=read_only) as collection:
            found = contents(collection)
            assert found in allowed, f"after kill {i}"
            if not read_only:
                found["mark"] = [f"amber mark {i}", {"stamp": i}]
                collection.upsert(["mark"], texts=[found["mark"][0]], metadata=[found["mark"][1]])
            check_equal(collection, found)
        model = found
    # A commit of few records may save a graph and the codes of tokens, so a child lives to see only some.
    assert acknowledged > 3 * count


def test_w27_ten_kills(tmp_path, frequent_upkeep):
    _kills(tmp_path, 10, seed=7)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_w27_two_hundred_kills(tmp_path, frequent_upkeep):
    _kills(tmp_path, 200, seed=11)
