"""How much of a codebook is in use: what every fit of one reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import warn
from orthant.types import IdArray

__all__ = ["CodeUsage", "code_usage", "warn_of_dead_codes"]

_FLOOR = 0.5
_SHOWN = 3


@dataclass(frozen=True)
class CodeUsage:
    """How often each code of each book was chosen.

    Attributes
    ----------
    counts : ndarray of shape (books, entries), int64
        Rows for each code; a book is a part of a product quantizer or a level of a residual one.

    Notes
    -----
    With p_k the share of the rows that code k of a book has: ``perplexity = exp(-sum_k p_k ln p_k)``, from 1 where one
    code has all rows to the number of entries where all have as many. The dead share is that of codes without rows. On
    fewer rows than some 20 for each entry it looks worse than it is.

    Examples
    --------
    >>> import numpy as np
    >>> usage = CodeUsage(np.array([[5, 5, 0, 0], [1, 2, 3, 4]]))
    >>> usage.dead_share.tolist(), usage.perplexity.round(2).tolist()
    ([0.5, 0.0], [2.0, 3.6])
    """

    counts: IdArray

    @property
    def used_share(self) -> npt.NDArray[np.float64]:
        """Share of the codes with at least one row, for each book."""
        return (self.counts > 0).mean(axis=1)

    @property
    def dead_share(self) -> npt.NDArray[np.float64]:
        """Share of the codes without a row, for each book."""
        return (self.counts == 0).mean(axis=1)

    @property
    def perplexity(self) -> npt.NDArray[np.float64]:
        """Number of codes that would do the same if all were used alike, for each book; 0 without rows."""
        totals = self.counts.sum(axis=1, keepdims=True)
        shares = self.counts / np.maximum(totals, 1)
        logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
        return np.where(totals[:, 0] > 0, np.exp(-(shares * logs).sum(axis=1)), 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures of each book as JSON values, without the counts."""
        return {
            "books": len(self.counts),
            "entries": self.counts.shape[1],
            "rows": int(self.counts.sum(axis=1).max(initial=0)),
            "used_share": self.used_share.tolist(),
            "dead_share": self.dead_share.tolist(),
            "perplexity": self.perplexity.tolist(),
        }

    def __str__(self) -> str:
        """Return one line: the worst book and the mean."""
        return (
            f"{len(self.counts)} x {self.counts.shape[1]} codes: used {self.used_share.mean():.2f} "
            f"(worst {self.used_share.min():.2f}), perplexity {self.perplexity.mean():.1f} "
            f"(worst {self.perplexity.min():.1f})"
        )


def code_usage(indices: npt.NDArray[Any], entries: int) -> CodeUsage:
    """Count how often each code was chosen.

    Parameters
    ----------
    indices : ndarray of shape (n, books), integer
        Codes from 0 to entries - 1; -1 stands for none.
    entries : int
        Codes of a book.

    Returns
    -------
    CodeUsage
        The counts.
    """
    counts = [np.bincount(book[book >= 0].astype(np.int64), minlength=entries) for book in indices.T]
    return CodeUsage(np.stack(counts).astype(np.int64))


def warn_of_dead_codes(usage: CodeUsage, *, name: str, floor: float = _FLOOR) -> bool:
    """Warn where a book uses less than a share of its codes.

    Parameters
    ----------
    usage : CodeUsage
        What was counted.
    name : str
        Whose codes they are.
    floor : float, default 0.5
        Share in use below which a book is named.

    Returns
    -------
    bool
        Whether there was a warning.
    """
    low = np.flatnonzero(usage.used_share < floor)
    if not len(low):
        return False
    shown = ", ".join(f"{b} ({usage.dead_share[b]:.0%} dead)" for b in low[:_SHOWN]) + (" ..." * (len(low) > _SHOWN))
    rows, entries = int(usage.counts.sum(axis=1).max(initial=0)), usage.counts.shape[1]
    remedy = "fit on more rows" if rows < 20 * entries else "take fewer bits, or train with restarts or SimVQ"
    warn(
        f"{name}: {len(low)} of {len(usage.counts)} codebooks use less than {floor:.0%} of their {entries} codes on "
        f"{rows} rows: {shown}. Dead codes cost bits and carry nothing: {remedy}."
    )
    return True
