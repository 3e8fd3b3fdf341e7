"""Pairs of a query and a relevant record, from whatever a user has."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from orthant.datasets.records import read_records
from orthant.errors import InputError, message
from orthant.types import FloatArray
from orthant.validate import as_array, as_vectors

__all__ = ["Pairs", "check_pairs"]


@dataclass(frozen=True)
class Pairs:
    """Distinct queries, and which record answers which.

    Attributes
    ----------
    texts : list of str
        The queries as texts; empty where they are vectors.
    vectors : ndarray of shape (q, d), float32, or None
        The queries as vectors.
    queries : list of int
        For each pair the number of its query.
    ids : list of str
        For each pair the id of its record.
    """

    texts: list[str]
    vectors: FloatArray | None
    queries: list[int]
    ids: list[str]


def check_pairs(pairs: Any) -> Pairs:
    """Read pairs.

    Parameters
    ----------
    pairs : iterable of (query, id), mapping of str to ids, path, or table
        Tuples of a text or a vector and the id of a record; ``{text: [id, ...]}``, or ``{text: {id: grade, ...}}``, of
        which grades above 0 count; or rows with the fields ``query`` and ``id`` (or ``_id``) as a path to JSON lines or
        CSV, a list of dicts, or a table.

    Returns
    -------
    Pairs
        Repeated pairs count once.

    Raises
    ------
    InputError
        No pair, a mixture of texts and vectors, an empty query, an id that is no text.
    """
    found = list(_rows(pairs))
    if not found:
        raise InputError(message("no pair", "pairs of a query and the id of a record", "pass some"))
    textual = [isinstance(query, str) for query, _ in found]
    if any(textual) and not all(textual):
        raise InputError(message("texts and vectors as queries", "one of them", "adapt from one kind at a time"))
    texts: dict[Any, int] = {}
    rows: list[Any] = []
    seen: dict[tuple[int, str], None] = {}
    for number, (query, key) in enumerate(found):
        if not isinstance(key, str) or not key:
            raise InputError(message(f"pair {number} with the id {key!r}", "the id of a record, a str", "correct it"))
        if isinstance(query, str) and not query.strip():
            raise InputError(message(f"pair {number} with an empty query", "a text with a word", "leave it out"))
        if isinstance(query, str):
            place = texts.setdefault(query, len(texts))
        else:
            vector = np.asarray(as_array(query, name="a query vector"), dtype=np.float32)
            place = texts.setdefault(vector.tobytes(), len(texts))
            if place == len(rows):
                rows.append(vector)
        seen[place, key] = None
    vectors = as_vectors(rows, name="query vectors") if rows else None
    return Pairs(list(texts) if all(textual) else [], vectors, [q for q, _ in seen], [key for _, key in seen])


def _rows(pairs: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(pairs, Mapping):
        for query, ids in pairs.items():
            if not isinstance(ids, Iterable):
                given = f"ids of type {type(ids).__name__} for query {query!r}"
                raise InputError(message(given, "an id, or a list of ids", "name the records that answer it"))
            if isinstance(ids, Mapping):
                ids = [key for key, grade in ids.items() if _grade(grade, query) > 0]
            for key in [ids] if isinstance(ids, str) else ids:
                yield query, key
        return
    if isinstance(pairs, Iterator):
        first = next(pairs, None)
        if first is None:
            return
        # Tuples from a generator or zip; whatever else is a reader's matter.
        tuples = isinstance(first, (list, tuple))
        pairs = [first, *pairs] if tuples else chain([first], pairs)
    if isinstance(pairs, (list, tuple)) and not (pairs and isinstance(pairs[0], Mapping)):
        for number, pair in enumerate(pairs):
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                given = f"pair {number} of type {type(pair).__name__}"
                raise InputError(message(given, "(query, id)", "pass tuples of a text or vector and a record's id"))
            yield pair[0], pair[1]
        return
    source = os.fspath(pairs) if isinstance(pairs, os.PathLike) else pairs
    try:
        for batch in read_records(source, text_fields="query", metadata_fields=()):
            for key, text in zip(batch.ids, batch.texts, strict=True):
                yield text if text is not None else "", key
    except InputError as error:
        # The reader speaks of records.
        raise InputError(f"{error} Pairs are rows with the fields 'query' and 'id'.") from error


def _grade(grade: Any, query: Any) -> float:
    if isinstance(grade, bool) or not isinstance(grade, (int, float)):
        given = f"the grade {grade!r} of a record for query {query!r}"
        raise InputError(message(given, "a number, above 0 where the record answers", "correct it"))
    return float(grade)
