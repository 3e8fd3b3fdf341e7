"""Labels of rows: one value or a set of values each, by row and by label."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.kernels import bitmaps
from orthant.types import IdArray

__all__ = ["Labels"]

_MOST_BYTES = 2 << 30


class Labels:
    """Which labels each row has.

    Parameters
    ----------
    values : sequence of length n
        Per row one label (a string or an integer) or an iterable of labels, which may be empty.

    Attributes
    ----------
    names : tuple
        The labels, sorted; a label's code is its place.
    offsets : ndarray of shape (n + 1,), int64
        Row i has the codes ``codes[offsets[i]:offsets[i + 1]]``.
    codes : ndarray of shape (m,), int64
        Codes, rising within a row.

    Raises
    ------
    InputError
        No rows, or labels that cannot be compared with each other, such as None beside strings.

    Notes
    -----
    Cost: 8 bytes per label of a row. ``marks`` and ``columns`` take one bit per row and distinct label.

    Examples
    --------
    >>> labels = Labels([{"film", "noir"}, {"film"}, ()])
    >>> labels.names, labels.rows("film").tolist(), labels.rows("film", "noir").tolist()
    (('film', 'noir'), [0, 1], [0])
    """

    def __init__(self, values: Sequence[Any] | npt.NDArray[Any]) -> None:
        given = values.tolist() if isinstance(values, np.ndarray) else values
        try:
            rows = [_as_set(value) for value in given]
            self.names: tuple[Any, ...] = tuple(sorted(set().union(*rows)))
        except TypeError as error:
            # Sorting says "'<' not supported between ...", sets "unhashable type: ...".
            raise InputError(
                message(
                    f"labels that cannot be compared ({error})",
                    "all strings or all numbers",
                    "convert them, and give rows without a label an empty set",
                )
            ) from error
        if not rows:
            raise InputError(message("labels of no rows", "one value or set per row", "pass labels of every row"))
        if any(name != name for name in self.names):
            raise InputError(message("NaN as a label", "a value that equals itself", "leave such rows' sets empty"))
        place = {name: code for code, name in enumerate(self.names)}
        coded = [sorted(place[name] for name in row) for row in rows]
        self.offsets = np.cumsum([0, *map(len, coded)]).astype(np.int64)
        self.codes = np.array([code for row in coded for code in row], dtype=np.int64)
        self._place = place
        self._by_label: tuple[IdArray, IdArray] | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.offsets) - 1

    def code(self, label: Any) -> int:
        """Return the code of a label.

        Parameters
        ----------
        label : str or int
            One that some row has.

        Returns
        -------
        int
            Its place among ``names``.

        Raises
        ------
        InputError
            No row has it.
        """
        found = self._place.get(label) if isinstance(label, Hashable) else None
        if found is None:
            shown = ", ".join(repr(name) for name in self.names[:5])
            expected = f"one of {len(self.names)}: {shown} ..."
            raise InputError(message(f"label {label!r}", expected, "check its spelling"))
        return found

    def rows(self, *labels: Any) -> IdArray:
        """Return the rows that have all of some labels.

        Parameters
        ----------
        *labels : str or int
            At least one; unknown ones are refused.

        Returns
        -------
        ndarray of shape (m,), int64
            Rows, rising.
        """
        if not labels:
            raise InputError(message("no labels", "at least one", "name a label"))
        found = [self.rows_of(self.code(label)) for label in labels]
        out = found[0]
        for other in found[1:]:
            out = np.intersect1d(out, other, assume_unique=True)
        return out

    def rows_of(self, code: int) -> IdArray:
        """Return the rows of a code.

        Parameters
        ----------
        code : int
            Place of a label among ``names``.

        Returns
        -------
        ndarray of shape (m,), int64
            Rows, rising.
        """
        if self._by_label is None:
            order = np.argsort(self.codes, kind="stable")
            owners = np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.offsets))
            bounds = np.searchsorted(self.codes[order], np.arange(len(self.names) + 1))
            self._by_label = owners[order], bounds.astype(np.int64)
        owners, bounds = self._by_label
        return owners[bounds[code] : bounds[code + 1]]

    def marks(self, rows: int) -> npt.NDArray[np.uint64]:
        """Return each row's labels as bits.

        Parameters
        ----------
        rows : int
            Rows of the result, at least as many as there are; those beyond have no labels.

        Returns
        -------
        ndarray of shape (rows, ceil(labels / 64)), uint64
            Bit c of row i says whether row i has code c.

        Raises
        ------
        InputError
            It would take more than 2 GiB.
        """
        words = max(1, bitmaps.words_for(len(self.names)))
        _check_bytes(8 * words * rows, len(self.names))
        out = np.zeros((rows, words), np.uint64)
        owners = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        np.bitwise_or.at(out, (owners, self.codes >> 6), np.uint64(1) << (self.codes & 63).astype(np.uint64))
        return out

    def columns(self, rows: int) -> npt.NDArray[np.uint64]:
        """Return each label's rows as bits.

        Parameters
        ----------
        rows : int
            Bits per label, at least as many as there are rows.

        Returns
        -------
        ndarray of shape (labels, ceil(rows / 64)), uint64
            Bit i of row c says whether row i has code c.

        Raises
        ------
        InputError
            It would take more than 2 GiB.
        """
        words = bitmaps.words_for(rows)
        _check_bytes(8 * words * len(self.names), len(self.names))
        out = np.zeros((len(self.names), words), np.uint64)
        for code in range(len(self.names)):
            out[code] = bitmaps.from_rows(self.rows_of(code), rows)
        return out


def _as_set(value: Any) -> set[Any]:
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return set(value)
    return {value}


def _check_bytes(wanted: int, labels: int) -> None:
    if wanted > _MOST_BYTES:
        raise InputError(
            message(
                f"{labels:,} labels, whose bits take {wanted / 2**30:.1f} GiB",
                "at most 2 GiB",
                "drop rare labels: few rows are quicker scanned than walked over",
            )
        )
