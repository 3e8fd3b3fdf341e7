"""What every record source hands on: blocks of plain dictionaries, and the checks that one row must pass.

Row checks raise without a place; ``records`` adds the file and line, so that each rule is written once.
"""

from __future__ import annotations

import datetime
import decimal
import json
import math
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, DtypeError, InputError, NonFiniteError, message
from orthant.types import FloatArray
from orthant.validate import as_vectors

__all__ = [
    "RowBlock",
    "RowSource",
    "check_encodable",
    "clean_id",
    "clean_metadata",
    "is_missing",
    "parse_json",
    "place_vectors",
    "stack_vectors",
]

_NULL_TYPES = frozenset({"NAType", "NaTType"})
VectorColumn = tuple[npt.NDArray[np.bool_], npt.NDArray[Any]]


@dataclass(frozen=True)
class RowBlock:
    """Consecutive rows of a source.

    Attributes
    ----------
    rows : list of dict
        Field to value; the values are whatever the source held.
    numbers : sequence of int
        Where each row stands, as the source counts (lines from 1, table rows from 0).
    columns : dict of str to (mask, ndarray)
        Vector columns the source could give as arrays: which rows have one, and those rows' values (m, d).
    """

    rows: list[dict[str, Any]]
    numbers: Sequence[int]
    columns: dict[str, VectorColumn] = field(default_factory=dict)


@dataclass(frozen=True)
class RowSource:
    """A file, folder or object that yields rows.

    Attributes
    ----------
    name : str
        How the source is called in an error.
    fields : tuple of str
        Columns of a table, or the fields seen in the first records.
    complete : bool
        Whether ``fields`` are all there can be.
    repeatable : bool
        Whether ``blocks`` may be called again and gives the same rows.
    nulls : bool
        Whether None and NaN mean "no value" (tables) rather than a value (JSON's null).
    json : bool
        Whether every value came through ``parse_json``, so that metadata needs no second check.
    blocks : callable of (batch_size, text columns, vector columns)
        Yields the rows.
    place : callable of int
        Names a row by its number.
    """

    name: str
    fields: tuple[str, ...]
    complete: bool
    repeatable: bool
    nulls: bool
    json: bool
    blocks: Callable[[int, frozenset[str], frozenset[str]], Iterator[RowBlock]]
    place: Callable[[int], str]


def is_missing(value: Any) -> bool:
    """Return whether a table cell is empty: None, NaN, NaT or NA.

    Parameters
    ----------
    value : object
        The cell.

    Returns
    -------
    bool
        True when the cell holds no value.
    """
    if value is None:
        return True
    if isinstance(value, (float, np.floating)):
        return bool(np.isnan(value))
    return type(value).__name__ in _NULL_TYPES


def check_encodable(text: str, what: str) -> None:
    """Refuse half a surrogate pair, which JSON escapes can smuggle in and UTF-8 cannot hold.

    Parameters
    ----------
    text : str
        The string.
    what : str
        How it is called in an error.

    Raises
    ------
    InputError
        The text cannot be written as UTF-8.
    """
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            message(
                f"{what} with half a surrogate pair at character {error.start}",
                "text that UTF-8 can hold",
                "repair or drop that character",
            )
        ) from None


def clean_id(value: Any, *, field: str) -> str:
    """Return a record's id as a non-empty string; whole numbers become their decimal digits.

    Parameters
    ----------
    value : str or int
        The id as the source held it.
    field : str
        Its field, for the error.

    Returns
    -------
    str
        The id.

    Raises
    ------
    InputError
        Missing, empty, or of another type.
    """
    if type(value) is not str:
        if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
            return str(int(value))
        if not isinstance(value, str):
            given = f"no id in field {field!r}" if is_missing(value) else f"id {value!r} of type {type(value).__name__}"
            raise InputError(message(given, "a string or a whole number", "give every record an id"))
        value = str(value)
    if not value:
        raise InputError(message(f"an empty id in field {field!r}", "at least one character", "give it an id"))
    check_encodable(value, "an id")
    return value


def clean_metadata(values: dict[str, Any], *, nulls: bool = False) -> dict[str, Any]:
    """Return metadata that JSON can hold without loss, changed in place where a value had to be converted.

    Dates and times become ISO 8601 strings, durations seconds, decimals floats, UUIDs strings, NumPy scalars and
    arrays their Python counterparts, tuples lists. Anything else that is not JSON is refused.

    Parameters
    ----------
    values : dict
        Field to value; the caller owns it.
    nulls : bool, default False
        Drop fields whose value is missing, as tables do, rather than keep None.

    Returns
    -------
    dict
        The same object.

    Raises
    ------
    InputError
        A key that is not a string, or a value without a JSON form.
    NonFiniteError
        NaN or infinity (NaN only where ``nulls`` is False).
    """
    dropped: list[str] = []
    try:
        for key, value in values.items():
            if type(key) is not str:
                raise InputError(message(f"field name {key!r}", "a string", "rename the field"))
            if not key.isascii():
                check_encodable(key, "a field name")
            kind = type(value)
            if kind is str:
                if not value.isascii():
                    check_encodable(value, f"field {key!r}")
            elif kind is int or kind is bool:
                continue
            elif nulls and is_missing(value):
                dropped.append(key)
            elif value is not None:
                values[key] = _clean_value(value, key)
    except RecursionError:
        raise InputError(
            message("metadata nested too deeply", "a few hundred levels at most", "flatten the record")
        ) from None
    for key in dropped:
        del values[key]
    return values


