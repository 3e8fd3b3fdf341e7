"""Which codes a space is searched by: a small setting for each space, stored with the commit point."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orthant.collection.storage.database import Database
from orthant.collection.storage.settings.texts import read_texts, write_text

__all__ = ["StoredCompression", "read_compressions", "write_compression"]

_PREFIX = "compression:"


@dataclass(frozen=True)
class StoredCompression:
    """Codes that stand for the vectors of a space until the best are scored again.

    Attributes
    ----------
    codes : str
        Such as ``"lvq4"``; see ``quantization.choices.named_choice``.
    rescored_rows : int
        Rows scored again by the full vectors, for up to ten neighbours.
    recall : float or None
        Instead, the recall that searches are to keep where they ask for none.
    about : mapping of str to object
        Where it comes from: bytes per vector, recall measured, and on how many rows and queries.
    """

    codes: str
    rescored_rows: int
    recall: float | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values.

        Returns
        -------
        dict
            Keys ``codes``, ``rescored_rows``, ``recall`` and those of ``about``.
        """
        settings = {"codes": self.codes, "rescored_rows": self.rescored_rows, "recall": self.recall}
        return {**settings, **self.about}


def read_compressions(connection: sqlite3.Connection, database: Database) -> dict[str, StoredCompression]:
    """Read the settings; their checksum is that of the counters, which ``tables.read_meta`` verifies.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.
    database : Database
        For the error.

    Returns
    -------
    dict of str to StoredCompression
        By the place of the space; those without one are missing.

    Raises
    ------
    StoreCorruptedError
        A text that is no setting.
    """
    out = {}
    for place, text in read_texts(connection, _PREFIX).items():
        try:
            held = json.loads(text)
            codes, depth, recall = str(held.pop("codes")), int(held.pop("rescored_rows")), held.pop("recall")
            out[place] = StoredCompression(codes, depth, None if recall is None else float(recall), held)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise database.corrupted("an unreadable compression setting") from error
    return out


def write_compression(connection: sqlite3.Connection, place: str, setting: StoredCompression | None) -> None:
    """Write or remove a setting; the caller writes the counters afterwards, and with them the checksum.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, inside a transaction.
    place : str
        The place of the space, which stays when the space is renamed.
    setting : StoredCompression or None
        None removes it.
    """
    text = None if setting is None else json.dumps(setting.to_dict(), sort_keys=True)
    write_text(connection, f"{_PREFIX}{place}", text)
