"""What is stored of an open upgrade: one JSON text among the counters, changed only by commits."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orthant.collection.storage.generation import Generation

__all__ = ["ADAPTED", "NO_UPGRADE", "UpgradeState", "changed_upgrade"]

ADAPTED = "adapted"
"""The way of a space whose stored vectors are moved by the item side of a correction: nothing is encoded."""


@dataclass(frozen=True)
class UpgradeState:
    """An upgrade that has begun and has not been released or rolled back.

    Attributes
    ----------
    space : str
        The space that changes its encoder; empty where no upgrade is open.
    using : str
        How records that are not encoded again are found.
    encoder : str or None
        Name by which the new encoder can be loaded again.
    fingerprint : str
        Fingerprint of the new encoder.
    weight : float
        Share of the old model's own scores in those of mapped records, 0 for none.
    scales : tuple of float
        Spread of the mapped and of the old scores on the sample.
    committed : bool
        Whether the space is searched with the new encoder.
    filling : tuple of str
        Spaces that still get vectors of older records, which therefore have no graph.
    failed : dict of str to str
        Ids of records that could not be encoded, and why.
    accepted : tuple of str
        Ids whose failure was accepted.
    """

    space: str = ""
    using: str = ""
    encoder: str | None = None
    fingerprint: str = ""
    weight: float = 0.0
    scales: tuple[float, float] = (1.0, 1.0)
    committed: bool = False
    filling: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    accepted: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Return whether an upgrade is open."""
        return bool(self.space)

    @property
    def fresh(self) -> str:
        """Name of the space with the new encoder's vectors."""
        return self.space if self.committed else f"{self.space}.next"

    @property
    def former(self) -> str:
        """Name of the space with the old encoder's vectors."""
        return f"{self.space}.former" if self.committed else self.space

    @property
    def mapped(self) -> str | None:
        """Name of the space with the old vectors brought to the new space; None where everything is encoded."""
        return None if self.using in ("reencode", ADAPTED) else f"{self.space}.mapped"

    @property
    def unresolved(self) -> dict[str, str]:
        """Ids of records that failed and were not accepted, and why."""
        accepted = set(self.accepted)
        return {key: why for key, why in self.failed if key not in accepted}

    def to_json(self) -> str:
        """Return the state as JSON text.

        Returns
        -------
        str
            Empty where no upgrade is open.
        """
        return json.dumps(asdict(self), sort_keys=True) if self else ""

    @classmethod
    def read(cls, text: str) -> UpgradeState:
        """Read a state back.

        Parameters
        ----------
        text : str
            What ``to_json`` gave; its checksum is that of the counters.

        Returns
        -------
        UpgradeState
            The state.
        """
        if not text:
            return NO_UPGRADE
        record: dict[str, Any] = json.loads(text)
        for name in ("scales", "filling", "accepted"):
            record[name] = tuple(record[name])
        record["failed"] = tuple((str(key), str(why)) for key, why in record["failed"])
        return cls(**record)


NO_UPGRADE = UpgradeState()
"""No upgrade is open."""


def changed_upgrade(before: Generation, after: Generation) -> dict[str, str]:
    """Return what a commit has to write about the upgrade.

    Parameters
    ----------
    before, after : Generation
        The current generation and the one that follows.

    Returns
    -------
    dict of str to str
        For ``set_meta``; empty where nothing changed.
    """
    return {} if after.upgrade is before.upgrade else {"upgrade": after.upgrade.to_json()}
