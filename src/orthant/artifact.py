"""Learned things on disk: a folder with ``arrays.safetensors`` and ``config.json``.

``config.json`` names the ``kind``, the format version and the SHA-256 of the arrays. No pickle, no absolute path.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, NotFoundError, StoreCorruptedError, StoreVersionError, message

__all__ = ["ARTIFACT_FORMAT", "read_artifact", "write_artifact", "write_bytes_atomically"]

ARTIFACT_FORMAT = 1
_ARRAYS = "arrays.safetensors"
_CONFIG = "config.json"


def write_bytes_atomically(path: str | Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    Parameters
    ----------
    path : str or Path
        Target; its folder must exist.
    data : bytes
        The content.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, path)


def write_artifact(
    folder: str | Path, *, kind: str, arrays: Mapping[str, npt.NDArray[Any]], config: Mapping[str, Any]
) -> None:
    """Save arrays and settings as one artefact.

    Parameters
    ----------
    folder : str or Path
        Created if missing.
    kind : str
        What the artefact is, such as ``"transform.leanvec"``; checked on reading.
    arrays : mapping of str to ndarray
        Numeric arrays of any shape.
    config : mapping
        JSON-serialisable settings; the keys ``kind``, ``format`` and ``arrays_sha256`` are reserved.

    Raises
    ------
    InputError
        A reserved key, or settings that are not JSON.
    """
    from safetensors.numpy import save

    reserved = {"kind", "format", "arrays_sha256"} & set(config)
    if reserved:
        raise InputError(message(f"config with reserved keys {sorted(reserved)}", "other names", "rename them"))
    payload = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    record = {"kind": kind, "format": ARTIFACT_FORMAT, "arrays_sha256": hashlib.sha256(payload).hexdigest(), **config}
    try:
        text = json.dumps(record, indent=2, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(
            message("config that is not JSON", "JSON values", "use str, int, float, list, dict")
        ) from error
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes_atomically(folder / _ARRAYS, payload)
    write_bytes_atomically(folder / _CONFIG, text.encode())


def read_artifact(folder: str | Path, *, kind: str | None = None) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Load an artefact and verify its kind, version and checksum.

    Parameters
    ----------
    folder : str or Path
        A folder that ``write_artifact`` made.
    kind : str, optional
        Required kind.

    Returns
    -------
    arrays : dict of str to ndarray
        The arrays.
    config : dict
        The settings, with ``kind`` and ``format``.

    Raises
    ------
    NotFoundError
        The folder holds no artefact.
    StoreCorruptedError
        The files are damaged or do not belong together.
    StoreVersionError
        A newer release wrote it.
    InputError
        Another kind.
    """
    folder = Path(folder)
    try:
        record = json.loads((folder / _CONFIG).read_text())
        payload = (folder / _ARRAYS).read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(
            message(f"no artefact at {folder}", f"{_CONFIG} and {_ARRAYS}", "check the path")
        ) from error
    except ValueError as error:
        raise StoreCorruptedError(
            message(f"{folder / _CONFIG} that is not JSON", "JSON", "restore the file")
        ) from error
    if not isinstance(record, dict) or not isinstance(record.get("format"), int):
        raise StoreCorruptedError(message(f"{folder / _CONFIG} without a format", "an artefact", "restore the file"))
    if record["format"] > ARTIFACT_FORMAT:
        raise StoreVersionError(
            message(f"artefact format {record['format']}", f"at most {ARTIFACT_FORMAT}", "upgrade orthant")
        )
    if hashlib.sha256(payload).hexdigest() != record.get("arrays_sha256"):
        raise StoreCorruptedError(
            message(f"{folder / _ARRAYS} with a wrong checksum", "the bytes that were saved", "restore the file")
        )
    if kind is not None and record.get("kind") != kind:
        raise InputError(
            message(f"an artefact of kind {record.get('kind')!r}", repr(kind), "load it with its own class")
        )
    from safetensors.numpy import load

    return load(payload), record
