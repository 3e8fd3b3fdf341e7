"""The border for metadata: every record's attributes are proved to be JSON before anything is stored.

A record's metadata is a JSON object. It is flattened to dotted paths ("author.name"), which is how
where-expressions name fields.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from orthant.errors import InputError, message

__all__ = ["MAX_DEPTH", "MAX_INT_BITS", "check_metadata", "way_out"]

MAX_DEPTH = 32
MAX_INT_BITS = 1024

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_JSON = "a JSON value: str, int, finite float, bool, None, list or dict"
_WAYS_OUT = {
    "datetime": "use .isoformat(), which sorts and compares as text",
    "date": "use .isoformat(), which sorts and compares as text",
    "time": "use .isoformat(), which sorts and compares as text",
    "Timestamp": "use .isoformat(), which sorts and compares as text",
    "datetime64": "use str(value), an ISO date that sorts and compares as text",
    "timedelta": "use .total_seconds()",
    "Decimal": "use float(value), or str(value) to keep every digit",
    "Fraction": "use float(value)",
    "bytes": "use .decode() for text or base64 for binary data",
    "bytearray": "use .decode() for text or base64 for binary data",
    "tuple": "use list(value)",
    "set": "use sorted(value)",
    "frozenset": "use sorted(value)",
    "ndarray": "use .tolist(); vectors belong in vectors=, not in metadata",
    "Series": "use .tolist()",
    "UUID": "use str(value)",
    "complex": "store its real and imaginary parts as two fields",
}


def way_out(value: Any) -> str:
    """Return what to do with a value that JSON does not know.

    Parameters
    ----------
    value : object
        Anything that is not a JSON value.

    Returns
    -------
    str
        An imperative, such as ``"use .isoformat(), which sorts and compares as text"``.

    Examples
    --------
    >>> way_out(b"x")
    'use .decode() for text or base64 for binary data'
    """
    for kind in type(value).__mro__:
        if kind.__name__ in _WAYS_OUT:
            return _WAYS_OUT[kind.__name__]
    return "convert it to a string or a number, or leave the field out"


def check_metadata(record: Mapping[str, Any] | None, *, where: str) -> dict[str, Any]:
    """Return a record's metadata as plain JSON values, or say which one is not.

    Call it on every record before anything is stored; what it returns can be written as JSON, read back equal,
    and given to ``Columns.with_batch``.

    Parameters
    ----------
    record : mapping of str to JSON values, or None
        Nested dicts and lists up to 32 levels. NumPy scalars, and subclasses of str, int and float, become plain
        Python values. None stands for no metadata.
    where : str
        How the record is called in an error, such as ``"record 'b17'"``.

    Returns
    -------
    dict
        A copy; nested containers are copied too.

    Raises
    ------
    InputError
        A key that is not a non-empty string, a value that is not JSON (the error names its path, its type and the
        conversion), NaN or infinity, an integer beyond 1,024 bits, text with lone surrogates, more than 32 levels,
        or one dotted path spelt twice (``{"a.b": 1, "a": {"b": 2}}``).

    Notes
    -----
    Cost: about 1 microsecond for five flat fields.

    Examples
    --------
    >>> check_metadata({"year": np.int32(1927), "tags": ["sea"]}, where="record 'b17'")
    {'year': 1927, 'tags': ['sea']}
    """
    if type(record) is not dict:
        if record is None:
            return {}
        if not isinstance(record, Mapping):
            raise InputError(
                message(
                    f"metadata of type {type(record).__name__} in {where}",
                    "a dict of field names to JSON values",
                    "pass one dict per record, or None for no metadata",
                )
            )
        record = dict(record)
    for key, value in record.items():
        kind = type(value)
        if type(key) is not str or not key or not key.isascii():
            break
        if kind is str:
            if not value.isascii():
                break
        elif kind is int:
            if not _INT64_MIN <= value <= _INT64_MAX:
                break
        elif kind is float:
            if not math.isfinite(value):
                break
        elif kind is not bool and value is not None:
            break
    else:
        return record.copy()
    plain = _plain_dict(record, where, "", 1)
    _refuse_repeated_paths(plain, where)
    return plain


def _plain_dict(record: Mapping[Any, Any], where: str, path: str, depth: int) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in record.items():
        if not isinstance(key, str) or not key:
            raise InputError(
                message(
                    f"the metadata key {key!r} of type {type(key).__name__}{_inside(path)} in {where}",
                    "a non-empty string",
                    "rename the field, or use str(key)",
                )
            )
        name = _plain_text(key, where, f"a key{_inside(path)}")
        out[name] = _plain(value, where, f"{path}.{name}" if path else name, depth)
    return out


def _inside(path: str) -> str:
    return f" inside {path!r}" if path else ""


def _plain(value: Any, where: str, path: str, depth: int) -> Any:
    if value is None or isinstance(value, (bool, np.bool_)):
        return None if value is None else bool(value)
    if isinstance(value, str):
        return _plain_text(value, where, repr(path))
    if isinstance(value, (int, np.integer)) and not isinstance(value, np.timedelta64):
        number = int(value)
        if number.bit_length() > MAX_INT_BITS:
            raise InputError(
                message(
                    f"an integer of {number.bit_length()} bits at {path!r} in {where}",
                    f"at most {MAX_INT_BITS} bits",
                    "store it as a string",
                )
            )
        return number
    if isinstance(value, (float, np.floating)):
        number_ = float(value)
        if not math.isfinite(number_):
            raise InputError(
                message(
                    f"{number_} at {path!r} in {where}", "a finite number", "leave the field out or store None instead"
                )
            )
        return number_
    if isinstance(value, (list, dict)) and depth >= MAX_DEPTH:
        raise InputError(
            message(
                f"metadata nested deeper than {MAX_DEPTH} levels in {where}",
                f"at most {MAX_DEPTH} levels",
                "flatten it, or store the deep part as a JSON string",
            )
        )
    if isinstance(value, dict):
        return _plain_dict(value, where, path, depth + 1)
    if isinstance(value, list):
        return [_plain(item, where, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
    raise InputError(
        message(f"a value of type {type(value).__name__} at {path!r} in {where}", f"{_JSON}", way_out(value))
    )


def _plain_text(text: str, where: str, place: str) -> str:
    plain = "".join(text) if type(text) is not str else text
    try:
        plain.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            message(
                f"text with a lone surrogate at {place} in {where}",
                "text that UTF-8 can hold",
                "repair the decoding, for example with text.encode('utf-16', 'surrogatepass').decode('utf-16')",
            )
        ) from error
    return plain


def _refuse_repeated_paths(record: Mapping[str, Any], where: str) -> None:
    seen: set[str] = set()
    stack: list[tuple[str, Mapping[str, Any]]] = [("", record)]
    while stack:
        prefix, level = stack.pop()
        for key, value in level.items():
            path = prefix + key
            if path in seen:
                raise InputError(
                    message(
                        f"the path {path!r} twice in {where}",
                        "each dotted path once: a key with a dot and a nested key name the same field",
                        "rename one of the two",
                    )
                )
            seen.add(path)
            if isinstance(value, dict):
                stack.append((path + ".", value))
