"""Tables of rows, and the order in which a stage sees them: samplers and mixtures, for both loops and all processes."""

from __future__ import annotations

import importlib
import inspect
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, Dataset, default_collate

from orthant.errors import DimensionError, InputError, message
from orthant.learn.training.stage import Stage

__all__ = ["ArrayTable", "BatchPlan", "LazyColumns", "PlannedBatches", "collate_rows", "named_tables", "resolve_order"]

_SAMPLERS = "orthant.learn.samplers"


class ArrayTable(Dataset[dict[str, torch.Tensor]]):
    """Arrays with equal first axes, as a table of rows.

    Parameters
    ----------
    arrays : mapping of str to array of shape (n, ...)
        NumPy arrays, tensors or lists.
    name : str, default "data"
        How the table is called in an error.

    Raises
    ------
    DimensionError
        Different lengths, or a scalar.
    InputError
        No columns, or no rows.

    Examples
    --------
    >>> len(ArrayTable({"x": [[1.0, 2.0], [3.0, 4.0]], "y": [0, 1]}))
    2
    """

    def __init__(self, arrays: Mapping[str, Any], *, name: str = "data") -> None:
        self.columns = {key: _as_tensor(value, f"{name}[{key!r}]") for key, value in arrays.items()}
        lengths = {key: len(value) for key, value in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise DimensionError(
                message(f"{name} with columns of lengths {lengths}", "equal lengths", "align the rows")
            )
        if not lengths or not next(iter(lengths.values())):
            raise InputError(message(f"{name} without rows", "at least one row", "bring data"))

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        return {key: value[row] for key, value in self.columns.items()}

    def take(self, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        """Return several rows at once.

        Parameters
        ----------
        rows : sequence of int
            Row numbers.

        Returns
        -------
        dict of str to torch.Tensor of shape (len(rows), ...)
            One per column.
        """
        at = torch.as_tensor(list(rows), dtype=torch.int64)
        return {key: value[at] for key, value in self.columns.items()}


def named_tables(data: Any) -> dict[str, Any]:
    """Return the tables of a stage for models other than those of sentence-transformers, by name.

    Parameters
    ----------
    data : mapping or Dataset
        One table (named ``""``) or a mapping of names to tables.

    Returns
    -------
    dict of str to Dataset
        With a length each.

    Raises
    ------
    InputError
        Another type, no rows, or a data set without length.

    Examples
    --------
    >>> list(named_tables({"a": {"x": [1, 2]}, "b": {"x": [3]}}))
    ['a', 'b']
    """
    if isinstance(data, Mapping):
        several = bool(data) and all(isinstance(value, (Mapping, Dataset)) for value in data.values())
        parts = data if several else {"": data}
    else:
        parts = {"": data}
    return {str(name): _table(value, name or "data") for name, value in parts.items()}


def collate_rows(tables: Sequence[Any], rows: Sequence[tuple[int, int]]) -> dict[str, torch.Tensor]:
    """Return a batch of rows of one or several tables.

    Parameters
    ----------
    tables : sequence of Dataset
        The tables.
    rows : sequence of (int, int)
        Number of the table and of the row.

    Returns
    -------
    dict of str to torch.Tensor of shape (len(rows), ...)
        By column.

    Raises
    ------
    InputError
        Tables in one batch that do not have the same columns.
    """
    numbers = {table for table, _ in rows}
    if len(numbers) == 1:
        table = tables[next(iter(numbers))]
        chosen = [row for _, row in rows]
        return table.take(chosen) if isinstance(table, ArrayTable) else default_collate([table[row] for row in chosen])
    items = [tables[table][row] for table, row in rows]
    if any(set(item) != set(items[0]) for item in items):
        raise InputError(
            message(
                f"a batch of tables with columns {sorted({tuple(sorted(item)) for item in items})}",
                "the same columns",
                "choose a mixture with one data set per batch, such as 'proportional'",
            )
        )
    return default_collate(items)


def resolve_order(given: Any, *, name: str) -> Any:
    """Return a sampler or mixture: the object itself, or the class of that name with its defaults.

    Parameters
    ----------
    given : str or object
        Such as ``"shuffled"``, which is ``orthant.learn.samplers.Shuffled``.
    name : {"sampler", "mixture"}
        How the argument is called in an error.

    Returns
    -------
    object
        With a method ``batches``.

    Raises
    ------
    InputError
        No such class, or an object without ``batches``.
    """
    if isinstance(given, str):
        home = importlib.import_module(_SAMPLERS)
        known = {_spelled(n): n for n in home.__all__ if _makes_batches(getattr(home, n), name)}
        if given not in known:
            raise InputError(
                message(f"{name}={given!r}", f"one of {sorted(known)}, or an object", "check the spelling")
            )
        try:
            return getattr(home, known[given])()
        except TypeError as error:
            raise InputError(
                message(f"{name}={given!r}", "an object: this one needs arguments", f"pass {known[given]}(...)")
            ) from error
    if not callable(getattr(given, "batches", None)) or isinstance(given, type):
        raise InputError(
            message(f"{name} of type {type(given).__name__}", "an object with a method batches", "pass an instance")
        )
    return given


class LazyColumns(Mapping[str, Any]):
    """Columns of a table that are read when a sampler asks for them, once.

    Parameters
    ----------
    names : sequence of str
        The columns.
    read : callable of (name)
        Returns the values of one.
    """

    def __init__(self, names: Sequence[str], read: Callable[[str], Any]) -> None:
        self._names = list(names)
        self._read = read
        self._known: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._known:
            self._known[name] = self._read(name)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class BatchPlan:
    """The batches of a stage in order: the same for every process, loop and resumption.

    Parameters
    ----------
    stage : Stage
        Sampler, mixture, batch size and length.
    sizes : sequence of int
        Rows of each table.
    columns : sequence of mapping or None
        Values by column and table, for samplers that look at them.
    seed : int
        Of the order.
    world : int, default 1
        Processes; every batch is cut to a multiple of it, so that all parts are equal.

    Raises
    ------
    InputError
        A batch smaller than the number of processes, or an order without batches.
    """

    def __init__(
        self,
        stage: Stage,
        *,
        sizes: Sequence[int],
        columns: Sequence[Mapping[str, Sequence[Any]] | None],
        seed: int,
        world: int = 1,
    ) -> None:
        if stage.batch_size < world:
            raise InputError(
                message(f"batch_size={stage.batch_size} for {world} processes", "a row for each", "raise batch_size")
            )
        self.sizes = list(sizes)
        self.world = world
        self._stage = stage
        self._columns = list(columns)
        self._seed = seed
        self._sampler = resolve_order(stage.sampler, name="sampler")
        self._mixture = resolve_order(stage.mixture, name="mixture") if len(self.sizes) > 1 else None
        self._epochs: dict[int, list[list[tuple[int, int]]]] = {}
        first = self._epoch(0)
        if not first:
            raise InputError(
                message(
                    f"an order without batches: {sum(self.sizes)} rows, batch_size={stage.batch_size}",
                    "at least one batch",
                    "lower batch_size or bring more rows",
                )
            )
        if stage.steps is not None:
            self.steps = stage.steps
        else:
            self.steps = max(1, math.ceil((stage.epochs or 0) * len(first) / stage.accumulate))

    def batches(self, *, skip: int = 0) -> Iterator[list[tuple[int, int]]]:
        """Yield whole batches, epoch after epoch, without end.

        Parameters
        ----------
        skip : int, default 0
            Batches to leave out at the start.

        Yields
        ------
        list of (int, int)
            Number of the table and of the row; a multiple of the number of processes.
        """
        for epoch in itertools.count():
            batches = self._epoch(epoch)
            if skip >= len(batches):
                skip -= len(batches)
                continue
            yield from batches[skip:]
            skip = 0

    def part(self, batch: Sequence[tuple[int, int]], rank: int) -> list[tuple[int, int]]:
        """Return a process's rows of a batch.

        Parameters
        ----------
        batch : sequence of (int, int)
            Of ``batches``.
        rank : int
            Number of the process.

        Returns
        -------
        list of (int, int)
            A run of the batch.
        """
        share = len(batch) // self.world
        return list(batch[rank * share : (rank + 1) * share])

    def _epoch(self, epoch: int) -> list[list[tuple[int, int]]]:
        if epoch not in self._epochs:
            drawn = [batch[: len(batch) - len(batch) % self.world] for batch in self._draw(epoch)]
            kept = [batch for batch in drawn if batch]
            if not kept and epoch:
                raise InputError(message(f"no batches in epoch {epoch}", "some in each", "correct the sampler"))
            # Only the epoch at hand: a plan of many epochs would hold every row number many times.
            self._epochs = {epoch: kept}
        return self._epochs[epoch]

    def _draw(self, epoch: int) -> Iterator[list[tuple[int, int]]]:
        size = self._stage.batch_size
        if self._mixture is None:
            drawn = self._sampler.batches(
                self.sizes[0], batch_size=size, seed=self._seed, epoch=epoch, columns=self._columns[0]
            )
            return ([(0, int(row)) for row in batch] for batch in drawn)
        mixed = self._mixture.batches(
            self.sizes,
            samplers=[self._sampler] * len(self.sizes),
            batch_size=size,
            seed=self._seed,
            epoch=epoch,
            columns=self._columns,
        )
        return ([(int(table), int(row)) for table, row in batch] for batch in mixed)


class PlannedBatches(BatchSampler):
    """A plan as a torch batch sampler over joined tables, for a loader that gives each process every world-th batch.

    Parameters
    ----------
    plan : BatchPlan
        The order.
    count : int
        Whole batches to yield.
    skip : int, default 0
        Whole batches done already.
    pure : bool, default False
        Refuse a batch of several tables, which may have other columns or another loss.
    """

    def __init__(self, plan: BatchPlan, *, count: int, skip: int = 0, pure: bool = False) -> None:
        self.plan = plan
        self.pure = pure
        self.count = count
        self.skip = skip
        # accelerate would leave out parts of another size than a stated one.
        self.batch_size = None  # type: ignore[assignment]
        self.drop_last = False
        self._starts = [0, *itertools.accumulate(plan.sizes)]

    def __len__(self) -> int:
        return self.count * self.plan.world

    def __iter__(self) -> Iterator[list[int]]:
        for batch in itertools.islice(self.plan.batches(skip=self.skip), self.count):
            if self.pure and len({table for table, _ in batch}) > 1:
                raise InputError(
                    message(
                        "a batch of several data sets that have other columns or losses",
                        "one data set per batch",
                        "align the columns and use one loss, or choose the mixture 'proportional'",
                    )
                )
            for rank in range(self.plan.world):
                yield [self._starts[table] + row for table, row in self.plan.part(batch, rank)]


def _makes_batches(item: Any, role: str) -> bool:
    """Whether a public name is a class of samplers (batches of ``n`` rows) or of mixtures (batches of ``sizes``)."""
    if not isinstance(item, type) or not hasattr(item, "batches") or getattr(item, "_is_protocol", False):
        return False
    return ("sizes" in inspect.signature(item.batches).parameters) == (role == "mixture")


def _spelled(name: str) -> str:
    return "".join(f"-{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


def _as_tensor(value: Any, name: str) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        tensor = value
    else:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise InputError(message(f"{name} of dtype {array.dtype}", "numbers", "encode it as numbers first"))
        # torch computes in float32 unless told otherwise; NumPy's default of float64 is rarely meant.
        tensor = torch.as_tensor(array.astype(np.float32) if array.dtype == np.float64 else array)
    if tensor.ndim == 0:
        raise DimensionError(message(f"{name}, a scalar", "an array with rows", "pass one value per row"))
    return tensor


def _table(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return ArrayTable(value, name=name)
    if not isinstance(value, Dataset) or not hasattr(value, "__len__"):
        raise InputError(
            message(
                f"{name} of type {type(value).__name__}",
                "a mapping of arrays, or a torch Dataset with a length",
                "gather the rows first",
            )
        )
    if not len(value):
        raise InputError(message(f"{name} without rows", "at least one row", "bring data"))
    if not isinstance(value[0], Mapping):
        raise InputError(
            message(f"{name} with rows of type {type(value[0]).__name__}", "dicts", "give each value a name")
        )
    return value
