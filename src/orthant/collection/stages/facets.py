"""Facets: how the records that match are spread over the values of a field."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from orthant.collection.columns.predicates import Existence, Scalar, kind_of
from orthant.collection.storage.generation import Generation
from orthant.kernels import bitmaps
from orthant.types import BitmapArray

__all__ = ["Bucket", "Facet", "buckets_of", "facets_of"]

_DATE = re.compile(r"\d{4}-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01])([T ].*)?)?$")
_MOST_BUCKETS = 12


@dataclass(frozen=True)
class Bucket:
    """A range of values and how many records have one in it.

    Attributes
    ----------
    low, high : int, float or str
        Numbers: from ``low``, below ``high``. Dates: the first and the last year, month or day, both included.
    count : int
        Records; one with several values in the range counts once for each distinct value.
    """

    low: float | str
    high: float | str
    count: int


@dataclass(frozen=True)
class Facet:
    """Counts of a field over all records that match, not only over the hits.

    Attributes
    ----------
    values : tuple of (value, count)
        Most frequent first, then by value; a list counts once for each distinct element.
    distinct : int
        Distinct values, listed or not.
    other : int
        Sum of the counts that are not listed.
    missing : int
        Matching records without the field, or with null in it.
    buckets : tuple of Bucket
        Where all values are numbers, or all are ISO dates, and there are more than two: ranges of round width without
        gaps.
    """

    values: tuple[tuple[Scalar, int], ...]
    distinct: int
    other: int
    missing: int
    buckets: tuple[Bucket, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the facet as JSON-ready values.

        Returns
        -------
        dict
            Plain values.
        """
        return {**asdict(self), "values": [{"value": value, "count": count} for value, count in self.values]}


def facets_of(
    generation: Generation, wanted: Mapping[str, int], matched: BitmapArray
) -> tuple[dict[str, Facet], list[str]]:
    """Count fields over a set of rows.

    Parameters
    ----------
    generation : Generation
        What the search sees.
    wanted : mapping of str to int
        Values listed at most, by field.
    matched : ndarray of uint64
        Bitmap of the rows that match.

    Returns
    -------
    facets : dict of str to Facet
        By field, in the order given.
    warnings : list of str
        Fields that no live record has.

    Notes
    -----
    Cost: O(cells of the field) vectorised, and one step in Python per distinct value.
    """
    total = bitmaps.count_bits(matched)
    out: dict[str, Facet] = {}
    warnings: list[str] = []
    for name, limit in wanted.items():
        counted = [(value, count) for value, count in generation.columns.facet(name, matched) if value is not None]
        held = generation.columns.evaluate(Existence(name, True), live=generation.live)
        warnings.extend(held.warnings)
        has = bitmaps.count_bits(bitmaps.resize(held.bitmap, len(matched)) & matched)
        rest = sum(count for _, count in counted[limit:])
        out[name] = Facet(tuple(counted[:limit]), len(counted), rest, total - has, buckets_of(counted))
    return out, warnings


def buckets_of(counted: Sequence[tuple[Scalar, int]]) -> tuple[Bucket, ...]:
    """Return ranges over numbers or ISO dates.

    Parameters
    ----------
    counted : sequence of (value, count)
        Distinct values.

    Returns
    -------
    tuple of Bucket
        At most 12 of equal, round width, ascending and without gaps; empty for other values and for fewer than three.

    Examples
    --------
    >>> [(b.low, b.high, b.count) for b in buckets_of([(1990, 2), (1994, 1), (2011, 5)])]
    [(1990, 1992, 2), (1992, 1994, 0), (1994, 1996, 1), ..., (2010, 2012, 5)]
    >>> [(b.low, b.count) for b in buckets_of([("2024-01-31", 1), ("2024-03-01", 2), ("2024-03-09", 1)])]
    [('2024-01', 1), ('2024-02', 0), ('2024-03', 3)]
    """
    if len(counted) < 3:
        return ()
    kinds = {kind_of(value) for value, _ in counted}
    if kinds == {"number"}:
        return _numbers([(value, count) for value, count in counted if isinstance(value, (int, float))])
    if kinds == {"string"} and all(_DATE.match(str(value)) for value, _ in counted):
        return _dates([(str(value), count) for value, count in counted])
    return ()


