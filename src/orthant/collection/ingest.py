"""From what a user passes to a checked batch: ids, texts, metadata and vectors, encoded where an encoder is at hand.

Everything is checked before anything is written, so a refused call leaves the collection as it was.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.collection.columns.metadata import check_metadata
from orthant.collection.records.items import items_of, made_of_records
from orthant.collection.spaces import AnyEncoder, SpaceDefinition
from orthant.collection.storage.batch import Batch
from orthant.collection.tokens.ingest import check_tokens, encode_tokens
from orthant.encoders.fingerprint import short_fingerprint
from orthant.errors import DimensionError, InputError, NonFiniteError, NotFoundError, message
from orthant.types import FloatArray, IdArray, Ragged
from orthant.validate import as_array, as_vectors

__all__ = ["UpsertReport", "VectorInput", "by_space", "check_ids", "checked_vectors", "leading_dim", "prepare_batch"]

VectorInput = npt.ArrayLike | Mapping[str, Any]

_MAX_ID_BYTES = 512


@dataclass(frozen=True)
class UpsertReport:
    """What an upsert did.

    Attributes
    ----------
    records : int
        Records written.
    replaced : int
        How many of them existed before.
    vectors : dict of str to int
        Records that got a vector, or tokens, by space.
    without_vector : dict of str to int
        Records that got none in a space: no text, no known token, or not given.
    truncated_items, truncated_tokens : int
        Texts longer than the encoder's window and the tokens that were not seen.
    generation : int
        The commit that holds them.
    seconds : dict of str to float
        Wall-clock seconds per stage.
    """

    records: int
    replaced: int
    vectors: dict[str, int]
    without_vector: dict[str, int]
    truncated_items: int
    truncated_tokens: int
    generation: int
    seconds: dict[str, float]


@dataclass
class Prepared:
    """A checked batch and what its encoding told."""

    batch: Batch
    truncated_items: int = 0
    truncated_tokens: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


def check_ids(ids: Sequence[str], *, distinct: bool = True) -> list[str]:
    """Return record ids as a list of distinct, non-empty str.

    Parameters
    ----------
    ids : sequence of str
        Ids of at most 512 bytes each.
    distinct : bool, default True
        Refuse repeats.

    Returns
    -------
    list of str
        The ids.

    Raises
    ------
    InputError
        A bare str, an element that is no str, an empty, overlong or repeated id; the position is named.
    """
    if isinstance(ids, (str, bytes)):
        raise InputError(message(f"ids as one {type(ids).__name__}", "a list of str", "write [id]"))
    out = _as_list(ids, "ids", "a list of str")
    for i, key in enumerate(out):
        if not isinstance(key, str):
            raise InputError(
                message(f"ids[{i}]={key!r} of type {type(key).__name__}", "str", f"convert it with str({key!r})")
            )
        if any("\ud800" <= c <= "\udfff" for c in key):
            raise InputError(_no_text(f"ids[{i}]"))
        if not key or (len(key) > _MAX_ID_BYTES // 4 and len(key.encode("utf-8", "replace")) > _MAX_ID_BYTES):
            raise InputError(
                message(f"ids[{i}] of {len(key)} characters", f"1 to {_MAX_ID_BYTES} bytes", "choose a shorter id")
            )
    if distinct and len(set(out)) != len(out):
        again, _ = Counter(out).most_common(1)[0]
        raise InputError(
            message(f"id {again!r} twice in one batch", "distinct ids", "keep the version you want and drop the other")
        )
    return out


def prepare_batch(
    ids: Sequence[str],
    texts: Sequence[str | None] | None,
    metadata: Sequence[Mapping[str, Any] | None] | None,
    vectors: Mapping[str, Any],
    *,
    spaces: Mapping[str, SpaceDefinition],
    encoders: Mapping[str, AnyEncoder] | None,
    progress: bool = False,
) -> Prepared:
    """Check and encode one batch.

    Parameters
    ----------
    ids : sequence of str
        Distinct ids, shape (n,).
    texts : sequence of (str or None), optional
        One per id.
    metadata : sequence of (mapping or None), optional
        One JSON object per id.
    vectors : mapping of str to array-like of shape (n, dim), or to sets of tokens
        From ``by_space``; a list may hold None for records without a vector.
    spaces : mapping of str to SpaceDefinition
        The collection's spaces.
    encoders : mapping of str to Encoder or TokenEncoder, optional
        Encoders of the spaces that encode texts themselves. With None everything else is checked and nothing encoded.
    progress : bool, default False
        Show a bar while encoding.

    Returns
    -------
    Prepared
        The batch, ready to commit.

    Raises
    ------
    InputError
        Anything that is not acceptable; nothing was changed.
    """
    keys = check_ids(ids)
    checked_texts = _check_texts(texts, len(keys))
    checked, encoded = _check_metadata(metadata, keys)
    _require_unicode(keys, checked_texts, encoded)
    batch = Batch(keys, checked_texts, checked, encoded)
    prepared = Prepared(batch)
    for name, values in vectors.items():
        if name not in spaces:
            known = ", ".join(spaces) or "none"
            raise NotFoundError(message(f"vectors for space {name!r}", f"one of: {known}", "add it with add_space"))
        batch.vectors[name] = _check_vectors(values, spaces[name], len(keys))
    if encoders is None or (texts is None and metadata is None):
        return prepared
    for name, definition in spaces.items():
        if name in vectors:
            continue
        if name in encoders:
            _encode(prepared, definition, encoders[name], progress=progress)
        elif (any(checked_texts) and definition.fingerprint is not None) or _lacks_reader(definition, checked):
            what = "texts" if any(checked_texts) else "records"
            maker = short_fingerprint(definition.fingerprint or "")
            raise InputError(
                message(
                    f"{what} for space {name!r}, whose encoder {maker} is not at hand",
                    "that encoder, or vectors",
                    f"{_way_to_encoder(name)}, or pass vectors={{{name!r}: [None, ...]}} to store none on purpose",
                )
            )
    return prepared


def _way_to_encoder(space: str) -> str:
    return "open with encoder=..." if space == "default" else f"call use_encoder({space!r}, ...)"


def _lacks_reader(definition: SpaceDefinition, metadata: list[dict[str, Any]]) -> bool:
    return any(metadata) and made_of_records(definition.fingerprint)


def _as_list(values: Any, name: str, expected: str) -> list[Any]:
    try:
        return list(values)
    except TypeError as error:
        raise InputError(message(f"{name} of type {type(values).__name__}", expected, "pass a list")) from error


def leading_dim(values: Any) -> int | None:
    """Return the dimension that vectors would give to a new space.

    Parameters
    ----------
    values : array-like of shape (n, dim), or list with None for records without a vector
        As ``by_space`` gave them.

    Returns
    -------
    int or None
        None without a single vector.

    Raises
    ------
    InputError
        Not vectors.
    """
    first = values[:1] if hasattr(values, "shape") else [value for value in values if value is not None][:1]
    X = as_vectors(first, name="vectors") if len(first) else None
    return X.shape[1] if X is not None and len(X) else None


def _check_texts(texts: Sequence[str | None] | None, count: int) -> list[str | None]:
    if texts is None:
        return [None] * count
    if isinstance(texts, (str, bytes)):
        raise InputError(message(f"texts as one {type(texts).__name__}", "a list of str", "write [text]"))
    out = _as_list(texts, "texts", "a list of str")
    if len(out) != count:
        raise DimensionError(message(f"{len(out)} texts for {count} ids", "equal lengths", "pass one text per id"))
    for i, text in enumerate(out):
        if text is not None and not isinstance(text, str):
            raise InputError(message(f"texts[{i}] of type {type(text).__name__}", "str or None", "convert or drop it"))
    return out


def _check_metadata(
    metadata: Sequence[Mapping[str, Any] | None] | None, keys: list[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    if metadata is None:
        return [{} for _ in keys], ["{}"] * len(keys)
    if isinstance(metadata, (str, bytes, Mapping)):
        raise InputError(
            message(f"metadata as one {type(metadata).__name__}", "a list of dicts", "pass one dict per id")
        )
    rows = _as_list(metadata, "metadata", "a list of dicts")
    if len(rows) != len(keys):
        raise DimensionError(message(f"{len(rows)} metadata for {len(keys)} ids", "equal lengths", "pass one per id"))
    checked = [
        check_metadata({} if row is None else row, where=f"metadata of {key!r}")
        for row, key in zip(rows, keys, strict=True)
    ]
    dumps = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
    return checked, [dumps(row) for row in checked]


def _require_unicode(keys: list[str], texts: list[str | None], encoded: list[str]) -> None:
    for name, values in (("ids", keys), ("texts", texts), ("metadata", encoded)):
        try:
            # One pass over everything is much cheaper than one call per value; the loop only names the culprit.
            "".join(value for value in values if value is not None).encode()
        except UnicodeEncodeError as error:
            for i, value in enumerate(values):
                if value is not None and any(0xD800 <= ord(c) <= 0xDFFF for c in value):
                    raise InputError(_no_text(f"{name}[{i}]")) from error
            raise


def _no_text(name: str) -> str:
    return message(
        f"{name} with a lone surrogate, which is no text", "valid Unicode", "decode the source with errors='replace'"
    )


def by_space(
    vectors: VectorInput | None, default_space: str, *, sparse: Container[str] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return vectors by space, each an array or a list, and apart from them those of sparse spaces as they are.

    Parameters
    ----------
    vectors : array-like of shape (n, dim), or mapping of space to such, optional
        What the user passed.
    default_space : str
        Where a bare array belongs.
    sparse : container of str
        Names of the sparse spaces.

    Returns
    -------
    dense : dict of str to (array-like or list)
        Empty without vectors.
    sparse : dict of str to object
        Unchecked.

    Raises
    ------
    InputError
        Neither arrays nor sequences.
    """
    if vectors is None:
        return {}, {}
    given = dict(vectors) if isinstance(vectors, Mapping) else {default_space: vectors}
    weighted = {name: given.pop(name) for name in list(given) if name in sparse}
    return {name: _as_rows(values, f"vectors[{name!r}]") for name, values in given.items()}, weighted


