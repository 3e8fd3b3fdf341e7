"""What is left of a store whose process was killed while it wrote."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orthant.evaluation.ann.process import EngineFailedError

if TYPE_CHECKING:
    from orthant.evaluation.stores.run import Bench

__all__ = ["crash"]

_OPEN_S = 120.0
_BEGIN_S = 60.0
# Writes that must be acknowledged before the kill, and the longest wait after them.
_ACKNOWLEDGED, _WAIT_S = 3, 0.5


def crash(bench: Bench, place: Path) -> dict[str, Any]:
    """Kill a writing process several times and look at what its store holds afterwards.

    Parameters
    ----------
    bench : Bench
        The store.
    place : Path
        An empty folder for stores that are written to meanwhile. The next kill meets the store that the last one
        left, or an empty one where that did not open.

    Returns
    -------
    dict
        ``kills``, ``opened`` (times that the store opened and answered afterwards), ``acknowledged`` and ``lost``
        records, ``torn`` (times that a part of the batch in flight was there), ``reasons``. Where a store did not
        open, all that it had acknowledged is lost.

    Raises
    ------
    EngineFailedError
        It cannot write at all.
    """
    settings = bench.settings
    moments = random.Random(settings.seed)
    found: dict[str, Any] = {"kills": 0, "opened": 0, "acknowledged": 0, "lost": 0, "torn": 0, "reasons": []}
    ranges: list[list[int]] = []
    folder, first = _fresh(place, 0), 0
    for number in range(settings.kills):
        count = min(len(bench.corpus.texts) - first, 200 * settings.kill_batch)
        count -= count % settings.kill_batch
        if count < settings.kill_batch * (_ACKNOWLEDGED + 1):
            break
        written = _killed(bench, folder, first, count, moments.uniform(0.0, _WAIT_S), fresh=not ranges)
        stop = first + written * settings.kill_batch
        flight = [stop, min(stop + settings.kill_batch, first + count)]
        ranges.append([first, stop])
        found["kills"] += 1
        found["acknowledged"] += stop - first
        try:
            with bench.process(folder) as process:
                left = process.ask("survived", {"acknowledged": ranges, "flight": flight}, timeout_s=_OPEN_S)
        except EngineFailedError as error:
            found["lost"] += sum(b - a for a, b in ranges) - found.get("known_lost", 0)
            found["reasons"].append(str(error))
            folder, ranges, first = _fresh(place, number + 1), [], flight[1]
            continue
        found["opened"] += 1
        lost = left["asked"] - left["there"]
        found["lost"] += max(0, lost - found.get("known_lost", 0))
        found["known_lost"] = lost
        found["torn"] += 0 < left["in_flight_there"] < flight[1] - flight[0]
        first = flight[1]
    found.pop("known_lost", None)
    return found


def _fresh(place: Path, number: int) -> Path:
    folder = place / str(number)
    folder.mkdir()
    return folder


def _killed(bench: Bench, folder: Path, first: int, count: int, wait_s: float, *, fresh: bool) -> int:
    """Let a process write, kill it, and return how many batches it had acknowledged."""
    note = folder.parent / f"acknowledged-{folder.name}-{first}"
    request = {"first": first, "count": count, "batch": bench.settings.kill_batch, "fresh": fresh}
    with bench.process(folder) as process:
        process.send("write_on", request | {"acknowledged": str(note)})
        began = time.monotonic()
        while not note.exists() or note.stat().st_size < _ACKNOWLEDGED:
            if time.monotonic() - began > _BEGIN_S:
                break
            time.sleep(0.005)
        time.sleep(wait_s)
    return note.stat().st_size if note.exists() else 0
