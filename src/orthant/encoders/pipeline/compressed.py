"""Weights of which some are low-rank codes: one safetensors file, decoded into float32 when it is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.artifact import write_bytes_atomically
from orthant.errors import StoreCorruptedError, message
from orthant.quantization.lowrank import LowRankVQMatrix

__all__ = ["COMPRESSED_FILE", "decoded_weights", "is_compressed", "write_compressed"]

COMPRESSED_FILE = "compressed.safetensors"
"""What lies in a folder in place of ``model.safetensors``. Another name, since no other library reads it."""

_MARK = "#"
_COLUMNS = "columns"


def is_compressed(names: Iterable[str]) -> bool:
    """Return whether some tensors of a file are parts of codes.

    Parameters
    ----------
    names : iterable of str
        Names of its tensors.

    Returns
    -------
    bool
        True when one of them is.
    """
    return any(_MARK in name for name in names)


def write_compressed(
    path: Path, matrices: Mapping[str, LowRankVQMatrix], others: Mapping[str, npt.NDArray[Any]]
) -> int:
    """Write coded matrices, and everything else in float16.

    Parameters
    ----------
    path : Path
        The file.
    matrices : mapping of str to LowRankVQMatrix
        By name of the weight.
    others : mapping of str to ndarray
        Remaining tensors of any shape.

    Returns
    -------
    int
        Bytes of the file.
    """
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(array, dtype=np.float16) for name, array in others.items()}
    for name, matrix in matrices.items():
        arrays |= {f"{name}{_MARK}{part}": array for part, array in matrix.arrays().items()}
        arrays[f"{name}{_MARK}{_COLUMNS}"] = np.array([matrix.shape[1]], dtype=np.int32)
    payload = save(arrays)
    write_bytes_atomically(path, payload)
    return len(payload)


def decoded_weights(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
    """Return all weights in float32, codes replaced by what they stand for.

    Parameters
    ----------
    arrays : mapping of str to ndarray of any shape
        Tensors of the file by name.

    Returns
    -------
    dict of str to ndarray, float32
        By name of the weight.

    Raises
    ------
    StoreCorruptedError
        Parts that are missing or do not fit each other.
    """
    out: dict[str, npt.NDArray[np.float32]] = {}
    parts: dict[str, dict[str, npt.NDArray[Any]]] = {}
    for name, array in arrays.items():
        weight, mark, part = name.partition(_MARK)
        if mark:
            parts.setdefault(weight, {})[part] = array
        else:
            out[name] = np.ascontiguousarray(array, dtype=np.float32)
    for weight, found in parts.items():
        columns = found.pop(_COLUMNS, None)
        try:
            if columns is None:
                raise ValueError("its number of columns is missing")
            out[weight] = LowRankVQMatrix.from_arrays(found, columns=int(columns[0])).decode()
        except ValueError as error:
            given = f"codes of {weight} that do not fit ({error})"
            raise StoreCorruptedError(message(given, "the parts that were written", "restore the file")) from error
    return out
