"""What a collection takes of foreign records: each value is carried, carried in another form, or counted as lost."""

from __future__ import annotations

import datetime
import decimal
import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from orthant.collection.columns.metadata import check_metadata
from orthant.collection.importers.report import Tally
from orthant.collection.ingest import check_ids
from orthant.datasets.foreign.contents import ForeignBatch
from orthant.datasets.record_batches import Records
from orthant.errors import InputError
from orthant.types import FloatArray, Metric

__all__ = ["Sorter", "Target"]

_MAX_DEPTH = 32


@dataclass
class Target:
    """The space that a vector field goes to.

    Attributes
    ----------
    space : str
        Its name.
    dim : int or None
        Its dimension; None until the first vector has told it.
    metric : str
        Its score.
    """

    space: str
    dim: int | None
    metric: Metric


class _Lost(Exception):
    """A value has no place here; the text is the reason."""


class Sorter:
    """Turns foreign batches into records, and counts what changed or was lost.

    Parameters
    ----------
    targets : dict of str to Target
        By the source's vector field. Dimensions that are not known yet are filled in.
    """

    def __init__(self, targets: dict[str, Target]) -> None:
        self.targets = targets
        self.tally = Tally()
        self._seen: set[str] = set()

    def sort(self, batch: ForeignBatch) -> Records:
        """Return what can be carried of a batch.

        Parameters
        ----------
        batch : ForeignBatch
            As a reader gave it.

        Returns
        -------
        Records
            Records with a usable id that was not seen before; a NaN row stands for no vector.
        """
        for reason, key in batch.losses:
            self.tally.lose(reason, key)
        self.tally.found += len(batch)
        keys = [self._id(value) for value in batch.ids]
        kept = [i for i, key in enumerate(keys) if key is not None]
        ids = [key for key in keys if key is not None]
        texts = [self._text(batch.texts[i], key) for i, key in zip(kept, ids, strict=True)]
        metadata = [self._metadata(batch.metadata[i], key) for i, key in zip(kept, ids, strict=True)]
        vectors: dict[str, FloatArray] = {}
        bare = set(range(len(ids)))
        for name, target in self.targets.items():
            column = batch.vectors.get(name) or [None] * len(batch)
            rows = [self._vector(column[i], target, key) for i, key in zip(kept, ids, strict=True)]
            bare -= {i for i, row in enumerate(rows) if row is not None}
            if target.dim is not None:
                X = np.full((len(rows), target.dim), np.nan, dtype=np.float32)
                for i, row in enumerate(rows):
                    if row is not None:
                        X[i] = row
                vectors[target.space] = X
        self.tally.without_vector += len(bare) if self.targets else 0
        return Records(ids, texts, metadata, vectors or None)

    def _id(self, value: Any) -> str | None:
        key = value
        if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
            key = str(value)
            self.tally.converted["whole numbers as ids, written as text"] += 1
        elif isinstance(value, uuid.UUID):
            key = str(value)
        try:
            check_ids([key])
        except InputError:
            reason = "record without an id" if value is None else "record whose id is no text of 1 to 512 bytes"
            self.tally.lose(reason, value)
            return None
        if key in self._seen:
            self.tally.lose("record whose id came before", key)
            return None
        self._seen.add(key)
        return str(key)

    def _text(self, value: Any, key: str) -> str | None:
        if value is None:
            self.tally.without_text += 1
            return None
        if isinstance(value, str) and not _has_surrogates(value):
            return value
        reason = "text with broken characters" if isinstance(value, str) else f"text of type {type(value).__name__}"
        self.tally.lose(reason, key)
        self.tally.without_text += 1
        return None

    def _metadata(self, fields: Mapping[str, Any], key: str) -> dict[str, Any]:
        try:
            return check_metadata(fields, where=key)
        except InputError:
            pass
        out: dict[str, Any] = {}
        for name, value in fields.items():
            try:
                candidate = out | {_name(name): self._plain(value, 1)}
                # Names may clash only together: "a.b" beside {"a": {"b": ...}}.
                out = check_metadata(candidate, where=key)
            except _Lost as error:
                self.tally.lose(f"field {str(name)[:60]!r}: {error}", key)
            except InputError:
                self.tally.lose(f"field {str(name)[:60]!r}: no JSON value, or a path that is there already", key)
        return out

    def _plain(self, value: Any, depth: int) -> Any:
        """Return a value as JSON knows it; what has one plain reading is converted, the rest is lost."""
        if value is None or isinstance(value, (str, bool, int, np.bool_, np.integer)):
            return value
        if isinstance(value, (float, np.floating)):
            if not math.isfinite(value):
                raise _Lost("NaN or infinity")
            return value
        if depth > _MAX_DEPTH:
            raise _Lost("nested too deep")
        if isinstance(value, Mapping):
            return {_name(name): self._plain(part, depth + 1) for name, part in value.items()}
        if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
            return [self._plain(part, depth + 1) for part in _in_order(value)]
        return self._converted(value)

    def _converted(self, value: Any) -> str | float:
        if isinstance(value, (datetime.date, datetime.time)):
            self.tally.converted["dates and times, written as ISO text"] += 1
            return value.isoformat()
        if isinstance(value, datetime.timedelta):
            self.tally.converted["durations, written as seconds"] += 1
            return value.total_seconds()
        if isinstance(value, decimal.Decimal):
            if not value.is_finite():
                raise _Lost("NaN or infinity")
            # A filter compares numbers: a price as text would be above and below nothing.
            if decimal.Decimal(repr(float(value))) == value:
                self.tally.converted["decimals, written as numbers"] += 1
                return float(value)
            self.tally.converted["decimals of more digits than a number keeps, written as text"] += 1
            return str(value)
        if isinstance(value, uuid.UUID):
            self.tally.converted["UUIDs, written as text"] += 1
            return str(value)
        raise _Lost(f"a value of type {type(value).__name__}")

    def _vector(self, value: Any, target: Target, key: str) -> FloatArray | None:
        if value is None:
            return None
        try:
            x = np.asarray(value, dtype=np.float32)
        except (TypeError, ValueError):
            self.tally.lose("vector that is no list of numbers", key)
            return None
        if x.ndim != 1 or not len(x):
            self.tally.lose("vector that is no list of numbers", key)
            return None
        if target.dim is None:
            target.dim = len(x)
        reason = None
        if len(x) != target.dim:
            reason = f"vector of {len(x)} dimensions for space {target.space!r} of {target.dim}"
        elif not np.isfinite(x).all():
            reason = "vector with NaN or infinity"
        elif target.metric == "cosine" and not x.any():
            reason = "vector of zeros, which has no cosine"
        if reason is not None:
            self.tally.lose(reason, key)
            return None
        return x


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise _Lost("a name that is no text")
    return name


def _in_order(values: Any) -> list[Any]:
    if isinstance(values, np.ndarray):
        return list(values.tolist()) if values.ndim else [values.item()]
    return sorted(values, key=repr) if isinstance(values, (set, frozenset)) else list(values)


def _has_surrogates(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text)
