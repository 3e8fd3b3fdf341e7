"""Batches in which no text occurs twice, so that no in-batch negative is a positive in disguise."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any

from orthant.errors import InputError, message
from orthant.learn.samplers.protocol import Columns, check_batch, column, generator

__all__ = ["NoDuplicates"]

_SHOWN = 60


class NoDuplicates:
    """Rows in random order, of which none shares a text with another of its batch.

    For losses with in-batch negatives: a query that occurs twice with two answers would otherwise count one of them as
    a negative of itself. A row that does not fit into a batch waits for a later one and goes first there. Where rows
    of one text are all that is left, batches get short, down to a single row; ``drop_last`` leaves short ones out.

    A column of class labels works as well as texts: then no two rows of a batch have the same class.

    Parameters
    ----------
    columns : sequence of str, optional
        Columns whose values must not repeat. A value may be a list of texts, such as several negatives; None is no
        text. Left out, every column of str or of lists of str.
    drop_last : bool, default False
        Leave out batches that are shorter than the others: the last, and those that texts with many rows have cut
        short.

    Notes
    -----
    The batches are those of the greedy rule: go through the waiting rows in their order, take each that fits, until the
    batch is full. Only the order is random. Cost O(n log n) for n rows, unless many texts block each other in chains:
    rows that wait are filed under the text that blocks them, and looked at again when that text is free.

    Examples
    --------
    >>> data = {"query": ["a", "a", "b", "c"], "answer": ["1", "2", "3", "1"]}
    >>> batches = list(NoDuplicates().batches(4, batch_size=2, seed=0, epoch=0, columns=data))
    >>> all({0, 1} != set(batch) and {0, 3} != set(batch) for batch in batches)
    True
    """

    def __init__(self, columns: Sequence[str] | None = None, *, drop_last: bool = False) -> None:
        if isinstance(columns, str):
            raise InputError(message(f"columns={columns!r}", "a list of names", f"write [{columns!r}]"))
        self.columns = None if columns is None else tuple(columns)
        self.drop_last = drop_last

    def batches(
        self, n: int, *, batch_size: int, seed: int = 0, epoch: int = 0, columns: Columns | None = None
    ) -> Iterator[list[int]]:
        """Yield the batches of an epoch.

        Parameters
        ----------
        n, batch_size, seed, epoch, columns
            As for `Sampler.batches`.

        Yields
        ------
        list of int
            Rows without a common text.

        Raises
        ------
        InputError
            A missing column, no column of texts, a row that has one text twice, or a text that stands in every row:
            both can never be told apart.
        """
        n, batch_size = check_batch(n, batch_size)
        names = self.columns if self.columns is not None else _text_columns(columns)
        rows = _values_per_row([column(columns, name, n) for name in names], n)
        _refuse_inseparable(rows)
        order = generator(seed, epoch).permutation(n).tolist()
        keys, counts = _numbered(rows)
        found = _Waiting(keys, counts).batches(order, batch_size)
        return (batch for batch in found if len(batch) == batch_size or not self.drop_last)


def _text_columns(columns: Columns | None) -> list[str]:
    names = [name for name, values in (columns or {}).items() if len(values) and _is_text(values[0])]
    if not names:
        listed = ", ".join(repr(name) for name in columns) if columns else "none"
        raise InputError(
            message(
                f"columns without texts ({listed})", "at least one column of str", "name the columns to keep distinct"
            )
        )
    return names


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value))


def _values_per_row(columns: list[Sequence[Any]], n: int) -> list[tuple[Any, ...]]:
    flat = [
        [tuple(value) if isinstance(value, (list, tuple)) else () if value is None else (value,) for value in values]
        for values in columns
    ]
    return flat[0] if len(flat) == 1 else [sum(parts, ()) for parts in zip(*flat, strict=True)]


def _refuse_inseparable(rows: list[tuple[Any, ...]]) -> None:
    for i, values in enumerate(rows):
        if len(values) > 1 and len(set(values)) < len(values):
            twice = next(value for value, count in Counter(values).items() if count > 1)
            raise InputError(
                message(
                    f"row {i}, in which {_shown(twice)} occurs twice",
                    "different texts within a row, since a row is never split",
                    "drop that row or leave one of the columns out",
                )
            )
    common = set(rows[0]).intersection(*rows[1:]) if len(rows) > 1 else set()
    if common:
        raise InputError(
            message(
                f"{_shown(min(common, key=str))} in each of {len(rows)} rows",
                "rows that can share a batch",
                "leave that column out",
            )
        )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 4] + "...'"


def _numbered(rows: list[tuple[Any, ...]]) -> tuple[list[tuple[int, ...]], list[int]]:
    """Return each row's values as numbers, and in how many rows each stands."""
    numbers: dict[Any, int] = {}
    keys = [tuple([numbers.setdefault(value, len(numbers)) for value in values]) for values in rows]
    counts = [0] * len(numbers)
    for key in keys:
        for number in key:
            counts[number] += 1
    return keys, counts


