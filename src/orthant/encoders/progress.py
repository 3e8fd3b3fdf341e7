"""A bar on stderr for encoders that take long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(total: int, *, shown: bool, label: str = "encoding") -> Iterator[Callable[[float], None]]:
    """Show progress while a block runs; rich is imported only when something is shown.

    Parameters
    ----------
    total : int
        Steps in all.
    shown : bool
        False does nothing.
    label : str, default "encoding"
        Text before the bar.

    Yields
    ------
    callable of (steps)
        Call it, from any thread, after each part of the work.

    Examples
    --------
    >>> with progress_bar(2, shown=False) as advance:
    ...     advance(2)
    """
    if not shown:
        yield lambda steps: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda steps: bar.advance(task, steps)
