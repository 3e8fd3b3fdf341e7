"""Values on the wire: vectors as JSON numbers or base64, hits and records as JSON."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, Literal

import numpy as np

from orthant.collection.legs.ranking import Said
from orthant.collection.results import Hit, Record, SearchResult
from orthant.collection.stages.listing import Listing, listing_of
from orthant.errors import InputError, message
from orthant.types import FloatArray

__all__ = [
    "VectorForm",
    "decode_named",
    "decode_terms",
    "decode_vector",
    "decode_vectors",
    "encode_vector",
    "hit_values",
    "record_values",
    "result_json",
    "result_values",
    "results_json",
    "to_json",
]

VectorForm = Literal["json", "base64"]


def decode_vector(value: Any) -> Any:
    """Return a vector as a request holds it.

    Parameters
    ----------
    value : list, str, mapping or None
        Numbers, or little-endian float32 in base64; ``{"base64", "shape"}`` is a matrix. Anything else is left to the
        checks of the collection.

    Returns
    -------
    ndarray of shape (dim,) or (tokens, dim), float32, or the value as it was

    Raises
    ------
    InputError
        No base64, or bytes that are no float32.

    Examples
    --------
    >>> decode_vector("AACAPwAAAEA=").tolist()
    [1.0, 2.0]
    """
    if isinstance(value, str):
        return _floats(value)
    if isinstance(value, Mapping) and set(value) == {"base64", "shape"} and isinstance(value["base64"], str):
        floats, shape = _floats(value["base64"]), value["shape"]
        sound = isinstance(shape, list) and len(shape) == 2 and all(type(n) is int and n >= 0 for n in shape)
        if not sound or shape[0] * shape[1] != len(floats):
            raise InputError(message(f"shape {shape!r} for {len(floats)} numbers", "rows and columns", "correct it"))
        return floats.reshape(shape)
    return value


def decode_named(value: Any) -> Any:
    """Return the vector of a query, or its vectors by space.

    Parameters
    ----------
    value : list, str, mapping or None
        As for :func:`decode_vector`; a mapping without ``"base64"`` holds such by space.

    Returns
    -------
    object
        What ``Collection.search`` takes as ``vector``.

    Raises
    ------
    InputError
        As in :func:`decode_vector`.
    """
    if isinstance(value, Mapping) and "base64" not in value:
        return {space: decode_vector(one) for space, one in value.items()}
    return decode_vector(value)


def decode_vectors(value: Any, count: int) -> Any:
    """Return the vectors of several records.

    Parameters
    ----------
    value : list, str, mapping of str to such, or None
        One vector per record, as :func:`decode_vector` takes them; or all of them in one base64 text; or either by
        space. Weighted terms are ``{"indices", "values"}`` or ``{"12": 0.5}`` per record.
    count : int
        Records.

    Returns
    -------
    object
        What ``Collection.upsert`` takes.

    Raises
    ------
    InputError
        As in :func:`decode_vector`.
    """
    if isinstance(value, Mapping):
        return {space: _rows(rows, count) for space, rows in value.items()}
    return _rows(value, count)


def _rows(value: Any, count: int) -> Any:
    if isinstance(value, str):
        floats = _floats(value)
        if not count or len(floats) % count:
            raise InputError(message(f"{len(floats)} numbers for {count} records", "as many for each", "correct them"))
        return floats.reshape(count, -1)
    if not isinstance(value, list):
        return value
    return [_terms_or_spaces(one) if isinstance(one, Mapping) else decode_vector(one) for one in value]


def _terms_or_spaces(value: Mapping[str, Any]) -> Any:
    """A mapping of numbers holds weighted terms; of anything longer, vectors by space."""
    terms = set(value) <= {"indices", "values"} or all(isinstance(one, (int, float)) for one in value.values())
    return _terms(value) if terms and "base64" not in value else decode_named(value)


def _terms(weights: Mapping[str, Any]) -> Mapping[Any, Any]:
    """JSON has only texts as keys; terms are numbers."""
    if set(weights) <= {"indices", "values"}:
        return weights
    try:
        return {int(term): weight for term, weight in weights.items()}
    except ValueError as error:
        raise InputError(message("a term that is no number", "numbers of terms", "correct it")) from error


def decode_terms(value: Any) -> Any:
    """Return the weighted terms of one query.

    Parameters
    ----------
    value : mapping or None
        ``{"indices", "values"}``, or weights by term.

    Returns
    -------
    mapping or None
        With numbers as terms.

    Raises
    ------
    InputError
        A term that is no number.
    """
    return _terms(value) if isinstance(value, Mapping) else value


def _floats(text: str) -> FloatArray:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InputError(message("a vector that is no base64", "numbers, or float32 in base64", "encode it")) from None
    if len(raw) % 4:
        raise InputError(message(f"a vector of {len(raw)} bytes", "float32, 4 bytes each", "convert it first"))
    return np.frombuffer(raw, dtype="<f4").astype(np.float32)


def encode_vector(X: FloatArray, form: VectorForm) -> Any:
    """Return a vector, or a matrix of tokens, as JSON-ready values.

    Parameters
    ----------
    X : ndarray of shape (dim,) or (tokens, dim), float32
        The values.
    form : {"json", "base64"}
        Numbers, four times as long and easy to read, or base64.

    Returns
    -------
    list, str or dict
        A matrix in base64 is ``{"base64", "shape"}``.
    """
    if form == "json":
        return X.tolist()
    packed = base64.b64encode(np.ascontiguousarray(X, dtype="<f4").tobytes()).decode("ascii")
    return packed if X.ndim == 1 else {"base64": packed, "shape": list(X.shape)}


def record_values(record: Record, form: VectorForm = "json") -> dict[str, Any]:
    """Return a record as JSON-ready values.

    Parameters
    ----------
    record : Record
        The record.
    form : {"json", "base64"}, default "json"
        Of its vectors.

    Returns
    -------
    dict
        ``vectors`` and ``sparse`` only where there are some.
    """
    out: dict[str, Any] = {"id": record.id, "text": record.text, "metadata": record.metadata}
    if record.vectors:
        out["vectors"] = {name: encode_vector(X, form) for name, X in record.vectors.items()}
    if record.sparse:
        out["sparse"] = {
            name: {"indices": one.indices.tolist(), "values": one.values.tolist()}
            for name, one in record.sparse.items()
        }
    return out


def hit_values(hit: Hit) -> dict[str, Any]:
    """Return what ``Hit.to_dict`` does, without its copy of everything.

    Parameters
    ----------
    hit : Hit
        The hit.

    Returns
    -------
    dict
        Shares the hit's metadata.
    """
    out: dict[str, Any] = {
        "id": hit.id,
        "score": hit.score,
        "rank": hit.rank,
        "text": hit.text,
        "metadata": hit.metadata,
        "legs": {name: vars(leg) for name, leg in hit.legs.items()},
        "matched": list(hit.matched),
    }
    if hit.stages:
        out["stages"] = {name: vars(stage) for name, stage in hit.stages.items()}
    if hit.alignment:
        out["alignment"] = [asdict(match) for match in hit.alignment]
    if hit.shared is not None:
        out["shared"] = [asdict(term) for term in hit.shared]
    return out


def result_values(result: SearchResult) -> dict[str, Any]:
    """Return what ``SearchResult.to_dict`` does.

    Parameters
    ----------
    result : SearchResult
        Of one query.

    Returns
    -------
    dict
        JSON-ready.
    """
    out: dict[str, Any] = {"hits": [hit_values(hit) for hit in result.hits], "plan": result.plan.to_dict()}
    if result.groups:
        out["groups"] = [group.to_dict() for group in result.groups]
    if result.facets:
        out["facets"] = {name: facet.to_dict() for name, facet in result.facets.items()}
    return out


def result_json(result: SearchResult, plans: dict[int, str] | None = None) -> bytes:
    """Return what ``to_json(result_values(result))`` tells, without making a hit where none was made yet.

    Parameters
    ----------
    result : SearchResult
        Of one query.
    plans : dict of int to str, optional
        Plans of the same batch that were written already, by identity; added to.

    Returns
    -------
    bytes
        JSON, in UTF-8 where metadata is.
    """
    listing = listing_of(result)
    if listing is None:
        return to_json(result_values(result))
    written = {} if plans is None else plans
    plan = written.get(id(result.plan))
    if plan is None:
        plan = written[id(result.plan)] = to_json(result.plan.to_dict()).decode("ascii")
    facets = ""
    if result.facets:
        told = {name: facet.to_dict() for name, facet in result.facets.items()}
        facets = f',"facets":{to_json(told).decode("ascii")}'
    return f'{{"hits":[{",".join(_listed(listing))}],"plan":{plan}{facets}}}'.encode()


def results_json(results: Iterable[SearchResult]) -> list[bytes]:
    """Return the results of one batch.

    Parameters
    ----------
    results : iterable of SearchResult
        Of its queries.

    Returns
    -------
    list of bytes
        JSON of each.
    """
    plans: dict[int, str] = {}
    return [result_json(result, plans) for result in results]


def _listed(listing: Listing) -> Iterator[str]:
    """Write the hits of a listing; metadata is JSON already."""
    legs = [(_quoted(name), _numbers(leg)) for name, leg in listing.legs.items()]
    for i, (key, text, about) in enumerate(listing.records):
        said = ",".join(f"{name}:{{{numbers[i]}}}" for name, numbers in legs)
        shown = "null" if text is None else _quoted(text)
        yield (
            f'{{"id":{_quoted(key)},"score":{_number(listing.scores[i])},"rank":{listing.first + i},"text":{shown},'
            f'"metadata":{about},"legs":{{{said}}},"matched":[]}}'
        )


def _numbers(leg: Said) -> list[str]:
    weight = _number(leg.weight)
    return [
        f'"score":{_number(score)},"rank":{_number(rank)},"normalized":{_number(part)},"weight":{weight}'
        for score, rank, part in zip(leg.scores, leg.ranks, leg.normalized, strict=True)
    ]


def _number(value: float | None) -> str:
    return "null" if value is None or not math.isfinite(value) else repr(value)


def to_json(value: Any) -> bytes:
    """Return JSON that every reader takes: NaN and infinity, which JSON lacks, become null.

    Parameters
    ----------
    value : object
        Plain values; NumPy numbers and arrays are converted.

    Returns
    -------
    bytes
        ASCII.
    """
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"), default=_plain).encode("ascii")
    except ValueError:
        return json.dumps(_finite(value), separators=(",", ":"), default=_plain).encode("ascii")


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return _finite(value.tolist())
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return value
