"""Encoding in levels with several partial codes kept at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orthant.kernels.distances import row_chunks
from orthant.types import FloatArray

__all__ = ["Partial", "beam_indices"]

_TILE_BYTES = 4 << 20


@dataclass(frozen=True)
class Partial:
    """Partial codes of some rows, best first.

    Attributes
    ----------
    left : ndarray of shape (n, b, d), float64
        What each of b partial codes leaves over.
    errors : ndarray of shape (n, b), float64
        Squared lengths of that.
    indices : ndarray of shape (n, b, levels), int64
        The codes so far.
    """

    left: npt.NDArray[np.float64]
    errors: npt.NDArray[np.float64]
    indices: npt.NDArray[np.int64]

    @classmethod
    def of(cls, X: FloatArray) -> Partial:
        """Return the empty code of each row.

        Parameters
        ----------
        X : ndarray of shape (n, d), float32
            Rows.

        Returns
        -------
        Partial
            One for each row.
        """
        rows = X.astype(np.float64)
        errors = np.einsum("nd,nd->n", rows, rows)[:, None]
        return cls(rows[:, None, :], errors, np.empty((len(X), 1, 0), dtype=np.int64))

    def extended(self, centroids: FloatArray, beam: int) -> Partial:
        """Return the best codes that are one level longer.

        Parameters
        ----------
        centroids : ndarray of shape (entries, d), float32
            Codewords of the next level.
        beam : int
            How many to keep; the first of equal ones.

        Returns
        -------
        Partial
            Up to ``beam`` for each row.
        """
        wide = centroids.astype(np.float64)
        errors = self.errors[:, :, None] + np.einsum("kd,kd->k", wide, wide) - 2 * (self.left @ wide.T)
        flat = errors.reshape(len(errors), -1)
        kept = min(beam, flat.shape[1])
        best = np.argpartition(flat, kept - 1, axis=1)[:, :kept]
        # In their own order first, so that the stable sort puts the first of equal errors first.
        best.sort(axis=1)
        best = np.take_along_axis(best, np.argsort(np.take_along_axis(flat, best, 1), axis=1, kind="stable"), 1)
        parent, code = np.divmod(best, len(wide))
        at = np.arange(len(flat))[:, None]
        left = self.left[at, parent] - wide[code]
        indices = np.concatenate([self.indices[at, parent], code[:, :, None]], axis=2)
        return Partial(left, np.take_along_axis(flat, best, 1), indices)


def beam_indices(X: FloatArray, table: FloatArray, beam: int) -> npt.NDArray[np.int64]:
    """Return the codes of each row, the best of ``beam`` partial ones that are extended by every codeword.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Rows.
    table : ndarray of shape (levels, entries, d), float32
        Codewords of each level.
    beam : int
        Partial codes kept from level to level.

    Returns
    -------
    ndarray of shape (n, levels), int64
        Of the complete codes kept, that with the smallest error; the first of equal ones.

    Notes
    -----
    Errors are kept and compared in float64, so that no row depends on those beside it.
    Cost: O(n levels beam entries d).
    """
    _, entries, dim = table.shape
    out = np.empty((len(X), len(table)), dtype=np.int64)
    for start, stop in row_chunks(len(X), 8 * beam * max(entries, dim), _TILE_BYTES):
        partial = Partial.of(X[start:stop])
        for centroids in table:
            partial = partial.extended(centroids, beam)
        out[start:stop] = partial.indices[:, 0]
    return out
