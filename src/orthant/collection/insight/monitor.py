"""Watching the queries of a collection: bounded figures, and a report when they no longer look as they did."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from orthant.collection.insight import journal
from orthant.collection.insight.report import MonitorReport, make_report
from orthant.collection.insight.shift import energy_test, standardised
from orthant.collection.insight.window import SIGNALS, Sample, Window
from orthant.collection.results import SearchResult
from orthant.collection.searching import Query, SearchOptions, execute
from orthant.errors import InputError, OrthantError, message, warn
from orthant.threads import Turn
from orthant.types import FloatArray
from orthant.validate import as_texts, check_count, check_fraction, check_path

if TYPE_CHECKING:
    from orthant.collection.reading import CollectionReader

__all__ = ["Monitor"]

_DIRECTIONS = 16
_PARTS = 2
"""Tests per window, which share the false-alarm rate: of the queries and of the answers."""
_LEAST = 20
"""Vectors that a window needs for its queries to be tested."""
_HISTORY = 500
_CANARY_HITS = 10
# No monitor counts the searches of a monitor; two that waited for each other's counts would wait for ever.
_asking = threading.local()


class Monitor:
    """Keeps figures of every search of a collection and tests each window of them against a reference.

    Made by ``Collection.monitor``, whose arguments it takes. The first full window is the reference; after a change
    the window that changed takes its place, so one lasting change is reported once.

    Parameters
    ----------
    collection : CollectionReader
        The opened collection.
    path, window, false_alarm_rate, check_every, space, canaries, keep_texts, seed
        As in ``Collection.monitor``.

    Notes
    -----
    Rows of a window are what the test may relabel, so the rate holds for queries that come in random order. Traffic
    that differs by the hour is reported as a change unless a window spans its period.
    """

    def __init__(
        self,
        collection: CollectionReader,
        *,
        path: str | Path | None = None,
        window: int = 200,
        false_alarm_rate: float = 0.005,
        check_every: int | None = 100,
        space: str = "default",
        canaries: Sequence[str] = (),
        keep_texts: int = 0,
        seed: int = 0,
    ) -> None:
        self._collection = collection
        self.path = None if path is None else check_path(path, name="path")
        self.window = check_count(window, name="window", minimum=_LEAST, maximum=2000)
        self.rate = check_fraction(false_alarm_rate, name="false_alarm_rate", low=1e-4, high=0.5)
        self._check_every = None if check_every is None else check_count(check_every, name="check_every")
        self._space = space
        self._canaries = as_texts(canaries, name="canaries")
        self._keep_texts = check_count(keep_texts, name="keep_texts", minimum=0, maximum=1000)
        self._seed = check_count(seed, name="seed", minimum=0)
        self._projector: FloatArray | None = None
        self._lock = Turn()
        self._windows: deque[dict[str, Any]] = deque(maxlen=_HISTORY)
        self._changes: deque[dict[str, Any]] = deque(maxlen=_HISTORY)
        self._reference: Sample | None = None
        self._canary_ids: list[list[str]] | None = None
        self._queries = self._closed = self._unchecked = self._watched = self._lines = 0
        self._spent = 0.0
        self._problems: deque[str] = deque(maxlen=20)
        self._resume()
        self._filling = self._fresh()
        self._attached = True
        collection._observers = (*collection._observers, self._observe)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop watching and note the unfinished window, which is not tested; a second call does nothing."""
        with self._lock:
            if not self._attached:
                return
            self._attached = False
            own = self._observe
            self._collection._observers = tuple(seen for seen in self._collection._observers if seen != own)
            if self._filling.count:
                self._note({"window": self._summed_up(partial=True)})

    def report(self) -> MonitorReport:
        """Return what was seen so far, the unfinished window included.

        Returns
        -------
        MonitorReport
            Prints as a table; ``to_dict`` and ``plot``.
        """
        with self._lock:
            windows = list(self._windows)
            if self._filling.count and self._attached:
                windows.append({**self._filling.summary(), "window": self._closed, "partial": True})
            overhead = self._spent / self._watched if self._watched else None
            return make_report(
                windows, list(self._changes), queries=self._queries, overhead_s=overhead, problems=list(self._problems)
            )

    # ---- watching -------------------------------------------------------------------------------------------------

    def _fresh(self) -> Window:
        return Window(self.window, _DIRECTIONS, began=time.time(), keep_texts=self._keep_texts)

    def _observe(
        self, queries: Sequence[Query], options: SearchOptions, results: Sequence[SearchResult], seconds: float
    ) -> None:
        if getattr(_asking, "canaries", False):
            return
        began = time.perf_counter()
        with self._lock:
            for query, result in zip(queries, results, strict=True):
                if not self._attached:
                    return
                text = query.text if self._keep_texts else None
                projection = self._projected(query, options)
                self._filling.add(result, projection, mode=options.mode, seconds=seconds / len(queries), text=text)
                self._queries += 1
                self._check(query, options, result)
                if self._filling.full:
                    self._finish_window()
            self._watched += len(queries)
            self._spent += time.perf_counter() - began

    def _projected(self, query: Query, options: SearchOptions) -> FloatArray | None:
        watched = self._collection._store.generation.spaces.get(self._space)
        # A search by a vector is answered, with nothing, before the first one is stored.
        if query.vector is None or options.space != self._space or watched is None:
            return None
        vector = query.vector
        if self._projector is None or len(self._projector) != len(vector):
            rng = np.random.default_rng(self._seed)
            self._projector = rng.standard_normal((len(vector), _DIRECTIONS)).astype(np.float32)
        if watched.definition.metric == "cosine":
            vector = vector / np.linalg.norm(vector)
        out: FloatArray = (vector @ self._projector) / np.float32(math.sqrt(_DIRECTIONS))
        return out

    def _check(self, query: Query, options: SearchOptions, result: SearchResult) -> None:
        """Repeat every n-th query that a graph answered with an exact search, and count what had been found."""
        graph = any(leg.name == "dense" and not leg.details.get("exact", True) for leg in result.plan.legs)
        if self._check_every is None or not graph:
            return
        self._unchecked += 1
        if self._unchecked < self._check_every:
            return
        self._unchecked = 0
        exact = replace(options, recall=1.0, effort=None, explain=False, include_text=False)
        try:
            truth = execute(self._collection._store, [query], exact, encode_seconds=0.0)[0]
        except (OrthantError, OSError) as error:
            self._problem(f"an exact check failed: {error}")
            return
        # Another commit may have other neighbours.
        if truth.plan.generation == result.plan.generation and len(truth):
            self._filling.add_recall(len(set(truth.ids) & set(result.ids)) / len(truth))

    def _problem(self, text: str) -> None:
        if not self._problems:
            warn(f"monitor: {text}")
        self._problems.append(text)

    # ---- windows --------------------------------------------------------------------------------------------------

    def _summed_up(self, *, partial: bool) -> dict[str, Any]:
        summary = {
            **self._filling.summary(),
            "window": self._closed,
            "last_query": self._queries,
            "partial": partial,
            "churn": None if partial else self._churn(),
        }
        self._windows.append(summary)
        self._closed += 1
        return summary

    def _finish_window(self) -> None:
        sample, summary = self._filling.sample, self._summed_up(partial=False)
        entry: dict[str, Any] = {"window": summary}
        if self._reference is None:
            self._reference = sample
            entry["reference"] = {"sample": sample.to_dict(), "canaries": self._canary_ids}
        else:
            changes = self._tested(self._reference, sample, summary)
            if changes:
                self._changes.extend(changes)
                self._reference = sample
                entry["changes"] = changes
                entry["reference"] = {"sample": sample.to_dict(), "canaries": self._canary_ids}
        self._filling = self._fresh()
        self._note(entry)

    def _tested(self, reference: Sample, sample: Sample, summary: dict[str, Any]) -> list[dict[str, Any]]:
        """Test both parts of a window; a part is also noted in the summary with its p-value."""
        pairs = {
            "queries": (_known(reference.projections), _known(sample.projections)),
            "answers": (reference.signals, sample.signals),
        }
        changes: list[dict[str, Any]] = []
        summary["p_values"] = {}
        for part, (before, after) in pairs.items():
            if min(len(before), len(after)) < _LEAST:
                continue
            pooled = np.concatenate([before, after]).astype(np.float64)
            pooled = standardised(pooled) if part == "answers" else pooled
            permutations = max(999, math.ceil(2 * _PARTS / self.rate) - 1)
            distance, p_value = energy_test(
                pooled, len(before), permutations=permutations, seed=self._seed + summary["window"]
            )
            summary["p_values"][part] = p_value
            if p_value <= self.rate / _PARTS:
                changes.append(
                    {
                        "part": part,
                        "window": summary["window"],
                        "first_query": self._queries - self.window + 1,
                        "last_query": self._queries,
                        "p_value": p_value,
                        "distance": distance,
                        "moved": _moved(part, before, after),
                    }
                )
        return changes

    def _churn(self) -> float | None:
        """Ask the canaries again; return the share of their hits that are others than at the beginning."""
        if not self._canaries:
            return None
        _asking.canaries = True
        try:
            found = [hits.ids for hits in self._collection.search_many(self._canaries, k=_CANARY_HITS)]
        except (OrthantError, OSError) as error:
            self._problem(f"the canaries failed: {error}")
            return None
        finally:
            _asking.canaries = False
        if self._canary_ids is None:
            self._canary_ids = found
        kept = [
            len(set(now) & set(then)) / max(len(now), len(then))
            for now, then in zip(found, self._canary_ids, strict=True)
            if now or then
        ]
        return 1.0 - sum(kept) / len(kept) if kept else 0.0

    # ---- the file -------------------------------------------------------------------------------------------------

    @property
    def _settings(self) -> dict[str, Any]:
        return {"window": self.window, "space": self._space, "seed": self._seed, "canaries": len(self._canaries)}

    def _resume(self) -> None:
        if self.path is None:
            return
        entries, damaged = journal.read(self.path)
        if damaged:
            self._problem(f"{damaged} damaged lines of {self.path} were passed over")
        for entry in entries:
            if entry.get("settings", self._settings) != self._settings:
                raise InputError(
                    message(
                        f"{self.path} with the settings {entry['settings']}",
                        str(self._settings),
                        "monitor with its settings, or name another file",
                    )
                )
            if "window" in entry:
                self._windows.append(entry["window"])
                self._queries, self._closed = entry["window"]["last_query"], entry["window"]["window"] + 1
            self._changes.extend(entry.get("changes", ()))
            if "reference" in entry:
                self._reference = Sample.from_dict(entry["reference"]["sample"])
                self._canary_ids = entry["reference"]["canaries"]
        self._lines = len(entries)
        if not entries:
            # A path that cannot be written is refused now, not when the first window is full.
            journal.append(self.path, [{"settings": self._settings}])
            self._lines = 1

    def _note(self, entry: dict[str, Any]) -> None:
        if self.path is None:
            return
        try:
            if self._lines > 2 * _HISTORY:
                reference = None if self._reference is None else self._reference.to_dict()
                head: dict[str, Any] = {"settings": self._settings, "changes": list(self._changes)}
                if reference is not None:
                    head["reference"] = {"sample": reference, "canaries": self._canary_ids}
                kept = [{"window": window} for window in list(self._windows)]
                journal.rewrite(self.path, [head, *kept])
                self._lines = 1 + len(kept)
            else:
                journal.append(self.path, [entry])
                self._lines += 1
        except OSError as error:
            # A search must not fail because its figures could not be noted.
            self._problem(f"{self.path} could not be written: {error}")


def _known(rows: FloatArray) -> FloatArray:
    return rows[~np.isnan(rows).any(axis=1)]


def _moved(part: str, before: FloatArray, after: FloatArray) -> str:
    """Say what moved most: the mean query, or the signal whose mean moved by most standard deviations."""
    if part == "queries":
        spread = max(float(np.sqrt(before.var(axis=0).sum())), 1e-12)
        moved = float(np.linalg.norm(after.mean(axis=0) - before.mean(axis=0))) / spread
        return f"the mean query vector moved by {moved:.2g} of the queries' spread"
    best, text = -1.0, "in more than a mean"
    for i, name in enumerate(SIGNALS):
        old, new = before[:, i][~np.isnan(before[:, i])], after[:, i][~np.isnan(after[:, i])]
        if not len(old) or not len(new):
            if len(old) != len(new):
                return f"{name} is {'new' if len(new) else 'gone'}"
            continue
        shift = abs(float(new.mean() - old.mean())) / max(float(old.std()), 1e-12)
        if shift > best:
            best, text = shift, f"{name} went from {old.mean():.4g} to {new.mean():.4g}"
    return text