def _numbers(counted: list[tuple[int | float, int]]) -> tuple[Bucket, ...]:
    low, high = min(value for value, _ in counted), max(value for value, _ in counted)
    whole = all(isinstance(value, int) for value, _ in counted)
    if max(abs(low), abs(high)) > 1e15 or high - low < 1e-9 or high - low < 1e-12 * max(abs(low), abs(high)):
        # Edges could no longer be told from their neighbours.
        return ()
    width = _round_width((high - low) / (_MOST_BUCKETS - 1), whole=whole)
    first, last = math.floor(low / width), math.floor(high / width)
    edges = [_edge(i, width) for i in range(first, last + 2)]
    # By the edges themselves: a quotient may fall on the other side of an edge than the value does.
    while edges[0] > low:
        edges.insert(0, _edge(first := first - 1, width))
    while edges[-1] <= high:
        edges.append(_edge(last := last + 1, width) if _edge(last + 1, width) > edges[-1] else math.inf)
    places = np.searchsorted(np.asarray(edges), [value for value, _ in counted], side="right") - 1
    counts = np.bincount(places, weights=[count for _, count in counted], minlength=len(edges) - 1)
    return tuple(
        Bucket(begin, end, int(count)) for begin, end, count in zip(edges, edges[1:], counts.tolist(), strict=False)
    )


def _edge(i: int, width: float) -> float:
    # A width below 1 is one over a whole number, by which one may divide exactly rounded.
    return i * width if width >= 1 else i / round(1 / width)


def _round_width(least: float, *, whole: bool) -> float:
    """Return the smallest of 1, 2 and 5 times a power of ten that is not below a width."""
    power = 10.0 ** math.floor(math.log10(least))
    width = next(step * power for step in (1, 2, 5, 10) if step * power >= least * (1 - 1e-12))
    if whole or width >= 1:
        return max(1, round(width))
    return width


def _dates(counted: list[tuple[str, int]]) -> tuple[Bucket, ...]:
    """Count by day, month, year or a round number of years, the finest that needs at most twelve buckets."""
    tallies: dict[int, dict[str, int]] = {4: {}, 7: {}, 10: {}}
    for value, count in counted:
        for length, tally in tallies.items():
            tally[value[:length]] = tally.get(value[:length], 0) + count
    days_known = all(len(value) >= 10 for value, _ in counted)
    days = _span_of_days(sorted(tallies[10])) if days_known else None
    if days is not None:
        return tuple(Bucket(day, day, tallies[10].get(day, 0)) for day in days)
    months = sorted(tallies[7])
    first, last = (int(month[:4]) * 12 + int(month[5:7]) - 1 for month in (months[0], months[-1]))
    if last - first < _MOST_BUCKETS:
        names = [f"{month // 12:04}-{month % 12 + 1:02}" for month in range(first, last + 1)]
        return tuple(Bucket(name, name, tallies[7].get(name, 0)) for name in names)
    first, last = first // 12, last // 12
    width = int(_round_width(max(1.0, (last - first) / (_MOST_BUCKETS - 1)), whole=True))
    begins = range(first - first % width, last + 1, width)
    return tuple(
        Bucket(
            f"{begin:04}",
            f"{begin + width - 1:04}",
            sum(tallies[4].get(f"{year:04}", 0) for year in range(begin, begin + width)),
        )
        for begin in begins
    )


def _span_of_days(days: list[str]) -> list[str] | None:
    from datetime import date, timedelta

    try:
        first, last = date.fromisoformat(days[0]), date.fromisoformat(days[-1])
        for day in days:
            date.fromisoformat(day)
    except ValueError:
        return None
    span = (last - first).days
    return [str(first + timedelta(days=i)) for i in range(span + 1)] if span < _MOST_BUCKETS else None
