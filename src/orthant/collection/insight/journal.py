"""The file of a monitor: lines of JSON, each with its checksum, appended in one write and bounded in number."""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["append", "read", "rewrite"]


def _line(entry: Mapping[str, Any]) -> bytes:
    body = json.dumps(entry, separators=(",", ":"), allow_nan=False).encode()
    # A line begins with its own break, so one that a crash cut short spoils no other.
    return b"\n%08x %s" % (zlib.crc32(body), body)


def append(path: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Append entries in one write.

    Parameters
    ----------
    path : Path
        The file; made when absent.
    entries : sequence of mapping
        JSON values without NaN.

    Raises
    ------
    OSError
        The disk did not take all of it.
    """
    data = b"".join(map(_line, entries))
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o644)
    try:
        if os.write(handle, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(handle)


def read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Read the sound entries of a file.

    Parameters
    ----------
    path : Path
        The file; absent counts as empty.

    Returns
    -------
    entries : list of dict
        In order.
    damaged : int
        Lines that fail their checksum and were passed over.
    """
    if not path.exists():
        return [], 0
    entries, damaged = [], 0
    for line in path.read_bytes().split(b"\n"):
        if not line:
            continue
        checksum, _, body = line.partition(b" ")
        if checksum == b"%08x" % zlib.crc32(body):
            entries.append(json.loads(body))
        else:
            damaged += 1
    return entries, damaged


def rewrite(path: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Replace a file by other entries at once: readers see the old or the new one.

    Parameters
    ----------
    path : Path
        The file.
    entries : sequence of mapping
        What it shall hold.
    """
    aside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        aside.write_bytes(b"".join(map(_line, entries)))
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
