"""How a collection fuses the legs of its hybrid searches: a small setting, stored with the commit point."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orthant.collection.storage.database import Database
from orthant.collection.storage.settings.texts import read_texts, write_text

__all__ = ["StoredFusion", "read_fusion", "write_fusion"]

_KEY = "fusion"


@dataclass(frozen=True)
class StoredFusion:
    """Fusion that hybrid searches use where a call names none.

    Attributes
    ----------
    method : str
        ``"minmax"`` or ``"rrf"``.
    weights : mapping of str to float
        Weight of every leg, sum 1.
    about : mapping of str to object
        Where it comes from: ``source`` is ``"set"`` or ``"tuned"``; a tuned one adds the metric, the number of judged
        queries and the gain that was measured.
    """

    method: str
    weights: Mapping[str, float]
    about: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values.

        Returns
        -------
        dict
            Keys ``fusion``, ``weights`` and those of ``about``.
        """
        return {"fusion": self.method, "weights": dict(self.weights), **self.about}


def read_fusion(connection: sqlite3.Connection, database: Database) -> StoredFusion | None:
    """Read the setting; its checksum is that of the counters, which ``tables.read_meta`` verifies.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.
    database : Database
        For the error.

    Returns
    -------
    StoredFusion or None
        None where nothing is set.

    Raises
    ------
    StoreCorruptedError
        A text that is no setting.
    """
    text = read_texts(connection, _KEY).get("")
    if text is None:
        return None
    try:
        held = json.loads(text)
        return StoredFusion(str(held.pop("fusion")), {k: float(v) for k, v in held.pop("weights").items()}, held)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise database.corrupted("an unreadable fusion setting") from error


def write_fusion(connection: sqlite3.Connection, setting: StoredFusion | None) -> None:
    """Write or remove the setting; the caller writes the counters afterwards, and with them the checksum.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, inside a transaction.
    setting : StoredFusion or None
        None removes it.
    """
    write_text(connection, _KEY, None if setting is None else json.dumps(setting.to_dict(), sort_keys=True))
