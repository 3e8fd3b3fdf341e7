"""Reports side by side, as text, Markdown or plain values; superscripts are explained under the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any

from orthant.errors import InputError, message
from orthant.measures.significance import SignificanceReport
from orthant.types import Report
from orthant.validate import check_count

__all__ = ["Table", "tabulate"]

_ABSENT = "missing"


@dataclass(frozen=True)
class Table:
    """Metrics of several arms.

    Attributes
    ----------
    metrics : tuple of str
        Columns.
    rows : mapping of str to mapping of str to float or None
        Value by metric, by arm; None where the arm did not run or lacks the metric.
    marks : mapping of tuple (arm, metric) to str
        Superscript letters of a cell.
    letters : mapping of str to str
        Letter by arm that others are compared with.
    legend : tuple of str
        Lines below the table, in words.
    digits : int
        Digits after the point.
    """

    metrics: tuple[str, ...]
    rows: Mapping[str, Mapping[str, float | None]]
    marks: Mapping[tuple[str, str], str]
    letters: Mapping[str, str]
    legend: tuple[str, ...]
    digits: int = 4

    def text(self) -> str:
        """Return aligned plain text; a superscript a is written ^a."""
        cells = [["arm", *self.metrics], *self._cells("^{}")]
        widths = [max(len(row[j]) for row in cells) for j in range(len(cells[0]))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in cells]
        return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:], *self.legend])

    def markdown(self) -> str:
        """Return a Markdown table."""
        cells = [["arm", *self.metrics], ["---"] * (1 + len(self.metrics)), *self._cells("<sup>{}</sup>")]
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]
        notes = [line for note in self.legend for line in ("", note)]
        return "\n".join(lines + notes)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, unrounded; None is a missing value."""
        return {
            "metrics": list(self.metrics),
            "rows": {arm: dict(values) for arm, values in self.rows.items()},
            "differs_from": {
                arm: {
                    m: [a for a, x in self.letters.items() if x in self.marks.get((arm, m), "")] for m in self.metrics
                }
                for arm in self.rows
            },
            "legend": list(self.legend),
        }

    def __str__(self) -> str:
        """Return the plain text."""
        return self.text()

    def _cells(self, mark: str) -> list[list[str]]:
        out = []
        for arm, values in self.rows.items():
            label = arm + (f" ({self.letters[arm]})" if arm in self.letters else "")
            row = [label]
            for metric in self.metrics:
                value, letters = values[metric], self.marks.get((arm, metric), "")
                shown = _ABSENT if value is None else f"{value:.{self.digits}f}"
                row.append(shown + (mark.format(letters) if letters else ""))
            out.append(row)
        return out


def tabulate(
    reports: Mapping[str, Report | None],
    *,
    metrics: Sequence[str] | None = None,
    significance: SignificanceReport | None = None,
    alpha: float = 0.05,
    digits: int = 4,
) -> Table:
    """Put reports side by side; an arm that did not run shows as missing, never as zero.

    Parameters
    ----------
    reports : mapping of str to Report or None
        By arm, in the order of the rows.
    metrics : sequence of str, optional
        Columns; defaults to every metric in the order met.
    significance : SignificanceReport, optional
        What `orthant.evaluation.compare` returned; its significant differences become superscripts.
    alpha : float, default 0.05
        Level that adjusted p-values must stay below.
    digits : int, default 4
        Digits after the point in text and Markdown.

    Returns
    -------
    Table
        Prints as text; ``markdown()`` and ``to_dict()`` for other places.

    Raises
    ------
    InputError
        No report, or a metric that no report has.

    Examples
    --------
    >>> print(tabulate({"bm25": Report({"ndcg@10": 0.4}), "dense": None}, digits=2))
    arm    ndcg@10
    -----  -------
    bm25   0.40
    dense  missing
    dense did not run: missing is not zero.
    """
    known = list(dict.fromkeys(name for report in reports.values() if report for name in report.metrics))
    columns = tuple(known if metrics is None else metrics)
    unknown = [name for name in columns if name not in known]
    if not known or unknown:
        raise InputError(
            message(f"metrics {unknown or 'of no report'}", f"one of {', '.join(known) or 'none'}", "evaluate an arm")
        )
    rows = {arm: {m: report.metrics.get(m) if report else None for m in columns} for arm, report in reports.items()}
    marks, letters, legend = _superscripts(significance, alpha) if significance else ({}, {}, [])
    legend += [f"{arm} did not run: missing is not zero." for arm, report in reports.items() if not report]
    for arm, report in reports.items():
        if report and report.missing:
            legend.append(f"{arm}: {len(report.missing)} without results (listed in the report).")
    return Table(columns, rows, marks, letters, tuple(legend), check_count(digits, name="digits"))


def _superscripts(
    significance: SignificanceReport, alpha: float
) -> tuple[dict[tuple[str, str], str], dict[str, str], list[str]]:
    comparisons = significance.comparisons
    baselines = list(dict.fromkeys(c.baseline for c in comparisons))
    letters = dict(zip(baselines, ascii_lowercase, strict=False))
    marks: dict[tuple[str, str], str] = {}
    for c in comparisons:
        if c.significant(alpha):
            marks[c.arm, c.metric] = marks.get((c.arm, c.metric), "") + letters[c.baseline]
    if not comparisons:
        return marks, letters, []
    first = comparisons[0]
    counts = sorted({c.queries for c in comparisons})
    paired = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    holm = f", Holm's correction over {first.comparisons} comparisons per metric" if first.comparisons > 1 else ""
    legend = [
        f"{letter}: differs from {arm} (p < {alpha:g}; two-sided paired randomisation test, {paired} queries paired by "
        f"id, {first.resamples} resamples, seed {first.seed}{holm})."
        for arm, letter in letters.items()
    ]
    return marks, letters, legend
