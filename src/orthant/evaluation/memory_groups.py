"""Groups of the memory controller: a limit that also counts the page cache, for measurements under it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from orthant.errors import InputError, message
from orthant.validate import check_count

__all__ = ["MemoryGroup", "memory_group"]

_LIMITS = ("memory.max", "memory.limit_in_bytes")
"""Where the limit is written, by version 2 of the controller and by version 1."""
_SWAPS = ("memory.swap.max", "memory.memsw.limit_in_bytes")
_PEAKS = ("memory.peak", "memory.max_usage_in_bytes")
_REMEDY = "pass a folder of the memory controller that is yours to write to, or do without a group"
_WAITS, _WAIT_S = 20, 0.05


@dataclass(frozen=True)
class MemoryGroup:
    """A group while it lasts.

    Attributes
    ----------
    folder : Path
        Its own folder.
    limit : int
        Bytes that it may hold, pages of files included; as the kernel rounded them.
    """

    folder: Path
    limit: int

    def join(self, process: int) -> None:
        """Put a process into the group; what it has already stays with the group it comes from.

        Parameters
        ----------
        process : int
            Its id.

        Raises
        ------
        InputError
            The system refuses.
        """
        try:
            (self.folder / "cgroup.procs").write_text(str(process))
        except OSError as error:
            raise InputError(
                message(f"process {process}: {error.strerror}", "one that may be moved", _REMEDY)
            ) from error

    def peak_bytes(self) -> int | None:
        """Return the most bytes that the group has held, or None where the kernel does not tell."""
        for name in _PEAKS:
            with suppress(OSError, ValueError):
                return int((self.folder / name).read_text())
        return None


@contextmanager
def memory_group(parent: str | Path, limit: int) -> Iterator[MemoryGroup]:
    """Make a group with a limit inside another, and remove it at the end.

    For measuring what reads files through the page cache under a limit, which limits of a process do not count.

    Parameters
    ----------
    parent : str or Path
        A folder of the memory controller, such as that of a delegated systemd unit.
    limit : int
        Bytes, at least a page. Swap is switched off where the kernel lets it be.

    Yields
    ------
    MemoryGroup
        Empty; processes join it by themselves or are put into it.

    Raises
    ------
    InputError
        No group can be made there, it has no memory controller, or the limit is refused: the text says which.

    Notes
    -----
    Under version 2 the parent must pass the controller on (``+memory`` in its ``cgroup.subtree_control``), which it may
    only do while no process is in it. Version 1 has no such rule.
    """
    wanted = check_count(limit, name="limit")
    home = Path(parent) / f"orthant-{os.getpid()}"
    try:
        home.mkdir()
    except OSError as error:
        raise InputError(message(f"no group in {parent}: {error.strerror}", "a folder for groups", _REMEDY)) from error
    try:
        yield MemoryGroup(home, _limited(home, wanted))
    finally:
        _remove(home)


def _limited(home: Path, limit: int) -> int:
    """Set the limit of a group, and return what became of it."""
    file = next((home / name for name in _LIMITS if (home / name).exists()), None)
    if file is None:
        given = f"a group in {home.parent} without the memory controller"
        expected = "a parent that passes it on (+memory in cgroup.subtree_control, no process in it)"
        raise InputError(message(given, expected, _REMEDY))
    try:
        file.write_text(str(limit))
        held = int(file.read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            message(f"a limit of {limit} bytes refused: {error}", "one the kernel takes", _REMEDY)
        ) from error
    for name, value in zip(_SWAPS, ("0", str(limit)), strict=True):
        # Kernels that count no swap have no such file.
        if (home / name).exists():
            with suppress(OSError):
                (home / name).write_text(value)
    return held


def _remove(home: Path) -> None:
    """Remove a group once the kernel has let go of its last process."""
    for attempt in range(_WAITS):
        try:
            home.rmdir()
            return
        except OSError:
            if attempt == _WAITS - 1:
                raise
            time.sleep(_WAIT_S)
