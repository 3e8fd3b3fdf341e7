"""What a monitor saw, as a table, JSON or a drawing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orthant.collection.insight import journal
from orthant.collection.insight.window import SIGNALS, quantiles_of
from orthant.errors import NotFoundError, message

__all__ = ["ChangePoint", "MonitorReport", "make_report", "read_report"]

_WIDTH, _ROW = 640, 70


@dataclass(frozen=True)
class ChangePoint:
    """A window of queries that does not look like the reference.

    Attributes
    ----------
    part : str
        ``"queries"`` (their vectors) or ``"answers"`` (scores, margin and number of hits).
    window : int
        Number of the window, from 0.
    first_query, last_query : int
        Queries between which the change shows, counted from 1.
    p_value : float
        Of the permutation test.
    distance : float
        Energy distance from the reference.
    moved : str
        What moved most, in words.
    """

    part: str
    window: int
    first_query: int
    last_query: int
    p_value: float
    distance: float
    moved: str

    def __str__(self) -> str:
        """Return the change in a sentence."""
        where = f"queries {self.first_query:,} to {self.last_query:,}"
        return f"{self.part} changed in {where} (p = {self.p_value:.2g}): {self.moved}"


@dataclass(frozen=True)
class MonitorReport:
    """Figures over the windows that a monitor keeps.

    Attributes
    ----------
    queries : int
        Queries seen, also those of windows no longer kept.
    windows : list of dict
        One summary per kept window, the unfinished one last.
    changes : list of ChangePoint
        In order.
    latency_s : dict or None
        Quantiles p50, p95 and p99 over the kept windows, right to 3 %.
    no_hits : float or None
        Share of queries without a hit.
    recall : dict
        ``checked`` queries that were repeated exactly, and the ``mean`` share of their hits that had been found.
    churn : float or None
        Share of the canaries' hits that are others than at the beginning, in the last window that looked.
    overhead_s : float or None
        Seconds per query that watching itself took in this process.
    problems : list of str
        What went wrong while watching; searches are not affected.
    """

    queries: int
    windows: list[dict[str, Any]]
    changes: list[ChangePoint]
    latency_s: dict[str, float] | None
    no_hits: float | None
    recall: dict[str, Any]
    churn: float | None = None
    overhead_s: float | None = None
    problems: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values.

        Returns
        -------
        dict
            Every attribute.
        """
        return {**vars(self), "changes": [vars(change) for change in self.changes]}

    def __str__(self) -> str:
        """Return the report as a table of text."""
        lines = [f"{self.queries:,} queries, {len(self.windows)} windows kept, {len(self.changes)} changes"]
        lines.append(f"{'window':>6} {'queries':>8} {'p50 ms':>8} {'p99 ms':>8} {'no hits':>8} {'recall':>7}  scores")
        for window in self.windows[-20:]:
            scores = [
                f"{name} {window['signals'][name]['mean']:.4g}" for name in SIGNALS if window["signals"].get(name)
            ]
            recall = window["recall"]["mean"]
            lines.append(
                f"{window['window']:>6} {window['queries']:>8} {1e3 * window['latency_s']['p50']:>8.2f} "
                f"{1e3 * window['latency_s']['p99']:>8.2f} {window['no_hits'] / window['queries']:>8.1%} "
                f"{'-' if recall is None else f'{recall:.3f}':>7}  {', '.join(scores)}"
            )
        lines += [f"CHANGE: {change}" for change in self.changes]
        lines += [f"problem: {problem}" for problem in self.problems]
        return "\n".join(lines)

    def plot(self, path: str | Path) -> None:
        """Draw latency, scores and misses by window as an SVG file, with a line at every change.

        Parameters
        ----------
        path : str or Path
            Written anew; no plotting package is needed.
        """
        rows = {
            "p99 latency, ms": [1e3 * w["latency_s"]["p99"] for w in self.windows],
            "share without hits": [w["no_hits"] / w["queries"] for w in self.windows],
            **{name: [_mean_of(w, name) for w in self.windows] for name in SIGNALS},
        }
        marks = {change.window for change in self.changes}
        places = [i for i, window in enumerate(self.windows) if window["window"] in marks]
        drawn = [_curve(name, values, y * _ROW, places) for y, (name, values) in enumerate(rows.items())]
        size = f'width="{_WIDTH}" height="{_ROW * len(rows)}"'
        text = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">'
        Path(path).write_text("\n".join([text, *drawn, "</svg>"]) + "\n", encoding="utf-8")


