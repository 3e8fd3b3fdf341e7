"""What the verbs share: JSON on stdout, tables, progress on stderr, arguments that are JSON."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from orthant.errors import InputError, OrthantError, message

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "Advance",
    "console",
    "fusion_settings",
    "guard_output",
    "nothing_left_if_refused",
    "note",
    "pair_grid",
    "parse_json_object",
    "print_block",
    "print_json",
    "print_pairs",
    "print_table",
    "progress_bar",
    "readable_bytes",
    "require_collection",
]

_PIPED_WIDTH = 120


class Advance(Protocol):
    """Moves a progress bar on."""

    def __call__(self, count: int) -> None:
        """Count more items as done."""


@contextmanager
def guard_output() -> Iterator[None]:
    """Keep a terminal's encoding, a closed stream or a reader that has gone from ending a verb with a traceback.

    Yields
    ------
    None
        A broken pipe inside the block ends it quietly.
    """
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has enough. Python would complain once more when it flushes at exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _open_what_is_closed() -> None:
    """Give streams that a caller closed, as `2>&-` does, a place to go."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # In this order each takes the number of its own stream, which a file of the collection would get otherwise.
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))


@contextmanager
def nothing_left_if_refused(collection: str) -> Iterator[None]:
    """Take a collection away again that a verb has just made, where it ends in an error before the first record.

    An empty one that stays would hold the settings of the call that failed against the next.

    Parameters
    ----------
    collection : str
        Its folder.

    Yields
    ------
    None
        What was there before, and what holds a record, stays.
    """
    from orthant.collection.storage.creating import DATABASE_NAME

    path = Path(collection)
    folder, fresh = path.exists(), not (path / DATABASE_NAME).exists()
    try:
        yield
    except OrthantError:
        if fresh and (path / DATABASE_NAME).exists() and _holds_nothing(path):
            for entry in path.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            if not folder:
                path.rmdir()
        raise


def require_collection(collection: str) -> None:
    """Refuse a path without a collection, which opening for writing would make of a misspelt name.

    Parameters
    ----------
    collection : str
        Its folder.

    Raises
    ------
    NotFoundError
        Nothing there.
    InputError, StoreCorruptedError
        Something else there, or what is left of a collection.
    """
    from orthant.collection.opening import open
    from orthant.collection.storage.creating import DATABASE_NAME

    if not collection or not (Path(collection) / DATABASE_NAME).exists():
        open(collection, read_only=True).close()


def _holds_nothing(path: Path) -> bool:
    from orthant.collection.opening import open

    try:
        with open(path, read_only=True) as opened:
            return not len(opened) and not opened.snapshots()
    except OrthantError:
        return False


def note(text: str) -> None:
    """Print a line on stderr, where it does not disturb what is read from stdout.

    Parameters
    ----------
    text : str
        One line.
    """
    print(f"orthant: {text}", file=sys.stderr)


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout.

    Parameters
    ----------
    value : mapping
        NumPy scalars are converted; NaN is refused.
    """
    plain = (sys.stdout.encoding or "").lower().replace("-", "") not in ("utf8", "utf8sig")
    print(json.dumps(value, ensure_ascii=plain, indent=2, allow_nan=False, default=_plain))


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
        As wide as the terminal or as ``COLUMNS`` says, else 120 columns.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else _PIPED_WIDTH
    return Console(stderr=stderr, width=width, highlight=False)


def print_block(*parts: Any) -> None:
    """Print texts and rich renderables on stdout, and an empty line below them.

    Parameters
    ----------
    *parts : str or rich renderable
        Printed one below the other, without padding on the right; empty ones are left out.
    """
    screen = console()
    lines: list[str] = []
    for part in parts:
        if isinstance(part, str):
            lines += part.splitlines()
            continue
        with screen.capture() as captured:
            # A title may hold a path, which a line break would spoil.
            screen.print(part, soft_wrap=bool(getattr(part, "no_wrap", False)))
        lines += [line.rstrip() for line in captured.get().splitlines() if line.strip()]
    print("\n".join(lines), end="\n\n")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, caption: str = "") -> None:
    """Print a table on stdout; without rows only its title.

    Parameters
    ----------
    title : str
        Above the table.
    columns : sequence of str
        Headings; one ending in ``#`` is aligned right, one ending in ``!`` is cut
        rather than wrapped, and one ending in ``=`` is neither, up to 40 characters. The mark is not shown.
    rows : iterable of sequences
        One cell per column.
    caption : str, optional
        Below the table.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    for i, name in enumerate(columns):
        right, whole = name.endswith("#"), name.endswith("=")
        widest = max(len(text) for text in [name[:-1], *(row[i] for row in cells)])
        table.add_column(
            name.rstrip("#!="),
            justify="right" if right else "left",
            no_wrap=right or name.endswith("!") or (whole and widest <= 40),
            # Half a number or id is worse than none: a narrow screen takes its space from the other columns.
            min_width=widest if right else min(widest, 40) if whole else None,
            overflow="ellipsis" if right or name.endswith("!") else "fold",
        )
    for row in cells:
        table.add_row(*map(Text, row))
    parts: list[Any] = [Text(title, style="bold", no_wrap=True)]
    if table.row_count:
        parts.append(table)
    if caption:
        parts.append(Text(caption, style="dim"))
    print_block(*parts)