class _Waiting:
    """Rows that did not fit yet, filed so that blocked ones cost nothing while they are blocked.

    Rows with the same values form a group, since they fit or do not fit together. A group is filed under one of the
    values that blocked it, and a value in use blocks all groups filed under it at once. ``first`` has the earliest row
    of each file, so that rows come back in their order; its entries may be out of date and are checked when they come
    up.
    """

    def __init__(self, keys: list[tuple[int, ...]], counts: list[int]) -> None:
        self.keys = keys
        self.counts = counts
        self.groups: dict[tuple[int, ...], deque[int]] = {}
        self.filed: dict[int, list[tuple[int, tuple[int, ...]]]] = {}
        self.first: list[tuple[int, int]] = []

    def batches(self, order: list[int], batch_size: int) -> Iterator[list[int]]:
        """Yield every batch of the greedy rule."""
        keys, groups = self.keys, self.groups
        fresh, n = 0, len(order)
        while fresh < n or groups:
            taken: list[int] = []
            used: set[int] = set()
            blocked: set[int] = set()
            self._take_waiting(taken, used, blocked, batch_size)
            while len(taken) < batch_size and fresh < n:
                key = keys[order[fresh]]
                if key in groups:
                    # Whatever still waits at this point is blocked, and so are rows like it.
                    groups[key].append(fresh)
                elif used.isdisjoint(key):
                    taken.append(fresh)
                    used.update(key)
                else:
                    groups[key] = deque([fresh])
                    self._file(key, used, blocked)
                fresh += 1
            for value in blocked:
                heapq.heappush(self.first, (self.filed[value][0][0], value))
            yield [order[position] for position in taken]

    def _take_waiting(self, taken: list[int], used: set[int], blocked: set[int], batch_size: int) -> None:
        while self.first and len(taken) < batch_size:
            position, value = heapq.heappop(self.first)
            shelf = self.filed.get(value)
            if not shelf or shelf[0][0] != position:
                continue
            if value in used:
                blocked.add(value)
                continue
            _, key = heapq.heappop(shelf)
            if used.isdisjoint(key):
                taken.append(position)
                used.update(key)
                self.groups[key].popleft()
            if self.groups[key]:
                self._file(key, used, blocked)
            else:
                del self.groups[key]
            if shelf:
                heapq.heappush(self.first, (shelf[0][0], value))
            elif value not in blocked:
                del self.filed[value]

    def _file(self, key: tuple[int, ...], used: set[int], blocked: set[int]) -> None:
        # Under the commonest value that blocks it: rows of a common text then wait in one file.
        value = max((part for part in key if part in used), key=self.counts.__getitem__)
        heapq.heappush(self.filed.setdefault(value, []), (self.groups[key][0], key))
        blocked.add(value)
