"""Batches by class label, for losses that look for pairs within a batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.learn.samplers.protocol import Columns, check_batch, column, generator
from orthant.validate import check_choice, check_count

__all__ = ["ByLabel", "PxK"]

_SHOWN = 5


class ByLabel:
    """Batches of any size in which every class has at least two rows, and at least two classes occur.

    For triplet and pair losses on data with classes of any size. `PxK` makes batches of a fixed make-up instead.

    Parameters
    ----------
    label : str, default "label"
        Column of class labels, of any hashable type.
    rare : {"refuse", "drop"}, default "refuse"
        What becomes of a class with one row, which has no partner: an error that names it, or it is left out.

    Notes
    -----
    Classes take turns to give two rows each, in an order drawn for every turn, until one class alone is left; batches
    are cut from that stream. Rows without a partner of the same class, and what is left of the last class, do not come
    up in that epoch; the order within a class is drawn anew, so that other rows are concerned each time.

    Examples
    --------
    >>> data = {"label": [0, 0, 0, 0, 1, 1, 1, 1]}
    >>> batches = list(ByLabel().batches(8, batch_size=4, seed=0, epoch=0, columns=data))
    >>> [sorted(data["label"][row] for row in batch) for batch in batches]
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """

    def __init__(self, label: str = "label", *, rare: str = "refuse") -> None:
        self.label = label
        self.rare = check_choice(rare, ("refuse", "drop"), name="rare")

    def length(self, n: int, *, batch_size: int, seed: int = 0, epoch: int = 0, columns: Columns | None = None) -> int:
        """Return the number of batches of an epoch.

        Parameters
        ----------
        n, batch_size, seed, epoch, columns
            As for `batches`.

        Returns
        -------
        int
            The same for every seed and epoch.

        Raises
        ------
        InputError
            What `batches` refuses.
        """
        n, batch_size = self._checked(n, batch_size)
        pairs = sorted((len(rows) // 2 for rows in self._classes(n, columns)), reverse=True)
        stream = 2 * sum(min(count, pairs[1]) for count in pairs)
        return stream // batch_size + (stream % batch_size >= 4)

    def batches(
        self, n: int, *, batch_size: int, seed: int = 0, epoch: int = 0, columns: Columns | None = None
    ) -> Iterator[list[int]]:
        """Yield the batches of an epoch.

        Parameters
        ----------
        n, batch_size, seed, epoch, columns
            As for `Sampler.batches`; `batch_size` is even and at least 4, `columns` has the labels.

        Yields
        ------
        list of int
            An even number of rows; the last batch may be short, but has two classes of two rows.

        Raises
        ------
        InputError
            An odd batch size or one below 4, labels of another length, fewer than two classes with two rows, or a class
            with one row where ``rare="refuse"``.
        """
        n, batch_size = self._checked(n, batch_size)
        return self._stream(self._classes(n, columns), batch_size, generator(seed, epoch))

    def _checked(self, n: int, batch_size: int) -> tuple[int, int]:
        n, batch_size = check_batch(n, batch_size)
        if batch_size < 4 or batch_size % 2:
            raise InputError(
                message(
                    f"batch_size={batch_size}", "an even number of at least 4", "pairs of two classes need four rows"
                )
            )
        return n, batch_size

    def _classes(self, n: int, columns: Columns | None) -> list[npt.NDArray[np.int64]]:
        groups = rows_by_label(columns, self.label, n)
        single = [label for label, rows in groups.items() if len(rows) < 2]
        if single and self.rare == "refuse":
            raise InputError(
                message(
                    f"{len(single)} label(s) with one row: {_listed(single)}",
                    "at least two rows of each",
                    "bring more rows of them or pass rare='drop'",
                )
            )
        kept = [rows for rows in groups.values() if len(rows) > 1]
        if len(kept) < 2:
            raise InputError(
                message(
                    f"{len(kept)} label(s) with two rows or more in column {self.label!r}",
                    "at least 2, since negatives come from another class",
                    "bring rows of another class",
                )
            )
        return kept

    def _stream(
        self, classes: list[npt.NDArray[np.int64]], batch_size: int, rng: np.random.Generator
    ) -> Iterator[list[int]]:
        queues = [rng.permutation(rows)[: len(rows) // 2 * 2].tolist() for rows in classes]
        left = list(range(len(queues)))
        batch: list[int] = []
        before = -1
        while len(left) >= 2:
            turn = [left[i] for i in rng.permutation(len(left))]
            if turn[0] == before:
                # A class that ends one turn and begins the next could fill a short batch alone.
                turn[0], turn[1] = turn[1], turn[0]
            for number in turn:
                batch += [queues[number].pop(), queues[number].pop()]
                if len(batch) == batch_size:
                    yield batch
                    batch = []
            before = turn[-1]
            left = [number for number in left if queues[number]]
        if len(batch) >= 4:
            yield batch


class PxK:
    """Batches of exactly p classes with exactly k rows each, as triplet losses with in-batch mining want them.

    Every batch offers each anchor k - 1 positives and (p - 1) k negatives. As many batches are made as the data allows.

    Parameters
    ----------
    p : int
        Classes of a batch, at least 2. More give harder negatives.
    k : int, default 2
        Rows of a class, at least 2. More give harder positives, at the cost of fewer classes at equal batch size.
    label : str, default "label"
        Column of class labels, of any hashable type.
    small : {"refuse", "drop"}, default "refuse"
        What becomes of a class with fewer than k rows: an error that names it, or it is left out.

    Notes
    -----
    With g_c groups of k rows in class c, T batches are possible exactly when ``sum_c min(g_c, T) >= p T``; the largest
    such T is used. Groups are dealt to the T batches one after the other, class by class, so that a class with at most
    T groups meets no batch twice. What is over is left out of that epoch; rows, classes and batches are drawn anew for
    the next.

    References
    ----------
    Hermans, Beyer, Leibe: In Defense of the Triplet Loss for Person Re-Identification. arXiv 1703.07737, section 2.

    Examples
    --------
    >>> data = {"label": ["a"] * 4 + ["b"] * 4}
    >>> batches = list(PxK(2, 2).batches(8, batch_size=4, seed=0, epoch=0, columns=data))
    >>> [sorted(data["label"][row] for row in batch) for batch in batches]
    [['a', 'a', 'b', 'b'], ['a', 'a', 'b', 'b']]
    """

    def __init__(self, p: int, k: int = 2, *, label: str = "label", small: str = "refuse") -> None:
        self.p = check_count(p, name="p", minimum=2)
        self.k = check_count(k, name="k", minimum=2)
        self.label = label
        self.small = check_choice(small, ("refuse", "drop"), name="small")

    def length(
        self, n: int, *, batch_size: int | None = None, seed: int = 0, epoch: int = 0, columns: Columns | None = None
    ) -> int:
        """Return the number of batches of an epoch.

        Parameters
        ----------
        n, batch_size, seed, epoch, columns
            As for `batches`.

        Returns
        -------
        int
            The largest number that the classes allow, the same for every seed and epoch.

        Raises
        ------
        InputError
            What `batches` refuses.
        """
        return _most(self._groups(self._checked(n, batch_size), columns)[1], self.p)

    def batches(
        self, n: int, *, batch_size: int | None = None, seed: int = 0, epoch: int = 0, columns: Columns | None = None
    ) -> Iterator[list[int]]:
        """Yield the batches of an epoch.

        Parameters
        ----------
        n, batch_size, seed, epoch, columns
            As for `Sampler.batches`; `batch_size` is p k or left out, `columns` has the labels.

        Yields
        ------
        list of int
            p k rows, class by class.

        Raises
        ------
        InputError
            Another batch size than p k, labels of another length, a class smaller than k where ``small="refuse"``, or
            fewer than p classes.
        """
        classes, groups = self._groups(self._checked(n, batch_size), columns)
        return self._deal(classes, groups, generator(seed, epoch))

    def _checked(self, n: int, batch_size: int | None) -> int:
        size = self.p * self.k
        if batch_size is not None and batch_size != size:
            raise InputError(
                message(f"batch_size={batch_size}", f"p * k = {size}", "set batch_size, p or k so that they agree")
            )
        return check_batch(n, size, name="p * k")[0]

    def _groups(self, n: int, columns: Columns | None) -> tuple[list[npt.NDArray[np.int64]], npt.NDArray[np.int64]]:
        found = rows_by_label(columns, self.label, n)
        short = [label for label, rows in found.items() if len(rows) < self.k]
        if short and self.small == "refuse":
            raise InputError(
                message(
                    f"{len(short)} label(s) with fewer than k={self.k} rows: {_listed(short)}",
                    "at least k rows of each",
                    "lower k, bring more rows of them or pass small='drop'",
                )
            )
        classes = [rows for rows in found.values() if len(rows) >= self.k]
        if len(classes) < self.p:
            raise InputError(
                message(
                    f"{len(classes)} label(s) with k={self.k} rows or more in column {self.label!r}",
                    f"at least p={self.p}",
                    "lower p or k, or bring rows of other classes",
                )
            )
        return classes, np.array([len(rows) // self.k for rows in classes], dtype=np.int64)

    def _deal(
        self, classes: list[npt.NDArray[np.int64]], groups: npt.NDArray[np.int64], rng: np.random.Generator
    ) -> Iterator[list[int]]:
        total = _most(groups, self.p)
        counts = np.minimum(groups, total)
        # Give up surplus groups one at a time at random, rather than the whole of the class that is dealt last.
        surplus = rng.permutation(np.repeat(np.arange(len(counts)), counts))[: int(counts.sum()) - self.p * total]
        counts -= np.bincount(surplus, minlength=len(counts))
        batches: list[list[int]] = [[] for _ in range(total)]
        places = rng.permutation(total)
        dealt = 0
        for number in rng.permutation(len(classes)):
            rows = rng.permutation(classes[number]).tolist()
            for group in range(int(counts[number])):
                batches[places[dealt % total]] += rows[group * self.k : (group + 1) * self.k]
                dealt += 1
        return iter(batches)


def _most(groups: npt.NDArray[np.int64], p: int) -> int:
    """Return the largest T with ``sum(min(groups, T)) >= p T``, which holds for every smaller T as well."""
    low, high = 1, int(groups.sum()) // p
    while low < high:
        middle = (low + high + 1) // 2
        if int(np.minimum(groups, middle).sum()) >= p * middle:
            low = middle
        else:
            high = middle - 1
    return low


def rows_by_label(columns: Columns | None, label: str, n: int) -> dict[Any, npt.NDArray[np.int64]]:
    """Return the rows of every class, classes in order of appearance.

    Parameters
    ----------
    columns : mapping of str to sequence, optional
        What the caller passed.
    label : str
        The column of labels; None is no label.
    n : int
        Rows of the data set.

    Returns
    -------
    dict of label to ndarray of shape (rows,), int64
        Row numbers, ascending.

    Raises
    ------
    InputError
        No such column, another length, or one class only.
    """
    groups: dict[Any, list[int]] = {}
    values = column(columns, label, n)
    for row, value in enumerate(values.tolist() if isinstance(values, np.ndarray) else values):
        if value is not None:
            groups.setdefault(value, []).append(row)
    if len(groups) < 2:
        raise InputError(
            message(
                f"{len(groups)} label(s) in column {label!r}",
                "at least 2, since negatives come from another class",
                "bring rows of another class or use Shuffled",
            )
        )
    return {value: np.array(rows, dtype=np.int64) for value, rows in groups.items()}


def _listed(labels: list[Any]) -> str:
    return ", ".join(repr(label) for label in labels[:_SHOWN]) + (" ..." if len(labels) > _SHOWN else "")