def print_pairs(pairs: Iterable[tuple[str, Any]], *, title: str = "") -> None:
    """Print names and values in two columns on stdout.

    Parameters
    ----------
    pairs : iterable of (str, value)
        Rows.
    title : str, optional
        Above them.
    """
    from rich.text import Text

    print_block(*([Text(title, style="bold", no_wrap=True)] if title else []), pair_grid(pairs))


def pair_grid(pairs: Iterable[tuple[str, Any]], *, style: str = "") -> Any:
    """Return names and values in two columns, to print as part of a block.

    Parameters
    ----------
    pairs : iterable of (str, value)
        Rows.
    style : str, optional
        Of every cell.

    Returns
    -------
    rich.table.Table
        Without lines.
    """
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(Text(name, style=style), Text(str(value), style=style))
    return grid


@contextmanager
def progress_bar(label: str, total: int | None) -> Iterator[Advance]:
    """Show a bar on stderr while a block runs; nothing where stderr is no terminal.

    Parameters
    ----------
    label : str
        What is being done.
    total : int or None
        Items to come; None shows a running count.

    Yields
    ------
    callable of int
        Call it with the number of further items done.
    """
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    whole = "" if total is None else f"/{total:,}"
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[done]}"), TimeElapsedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total, done="")

        def advance(count: int) -> None:
            done = int(bar.tasks[0].completed) + count
            bar.update(task, advance=count, done=f"{done:,}{whole}")

        yield advance


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
        Not a JSON object, or one that has a name twice, of which JSON would silently keep the last.
    """
    if text is None:
        return None
    expected = 'a JSON object such as \'{"year": {"gte": 2000}}\''

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = Counter(key for key, _ in pairs)
        for key in (key for key, count in names.items() if count > 1):
            remedy = "write it once, with all about it in one object"
            raise InputError(message(f"{name} {text!r}, in which {key!r} stands twice", "each name once", remedy))
        return dict(pairs)

    try:
        value = json.loads(text, object_pairs_hook=once)
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
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


def sparse_space(spec: str | None) -> dict[str, Any] | None:
    """Return what ``orthant.open`` takes as ``spaces`` for a sparse model.

    Parameters
    ----------
    spec : str or None
        Folder of the model.

    Returns
    -------
    dict or None
        The encoder of the space ``"sparse"``.

    Raises
    ------
    NotFoundError, InputError
        No folder of a sparse model.
    """
    if spec is None:
        return None
    from orthant.encoders.registry import load_sparse_encoder

    return {"sparse": load_sparse_encoder(spec)}


def fusion_settings(
    dense_weight: float | None, fusion: str | None, sparse_weight: float | None = None
) -> dict[str, Any]:
    """Return the arguments of ``Collection.search`` that say how a hybrid search fuses its legs.

    Parameters
    ----------
    dense_weight : float or None
        Share of the dense leg, 0 to 1; the lexical leg gets what is left.
    fusion : str or None
        ``"minmax"`` or ``"rrf"``.
    sparse_weight : float, optional
        Share of the sparse leg; without ``dense_weight`` the others share the rest as they would without it.

    Returns
    -------
    dict
        Only what was given.

    Raises
    ------
    InputError
        Out of range, or unknown.
    """
    from orthant.validate import check_choice, check_fraction

    settings: dict[str, Any] = {}
    if dense_weight is not None:
        weight = check_fraction(dense_weight, name="--dense-weight")
        settings["weights"] = {"dense": weight, "lexical": round(1.0 - weight, 12)}
    if sparse_weight is not None:
        settings["weights"] = _with_sparse(settings.get("weights"), sparse_weight)
    if fusion is not None:
        settings["fusion"] = check_choice(fusion, ("minmax", "rrf"), name="--fusion")
    return settings


def _with_sparse(weights: Mapping[str, float] | None, sparse_weight: float) -> dict[str, float]:
    from orthant.collection.fusion import DEFAULT_WEIGHTS
    from orthant.validate import check_fraction

    share = check_fraction(sparse_weight, name="--sparse-weight")
    if weights is None:
        rest = {leg: round(weight * (1.0 - share), 12) for leg, weight in DEFAULT_WEIGHTS.items()}
        return {**rest, "sparse": share}
    if weights["dense"] + share > 1.0:
        given = f"--dense-weight {weights['dense']} and --sparse-weight {share}"
        raise InputError(message(given, "at most 1 together", "lower one of them"))
    return {"dense": weights["dense"], "lexical": round(1.0 - weights["dense"] - share, 12), "sparse": share}
