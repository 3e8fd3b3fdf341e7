"""What an import from another project brought, changed and left behind."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["ForeignReport", "Tally"]

_EXAMPLES = 5


@dataclass(frozen=True)
class ForeignReport:
    """What :meth:`Collection.import_foreign` did.

    Attributes
    ----------
    source : str
        Where it came from, without passwords.
    kind : str
        Whose it is, such as ``"chroma"``.
    table : str
        The collection, table or file.
    found : int
        Records in the source.
    records : int
        Records written.
    replaced : int
        How many of them existed before.
    skipped : int
        Records passed over since their id was there (``existing="skip"``).
    vectors : dict of str to int
        Vectors written, by space; those that the collection's encoders made are among them.
    metrics : dict of str to dict
        By space that imported vectors went to: ``source``, what they were searched by there (None where it does not
        say), and ``space``, what they are searched by here.
    without_text, without_vector : int
        Records of the source without the one or the other.
    lost : dict of str to int
        What could not be carried, by reason.
    examples : dict of str to list of str
        Up to five ids per reason.
    converted : dict of str to int
        What was carried in another form, by reason.
    seconds : dict of str to float
        ``look`` (the look through the whole source) and ``write``.
    """

    source: str
    kind: str
    table: str
    found: int
    records: int
    replaced: int
    skipped: int
    vectors: dict[str, int]
    metrics: dict[str, dict[str, str | None]]
    without_text: int
    without_vector: int
    lost: dict[str, int]
    examples: dict[str, list[str]]
    converted: dict[str, int]
    seconds: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return plain, JSON-ready values.

        Returns
        -------
        dict
            One key per attribute.
        """
        return asdict(self)


@dataclass
class Tally:
    """Counts collected while a source is scanned.

    Attributes
    ----------
    found, without_text, without_vector : int
        Records, and those that lack something.
    lost, converted : Counter
        By reason.
    examples : dict of str to list of str
        The first ids per reason of loss.
    """

    found: int = 0
    without_text: int = 0
    without_vector: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    converted: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def lose(self, reason: str, key: Any) -> None:
        """Count something that cannot be carried.

        Parameters
        ----------
        reason : str
            What it is.
        key : object
            The id of its record.
        """
        self.lost[reason] += 1
        shown = self.examples.setdefault(reason, [])
        if len(shown) < _EXAMPLES and str(key) not in shown:
            shown.append(str(key)[:80])

    def told(self) -> str:
        """Return the losses in words.

        Returns
        -------
        str
            Reason, count and ids.
        """
        parts = []
        for reason, count in self.lost.items():
            ids = ", ".join(self.examples.get(reason, ()))
            parts.append(f"{reason}: {count}" + (f" (such as {ids})" if ids else ""))
        return "; ".join(parts)
