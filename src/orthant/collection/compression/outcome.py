"""What compressing a space came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orthant.quantization.comparing import CompressionReport

__all__ = ["CompressionOutcome"]


@dataclass(frozen=True)
class CompressionOutcome:
    """What was measured, recommended and applied.

    Attributes
    ----------
    space : str
        The space.
    vectors : int
        Its live vectors.
    report : CompressionReport or None
        Bytes, recall and time of every choice; None after an undo.
    applied : bool
        Whether the recommendation is in use now.
    undone : bool
        Whether codes were in use and no longer are; False after an undo that found none.
    setting : mapping of str to object, or None
        What searches use now: ``codes``, ``rescored_rows``, ``recall``, ``bytes_per_vector`` and the sample's figures;
        None for full vectors or a graph.
    measured : mapping of str to object, or None
        Once applied: ``recall`` of searches that ask for none, over the whole space, ``rescored_rows``, ``queries`` and
        their ``source``.
    """

    space: str
    vectors: int
    report: CompressionReport | None
    applied: bool = False
    undone: bool = False
    setting: Mapping[str, Any] | None = None
    measured: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values.

        Returns
        -------
        dict
            One key for each attribute.
        """
        return {
            "space": self.space,
            "vectors": self.vectors,
            "report": None if self.report is None else self.report.to_dict(),
            "applied": self.applied,
            "undone": self.undone,
            "setting": None if self.setting is None else dict(self.setting),
            "measured": None if self.measured is None else dict(self.measured),
        }

    def __str__(self) -> str:
        """Return the table, the recommendation, and what came of it."""
        lines = [] if self.report is None else [str(self.report)]
        if self.report is None:
            came = "is searched without codes again" if self.undone else "has no codes: nothing to undo"
            lines.append(f"Space {self.space!r} {came}.")
        if self.measured is not None and self.setting is not None:
            m = self.measured
            # Below the fewest rows at which the whole space was measured, there is no figure to tell.
            kept = "was not measured" if m["recall"] is None else f"{m['recall']:.3f}"
            lines.append(
                f"Applied to {self.vectors} vectors: {self.setting['codes']}, {self.setting['bytes_per_vector']} bytes "
                f"each; recall@{m['k']} {kept} with {m['rescored_rows']} rows scored again, over all of "
                f"them ({m['queries']} {m['source']})."
            )
        return "\n".join(lines)

    __repr__ = __str__
