"""Where an upgrade stands, as users are told."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["UpgradeStatus"]


@dataclass(frozen=True)
class UpgradeStatus:
    """Where an upgrade stands.

    Attributes
    ----------
    space, using, old, new : str
        The space, the way, and the fingerprints of its encoders.
    phase : str
        ``"planned"``, ``"running"``, ``"committed"`` or ``"closed"``.
    records, encoded, mapped : int
        Records, those with a vector of the new encoder, those with a mapped one.
    failed : dict of str to str
        Records that could not be encoded and were not accepted, with the reason.
    newer_only : int
        Records written since the commit that only the new encoder has encoded; a rollback needs the old one for them.
    """

    space: str
    using: str
    old: str | None
    new: str
    phase: str
    records: int
    encoded: int
    mapped: int
    failed: dict[str, str]
    newer_only: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain, JSON-ready values.

        Returns
        -------
        dict
            One key per attribute.
        """
        return asdict(self)
