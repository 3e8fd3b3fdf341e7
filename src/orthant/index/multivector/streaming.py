"""Sets from an iterator in a file, so that more can be indexed than memory holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from orthant.artifact import aside_name
from orthant.errors import InputError, message
from orthant.index.array_files import map_array
from orthant.types import IdArray, Ragged
from orthant.validate import as_ids, as_ragged

__all__ = ["spooled"]


@contextmanager
def spooled(path: str | Path, chunks: Iterable[Any], dim: int) -> Iterator[tuple[Ragged, IdArray]]:
    """Write sets to a file as they come and give them back mapped; the file goes with the block.

    Parameters
    ----------
    path : str or Path
        Folder for the file; created if missing.
    chunks : iterable of Ragged, or of (Ragged, ids)
        The sets.
    dim : int
        Dimension of a token.

    Yields
    ------
    tokens : Ragged
        All sets, the values mapped.
    ids : ndarray of shape (n,), int64
        Their ids.

    Raises
    ------
    InputError
        A chunk that does not fit, ids in some chunks only, or ids that repeat.
    """
    folder = Path(path)
    if folder.is_file():
        raise InputError(message(f"{folder}, a file", "a folder", "choose a folder to save to"))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / aside_name("tokens")
    try:
        lengths, ids = _write(file, chunks, dim)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        yield Ragged(map_array(file, "<f4", (int(offsets[-1]), dim), mmap=True), offsets), ids
    finally:
        file.unlink(missing_ok=True)


def _write(file: Path, chunks: Iterable[Any], dim: int) -> tuple[Any, IdArray]:
    lengths, names, numbered = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], set()
    count = 0
    with open(file, "wb") as handle:
        for chunk in chunks:
            given = isinstance(chunk, tuple)
            tokens = as_ragged(chunk[0] if given else chunk, dim=dim, name="sets", nonempty=True)
            numbered.add(given)
            if len(numbered) > 1:
                raise InputError(message("ids in some chunks only", "in all or in none", "pass (sets, ids) throughout"))
            own = as_ids(chunk[1], count=len(tokens)) if given else np.arange(count, count + len(tokens))
            handle.write(np.ascontiguousarray(tokens.values, dtype="<f4").tobytes())
            lengths.append(np.diff(tokens.offsets))
            names.append(own.astype(np.int64))
            count += len(tokens)
    ids = as_ids(np.concatenate(names))
    return np.concatenate(lengths), ids
