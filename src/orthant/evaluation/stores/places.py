"""Columns of the comparison, and who is first in each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orthant.evaluation.stores.store import MODES

__all__ = ["COLUMNS", "Column", "places"]

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """One question.

    Attributes
    ----------
    key, title : str
        Name in the report and in tables.
    unit : str
        Of the figure; ``"share"`` has three decimals.
    less : bool
        Whether less is better.
    read : callable
        From an entry to the figure; None where it is not offered or was not measured.
    """

    key: str
    title: str
    unit: str
    less: bool
    read: Callable[[Entry], float | None]


def _at(*path: str) -> Callable[[Entry], float | None]:
    def read(entry: Entry) -> float | None:
        here: Any = entry
        for name in path:
            if not isinstance(here, Mapping) or name not in here:
                return None
            here = here[name]
        return None if here is None else float(here)

    return read


def _share(top: str, bottom: str) -> Callable[[Entry], float | None]:
    def read(entry: Entry) -> float | None:
        above, below = _at("crash", top)(entry), _at("crash", bottom)(entry)
        return None if above is None or not below else above / below

    return read


def _columns() -> list[Column]:
    found = [Column("ingest", "Ingest until indexed and closed", "records/s", False, _at("load", "records_per_s"))]
    for mode in MODES:
        path = ("search", "modes", mode)
        name = mode.replace(" ", "_")
        found.append(Column(f"{name}_p50", f"{mode.capitalize()}, p50", "ms", True, _at(*path, "p50_ms")))
        found.append(Column(f"{name}_p99", f"{mode.capitalize()}, p99", "ms", True, _at(*path, "p99_ms")))
        if mode.endswith("dense"):
            found.append(Column(f"{name}_recall", f"{mode.capitalize()}, recall", "share", False, _at(*path, "recall")))
    memory = ("search", "memory")
    return [
        *found,
        Column("disk", "Disk after loading", "MB", True, _at("load", "disk_bytes")),
        Column("anonymous", "Anonymous memory after queries", "MB", True, _at(*memory, "anonymous_bytes")),
        Column("resident", "Resident memory after queries", "MB", True, _at(*memory, "total_bytes")),
        Column("cold_open", "New process to first hit", "s", True, _at("cold_open", "median_s")),
        Column("churn_rate", "Changes in the rounds", "records/s", False, _at("churn", "changes_per_s")),
        Column("churn_recall", "Dense recall after the rounds", "share", False, _at("churn", "recall")),
        Column("churn_p50", "Dense p50 after the rounds", "ms", True, _at("churn", "p50_ms")),
        Column("churn_disk", "Disk after the rounds, over that before", "x", True, _at("churn", "disk_ratio")),
        Column("crash_opens", "Opens after kill -9", "share", False, _share("opened", "kills")),
        Column("crash_lost", "Acknowledged records lost", "share", True, _share("lost", "acknowledged")),
    ]


COLUMNS: tuple[Column, ...] = tuple(_columns())


def places(results: Sequence[Entry], recall: float) -> dict[str, dict[str, int]]:
    """Rank the stores in every column.

    Parameters
    ----------
    results : sequence of mapping
        Entries of the report.
    recall : float
        The recall that was asked for. In a column of recall all that reach it are first; above it more recall is
        only more effort, which the latencies tell of.

    Returns
    -------
    dict of str to dict of str to int
        By column and store, 1 for the best; equal figures share a place. Who does not offer it has none.

    Examples
    --------
    >>> rows = [{"store": "a", "load": {"disk_bytes": 2}}, {"store": "b", "load": {"disk_bytes": 1}}]
    >>> places(rows, 0.95)["disk"]
    {'a': 2, 'b': 1}
    """
    found: dict[str, dict[str, int]] = {}
    for column in COLUMNS:
        figures = {str(entry["store"]): column.read(entry) for entry in results}
        known = {name: value for name, value in figures.items() if value is not None}
        if column.key.endswith("recall"):
            known = {name: min(value, recall) for name, value in known.items()}
        better = (lambda a, b: a < b) if column.less else (lambda a, b: a > b)
        found[column.key] = {
            name: 1 + sum(better(other, value) for other in known.values()) for name, value in known.items()
        }
    return found