def _mean_of(window: dict[str, Any], name: str) -> float:
    moments = window["signals"].get(name)
    return math.nan if moments is None else moments["mean"]


def _curve(name: str, values: Sequence[float], top: int, places: Sequence[int]) -> str:
    known = [value for value in values if not math.isnan(value)]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    step = (_WIDTH - 20) / max(1, len(values) - 1)

    def at(i: int, value: float) -> str:
        share = (value - low) / (high - low) if high > low else 0.5
        return f"{10 + i * step:.1f},{top + _ROW - 8 - share * (_ROW - 30):.1f}"

    points = " ".join(at(i, value) for i, value in enumerate(values) if not math.isnan(value))
    marks = "".join(
        f'<line x1="{10 + i * step:.1f}" x2="{10 + i * step:.1f}" y1="{top + 18}" y2="{top + _ROW - 4}" stroke="red"/>'
        for i in places
    )
    label = f'<text x="10" y="{top + 12}">{name}: {low:.4g} to {high:.4g}</text>'
    return f'{label}{marks}<polyline points="{points}" fill="none" stroke="black"/>'


def make_report(
    windows: Sequence[dict[str, Any]],
    changes: Sequence[dict[str, Any]],
    *,
    queries: int,
    overhead_s: float | None = None,
    problems: Sequence[str] = (),
) -> MonitorReport:
    """Sum windows up.

    Parameters
    ----------
    windows : sequence of dict
        Their summaries.
    changes : sequence of dict
        Fields of change points.
    queries : int
        Queries seen.
    overhead_s : float, optional
        Seconds per query that watching took.
    problems : sequence of str, optional
        What went wrong.

    Returns
    -------
    MonitorReport
        The report.
    """
    bins: Counter[int] = Counter()
    for window in windows:
        bins.update({int(place): count for place, count in window["latency_bins"].items()})
    seen = sum(window["queries"] for window in windows)
    checked = sum(window["recall"]["checked"] for window in windows)
    recalled = sum(window["recall"]["checked"] * (window["recall"]["mean"] or 0.0) for window in windows)
    churns = [window["churn"] for window in windows if window.get("churn") is not None]
    return MonitorReport(
        queries=queries,
        windows=list(windows),
        changes=[ChangePoint(**change) for change in changes],
        latency_s=quantiles_of(bins),
        no_hits=sum(window["no_hits"] for window in windows) / seen if seen else None,
        recall={"checked": checked, "mean": recalled / checked if checked else None},
        churn=churns[-1] if churns else None,
        overhead_s=overhead_s,
        problems=list(problems),
    )


def read_report(path: str | Path) -> MonitorReport:
    """Read the report of a monitor's file, such as that of another process.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    MonitorReport
        Without the figures of a process that is still filling a window.

    Raises
    ------
    NotFoundError
        No such file.
    """
    target = Path(path)
    if not target.is_file():
        raise NotFoundError(message(f"monitor file {target}", "an existing file", "check the path"))
    entries, damaged = journal.read(target)
    windows = [entry["window"] for entry in entries if "window" in entry]
    changes = [change for entry in entries for change in entry.get("changes", ())]
    problems = [f"{damaged} damaged lines were passed over"] if damaged else []
    queries = max((window["last_query"] for window in windows), default=0)
    return make_report(windows, changes, queries=queries, problems=problems)
