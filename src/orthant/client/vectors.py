"""Vectors on their way to a server: anything with numbers in it, as base64 of float32 where that is quick."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from orthant.errors import DtypeError, InputError, message

__all__ = ["pack", "pack_named", "pack_query", "pack_rows", "unpack"]


def pack(vector: Any) -> Any:
    """Return one vector, or a matrix of tokens, as JSON-ready values.

    Parameters
    ----------
    vector : array-like of shape (dim,) or (tokens, dim), or None
        A list, an array of NumPy or another library, ``array.array``, or what has ``tolist``.

    Returns
    -------
    str, list, dict or None
        Base64 of float32 where the memory can be read as such, else numbers.

    Raises
    ------
    DtypeError
        Not numbers.

    Examples
    --------
    >>> pack(array("f", [1.0, 2.0])), pack([1, 2])
    ('AACAPwAAAEA=', [1, 2])
    """
    if vector is None or isinstance(vector, (list, tuple)):
        return None if vector is None else [_plain(value) for value in vector]
    view = _floats(vector)
    if view is not None:
        packed = _encoded(view)
        return packed if view.ndim == 1 else {"base64": packed, "shape": list(view.shape or ())}
    if hasattr(vector, "tolist"):
        return vector.tolist()
    if isinstance(vector, (str, bytes, Mapping)) or not isinstance(vector, Sequence):
        raise DtypeError(message(f"a vector of type {type(vector).__name__}", "numbers", "pass a list or an array"))
    return [_plain(value) for value in vector]


def pack_named(vector: Any) -> Any:
    """Return the vector of a query, or its vectors by space, as JSON-ready values.

    Parameters
    ----------
    vector : array-like, mapping of space to such, or None
        As ``Collection.search`` takes it.

    Returns
    -------
    object
        As :func:`pack` gives, by space where there are several.

    Raises
    ------
    DtypeError
        Not numbers.
    """
    if isinstance(vector, Mapping):
        return {space: pack(one) for space, one in vector.items()}
    return pack(vector)


def pack_rows(rows: Any) -> Any:
    """Return the vectors of several records as JSON-ready values.

    Parameters
    ----------
    rows : array-like of shape (n, dim), sequence with None, mapping of space to such, or None
        As ``Collection.upsert`` takes them; weighted terms as mappings, or as a SciPy sparse matrix.

    Returns
    -------
    object
        For the body of a request.

    Raises
    ------
    DtypeError
        Not numbers.
    """
    if rows is None:
        return None
    if isinstance(rows, Mapping):
        return {space: pack_rows(one) for space, one in rows.items()}
    if hasattr(rows, "tocsr"):
        matrix = rows.tocsr()
        ends = [int(end) for end in matrix.indptr]
        spans = list(pairwise(ends))
        return [
            {"indices": matrix.indices[a:b].tolist(), "values": [float(x) for x in matrix.data[a:b]]} for a, b in spans
        ]
    view = _floats(rows)
    if view is not None and view.ndim == 2 and view.nbytes:
        return _encoded(view)
    return [_terms_or_spaces(row) if isinstance(row, Mapping) else pack(row) for row in rows]


def pack_query(query: Any) -> Any:
    """Return a query as JSON-ready values.

    Parameters
    ----------
    query : str, array-like of shape (dim,) or (tokens, dim), mapping or None
        As ``Collection.search`` takes it.

    Returns
    -------
    object
        A vector becomes numbers or a matrix in base64, since a text is a query of its own.

    Raises
    ------
    DtypeError
        Neither text nor numbers.
    """
    if query is None or isinstance(query, (str, Mapping)):
        return query
    packed = pack(query)
    if isinstance(packed, str):
        return list(unpack(packed))
    return packed


def unpack(value: Any) -> Any:
    """Return a vector, or a list of them for tokens, from base64.

    Parameters
    ----------
    value : str, dict or list
        As a server sends it.

    Returns
    -------
    array of float, or list of such
        4 bytes per value.

    Raises
    ------
    InputError
        Neither.
    """
    if isinstance(value, str):
        floats = array("f", base64.b64decode(value))
        if sys.byteorder == "big":
            floats.byteswap()
        return floats
    if isinstance(value, Mapping):
        floats, (rows, dim) = unpack(value["base64"]), value["shape"]
        return [floats[i * dim : (i + 1) * dim] for i in range(rows)]
    if isinstance(value, list):
        return array("f", value) if not value or not isinstance(value[0], list) else [unpack(one) for one in value]
    raise InputError(message(f"a vector of type {type(value).__name__}", "numbers or base64", "update the client"))


def _floats(values: Any) -> memoryview | None:
    """The memory of float32 numbers, row after row, or None."""
    try:
        view = memoryview(values)
    except TypeError:
        return None
    return view if view.format == "f" and view.c_contiguous and view.ndim in (1, 2) else None


def _encoded(view: memoryview) -> str:
    raw = view.tobytes()
    if sys.byteorder == "big":
        swapped = array("f", raw)
        swapped.byteswap()
        raw = swapped.tobytes()
    return base64.b64encode(raw).decode("ascii")


def _plain(value: Any) -> Any:
    if isinstance(value, (int, float, list)):
        return value
    return value.tolist() if hasattr(value, "tolist") else float(value)


def _terms_or_spaces(row: Mapping[Any, Any]) -> Any:
    """Weighted terms have numbers as values, spaces have vectors."""
    by_space = all(hasattr(one, "__len__") for one in row.values()) and not set(row) <= {"indices", "values"}
    return pack_named(row) if by_space else _terms(row)


def _terms(row: Mapping[Any, Any]) -> dict[str, Any]:
    if set(row) <= {"indices", "values"}:
        return {name: [_plain(value) for value in values] for name, values in row.items()}
    return {str(int(term)): float(weight) for term, weight in row.items()}
