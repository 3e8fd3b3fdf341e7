"""Gzipped JSON lines, tables and NumPy archives of the data folder, read strictly.

A missing file raises NotFoundError; a damaged row raises InputError with the file and the line.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Never

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, NotFoundError, message

__all__ = ["arrays", "bad_row", "csv_rows", "data_root", "find", "json_rows", "load_array", "number", "tsv_rows"]

_SETTING = "ORTHANT_DATA"
_DAMAGE = (EOFError, OSError, zlib.error, UnicodeDecodeError)


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder that holds the data sets.

    Parameters
    ----------
    root : str or path-like, optional
        The folder. Left out, the environment variable ``ORTHANT_DATA`` names it.

    Returns
    -------
    Path
        An existing folder.

    Raises
    ------
    NotFoundError
        Neither is given, or it is not a folder.
    """
    value = os.environ.get(_SETTING, "") if root is None else os.fspath(root)
    remedy = f"set the environment variable {_SETTING} to the folder with the data sets, or pass root="
    if not value:
        raise NotFoundError(message(f"no data folder ({_SETTING} is not set)", "a folder with the data sets", remedy))
    path = Path(value)
    if not path.is_dir():
        given = f"{_SETTING}={value}" if root is None else f"root={value}"
        raise NotFoundError(message(given, "an existing folder with the data sets", remedy))
    return path


def find(root: str | os.PathLike[str] | None, name: str, *parts: str) -> Path:
    """Return the path of a file of a data set, which must exist.

    Parameters
    ----------
    root : str, path-like or None
        The data folder; None for ``ORTHANT_DATA``.
    name : str
        The set's folder.
    *parts : str
        The path below it.

    Returns
    -------
    Path
        The file or folder.

    Raises
    ------
    NotFoundError
        The data folder, the set's folder or the file is missing.
    """
    folder = data_root(root) / name
    path = folder.joinpath(*parts)
    if not path.exists():
        what = f"folder {folder}" if not folder.is_dir() else f"file {path}"
        raise NotFoundError(
            message(
                f"data set {name!r} without its {what}",
                f"{'/'.join((name, *parts))} under the data folder",
                f"copy the set there, or set {_SETTING} to a folder that has it",
            )
        )
    return path


def bad_row(path: Path, line: int, given: str, expected: str) -> Never:
    """Raise InputError about one row of a file.

    Parameters
    ----------
    path : Path
        The file.
    line : int
        From 1.
    given, expected : str
        What stands there and what would have been accepted.

    Returns
    -------
    never
        It raises.

    Raises
    ------
    InputError
        Always.
    """
    raise InputError(
        message(f"{given} in {path}, line {line}", expected, "restore the file from its origin or correct the line")
    )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, text without the newline)."""
    line = 0
    try:
        with gzip.open(path, "rb") as handle:
            for line, raw in enumerate(handle, 1):
                yield line, raw.decode("utf-8").rstrip("\n")
    except _DAMAGE as error:
        raise InputError(
            message(
                f"damaged file {path} after line {line} ({error})", "gzip of UTF-8 lines", "restore it from its origin"
            )
        ) from error


def json_rows(path: Path, types: Mapping[str, type | tuple[type, ...]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of a gzipped JSON-lines file.

    Parameters
    ----------
    path : Path
        The file.
    types : mapping of str to type
        Fields that every row must have, with their types.

    Yields
    ------
    (int, dict)
        Line number from 1 and the object.
    """
    for line, text in _lines(path):
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            bad_row(path, line, f"text that is not JSON ({error})", "one JSON object per line")
        if not isinstance(row, dict):
            bad_row(path, line, f"a JSON {type(row).__name__}", "a JSON object")
        for key, kind in types.items():
            if not isinstance(row.get(key), kind):
                given = f"field {key!r} of type {type(row[key]).__name__}" if key in row else f"no field {key!r}"
                kinds = kind if isinstance(kind, tuple) else (kind,)
                bad_row(path, line, given, f"{key!r} as {' or '.join(k.__name__ for k in kinds)}")
        yield line, row


def tsv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a gzipped tab-separated file; quotes mean nothing.

    Parameters
    ----------
    path : Path
        The file.
    columns : sequence of str
        What the header must be.

    Yields
    ------
    (int, list of str)
        Line number from 1 and the fields.
    """
    width = len(columns)
    rows = _lines(path)
    _check_header(path, next(rows, (1, ""))[1].split("\t"), columns)
    for line, text in rows:
        fields = text.split("\t")
        if len(fields) != width:
            bad_row(path, line, f"{len(fields)} fields", f"{width} fields separated by tabs")
        yield line, fields


def csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a comma-separated file, gzipped or plain.

    Parameters
    ----------
    path : Path
        The file.
    columns : sequence of str
        What the header must be.

    Yields
    ------
    (int, list of str)
        Line number from 1 and the fields.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    width = len(columns)
    line = 0
    try:
        with opener(path, "rt", encoding="utf-8", newline="") as handle:
            reader = csv.reader(handle, strict=True)
            _check_header(path, next(reader, []), columns)
            for fields in reader:
                line = reader.line_num
                if len(fields) != width:
                    bad_row(path, line, f"{len(fields)} fields", f"{width} fields separated by commas")
                yield line, fields
    except (*_DAMAGE, csv.Error) as error:
        raise InputError(
            message(f"damaged file {path} after line {line} ({error})", "UTF-8 CSV", "restore it from its origin")
        ) from error


def _check_header(path: Path, header: list[str], columns: Sequence[str]) -> None:
    if header != list(columns):
        bad_row(path, 1, f"header {header!r}", f"header {list(columns)!r}")


def number(path: Path, line: int, column: str, text: str) -> float:
    """Return a field as a finite float, or say where it is not one.

    Parameters
    ----------
    path : Path
        The file.
    line : int
        From 1.
    column : str
        For the error.
    text : str
        The field.

    Returns
    -------
    float
        Finite.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        bad_row(path, line, f"{column}={text!r}", f"a finite number in column {column!r}")
    return value


def load_array(path: Path) -> npt.NDArray[Any]:
    """Return the array of a .npy file; pickled objects are refused.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    ndarray
        Of the shape and dtype of the file.
    """
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(message(f"{path} ({error})", "a plain .npy array", "restore it from its origin")) from error


def arrays(path: Path, names: Sequence[str], *, optional: Sequence[str] = ()) -> dict[str, npt.NDArray[Any]]:
    """Return named arrays of a .npz file; pickled objects are refused.

    Parameters
    ----------
    path : Path
        The file.
    names : sequence of str
        Arrays that must be there.
    optional : sequence of str, default ()
        Arrays that may be absent.

    Returns
    -------
    dict of str to ndarray
        Those that are there, of the shapes and dtypes of the file.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in names if name not in archive]
            if missing:
                raise InputError(
                    message(
                        f"{path} without {', '.join(missing)}",
                        f"arrays {', '.join(names)}",
                        "restore it from its origin",
                    )
                )
            return {name: archive[name] for name in (*names, *optional) if name in archive}
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(message(f"{path} ({error})", "a plain .npz archive", "restore it from its origin")) from error
