"""Batches of records, and how the rows of a source become them under a schema."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from orthant.datasets.sources.rows import (
    RowBlock,
    RowSource,
    check_encodable,
    clean_id,
    clean_metadata,
    is_missing,
    parse_json,
    place_vectors,
    stack_vectors,
)
from orthant.errors import DimensionError, InputError, message
from orthant.types import FloatArray, Ragged
from orthant.validate import as_ragged, as_vectors

__all__ = ["IdRule", "RecordReader", "RecordSchema", "Records", "described"]

IdRule = Literal["field", "hash", "number"]


@dataclass(frozen=True)
class Records:
    """A batch of records, column by column.

    Attributes
    ----------
    ids : list of str, length n
        Identifiers.
    texts : list of (str or None), length n
        What is embedded and searched; None where a record has no text.
    metadata : list of dict, length n
        JSON values by field.
    vectors : dict of str to ndarray of shape (n, d), float32, or to Ragged of n rows; or None
        By space. A row of NaN throughout means that the record has no vector there, a row of no length in a Ragged
        that it has no tokens; a space of which no record in the batch has a vector may be absent.
    sparse : dict of str to list of (mapping or None), length n; or None
        By sparse space: ``indices`` and ``values`` of each record's weighted terms, None where it has none.

    Raises
    ------
    InputError
        The columns differ in length.

    Examples
    --------
    >>> batch = Records(["a", "b"], ["red", None], [{"year": 1900}, {}])
    >>> len(batch), batch.has_vector("text").tolist()
    (2, [False, False])
    """

    ids: list[str]
    texts: list[str | None]
    metadata: list[dict[str, Any]]
    vectors: Mapping[str, Any] | None = None
    sparse: dict[str, list[dict[str, Any] | None]] | None = None

    def __post_init__(self) -> None:
        lengths = {"texts": len(self.texts), "metadata": len(self.metadata)}
        lengths |= {f"vectors[{space!r}]": len(X) for space, X in (self.vectors or {}).items()}
        lengths |= {f"sparse[{space!r}]": len(rows) for space, rows in (self.sparse or {}).items()}
        for name, length in lengths.items():
            if length != len(self.ids):
                raise InputError(message(f"{length} {name} for {len(self.ids)} ids", "one per id", "align the columns"))

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.ids)

    def has_vector(self, space: str) -> npt.NDArray[np.bool_]:
        """Return which records have a vector in a space.

        Parameters
        ----------
        space : str
            Name of the space; one that is absent holds no vector.

        Returns
        -------
        ndarray of shape (n,), bool
            The mask.
        """
        X = (self.vectors or {}).get(space)
        if isinstance(X, Ragged):
            return np.diff(X.offsets) > 0
        if X is None or X.shape[1] == 0:
            return np.zeros(len(self), dtype=np.bool_)
        # Vectors are finite, so the first component tells.
        return ~np.isnan(X[:, 0])

    def tokens(self, space: str, dim: int) -> tuple[npt.NDArray[np.int64], FloatArray]:
        """Return how many tokens each record has in a space, and all of them, checked.

        Parameters
        ----------
        space : str
            Name of the space; one that is absent holds none.
        dim : int
            Values per token.

        Returns
        -------
        counts : ndarray of shape (n,), int64
            Tokens of each record.
        X : ndarray of shape (T, dim), float32
            One behind the other.

        Raises
        ------
        InputError
            No sets of finite vectors of that dimension.
        """
        X = (self.vectors or {}).get(space)
        if X is None:
            return np.zeros(len(self), dtype=np.int64), np.zeros((0, dim), dtype=np.float32)
        tokens = as_ragged(X, dim=dim, name=f"tokens of space {space!r}")
        return np.diff(tokens.offsets), tokens.values


def described(X: FloatArray | Ragged) -> dict[str, Any]:
    """Return what the vectors of a batch tell about their space.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32, or Ragged of n rows
        Of one space.

    Returns
    -------
    dict
        ``dim``, and ``kind`` for tokens.
    """
    if isinstance(X, Ragged):
        return {"dim": int(X.values.shape[1]), "kind": "tokens"}
    return {"dim": int(X.shape[1])}


@dataclass(frozen=True)
class RecordSchema:
    """How the fields of a source become records.

    Attributes
    ----------
    id_field : str or None
        Where ids come from; None when ``ids`` is not ``"field"``.
    text_fields : tuple of str
        Joined by a line break, empty ones left out; () when there is no text.
    vector_fields : dict of str to str
        Space to field.
    metadata_fields : tuple of str or None
        Fields kept as metadata; None keeps every field that is not used otherwise.
    metadata_field : str or None
        The one field that holds all metadata as an object.
    ids : {"field", "hash", "number"}
        How ids are made.
    """

    id_field: str | None
    text_fields: tuple[str, ...]
    vector_fields: Mapping[str, str]
    metadata_fields: tuple[str, ...] | None
    metadata_field: str | None
    ids: IdRule

    @functools.cached_property
    def used(self) -> frozenset[str]:
        """Fields that do not fall to the metadata by themselves."""
        single = (self.id_field, self.metadata_field)
        return frozenset([*self.text_fields, *self.vector_fields.values(), *(name for name in single if name)])


@dataclass
class RecordReader:
    """One source with its schema settled: rows in, records out.

    Attributes
    ----------
    source : RowSource
        The rows.
    schema : RecordSchema
        How they become records.
    batch_size : int
        Records per batch at most.
    dims : dict of str to int
        Dimension of each space, once its first vector was met.
    """

    source: RowSource
    schema: RecordSchema
    batch_size: int
    dims: dict[str, int] = field(default_factory=dict)

    def batches(self) -> Iterator[tuple[RowBlock, Records]]:
        """Yield each block with the records made from it.

        Yields
        ------
        (RowBlock, Records)
            In the order of the source.

        Raises
        ------
        InputError
            The first row that breaks a rule, with its place.
        """
        start = 0
        schema = self.schema
        texts = frozenset([*schema.text_fields, *(n for n in (schema.id_field, schema.metadata_field) if n)])
        for block in self.source.blocks(self.batch_size, texts, frozenset(schema.vector_fields.values())):
            yield block, self._shape(block, start)
            start += len(block.rows)

    def _shape(self, block: RowBlock, start: int) -> Records:
        ids: list[str] = []
        texts: list[str | None] = []
        metadata: list[dict[str, Any]] = []
        for number, row in zip(block.numbers, block.rows, strict=True):
            try:
                text = self._text(row)
                values = self._metadata(row)
                ids.append(self._id(row, text, values, start + len(ids)))
            except InputError as error:
                raise type(error)(f"{self.source.place(number)}: {error}") from error.__cause__
            texts.append(text)
            metadata.append(values)
        return Records(ids, texts, metadata, self._vectors(block))

    def _id(self, row: dict[str, Any], text: str | None, values: dict[str, Any], position: int) -> str:
        schema = self.schema
        if schema.id_field is not None:
            return clean_id(row.get(schema.id_field), field=schema.id_field)
        if schema.ids == "number":
            return str(position)
        content = json.dumps([text, values], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()[:32]

    def _text(self, row: dict[str, Any]) -> str | None:
        parts: list[str] = []
        for name in self.schema.text_fields:
            value = row.get(name)
            if isinstance(value, str):
                if not (self.source.json or value.isascii()):
                    check_encodable(value, f"field {name!r}")
                parts.append(value)
            elif not (value is None or (self.source.nulls and is_missing(value))):
                raise InputError(
                    message(f"field {name!r} of type {type(value).__name__}", "text", "write it as a string or null")
                )
        if not parts:
            return None
        return parts[0] if len(parts) == 1 else "\n".join(part for part in parts if part)

    def _metadata(self, row: dict[str, Any]) -> dict[str, Any]:
        schema = self.schema
        if schema.metadata_field is not None:
            return self._nested(row)
        if schema.metadata_fields is None:
            used = schema.used
            values = {key: value for key, value in row.items() if key not in used}
        else:
            values = {key: row[key] for key in schema.metadata_fields if key in row}
        return values if self.source.json else clean_metadata(values, nulls=self.source.nulls)

    def _nested(self, row: dict[str, Any]) -> dict[str, Any]:
        schema = self.schema
        others = [key for key in row if key not in schema.used]
        if others:
            raise InputError(
                message(
                    f"field {others[0]!r} beside metadata_field={schema.metadata_field!r}",
                    "all metadata inside that one field",
                    "move the field into it or leave metadata_field out",
                )
            )
        value = row.get(str(schema.metadata_field))
        if isinstance(value, str):
            value = parse_json(value)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise InputError(
                message(f"{schema.metadata_field!r} of type {type(value).__name__}", "an object", "write {...}")
            )
        return dict(value) if self.source.json else clean_metadata(dict(value))

    def _vectors(self, block: RowBlock) -> dict[str, FloatArray] | None:
        if not self.schema.vector_fields:
            return None
        out: dict[str, FloatArray] = {}

        def place(i: int) -> str:
            return self.source.place(block.numbers[i])

        for space, name in self.schema.vector_fields.items():
            mask, matrix = _vector_column(block, name, place)
            if not len(matrix):
                continue
            dim = self.dims.setdefault(space, matrix.shape[1])
            if matrix.shape[1] != dim:
                raise DimensionError(
                    f"{place(int(np.flatnonzero(mask)[0]))}: "
                    + message(f"{matrix.shape[1]} numbers in {name!r}", f"{dim}, as before", "repair the vector")
                )
            out[space] = place_vectors(mask, matrix)
        return out


def _vector_column(block: RowBlock, name: str, place: Callable[[int], str]) -> tuple[npt.NDArray[np.bool_], FloatArray]:
    if name not in block.columns:
        return stack_vectors([row.get(name) for row in block.rows], place, field=name)
    mask, matrix = block.columns[name]
    if not len(matrix):
        return mask, matrix
    try:
        return mask, as_vectors(matrix, name=name)
    except InputError:
        # Row by row, so that the error can say where.
        rows = iter(matrix)
        return stack_vectors([next(rows) if keep else None for keep in mask], place, field=name)
