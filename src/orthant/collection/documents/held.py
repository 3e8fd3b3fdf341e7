"""Which documents a collection holds already."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orthant.collection.storage.generation import Generation
from orthant.errors import InputError, message
from orthant.kernels import bitmaps

if TYPE_CHECKING:
    from orthant.collection.collection import Collection

__all__ = ["HeldDocument", "held_documents", "require_own"]


@dataclass
class HeldDocument:
    """A document as the collection holds it.

    Attributes
    ----------
    folder : str
        Name of the folder it came from.
    hash : str
        Of its bytes and of how it was divided.
    numbers : list of int
        Numbers of its chunks.
    """

    folder: str
    hash: str
    numbers: list[int] = field(default_factory=list)

    def chunk_ids(self, parent: str) -> list[str]:
        """Return the ids of its chunks.

        Parameters
        ----------
        parent : str
            Its id.

        Returns
        -------
        list of str
            Of the records held.
        """
        return [f"{parent}#{number}" for number in self.numbers]


def held_documents(collection: Collection) -> dict[str, HeldDocument]:
    """Return every document of a collection by its id.

    Parameters
    ----------
    collection : Collection
        Opened.

    Returns
    -------
    dict of str to HeldDocument
        Records that are no chunks of documents are left out. A document whose chunks disagree about its hash, or of
        which some were deleted, has an empty hash: it counts as changed.
    """

    def run(_: sqlite3.Connection, now: Generation) -> dict[str, HeldDocument]:
        names = ("parent", "folder", "hash", "chunk", "chunks")
        if not set(names) <= set(now.columns.names):
            return {}
        rows = bitmaps.to_rows(now.live)
        out: dict[str, HeldDocument] = {}
        expected: dict[str, int] = {}
        for values in zip(*(now.columns.values(name, rows) for name in names), strict=True):
            parent, folder, mark, number, count = values
            if not (isinstance(parent, str) and isinstance(folder, str) and isinstance(mark, str)):
                continue
            if not (isinstance(number, int) and isinstance(count, int)):
                continue
            document = out.setdefault(parent, HeldDocument(folder, mark))
            document.numbers.append(number)
            expected[parent] = count
            if document.hash != mark:
                document.hash = ""
        for parent, document in out.items():
            if len(document.numbers) != expected[parent]:
                document.hash = ""
        return out

    return collection._store.read(run)


def require_own(held: dict[str, HeldDocument], parent: str, folder: str) -> None:
    """Refuse a document whose id belongs to a document of another folder.

    Parameters
    ----------
    held : dict of str to HeldDocument
        What is there.
    parent : str
        Its id.
    folder : str
        Its folder.

    Raises
    ------
    InputError
        It does.
    """
    if parent in held and held[parent].folder != folder:
        raise InputError(
            message(
                f"{parent!r} of {folder!r}, an id that a document of {held[parent].folder!r} has",
                "ids that are free",
                "pass prefix= to tell the folders apart, or root= if both are parts of one",
            )
        )
