"""How a space of tokens finds candidates: a small setting for each space, stored with the commit point."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orthant.collection.storage.database import Database
from orthant.collection.storage.settings.texts import read_texts, write_text

__all__ = ["DEFAULT_SHORTCUT", "EXACT_BELOW", "StoredShortcut", "read_shortcuts", "write_shortcut"]

EXACT_BELOW = 10_000
"""Records below which a space of tokens compares everything unless it was told otherwise."""

_PREFIX = "shortcut:"


@dataclass(frozen=True)
class StoredShortcut:
    """What proposes the records whose tokens are compared exactly.

    Attributes
    ----------
    method : str
        ``"auto"``, ``"pooled"``, ``"fde"``, ``"plaid"`` or ``"exact"``, as for ``index.MultiVector``.
    exact_below : int
        Records, or records that pass a filter, below which everything is compared.
    measured : tuple of (int, float)
        Recall by effort, as measured on queries of the user; empty while nothing was.
    about : mapping of str to object
        Of what was measured: neighbours, queries and records.
    """

    method: str = "auto"
    exact_below: int = EXACT_BELOW
    measured: tuple[tuple[int, float], ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def codes(self) -> str | None:
        """Name of the files that serve it; None where everything is compared."""
        return None if self.method == "exact" else f"maxsim:{self.method}"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values.

        Returns
        -------
        dict
            Keys ``method``, ``exact_below``, ``measured`` and those of ``about``.
        """
        measured = [list(pair) for pair in self.measured]
        return {"method": self.method, "exact_below": self.exact_below, "measured": measured, **self.about}


DEFAULT_SHORTCUT = StoredShortcut()
"""That of a space of tokens for which nothing is stored."""


def read_shortcuts(connection: sqlite3.Connection, database: Database) -> dict[str, StoredShortcut]:
    """Read the settings; their checksum is that of the counters, which ``tables.read_meta`` verifies.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.
    database : Database
        For the error.

    Returns
    -------
    dict of str to StoredShortcut
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
            method, below = str(held.pop("method")), int(held.pop("exact_below"))
            measured = tuple((int(effort), float(recall)) for effort, recall in held.pop("measured"))
            out[place] = StoredShortcut(method, below, measured, held)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise database.corrupted("an unreadable setting of a space of tokens") from error
    return out


def write_shortcut(connection: sqlite3.Connection, place: str, setting: StoredShortcut | None) -> None:
    """Write or remove a setting; the caller writes the counters afterwards, and with them the checksum.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, inside a transaction.
    place : str
        The place of the space, which stays when the space is renamed.
    setting : StoredShortcut or None
        None removes it.
    """
    text = None if setting is None else json.dumps(setting.to_dict(), sort_keys=True)
    write_text(connection, f"{_PREFIX}{place}", text)