def _as_rows(values: Any, name: str) -> Any:
    if hasattr(values, "tocsr"):
        way = "add a sparse space with add_space('sparse', dim=..., kind='sparse') and pass vectors={'sparse': ...}"
        raise InputError(message(f"{name} as a sparse matrix", "a matrix of shape (n, d) for a vector space", way))
    values = as_array(values, name=name)
    if isinstance(values, Ragged):
        return values
    if hasattr(values, "__array__"):
        array = np.asarray(values)
        if array.ndim == 0:
            raise DimensionError(message(f"{name} without axes", "a matrix of shape (n, d)", "pass one row per id"))
        # An array of objects may hold None for records without a vector.
        return list(array) if array.dtype == object else array
    if isinstance(values, (str, bytes)):
        raise InputError(message(f"{name} as one {type(values).__name__}", "a matrix of shape (n, d)", "pass an array"))
    return _as_list(values, name, "a matrix of shape (n, d)")


def _check_vectors(values: Any, definition: SpaceDefinition, count: int) -> tuple[IdArray, FloatArray]:
    if definition.kind == "tokens":
        return check_tokens(values, definition, count)
    positions = np.arange(count, dtype=np.int64)
    if not hasattr(values, "dtype") and any(value is None for value in values):
        if len(values) != count:
            raise DimensionError(message(f"{len(values)} vectors for {count} ids", "equal lengths", "pass one per id"))
        positions = np.array([i for i, value in enumerate(values) if value is not None], dtype=np.int64)
        values = [value for value in values if value is not None]
        if not values:
            return positions, np.zeros((0, definition.dim), dtype=np.float32)
    X = as_vectors(
        values, dim=definition.dim, name=f"vectors[{definition.name!r}]", nonzero=definition.metric == "cosine"
    )
    if len(X) != len(positions):
        raise DimensionError(message(f"{len(X)} vectors for {count} ids", "equal lengths", "pass one vector per id"))
    return positions, X


