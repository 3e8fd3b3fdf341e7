"""What every foreign source gives: its vector fields, and batches of records as they are stored there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from orthant.errors import InputError, message
from orthant.types import Metric

__all__ = [
    "TEXT_NAMES",
    "FieldChoice",
    "ForeignBatch",
    "ForeignSource",
    "VectorField",
    "choose_name",
    "require_field",
]

TEXT_NAMES = ("text", "document", "page_content", "content")
"""Fields that are taken for the text when none is named, in this order; in upper or lower case."""


@dataclass(frozen=True)
class VectorField:
    """A vector per record, as the source declares it.

    Attributes
    ----------
    name : str
        What the source calls it; ``""`` where it has no name.
    dim : int or None
        Its dimension, where the source says.
    metric : {"dot", "cosine", "l2"} or None
        What it is searched by; None where the source does not say, or says something else.
    """

    name: str
    dim: int | None = None
    metric: Metric | None = None


@dataclass
class ForeignBatch:
    """Records as the source has them, column by column; nothing is converted or checked yet.

    Attributes
    ----------
    ids, texts : list, length n
        Whatever stands there; None for nothing.
    metadata : list of dict, length n
        The other fields.
    vectors : dict of str to list, length n
        By vector field; a sequence of numbers or an array per record, None for none.
    losses : list of (str, object)
        What this reader could not read: a reason, and the id of the record.
    """

    ids: list[Any] = field(default_factory=list)
    texts: list[Any] = field(default_factory=list)
    metadata: list[dict[str, Any]] = field(default_factory=list)
    vectors: dict[str, list[Any]] = field(default_factory=dict)
    losses: list[tuple[str, Any]] = field(default_factory=list)

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.ids)


class ForeignSource(Protocol):
    """A store of another project, opened for reading.

    Attributes
    ----------
    kind : str
        Whose it is, such as ``"chroma"``.
    name : str
        The collection, table or file.
    remote : bool
        Whether it is read over a network, so that reading it twice may give two answers.
    count : int or None
        Records, where the source says beforehand.
    vectors : dict of str to VectorField
        Its dense vectors by name.
    losses : dict of str to int
        What the source holds beside its records that has no place here, by reason.
    notes : dict of str to int
        What is carried in another form, by reason.
    """

    kind: str
    name: str
    remote: bool
    count: int | None
    vectors: dict[str, VectorField]
    losses: dict[str, int]
    notes: dict[str, int]

    def batches(self, size: int) -> Iterator[ForeignBatch]:
        """Yield every record from the beginning."""
        ...

    def close(self) -> None:
        """Give back files and connections."""
        ...


@dataclass(frozen=True)
class FieldChoice:
    """Which of a record's fields is its id, which its text, and which are kept.

    Attributes
    ----------
    id_field, text_field : str or None
        None leaves the choice to the reader.
    metadata_fields : tuple of str, or None
        None keeps all others.
    """

    id_field: str | None = None
    text_field: str | None = None
    metadata_fields: tuple[str, ...] | None = None

    def text_among(self, names: Sequence[str], where: str) -> str | None:
        """Return the name of the text field.

        Parameters
        ----------
        names : sequence of str
            Fields that there are.
        where : str
            The source, for the error.

        Returns
        -------
        str or None
            None when none is named and none has a usual name.

        Raises
        ------
        InputError
            The named field does not exist.
        """
        if self.text_field is not None:
            return require_field(self.text_field, names, "text_field", where)
        return next((name for usual in TEXT_NAMES for name in names if name.lower() == usual), None)

    def kept(self, fields: Mapping[str, Any], *, without: Sequence[str | None] = ()) -> dict[str, Any]:
        """Return the fields that become metadata.

        Parameters
        ----------
        fields : mapping of str to object
            All fields of a record.
        without : sequence of (str or None)
            Those used otherwise.

        Returns
        -------
        dict
            Those that stay.
        """
        if self.metadata_fields is not None:
            return {name: fields[name] for name in self.metadata_fields if name in fields}
        return {name: value for name, value in fields.items() if name not in without}


def require_field(name: str, names: Sequence[str], setting: str, where: str) -> str:
    """Return a field's name if it exists.

    Parameters
    ----------
    name : str
        The field asked for.
    names : sequence of str
        Fields that there are.
    setting : str
        The argument that named it.
    where : str
        The source.

    Returns
    -------
    str
        The name.

    Raises
    ------
    InputError
        It does not exist.
    """
    if name not in names:
        known = ", ".join(sorted(names)) or "none"
        raise InputError(message(f"{setting}={name!r} for {where}", f"one of its fields: {known}", "correct the name"))
    return name


def choose_name(wanted: str | None, names: Sequence[str], where: str) -> str:
    """Return which collection or table of a source is meant.

    Parameters
    ----------
    wanted : str or None
        The name asked for; None takes the only one.
    names : sequence of str
        Those that there are.
    where : str
        The source, for the error.

    Returns
    -------
    str
        The name.

    Raises
    ------
    InputError
        It does not exist, or several do and none is named.
    """
    known = ", ".join(sorted(names)) or "none"
    if wanted is None:
        if len(names) == 1:
            return names[0]
        raise InputError(message(f"{where} with {len(names)} tables", f"table=, one of: {known}", "name one of them"))
    if names.count(wanted) != 1:
        raise InputError(message(f"table={wanted!r} in {where}", f"one of: {known}", "correct the name"))
    return wanted
