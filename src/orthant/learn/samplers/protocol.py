"""What a sampler and a mixture promise, how many batches they make, and a process's part of each batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from orthant.errors import InputError, message
from orthant.validate import check_count

__all__ = ["Columns", "Mixture", "Sampler", "count_batches", "count_mixed_batches", "generator", "shard"]

Columns = Mapping[str, Sequence[Any]]
Row = TypeVar("Row")


class Sampler(Protocol):
    """Cuts the rows of one data set into batches.

    The same arguments always give the same batches. Another epoch or another seed gives others, unless the order is
    fixed by design. No row comes twice in an epoch.
    """

    def batches(
        self, n: int, *, batch_size: int, seed: int, epoch: int, columns: Columns | None
    ) -> Iterator[list[int]]:
        """Yield the batches of one epoch.

        Parameters
        ----------
        n : int
            Rows of the data set, at least 1.
        batch_size : int
            Rows of a batch.
        seed : int
            At least 0.
        epoch : int
            At least 0; counts passes over the data.
        columns : mapping of str to sequence, optional
            The data set by column, for samplers whose rule looks at values.

        Yields
        ------
        list of int
            Row numbers from 0 to n - 1.
        """
        ...


class Mixture(Protocol):
    """Joins the batches of several data sets into one stream of batches."""

    def batches(
        self,
        sizes: Sequence[int],
        *,
        samplers: Sequence[Sampler] | None,
        batch_size: int,
        seed: int,
        epoch: int,
        columns: Sequence[Columns | None] | None,
    ) -> Iterator[list[tuple[int, int]]]:
        """Yield the batches of one epoch.

        Parameters
        ----------
        sizes : sequence of int
            Rows of each data set.
        samplers : sequence of Sampler, optional
            One per data set. Left out, each is shuffled.
        batch_size : int
            Rows of a batch.
        seed : int
            At least 0.
        epoch : int
            At least 0.
        columns : sequence of mappings, optional
            The columns of each data set, for samplers that look at values.

        Yields
        ------
        list of (int, int)
            Number of the data set and of the row within it.
        """
        ...


def generator(seed: int, epoch: int, *purpose: int) -> np.random.Generator:
    """Return the random numbers of one purpose in one epoch.

    Parameters
    ----------
    seed : int
        At least 0.
    epoch : int
        At least 0.
    *purpose : int
        Keeps apart what would otherwise draw the same numbers, such as two data sets of a mixture.

    Returns
    -------
    numpy.random.Generator
        Independent streams for different arguments.

    Raises
    ------
    InputError
        A negative or fractional seed or epoch.

    Examples
    --------
    >>> int(generator(1, 0).integers(100)) == int(generator(1, 0).integers(100))
    True
    """
    parts = [check_count(seed, name="seed", minimum=0), check_count(epoch, name="epoch", minimum=0), *purpose]
    # A seed sequence ignores zeros at its end, so the number of parts goes in first.
    return np.random.default_rng([len(parts), *parts])


def check_batch(n: int, batch_size: int, *, name: str = "batch_size") -> tuple[int, int]:
    """Return n and batch_size once they fit each other.

    Parameters
    ----------
    n : int
        Rows of the data set, at least 1.
    batch_size : int
        Rows of a batch, from 1 to n.
    name : str, default "batch_size"
        How the size is called in an error.

    Returns
    -------
    tuple of (int, int)
        Both, as int.

    Raises
    ------
    InputError
        No rows, no batch, or a batch larger than the data.
    """
    n = check_count(n, name="n")
    batch_size = check_count(batch_size, name=name)
    if batch_size > n:
        raise InputError(
            message(f"{name}={batch_size} for {n} rows", f"at most {n}", f"lower {name} or bring more rows")
        )
    return n, batch_size


def column(columns: Columns | None, name: str, n: int) -> Sequence[Any]:
    """Return one column after checking that it is there and as long as the data.

    Parameters
    ----------
    columns : mapping of str to sequence, optional
        What the caller passed.
    name : str
        The column wanted.
    n : int
        Rows of the data set.

    Returns
    -------
    sequence
        The column, of length n.

    Raises
    ------
    InputError
        No such column, or another length.
    """
    if columns is None or name not in columns:
        listed = ", ".join(repr(key) for key in columns) if columns else "none"
        raise InputError(message(f"no column {name!r}", f"it among the columns ({listed})", "pass it in columns"))
    values = columns[name]
    if len(values) != n:
        raise InputError(message(f"column {name!r} of length {len(values)}", f"{n}", "pass one value per row"))
    return values


def count_batches(
    sampler: Sampler, n: int, *, batch_size: int, seed: int = 0, epoch: int = 0, columns: Columns | None = None
) -> int:
    """Return how many batches a sampler makes in an epoch.

    Parameters
    ----------
    sampler : Sampler
        Any sampler; one with a method ``length`` of the same arguments is asked, another is run through.
    n : int
        Rows of the data set.
    batch_size : int
        Rows of a batch.
    seed, epoch : int, default 0
        As for ``batches``.
    columns : mapping of str to sequence, optional
        As for ``batches``.

    Returns
    -------
    int
        The number of batches, exact.

    Raises
    ------
    InputError
        What the sampler refuses.

    Examples
    --------
    >>> from orthant.learn.samplers import Shuffled
    >>> count_batches(Shuffled(), 100, batch_size=32)
    4
    """
    length = getattr(sampler, "length", None)
    if length is not None:
        return int(length(n, batch_size=batch_size, seed=seed, epoch=epoch, columns=columns))
    return sum(1 for _ in sampler.batches(n, batch_size=batch_size, seed=seed, epoch=epoch, columns=columns))


def count_mixed_batches(
    mixture: Mixture,
    sizes: Sequence[int],
    *,
    samplers: Sequence[Sampler] | None = None,
    batch_size: int,
    seed: int = 0,
    epoch: int = 0,
    columns: Sequence[Columns | None] | None = None,
) -> int:
    """Return how many batches a mixture makes in an epoch.

    Parameters
    ----------
    mixture : Mixture
        Any mixture; one with a method ``length`` of the same arguments is asked, another is run through.
    sizes : sequence of int
        Rows of each data set.
    samplers : sequence of Sampler, optional
        One per data set.
    batch_size : int
        Rows of a batch.
    seed, epoch : int, default 0
        As for ``batches``.
    columns : sequence of mappings, optional
        As for ``batches``.

    Returns
    -------
    int
        The number of batches, exact.

    Raises
    ------
    InputError
        What the mixture or a sampler refuses.

    Examples
    --------
    >>> from orthant.learn.samplers import RoundRobin
    >>> count_mixed_batches(RoundRobin(), [100, 70], batch_size=32)
    6
    """
    given: dict[str, Any] = {
        "samplers": samplers,
        "batch_size": batch_size,
        "seed": seed,
        "epoch": epoch,
        "columns": columns,
    }
    length = getattr(mixture, "length", None)
    return int(length(sizes, **given)) if length is not None else sum(1 for _ in mixture.batches(sizes, **given))


def shard(batches: Iterable[Sequence[Row]], *, rank: int, world: int) -> Iterator[list[Row]]:
    """Yield a process's part of every batch, so that all processes together work on the same batches as one alone.

    Parts are runs of the batch, in order of rank, and differ by at most one row. A loss that averages over rows must
    weight each process by its rows where they differ.

    Parameters
    ----------
    batches : iterable of sequences
        The batches of one process alone, of a sampler or a mixture.
    rank : int
        Number of this process, from 0 to world - 1.
    world : int
        Number of processes, at least 1.

    Yields
    ------
    list
        This process's rows of the next batch.

    Raises
    ------
    InputError
        A rank out of range, or a batch with fewer rows than processes: one of them would have nothing to do while the
        others wait for it.

    Examples
    --------
    >>> list(shard([[0, 1, 2, 3], [4, 5, 6]], rank=1, world=2))
    [[2, 3], [5, 6]]
    """
    world = check_count(world, name="world")
    rank = check_count(rank, name="rank", minimum=0, maximum=world - 1)
    return _parts(batches, rank, world)


def _parts(batches: Iterable[Sequence[Row]], rank: int, world: int) -> Iterator[list[Row]]:
    for batch in batches:
        if len(batch) < world:
            raise InputError(
                message(
                    f"a batch of {len(batch)} row(s) for {world} processes",
                    "at least one row for each",
                    "drop short batches (drop_last=True) or start fewer processes",
                )
            )
        yield list(batch[rank * len(batch) // world : (rank + 1) * len(batch) // world])