def _encode(prepared: Prepared, definition: SpaceDefinition, encoder: Any, *, progress: bool) -> None:
    started = time.perf_counter()
    if definition.kind == "tokens":
        prepared.batch.vectors[definition.name] = encode_tokens(prepared.batch.texts, definition, encoder)
    else:
        _encode_vectors(prepared, definition, encoder, progress=progress)
    prepared.seconds["encode"] = prepared.seconds.get("encode", 0.0) + time.perf_counter() - started


def _encode_vectors(prepared: Prepared, definition: SpaceDefinition, encoder: Any, *, progress: bool) -> None:
    items = items_of(encoder, prepared.batch.texts, prepared.batch.metadata)
    positions = np.array([i for i, item in enumerate(items) if item is not None], dtype=np.int64)
    if len(positions):
        chosen = items if len(positions) == len(items) else [items[i] for i in positions.tolist()]
        X, report = encoder.encode_with_report(chosen, role="document", progress=progress)
        X = checked_vectors(X, len(positions), definition.dim)
        if definition.metric == "cosine":
            # A text without a known token has no direction; it stays searchable by its words.
            nonzero = X.any(axis=1)
            if not nonzero.all():
                positions, X = positions[nonzero], np.ascontiguousarray(X[nonzero])
        prepared.truncated_items += report.truncated_items
        prepared.truncated_tokens += report.truncated_tokens
        prepared.batch.vectors[definition.name] = (positions, X)


def checked_vectors(X: Any, count: int, dim: int) -> FloatArray:
    """Return what an encoder gave, or say what is wrong with it.

    Parameters
    ----------
    X : array-like of shape (n, dim)
        Its result.
    count : int
        Items it was given.
    dim : int
        Values per vector.

    Returns
    -------
    ndarray of shape (count, dim), float32
        Finite.

    Raises
    ------
    DimensionError
        Another shape.
    NonFiniteError
        NaN or infinity.
    """
    X = np.ascontiguousarray(X, dtype=np.float32)
    if X.shape != (count, dim):
        raise DimensionError(message(f"an encoder result of shape {X.shape}", f"{(count, dim)}", "mend the encoder"))
    if not np.isfinite(X).all():
        raise NonFiniteError(message("NaN or infinity from the encoder", "finite vectors", "mend the encoder"))
    return X
