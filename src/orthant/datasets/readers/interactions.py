"""Ratings and tables: MovieLens latest-small, Amazon purchases, Adult census records, a Criteo sample."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.datasets.readers.files import bad_row, csv_rows, find, number, tsv_rows
from orthant.datasets.structures import Interactions, Table
from orthant.validate import check_choice

__all__ = ["adult", "amazon_hin", "criteo_sample", "movielens_latest_small"]

Root = str | os.PathLike[str] | None

_ADULT = (
    "age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation", "relationship",
    "race", "sex", "capital_gain", "capital_loss", "hours_per_week", "native_country", "income",
)  # fmt: skip
_ADULT_NUMERIC = ("age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week")


def _whole(path: Path, columns: Sequence[str], rows: Sequence[tuple[int, Sequence[str]]]) -> npt.NDArray[np.int64]:
    """Return rows of integers as one int64 matrix, or say where one is not an integer."""
    try:
        return np.array([row for _, row in rows], dtype=np.int64).reshape(len(rows), len(columns))
    except (ValueError, OverflowError):
        for line, row in rows:
            for column, text in zip(columns, row, strict=True):
                if not text.lstrip("-").isdecimal():
                    bad_row(path, line, f"{column}={text!r}", f"an integer in column {column!r}")
        raise


def movielens_latest_small(*, root: Root = None) -> Interactions:
    """Read MovieLens latest-small: 100,836 ratings 0.5..5 of 610 users, 9,742 films, 3,683 tags.

    Parameters
    ----------
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    Interactions
        Item fields ``title``, ``genres`` (list), ``imdb``, ``tmdb``. Order each user's ratings by time for sequences.
    """
    folder = "movielens_latest_small"
    path = find(root, folder, "ratings.csv.gz")
    header = ("userId", "movieId", "rating", "timestamp")
    rows = list(csv_rows(path, header))
    ids = _whole(path, ("userId", "movieId", "timestamp"), [(i, (r[0], r[1], r[3])) for i, r in rows])
    ratings = np.array([number(path, i, "rating", r[2]) for i, r in rows], dtype=np.float32)
    fields: dict[int, dict[str, Any]] = {}
    path = find(root, folder, "movies.csv.gz")
    for line, (movie, title, genres) in csv_rows(path, ("movieId", "title", "genres")):
        listed = [] if genres == "(no genres listed)" else genres.split("|")
        fields[int(number(path, line, "movieId", movie))] = {"title": title, "genres": listed}
    path = find(root, folder, "links.csv.gz")
    for line, (movie, imdb, tmdb) in csv_rows(path, ("movieId", "imdbId", "tmdbId")):
        fields.setdefault(int(number(path, line, "movieId", movie)), {}).update(imdb=imdb, tmdb=tmdb)
    path = find(root, folder, "tags.csv.gz")
    tagged = list(csv_rows(path, ("userId", "movieId", "tag", "timestamp")))
    keys = _whole(path, ("userId", "movieId", "timestamp"), [(i, (r[0], r[1], r[3])) for i, r in tagged]).tolist()
    tags = [(user, item, row[2], when) for (user, item, when), (_, row) in zip(keys, tagged, strict=True)]
    return Interactions(folder, ids[:, 0], ids[:, 1], ratings, ids[:, 2], fields, tags)


def amazon_hin(*, root: Root = None) -> Interactions:
    """Read Amazon purchases: 195,791 ratings 1..5 with time, 6,170 users, 2,753 items with category and brand.

    Parameters
    ----------
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    Interactions
        Item fields ``category`` (list), ``brand`` (list), ``view`` (list of also-viewed codes); all anonymous integers.
    """
    path = find(root, "amazon_hin", "user_item.tsv.gz")
    header = ("user", "item", "rating", "timestamp")
    events = _whole(path, header, list(tsv_rows(path, header)))
    fields: dict[int, dict[str, Any]] = {}
    for column in ("category", "brand", "view"):
        path = find(root, "amazon_hin", f"item_{column}.tsv.gz")
        for item, code in _whole(path, ("item", column), list(tsv_rows(path, ("item", column)))).tolist():
            fields.setdefault(item, {"category": [], "brand": [], "view": []})[column].append(code)
    ratings = events[:, 2].astype(np.float32)
    return Interactions("amazon_hin", events[:, 0], events[:, 1], ratings, events[:, 3], fields)


def _table(
    name: str,
    columns: Mapping[str, list[str]],
    numeric: Sequence[str],
    target: str,
    places: Sequence[tuple[Path, int]],
    splits: list[str] | None,
) -> Table:
    """Turn text columns into a Table; an empty text is a missing value."""
    numbers: dict[str, npt.NDArray[np.float64]] = {}
    for column in (*numeric, target):
        values = columns[column]
        try:
            numbers[column] = np.array([v or "nan" for v in values], dtype=np.float64)
        except ValueError:
            for (path, line), text in zip(places, values, strict=True):
                number(path, line, column, text or "0")
            raise
    labels = numbers.pop(target)
    for row in np.flatnonzero(~np.isin(labels, (0, 1)))[:1].tolist():
        path, line = places[row]
        bad_row(path, line, f"{target}={columns[target][row]!r}", "0 or 1")
    categorical = {c: np.array(v, dtype=np.str_) for c, v in columns.items() if c not in (*numeric, target)}
    return Table(name, categorical, numbers, labels.astype(np.int64), None if splits is None else np.array(splits))


def adult(*, split: str | None = None, root: Root = None) -> Table:
    """Read Adult census records: 14 fields, target 1 for an income over 50K.

    Parameters
    ----------
    split : {"train", "test"}, optional
        32,561 and 16,281 rows; left out, both in that order.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    Table
        8 categorical and 6 numeric columns; a question mark in the origin is the empty string here.
    """
    choices = ("train", "test")
    columns: dict[str, list[str]] = {column: [] for column in _ADULT}
    places: list[tuple[Path, int]] = []
    splits: list[str] = []
    for part in choices if split is None else (check_choice(split, choices, name="split"),):
        path = find(root, "adult", f"{part}.tsv.gz")
        for line, row in tsv_rows(path, _ADULT):
            for column, text in zip(_ADULT, row, strict=True):
                columns[column].append("" if text == "?" else text)
            places.append((path, line))
            splits.append(part)
    return _table("adult", columns, _ADULT_NUMERIC, "income", places, splits)


def criteo_sample(*, root: Root = None) -> Table:
    """Read 1,599 Criteo rows: 13 counts, 26 hashed categories, target 1 for a click. A format sample only.

    Parameters
    ----------
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    Table
        Numeric I1..I13 (NaN where empty), categorical C1..C26 (empty string where empty) and Id.
    """
    counts = [f"I{i}" for i in range(1, 14)]
    header = ("Id", "Label", *counts, *(f"C{i}" for i in range(1, 27)))
    path = find(root, "criteo_sample", "criteo_1599.csv.gz")
    rows = list(csv_rows(path, header))
    columns = {column: [row[i] for _, row in rows] for i, column in enumerate(header)}
    return _table("criteo_sample", columns, counts, "Label", [(path, line) for line, _ in rows], None)
