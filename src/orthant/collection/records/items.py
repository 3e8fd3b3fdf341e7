"""What an encoder gets of a record: its text, or the whole of it; and parts of records as queries."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from orthant.collection.columns.query import unknown_field
from orthant.encoders.fingerprint import Fingerprint
from orthant.errors import InputError, message
from orthant.types import FloatArray

if TYPE_CHECKING:
    from orthant.collection.space_encoders import SpaceEncoders

__all__ = ["doubts", "encodable", "items_of", "made_of_records", "partial_queries", "reads_records"]


def reads_records(encoder: Any) -> bool:
    """Return whether an encoder takes whole records.

    Parameters
    ----------
    encoder : Encoder or None
        Any.

    Returns
    -------
    bool
        What its attribute ``reads_records`` says; False without one.
    """
    return bool(getattr(encoder, "reads_records", False))


def made_of_records(fingerprint: str | None) -> bool:
    """Return whether the vectors of a space are those of whole records.

    Parameters
    ----------
    fingerprint : str or None
        Of the space.

    Returns
    -------
    bool
        By the name in it, so that no encoder is loaded to find out.
    """
    if fingerprint is None:
        return False
    try:
        return Fingerprint.parse(fingerprint).name == "records"
    except InputError:
        return False


def encodable(name: str, spaces: Mapping[str, Any], encoders: SpaceEncoders, *, texts: bool, metadata: bool) -> bool:
    """Return whether a write brings something that a space's encoder can read.

    Parameters
    ----------
    name : str
        The space.
    spaces : mapping of str to definition
        Definitions by name.
    encoders : SpaceEncoders
        Those at hand.
    texts, metadata : bool
        What the call brings.

    Returns
    -------
    bool
        Texts for any encoder, metadata for one that reads records.
    """
    if not encoders.at_hand(name):
        return False
    stored = getattr(spaces.get(name), "fingerprint", None)
    return texts or (metadata and (reads_records(encoders.given(name)) or made_of_records(stored)))


def items_of(
    encoder: Any, texts: Sequence[str | None], metadata: Sequence[Mapping[str, Any]]
) -> list[str | Mapping[str, Any] | None]:
    """Return what an encoder is to encode, record by record.

    Parameters
    ----------
    encoder : Encoder
        That of a space.
    texts : sequence of (str or None), length n
        The records' texts.
    metadata : sequence of mapping, length n
        Their fields.

    Returns
    -------
    list of (str, mapping or None)
        Texts; or all fields, with the text under the encoder's ``text_field`` unless a field has that name. None where
        there is nothing to encode.
    """
    if not reads_records(encoder):
        return [text or None for text in texts]
    name = encoder.text_field
    whole = [{name: text, **row} if text else row for text, row in zip(texts, metadata, strict=True)]
    return [record or None for record in whole]


def partial_queries(queries: Any, vectors: Any, space: str, encoders: SpaceEncoders) -> tuple[Any, Any]:
    """Turn parts of records, where queries are such, into vectors.

    Parameters
    ----------
    queries : sequence of (str, array-like, mapping or None), length q
        As given to ``search_many``.
    vectors : array-like of shape (q, dim), or None
        Vectors that came with them.
    space : str
        The space to search.
    encoders : SpaceEncoders
        What encodes for it.

    Returns
    -------
    queries : sequence
        As given; None for each part of a record.
    vectors : array-like of shape (q, dim), or None
        As given, or those of the parts.

    Raises
    ------
    InputError
        Parts beside other queries or beside vectors, an empty one, or a space whose encoder reads texts.
    """
    if not isinstance(queries, (list, tuple)) or not any(isinstance(query, Mapping) for query in queries):
        return queries, vectors
    if vectors is not None or not all(isinstance(query, Mapping) for query in queries):
        given = "a part of a record beside other queries or vectors"
        raise InputError(message(given, "parts of records alone", "search for them in a call of their own"))
    encoder = encoders.require(space)
    if not reads_records(encoder):
        given = f"a part of a record for space {space!r}, whose encoder reads texts"
        way = "open with encoder=RecordEncoder(...), or filter with where={...}"
        raise InputError(message(given, "a text or a vector", way))
    if not all(queries):
        raise InputError(message("a part of a record without a field", "one field at least", "name what you look for"))
    encoded: FloatArray = encoder.encode(list(queries), role="query")
    asked: npt.ArrayLike = encoded
    return [None] * len(queries), asked


def doubts(queries: Any, names: Collection[str], encoder: Any) -> tuple[str, ...]:
    """Return what is odd about parts of records: they are near nothing, though a search always finds the nearest.

    Parameters
    ----------
    queries : sequence
        As given to ``search_many``; only parts of records are looked at.
    names : collection of str
        Fields that records have.
    encoder : Encoder or None
        That of the space.

    Returns
    -------
    tuple of str
        Warnings for the plan: fields that no record has, and texts where the encoder was fitted on numbers.
    """
    if not reads_records(encoder) or not isinstance(queries, (list, tuple)):
        return ()
    numbers = {".".join(fields) for fields in getattr(encoder, "number_fields_", ())}
    told: dict[str, None] = {}
    for query in queries:
        for path, value in _fields(query, "") if isinstance(query, Mapping) else ():
            if path not in names and path != encoder.text_field:
                told[unknown_field(path, names)] = None
            elif isinstance(value, str) and path in numbers:
                told[f"field {path!r} holds numbers, which the text {value!r} is not near; pass a number"] = None
    return tuple(told)


def _fields(part: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield the innermost fields with their values; dots join the names."""
    for key, value in part.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _fields(value, f"{path}.")
        else:
            yield path, value
