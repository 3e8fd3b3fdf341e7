"""From a chunk to the passage around it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from orthant.errors import InputError, NotFoundError, message
from orthant.validate import check_count

if TYPE_CHECKING:
    from orthant.collection.reading import CollectionReader
    from orthant.collection.results import Record

__all__ = ["Passage", "passage"]


@dataclass(frozen=True)
class Passage:
    """Neighbouring chunks of a document as one text.

    Attributes
    ----------
    id : str
        The chunk that was asked for.
    parent : str
        Its document.
    text : str
        As it stands in the document; what overlapping chunks share appears once.
    start, end : int
        Characters of it in the document's text.
    chunks : tuple of str
        Ids of the chunks it consists of, in order.
    title, heading : str
        Of the document, and of the chunk that was asked for; empty where there is none.
    source : str
        The document's path, relative to its folder.
    """

    id: str
    parent: str
    text: str
    start: int
    end: int
    chunks: tuple[str, ...]
    title: str
    heading: str
    source: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain, JSON-ready values.

        Returns
        -------
        dict
            One key per attribute.
        """
        return asdict(self)


def passage(collection: CollectionReader, chunk_id: str, *, before: int = 0, after: int = 0) -> Passage:
    """Return a chunk with its neighbours; see ``Collection.passage``.

    Parameters
    ----------
    collection : CollectionReader
        Opened.
    chunk_id : str
        The chunk.
    before, after : int, default 0
        Neighbours wanted.

    Returns
    -------
    Passage
        Of one commit: a document that is replaced meanwhile is seen as before or as after.

    Raises
    ------
    NotFoundError
        No such record.
    InputError
        No chunk, or a negative number.
    """
    before = check_count(before, name="before", minimum=0)
    after = check_count(after, name="after", minimum=0)
    parent, _, number = chunk_id.rpartition("#") if isinstance(chunk_id, str) else ("", "", "")
    wanted = [chunk_id]
    if parent and number.isascii() and number.isdecimal():
        middle = int(number)
        # One read of all of them sees one generation; how many there are is known only afterwards.
        wanted += [f"{parent}#{i}" for i in range(max(0, middle - before), middle + after + 1) if i != middle]
    found = collection.get(wanted)
    own = found[0]
    if own is None:
        raise NotFoundError(message(f"id {chunk_id!r}", "the id of a stored chunk", "take it from a hit"))
    if own.metadata.get("parent") != parent or not {"chunk", "start", "end"} <= own.metadata.keys():
        raise InputError(
            message(f"{chunk_id!r}, which is no chunk of a document", "a record of add_documents", "use get for others")
        )
    mark = own.metadata.get("hash")
    parts = sorted(
        (record for record in found if record is not None and record.metadata.get("hash") == mark),
        key=lambda record: record.metadata["start"],
    )
    return _joined(own, _adjoining(parts, own))


def _adjoining(parts: list[Record], own: Record) -> list[Record]:
    """Keep what touches the chunk without a gap; a neighbour may have been deleted by hand."""
    at = next(i for i, part in enumerate(parts) if part.id == own.id)
    first = last = at
    while first > 0 and parts[first - 1].metadata["end"] >= parts[first].metadata["start"]:
        first -= 1
    while last + 1 < len(parts) and parts[last].metadata["end"] >= parts[last + 1].metadata["start"]:
        last += 1
    return parts[first : last + 1]


def _joined(own: Record, parts: list[Record]) -> Passage:
    text, end = "", parts[0].metadata["start"]
    for part in parts:
        text += (part.text or "")[end - part.metadata["start"] :]
        end = part.metadata["end"]
    about = own.metadata
    return Passage(
        own.id,
        about["parent"],
        text,
        parts[0].metadata["start"],
        end,
        tuple(part.id for part in parts),
        about.get("title", ""),
        about.get("heading", ""),
        about.get("source", ""),
    )
