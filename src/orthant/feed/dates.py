"""Dates of records: what counts as one, and which field holds them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

__all__ = ["DATE_FIELDS", "date_field_of", "parse_date", "show_date"]

DATE_FIELDS = ("date", "published", "posted", "released", "created", "updated", "timestamp", "time", "year")
"""Names that are looked for, in this order."""

_FIRST_YEAR, _LAST_YEAR = 1000, 9999
_MILLISECONDS_FROM = 1e11


def parse_date(value: Any) -> float:
    """Return a value as seconds since 1970, UTC.

    Parameters
    ----------
    value : object
        ISO 8601 text (``"2024"``, ``"2024-05"``, ``"2024-05-30"``, with a time of day or not; without an offset it is
        UTC), a year from 1000 to 9999, seconds since 1970, or milliseconds where they are beyond 1e11.

    Returns
    -------
    float
        NaN for anything else.

    Examples
    --------
    >>> parse_date("1970-01-02"), parse_date(1970), parse_date("soon")
    (86400.0, 0.0, nan)
    """
    if isinstance(value, bool):
        return math.nan
    if isinstance(value, (int, float)):
        return _number(value)
    if not isinstance(value, str):
        return math.nan
    text = value.strip()
    try:
        if len(text) == 4:
            return _number(int(text))
        if len(text) == 7:
            text += "-01"
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, OSError):
        return math.nan


def _number(value: float) -> float:
    if not math.isfinite(value):
        return math.nan
    if _FIRST_YEAR <= value <= _LAST_YEAR and value == int(value):
        return datetime(int(value), 1, 1, tzinfo=UTC).timestamp()
    return value / 1e3 if abs(value) > _MILLISECONDS_FROM else float(value)


def show_date(value: Any) -> str:
    """Return a date as it is shown.

    Parameters
    ----------
    value : object
        As :func:`parse_date` takes it.

    Returns
    -------
    str
        Such as ``"2024-05-30"``, ``"2024-05"`` where only a month was given, ``"2024"`` where only a year was; empty
        for what is no date.

    Examples
    --------
    >>> show_date("2024-05-30T10:00:00Z"), show_date("2024-05"), show_date(2024), show_date("soon")
    ('2024-05-30', '2024-05', '2024', '')
    """
    seconds, given = parse_date(value), str(value).strip()
    # Without the month or the day that nobody gave.
    if not math.isnan(seconds) and len(given) in ((4, 7) if isinstance(value, str) else (4,)):
        return given
    return _day(seconds)


def _day(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return ""


def date_field_of(examples: Mapping[str, list[Any]]) -> str | None:
    """Return the field that holds dates.

    Parameters
    ----------
    examples : mapping of str to list
        Values of each field in some records.

    Returns
    -------
    str or None
        The first of :data:`DATE_FIELDS` of whose values at least half are dates; None where there is none.

    Examples
    --------
    >>> date_field_of({"time": ["noon", "dusk"], "year": [1999, None, 2001]})
    'year'
    """
    for name in DATE_FIELDS:
        values = examples.get(name, [])
        if values and 2 * sum(not math.isnan(parse_date(value)) for value in values) >= len(values):
            return name
    return None
