"""Questions of Haystack about the metadata of a collection's documents."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from orthant.collection.results import Record
from orthant.validate import check_count

__all__ = ["MetadataQuestions"]

Filters = Mapping[str, Any]
_TYPES = {str: "text", bool: "boolean", int: "integer", float: "float", list: "list", dict: "object"}
_PREFIX = "meta."


class MetadataQuestions:
    """The part of ``OrthantDocumentStore`` that tells which fields and values there are.

    Fields are named with or without the prefix ``meta.``; an inner field is named as in a filter,
    such as ``author.name``.
    Everything is counted from the records that match: exact, and O(documents).
    """

    @abstractmethod
    def _matching(self, filters: Filters | None) -> list[Record]:
        """Return the records that a filter allows."""

    def get_metadata_fields_info(self) -> dict[str, dict[str, str]]:
        """Return the fields and the type of their values.

        Returns
        -------
        dict of str to dict
            ``{"type": ...}`` per field, in alphabetical order: ``"text"``, ``"integer"``, ``"float"``, ``"boolean"``,
            ``"list"`` or ``"object"``. A field with integers and floats is ``"float"``, one with values of several
            other types ``"mixed"``.
        """
        seen: dict[str, set[str]] = {}
        for record in self._matching(None):
            for name, value in record.metadata.items():
                if value is not None:
                    seen.setdefault(name, set()).add(_TYPES[type(value)])
        return {name: {"type": _common_type(seen[name])} for name in sorted(seen)}

    def get_metadata_field_min_max(self, metadata_field: str) -> dict[str, Any]:
        """Return the least and the largest value of a field.

        Parameters
        ----------
        metadata_field : str
            The field.

        Returns
        -------
        dict
            ``{"min": ..., "max": ...}`` over the numbers in it, or over the strings where it has no number; None for
            both where it has neither.
        """
        values = _values(self._matching(None), metadata_field)
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        ordered: list[Any] = numbers or [value for value in values if isinstance(value, str)]
        return {"min": min(ordered, default=None), "max": max(ordered, default=None)}

    def get_metadata_field_unique_values(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int | None = 10,
        filters: Filters | None = None,
    ) -> tuple[list[Any], int]:
        """Return a page of the distinct values of a field.

        Parameters
        ----------
        metadata_field : str
            The field. Each element of a list is a value of its own.
        search_term : str, optional
            Only values that contain it, in any case.
        from_ : int, default 0
            Values to pass over.
        size : int, default 10
            Values wanted; None gives all that follow.
        filters : dict, optional
            Only values of documents that match this Haystack filter.

        Returns
        -------
        values : list
            In the order of their text. ``1``, ``1.0``, ``"1"`` and ``True`` are four values.
        total : int
            How many there are on all pages.
        """
        check_count(from_, name="from_", minimum=0)
        wanted = (search_term or "").casefold()
        distinct = _distinct(_values(self._matching(filters), metadata_field))
        found = [value for value in distinct if wanted in str(value).casefold()]
        end = None if size is None else from_ + check_count(size, name="size", minimum=0)
        return found[from_:end], len(found)

    def count_unique_metadata_by_filter(self, filters: Filters, metadata_fields: Sequence[str]) -> dict[str, int]:
        """Return how many distinct values each of several fields has.

        Parameters
        ----------
        filters : dict
            Only documents that match this Haystack filter count; an empty one matches all.
        metadata_fields : sequence of str
            The fields.

        Returns
        -------
        dict of str to int
            A number per field, without the prefix ``meta.``.
        """
        found = self._matching(filters)
        return {name.removeprefix(_PREFIX): len(_distinct(_values(found, name))) for name in metadata_fields}


def _common_type(types: set[str]) -> str:
    if types == {"integer", "float"}:
        return "float"
    return next(iter(types)) if len(types) == 1 else "mixed"


def _values(records: Sequence[Record], field: str) -> list[Any]:
    name = field.removeprefix(_PREFIX)
    out: list[Any] = []
    for record in records:
        # A key with a dot in it goes before a path.
        value: Any = record.metadata
        for step in (name,) if name in record.metadata else name.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
        out += value if isinstance(value, list) else [value]
    return [value for value in out if value is not None]


def _distinct(values: Sequence[Any]) -> list[Any]:
    # True == 1 == 1.0, and mappings have no hash.
    by_kind = {(type(value).__name__, repr(value)): value for value in values}
    return [by_kind[key] for key in sorted(by_kind, key=lambda key: (str(by_kind[key]), key))]
