"""What searching a space of tokens by candidates loses, told for a collection."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from orthant.collection.storage.settings.shortcuts import StoredShortcut

if TYPE_CHECKING:
    from orthant.index.multivector.reporting import MultiVectorReport

__all__ = ["TokenReport"]


@dataclass(frozen=True)
class TokenReport:
    """Shortcuts beside exact MaxSim, on the tokens of a space.

    Attributes
    ----------
    measured : MultiVectorReport
        Recall, candidates, products and bytes by method and effort.
    using : str or None
        The method in use; None where everything is compared.
    newer : int
        Live records that were left out, since they are newer than the codes.
    applied : bool
        Whether the figures of the method in use were stored.
    """

    measured: MultiVectorReport
    using: str | None
    newer: int
    applied: bool = False

    def stored(self, setting: StoredShortcut) -> StoredShortcut:
        """Return a setting with what was measured of the method in use.

        Parameters
        ----------
        setting : StoredShortcut
            Of the space.

        Returns
        -------
        StoredShortcut
            With recall by effort.
        """
        own = tuple((row.effort, row.recall) for row in self.measured.rows if row.method == self.using)
        told = {"k": self.measured.k, "queries": self.measured.queries, "records": self.measured.sets}
        return replace(setting, measured=own, about=told)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values.

        Returns
        -------
        dict
            The figures, with ``using``, ``newer`` and ``applied``.
        """
        return {**self.measured.to_dict(), "using": self.using, "newer": self.newer, "applied": self.applied}

    def __str__(self) -> str:
        """Return a table."""
        use = "everything is compared" if self.using is None else f"in use: {self.using}"
        late = f"; {self.newer} newer records left out" if self.newer else ""
        return f"{self.measured}\n{use}{late}"
