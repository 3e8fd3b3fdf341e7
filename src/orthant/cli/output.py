"""What the verbs share: JSON on stdout, tables, progress on stderr, arguments that are JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from orthant.errors import InputError, message

if TYPE_CHECKING:
    from rich.console import Console

    from orthant.collection.results import SearchResult

__all__ = [
    "Advance",
    "console",
    "parse_json_object",
    "print_hits",
    "print_json",
    "print_table",
    "progress_bar",
    "readable_bytes",
]


class Advance(Protocol):
    """Moves a progress bar on."""

    def __call__(self, count: int) -> None:
        """Count more items as done."""


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout.

    Parameters
    ----------
    value : mapping
        NumPy scalars are converted; NaN is refused.
    """
    print(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False, default=_plain))


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "to_dict"):
        return value.to_dict()
    raise TypeError(f"no JSON for {type(value).__name__}")


def console(*, stderr: bool = False) -> Console:
    """Return a console that stays readable when it is not a terminal.

    Parameters
    ----------
    stderr : bool, default False
        Write there.

    Returns
    -------
    rich.console.Console
        120 columns wide at least when piped.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else 120, highlight=False)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, caption: str = "") -> None:
    """Print a table on stdout.

    Parameters
    ----------
    title : str
        Above the table.
    columns : sequence of str
        Headings; one ending in ``#`` is aligned right and loses the mark.
    rows : iterable of sequences
        One cell per column.
    caption : str, optional
        Below the table.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name.rstrip("#"), justify="right" if name.endswith("#") else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    screen = console()
    screen.print(Text(title, style="bold"))
    screen.print(table)
    if caption:
        screen.print(Text(caption, style="dim"))
    screen.print()


def print_hits(title: str, result: SearchResult, *, fields: Sequence[str] = (), width: int = 150) -> None:
    """Print hits with each leg's rank and score, and below them plan and cost.

    Parameters
    ----------
    title : str
        Above the table.
    result : SearchResult
        The hits.
    fields : sequence of str, optional
        Metadata fields to show.
    width : int, default 150
        Characters of text shown per hit.
    """
    rows = []
    for hit in result:
        legs = "\n".join(f"{leg} {_rank(score.rank)} {_score(score.score)}" for leg, score in hit.legs.items())
        shown = [f"{name}: {_value(hit.metadata[name])}" for name in fields if name in hit.metadata]
        text = " ".join((hit.text or "").split())
        lines = [text[: width - 1] + "…" if len(text) > width else text, *shown]
        if hit.matched:
            lines.append("matched: " + ", ".join(hit.matched))
        rows.append((hit.rank, f"{hit.score:.3f}", hit.id, legs, "\n".join(line for line in lines if line)))
    print_table(title, ("#", "score#", "id", "leg rank score", "record"), rows, caption=_caption(result))


def _rank(rank: int | None) -> str:
    return "-" if rank is None else f"#{rank}"


def _score(score: float | None) -> str:
    return "-" if score is None else f"{score:.3f}"


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _caption(result: SearchResult) -> str:
    plan = result.plan
    lines = [f"plan: {plan.mode} over {plan.records:,} records"]
    if plan.allowed is not None:
        lines[0] += f", {plan.allowed:,} of them allowed by {json.dumps(plan.where, ensure_ascii=False)}"
    for leg in plan.legs:
        cost = f"{leg.details['distances']:,} comparisons, " if "distances" in leg.details else ""
        lines.append(f"{leg.name}: {leg.method}, {leg.candidates} candidates, {cost}{leg.seconds * 1e3:.1f} ms")
    if plan.fusion:
        weights = ", ".join(f"{leg} {weight:.2f}" for leg, weight in plan.fusion["weights"].items())
        lines.append(f"fusion: {plan.fusion['method']} ({weights})")
    lines.append("cost: " + ", ".join(f"{stage} {value * 1e3:.1f} ms" for stage, value in plan.seconds.items()))
    lines += [f"note: {warning}" for warning in plan.warnings]
    return "\n".join(lines)


@contextmanager
def progress_bar(label: str, total: int | None, *, quiet: bool = False) -> Iterator[Advance]:
    """Show a bar on stderr while a block runs.

    Parameters
    ----------
    label : str
        What is being done.
    total : int or None
        Items to come; None shows a running count.
    quiet : bool, default False
        Show nothing.

    Yields
    ------
    callable of int
        Call it with the number of further items done.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda count: bar.update(task, advance=count)


def parse_json_object(text: str | None, *, name: str) -> dict[str, Any] | None:
    """Read a JSON object given on the command line.

    Parameters
    ----------
    text : str or None
        The argument.
    name : str
        How it is called in an error.

    Returns
    -------
    dict or None
        None for None.

    Raises
    ------
    InputError
        Not a JSON object.
    """
    if text is None:
        return None
    expected = 'a JSON object such as \'{"year": {"gte": 2000}}\''
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(message(f"{name} {text!r} ({error})", expected, "quote it for the shell")) from error
    if not isinstance(value, dict):
        raise InputError(message(f"{name} {text!r}", expected, "wrap it in braces"))
    return value


def readable_bytes(count: float) -> str:
    """Return a byte count with a unit.

    Parameters
    ----------
    count : float
        Bytes.

    Returns
    -------
    str
        Such as ``"12.3 MB"`` (decimal units).

    Examples
    --------
    >>> readable_bytes(12_345_678)
    '12.3 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