def _clean_value(value: Any, key: str) -> Any:
    if isinstance(value, (str, np.str_)):
        check_encodable(value, f"field {key!r}")
        return str(value)
    if value is None or isinstance(value, (bool, np.bool_)):
        return None if value is None else bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating, decimal.Decimal)):
        number = float(value)
        if not math.isfinite(number):
            raise NonFiniteError(
                message(f"field {key!r} with the value {value}", "a finite number", "leave the field out or use null")
            )
        return number
    if isinstance(value, Mapping):
        return clean_metadata(dict(value))
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_clean_value(item, key) for item in value]
    return _clean_special(value, key)


def _clean_special(value: Any, key: str) -> Any:
    if isinstance(value, np.generic) and not isinstance(value, (np.bytes_, np.void, np.complexfloating)):
        return _clean_value(value.item(), key)
    if isinstance(value, (datetime.date, datetime.time)) and type(value).__name__ not in _NULL_TYPES:
        return value.isoformat()
    if isinstance(value, datetime.timedelta) and type(value).__name__ not in _NULL_TYPES:
        return value.total_seconds()
    if isinstance(value, uuid.UUID):
        return str(value)
    if is_missing(value):
        return None
    raise InputError(
        message(
            f"field {key!r} of type {type(value).__name__}",
            "text, a number, true, false, null, a date, or a list or object of these",
            "convert the field or leave it out",
        )
    )


def parse_json(text: str) -> Any:
    """Parse strict JSON: no NaN, no number beyond float64, no half surrogate pair.

    Parameters
    ----------
    text : str
        One JSON value.

    Returns
    -------
    object
        The value.

    Raises
    ------
    InputError
        Not JSON; the text says at which column.
    """
    try:
        value = _DECODER.decode(text)
        if "\\u" in text and _SURROGATE.search(text):
            check_encodable(json.dumps(value, ensure_ascii=False), "a string")
        return value
    except json.JSONDecodeError as error:
        given = f"text that is not JSON ({error.msg} at column {error.pos + 1})"
    except RecursionError:
        given = "JSON nested too deeply"
    except InputError:
        raise
    except ValueError as error:
        given = f"JSON with a value that cannot be read ({error})"
    raise InputError(message(given, "one complete JSON value", "repair or remove it")) from None


def _refuse_constant(name: str) -> Any:
    raise InputError(message(f"the number {name}", "a finite number, as JSON demands", "use null or leave it out"))


def _finite_float(text: str) -> float:
    number = float(text)
    if number - number != 0.0:
        _refuse_constant(text)
    return number


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite_float)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def stack_vectors(values: Sequence[Any], places: Callable[[int], str], *, field: str) -> VectorColumn:
    """Return the vectors among row values as one float32 matrix and the mask of rows that have one.

    Parameters
    ----------
    values : sequence of array-like of shape (d,), or None
        One per row; None stands for no vector.
    places : callable of int
        Names row i in an error.
    field : str
        The field, for the error.

    Returns
    -------
    mask : ndarray of shape (n,), bool
        Rows that have a vector.
    matrix : ndarray of shape (m, d), float32
        Their vectors.

    Raises
    ------
    DtypeError, DimensionError, NonFiniteError
        The first row that is not a finite vector of the others' length.
    """
    mask = np.fromiter((not is_missing(value) for value in values), dtype=np.bool_, count=len(values))
    present = [value for value, keep in zip(values, mask, strict=True) if keep]
    if not present:
        return mask, np.zeros((0, 0), dtype=np.float32)
    try:
        array = np.asarray(present)
        if array.dtype.kind in "fiub":
            return mask, as_vectors(array)
    except ValueError:
        pass
    # Something is wrong with at least one row: find the first and say where it stands.
    dim: int | None = None
    for i in np.flatnonzero(mask).tolist():
        try:
            row = np.asarray(values[i])
            if row.dtype.kind not in "fiub":
                raise DtypeError(message(f"{field} of dtype {row.dtype}", "a list of numbers", "convert it to floats"))
            if row.ndim != 1:
                raise DimensionError(message(f"{field} of shape {row.shape}", "one axis", "pass a flat list"))
            dim = as_vectors(row, single=True, dim=dim, name=field).shape[1]
        except InputError as error:
            raise type(error)(f"{places(i)}: {error}") from None
        except ValueError:
            raise DtypeError(
                f"{places(i)}: "
                + message(f"a ragged or mixed list in {field}", "a flat list of numbers", "repair the vector")
            ) from None
    return mask, as_vectors(np.stack([np.asarray(value, dtype=np.float64) for value in present]))


def place_vectors(mask: npt.NDArray[np.bool_], matrix: FloatArray) -> FloatArray:
    """Spread vectors over all rows; a row without one is NaN throughout.

    Parameters
    ----------
    mask : ndarray of shape (n,), bool
        Rows that have a vector.
    matrix : ndarray of shape (m, d), float32
        Their vectors.

    Returns
    -------
    ndarray of shape (n, d), float32
        ``matrix`` itself when every row has one.
    """
    if mask.all():
        return matrix
    out = np.full((len(mask), matrix.shape[1]), np.nan, dtype=np.float32)
    out[mask] = matrix
    return out
