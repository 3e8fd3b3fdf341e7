"""Records and documents as pairs: two fields of a record, a title and its text, a heading and what stands below it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from orthant.datasets.kinds import Document
from orthant.datasets.record_batches import Records
from orthant.errors import InputError, message
from orthant.learn.conversion.tables import PairTable
from orthant.learn.conversion.texts import normalised_text
from orthant.validate import check_count

__all__ = ["pairs_from_headings", "pairs_from_records"]

Row = dict[str, Any]

_HEADING = re.compile(r"^(#{1,6})[ \t]+(.+?)[ \t]*#*[ \t]*$")
_FENCE = re.compile(r"^[ ]{0,3}(```+|~~~+)")


def fields_of(record: Any) -> dict[str, Any]:
    """Return a record's fields as one mapping, metadata beside id, title and text.

    Parameters
    ----------
    record : mapping, Document, or object with ``id``, ``text`` and ``metadata``
        One record.

    Returns
    -------
    dict
        Fields by name.

    Raises
    ------
    InputError
        Something else.
    """
    if isinstance(record, Mapping):
        return dict(record)
    if isinstance(record, Document):
        return {**record.metadata, "id": record.id, "title": record.title, "text": record.text}
    if hasattr(record, "id") and hasattr(record, "text"):
        return {**(getattr(record, "metadata", None) or {}), "id": record.id, "text": record.text}
    raise InputError(
        message(
            f"a record of type {type(record).__name__}",
            "a mapping, a Document or a record of a collection",
            "convert it",
        )
    )


def _each(records: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for record in records:
        if isinstance(record, Records):
            for key, text, metadata in zip(record.ids, record.texts, record.metadata, strict=True):
                yield {**metadata, "id": key, "text": text}
        else:
            yield fields_of(record)


def pairs_from_records(
    records: Iterable[Any],
    *,
    anchor: str,
    positive: str,
    id_field: str = "id",
    group_field: str | None = None,
    minimum_words: tuple[int, int] = (1, 1),
    name: str = "records",
) -> PairTable:
    """Pair two fields of each record: title and text, question and answer, claim and evidence, term and definition.

    Parameters
    ----------
    records : iterable
        Mappings, ``Document`` s, records of a collection, or batches of ``Records`` as ``read_records`` yields.
    anchor, positive : str
        Names of the two fields.
    id_field : str, default "id"
        Field with the record's id.
    group_field : str, optional
        Field that says what belongs on one side of a split; left out, the id.
    minimum_words : (int, int), default (1, 1)
        Fewest words of anchor and positive; higher drops fragments.
    name : str, default "records"
        Name of the table.

    Returns
    -------
    PairTable
        ``anchor``, ``positive``, ``id``, ``group``. Records with an absent, short or equal side are dropped
        and counted.

    Raises
    ------
    InputError
        A record of an unknown type, without the id or group, with a field that is no text; or no record has the fields.

    Examples
    --------
    >>> record = {"id": "1", "title": "Gout", "text": "A form of arthritis."}
    >>> pairs_from_records([record], anchor="title", positive="text").rows
    [{'anchor': 'Gout', 'positive': 'A form of arthritis.', 'id': '1', 'group': '1'}]
    """
    fewest = [check_count(count, name="minimum_words", minimum=1) for count in minimum_words]
    rows: list[Row] = []
    dropped = {f"no {anchor}": 0, f"no {positive}": 0, "too short": 0, "equal texts": 0}
    seen = with_fields = 0
    for i, fields in enumerate(_each(records)):
        seen += 1
        with_fields += anchor in fields and positive in fields
        sides = [_text(fields, field, i) for field in (anchor, positive)]
        blank = [field for field, text in zip((anchor, positive), sides, strict=True) if not text]
        if blank:
            dropped[f"no {blank[0]}"] += 1
        elif any(len(text.split()) < count for text, count in zip(sides, fewest, strict=True)):
            dropped["too short"] += 1
        elif normalised_text(sides[0]) == normalised_text(sides[1]):
            dropped["equal texts"] += 1
        else:
            origin = {"id": _named(fields, id_field, i), "group": _named(fields, group_field or id_field, i)}
            rows.append({"anchor": sides[0], "positive": sides[1], **origin})
    if seen and not with_fields:
        raise InputError(
            message(f"no record with both {anchor!r} and {positive!r}", "fields of the records", "correct the names")
        )
    return PairTable(name, rows, dropped)


def _text(fields: Mapping[str, Any], field: str, i: int) -> str:
    value = fields.get(field)
    if value is not None and not isinstance(value, str):
        raise InputError(message(f"record {i} with {field}={value!r}", "a text", "name another field"))
    return (value or "").strip()


def _named(fields: Mapping[str, Any], field: str, i: int) -> str:
    value = fields.get(field)
    if value is None or (isinstance(value, str) and not value.strip()):
        raise InputError(message(f"record {i} without {field!r}", f"one of {', '.join(fields)}", "name another field"))
    return str(value)


def pairs_from_headings(
    documents: Iterable[Document], *, minimum_words: int = 12, with_path: bool = False, name: str = "headings"
) -> PairTable:
    r"""Pair the headings of Markdown documents with what stands below them, up to the next heading.

    Parameters
    ----------
    documents : iterable of Document
        Texts in Markdown; ``#`` headings outside code blocks count.
    minimum_words : int, default 12
        Fewest words of a body.
    with_path : bool, default False
        Put the headings above in front (``"Install > Linux"``), for documents whose headings say little alone.
    name : str, default "headings"
        Name of the table.

    Returns
    -------
    PairTable
        ``anchor``, ``positive``, ``id`` and ``group`` of the document. Short bodies are dropped and counted.

    Raises
    ------
    InputError
        ``minimum_words`` below 1.

    Examples
    --------
    >>> document = Document("a", "", "# Install\n\nRun pip.\n\n## Linux\n\nUse the package of your system.")
    >>> [row["anchor"] for row in pairs_from_headings([document], minimum_words=2, with_path=True)]
    ['Install', 'Install > Linux']
    """
    fewest = check_count(minimum_words, name="minimum_words")
    rows: list[Row] = []
    short = 0
    for document in documents:
        for path, body in _sections(document.text):
            if len(body.split()) < fewest:
                short += 1
            else:
                heading = " > ".join(path) if with_path else path[-1]
                rows.append({"anchor": heading, "positive": body, "id": document.id, "group": document.id})
    return PairTable(name, rows, {"too short": short})


def _sections(text: str) -> Iterator[tuple[list[str], str]]:
    """Yield (headings from the top down, body) of each section."""
    path: list[tuple[int, str]] = []
    body: list[str] = []
    fence = ""
    for line in text.splitlines():
        marker = _FENCE.match(line)
        if marker and (not fence or marker.group(1).startswith(fence)):
            fence = "" if fence else marker.group(1)
        heading = None if fence or marker else _HEADING.match(line)
        if heading is None:
            body.append(line)
            continue
        if path:
            yield [title for _, title in path], "\n".join(body).strip()
        level = len(heading.group(1))
        path = [(depth, title) for depth, title in path if depth < level] + [(level, heading.group(2))]
        body = []
    if path:
        yield [title for _, title in path], "\n".join(body).strip()
