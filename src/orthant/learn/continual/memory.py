"""Some items of every class seen so far, shown again so that they are not forgotten."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, message
from orthant.validate import check_count

__all__ = ["RehearsalMemory"]


class RehearsalMemory:
    """Keeps a fixed number of items of each class.

    Parameters
    ----------
    per_class : int, default 20
        Items kept of each; 0 keeps none. Few forget more, many cost memory and time.
    seed : int, default 0
        Of the choice.

    Attributes
    ----------
    rows : dict of label to ndarray of shape (m, ...)
        What is kept.

    Raises
    ------
    InputError
        A negative number.

    Examples
    --------
    >>> memory = RehearsalMemory(2)
    >>> memory.add(np.zeros((5, 3), dtype=np.float32), ["a"] * 4 + ["b"])
    >>> {label: len(rows) for label, rows in memory.rows.items()}, len(memory)
    ({'a': 2, 'b': 1}, 3)
    """

    def __init__(self, per_class: int = 20, *, seed: int = 0) -> None:
        self.per_class = check_count(per_class, name="per_class", minimum=0)
        self.rows: dict[Hashable, npt.NDArray[Any]] = {}
        self._rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        """Return the number of items kept."""
        return sum(len(rows) for rows in self.rows.values())

    def add(self, X: npt.ArrayLike, labels: npt.ArrayLike) -> None:
        """Draw from the items of a task; a class that comes again is drawn from old and new ones together.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Items.
        labels : array-like of shape (n,)
            Their classes.

        Raises
        ------
        DimensionError
            Unequal lengths.
        """
        rows, names = np.asarray(X), np.asarray(labels)
        if names.shape != (len(rows),):
            raise DimensionError(message(f"labels of shape {names.shape} for {len(rows)} rows", "one each", "add them"))
        for name in np.unique(names):
            key = name.item()
            pool = rows[names == name]
            if key in self.rows:
                pool = np.concatenate([self.rows[key], pool])
            chosen = np.sort(self._rng.choice(len(pool), min(self.per_class, len(pool)), replace=False))
            if len(chosen):
                self.rows[key] = pool[chosen]

    def sample(self, count: int) -> tuple[npt.NDArray[Any], list[Hashable]]:
        """Return about as many items as asked for, each as often as any other.

        Parameters
        ----------
        count : int
            Items wanted; what is kept is repeated, and never cut.

        Returns
        -------
        rows : ndarray of shape (m, ...)
            Items.
        labels : list
            Their classes.
        """
        if not len(self):
            return np.zeros((0,)), []
        times = max(1, round(count / len(self)))
        rows = np.concatenate(list(self.rows.values()))
        labels = [key for key, kept in self.rows.items() for _ in range(len(kept))]
        return np.concatenate([rows] * times), labels * times
