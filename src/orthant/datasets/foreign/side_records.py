"""Ids, texts and fields for files that hold nothing but numbered vectors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orthant.datasets.foreign.contents import FieldChoice, ForeignBatch
from orthant.errors import InputError, message
from orthant.types import FloatArray

__all__ = ["SideRecords"]

_ID_NAMES = ("_id", "id")


class SideRecords:
    """What belongs to label 0, 1, 2 and so on of an index file.

    Parameters
    ----------
    records : sequence of mapping, or path of a JSONL file, or None
        The mapping at position i describes the vector with label i. None leaves the vectors bare: a label becomes
        the id.
    choice : FieldChoice
        Which of their fields is the id, which the text.

    Raises
    ------
    InputError
        A line that is not a JSON object, or fields named without records.
    """

    def __init__(self, records: Sequence[Mapping[str, Any]] | str | Path | None, choice: FieldChoice) -> None:
        self._choice = choice
        if records is None:
            if choice != FieldChoice():
                raise InputError(
                    message(
                        "id_field, text_field or metadata_fields for a file of bare vectors",
                        "records with such fields",
                        "pass records=, a list of dicts or a .jsonl file in the order of the labels",
                    )
                )
            self._records: list[Mapping[str, Any]] | None = None
            return
        self._records = _read_lines(Path(records)) if isinstance(records, (str, Path)) else list(records)
        for i, record in enumerate(self._records):
            if not isinstance(record, Mapping):
                raise InputError(
                    message(f"records[{i}] of type {type(record).__name__}", "a dict of fields", "pass one per label")
                )
        names = sorted({name for record in self._records for name in record})
        self._text = choice.text_among(names, "records")
        self._id = choice.id_field or next((name for name in _ID_NAMES if name in names), None)

    def batch(self, labels: list[int], X: FloatArray) -> ForeignBatch:
        """Return the batch of some labels.

        Parameters
        ----------
        labels : list of int, length n
            Labels in the index.
        X : ndarray of shape (n, dim), float32
            Their vectors.

        Returns
        -------
        ForeignBatch
            A label without a record is reported, and kept with the label for an id.
        """
        out = ForeignBatch(vectors={"": list(X)})
        if self._records is None:
            out.ids, out.texts, out.metadata = list(labels), [None] * len(labels), [{} for _ in labels]
            return out
        for label in labels:
            known = 0 <= label < len(self._records)
            fields = self._records[label] if known else {}
            if not known:
                out.losses.append(("label without a record in records=", label))
            out.ids.append(label if self._id is None or not known else fields.get(self._id))
            out.texts.append(fields.get(self._text) if self._text else None)
            out.metadata.append(self._choice.kept(fields, without=(self._id, self._text)))
        return out


def _read_lines(path: Path) -> list[Mapping[str, Any]]:
    out: list[Mapping[str, Any]] = []
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                try:
                    value = json.loads(line)
                except ValueError as error:
                    raise InputError(
                        message(f"{path}, line {number}: {error}", "one JSON object per line", "mend the line")
                    ) from error
                out.append(value)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(message(f"records={str(path)!r}: {error}", "a .jsonl file", "check the path")) from error
    return out
