"""What is stored of an adapter: one JSON text per space among the counters, changed only by commits."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from orthant.collection.storage.settings.texts import read_texts, write_text

if TYPE_CHECKING:
    from orthant.collection.storage.database import Database
    from orthant.transforms.adaptation.adapter import ResidualAdapter

__all__ = ["StoredAdapter", "read_adapters", "write_adapters"]

_PREFIX = "adapter:"


@dataclass(frozen=True, eq=False)
class StoredAdapter:
    """An adapter that searches of one space use.

    Attributes
    ----------
    space : str
        The space.
    fingerprint : str or None
        Fingerprint of the encoder whose queries it corrects; None where users bring the vectors.
    adapter : ResidualAdapter
        A fitted one.
    about : mapping of str to object
        What was measured when it was stored.
    base : str, optional
        Where items are corrected too, the fingerprint of the encoder itself; ``fingerprint`` is then that of the space
        with corrected items.
    """

    space: str
    fingerprint: str | None
    adapter: ResidualAdapter
    about: Mapping[str, Any] = field(default_factory=dict)
    base: str | None = None

    def to_dict(self, fingerprint: str | None) -> dict[str, Any]:
        """Return JSON-ready values.

        Parameters
        ----------
        fingerprint : str, optional
            Of the space's present encoder.

        Returns
        -------
        dict
            Keys ``kind``, ``sides``, ``rank``, ``fingerprint``, ``in_use`` (False where the space has another
            encoder by now) and those of ``about``.
        """
        return {
            "kind": self.adapter.kind,
            "sides": self.adapter.sides_,
            "rank": len(self.adapter.up_),
            "fingerprint": self.fingerprint,
            "in_use": self.fingerprint == fingerprint,
            **self.about,
        }

    def to_json(self) -> str:
        """Return the adapter as JSON text, with its matrices.

        Returns
        -------
        str
            For a row of the table of counters; about 11 bytes for each of 2 r d values.
        """
        arrays = {name: _packed(getattr(self.adapter, f"{name}_")) for name in _names(self.adapter)}
        learned = {"best_epoch": self.adapter.best_epoch_, "history": self.adapter.history_}
        record = {"fingerprint": self.fingerprint, "base": self.base, "parameters": self.adapter.get_params(deep=False)}
        return json.dumps({**record, "about": dict(self.about), "arrays": arrays, "learned": learned}, sort_keys=True)


def _names(adapter: ResidualAdapter) -> tuple[str, ...]:
    return ("down", "up", "down_items", "up_items") if adapter.sides_ == "both" else ("down", "up")


def _packed(matrix: np.ndarray) -> dict[str, Any]:
    return {"shape": list(matrix.shape), "base64": base64.b64encode(matrix.astype("<f4").tobytes()).decode()}


def _unpacked(record: Mapping[str, Any]) -> np.ndarray:
    flat = np.frombuffer(base64.b64decode(record["base64"]), dtype="<f4")
    return flat.reshape(record["shape"]).astype(np.float32)


@lru_cache(maxsize=16)
def _read(space: str, text: str) -> StoredAdapter:
    # Loaded here, since most collections have none.
    from orthant.transforms.adaptation.adapter import ResidualAdapter

    record = json.loads(text)
    adapter = ResidualAdapter(**record["parameters"])
    found = {name: _unpacked(matrix) for name, matrix in record["arrays"].items()}
    adapter.down_, adapter.up_ = found["down"], found["up"]
    d = adapter.up_.shape[1]
    none = np.zeros((0, d), dtype=np.float32)
    adapter.down_items_, adapter.up_items_ = found.get("down_items", none), found.get("up_items", none)
    adapter.n_features_in_ = adapter.n_features_out_ = d
    adapter.best_epoch_, adapter.history_ = record["learned"]["best_epoch"], record["learned"]["history"]
    return StoredAdapter(space, record["fingerprint"], adapter, record["about"], record.get("base"))


def read_adapters(connection: sqlite3.Connection, database: Database) -> dict[str, StoredAdapter]:
    """Read the adapters; their checksum is that of the counters, which ``tables.read_meta`` verifies.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.
    database : Database
        For the error.

    Returns
    -------
    dict of str to StoredAdapter
        By space; empty where there are none.

    Raises
    ------
    StoreCorruptedError
        A text that is no adapter.
    """
    out = {}
    for space, text in read_texts(connection, _PREFIX).items():
        try:
            out[space] = _read(space, text)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise database.corrupted(f"an unreadable adapter of space {space!r}") from error
    return out


def write_adapters(connection: sqlite3.Connection, adapters: Mapping[str, StoredAdapter]) -> None:
    """Make the stored adapters those given; the caller writes the counters afterwards, and with them the checksum.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, inside a transaction.
    adapters : mapping of str to StoredAdapter
        By space.
    """
    for space in {**read_texts(connection, _PREFIX), **adapters}:
        write_text(connection, _PREFIX + space, adapters[space].to_json() if space in adapters else None)
