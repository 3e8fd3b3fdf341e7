"""Attributes of a measured table on disk, read without this package's dependencies, and values in a store's words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["quoted", "read_columns"]

_ARRAYS = ("integer", "number")


def read_columns(folder: Path, rows: slice) -> dict[str, tuple[str, Any]]:
    """Return attributes as they lie in a folder.

    Parameters
    ----------
    folder : Path
        With ``columns.json``, which says the kind of each, and a file per column.
    rows : slice
        Which rows.

    Returns
    -------
    dict of str to (str, array or list)
        Kind (``"integer"``, ``"number"``, ``"text"`` or ``"tags"``) and values.
    """
    kinds = json.loads((folder / "columns.json").read_text(encoding="utf-8"))
    out = {}
    for name, kind in kinds.items():
        if kind in _ARRAYS:
            out[name] = kind, np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)[rows]
        else:
            out[name] = kind, json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))[rows]
    return out


def quoted(value: Any, mark: str) -> str:
    """Return a value as it is written in a condition.

    Parameters
    ----------
    value : object
        A text, or a number.
    mark : {"'", '"'}
        Around texts.

    Returns
    -------
    str
        With marks inside escaped as SQL and as expressions of Milvus do.

    Examples
    --------
    >>> quoted("it's", "'")
    "'it''s'"
    """
    if not isinstance(value, str):
        return repr(value)
    escaped = value.replace("'", "''") if mark == "'" else value.replace("\\", "\\\\").replace('"', '\\"')
    return f"{mark}{escaped}{mark}"
