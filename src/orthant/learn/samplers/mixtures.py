"""Several data sets, each batch from one of them: in proportion, in turn, or with a fixed share for one kind."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.learn.samplers.protocol import Columns, Sampler, count_batches, generator
from orthant.learn.samplers.rows import Shuffled
from orthant.validate import check_choice, check_count, check_fraction

__all__ = ["BalancedMix", "Proportional", "RoundRobin"]

STOPPING = ("first-exhausted", "all-exhausted")
Batch = list[tuple[int, int]]


class Source(NamedTuple):
    """One data set of a mixture: its rows, how they are cut, and how often an epoch can draw from it."""

    size: int
    sampler: Sampler
    batch_size: int
    columns: Columns | None
    seed: int
    available: int


class _FullBatches:
    """A sampler without its short batches."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler

    def batches(
        self, n: int, *, batch_size: int, seed: int, epoch: int, columns: Columns | None
    ) -> Iterator[list[int]]:
        """Yield the full batches of the sampler."""
        found = self.sampler.batches(n, batch_size=batch_size, seed=seed, epoch=epoch, columns=columns)
        return (batch for batch in found if len(batch) == batch_size)


def open_sources(
    sizes: Sequence[int],
    *,
    samplers: Sequence[Sampler] | None,
    batch_sizes: Sequence[int],
    seed: int,
    epoch: int,
    columns: Sequence[Columns | None] | None,
    full: bool = False,
) -> list[Source]:
    """Return the data sets of a mixture after checking that the lists belong together.

    Parameters
    ----------
    sizes : sequence of int
        Rows of each data set.
    samplers : sequence of Sampler, optional
        One per data set; left out, each is shuffled.
    batch_sizes : sequence of int
        Rows of a batch of each.
    seed, epoch : int
        At least 0.
    columns : sequence of mappings, optional
        One per data set.
    full : bool, default False
        Leave out batches that are shorter than they should be.

    Returns
    -------
    list of Source
        With a seed of its own for each, so that equal sizes do not give equal orders.

    Raises
    ------
    InputError
        No data sets, lists of other lengths, a data set smaller than its batch, or what a sampler refuses.
    """
    if len(sizes) == 0:
        raise InputError(message("no data sets", "at least one", "pass their sizes"))
    for name, given in (("samplers", samplers), ("columns", columns), ("batch sizes", batch_sizes)):
        if given is not None and len(given) != len(sizes):
            raise InputError(
                message(f"{len(given)} {name} for {len(sizes)} data sets", "one per data set", "make the lists equal")
            )
    out = []
    for number, size in enumerate(sizes):
        rows = check_count(size, name=f"sizes[{number}]")
        if batch_sizes[number] > rows:
            raise InputError(
                message(
                    f"data set {number} with {rows} rows for batches of {batch_sizes[number]}",
                    "at least one full batch",
                    "leave that data set out or lower the batch size",
                )
            )
        sampler = samplers[number] if samplers is not None else Shuffled(drop_last=full)
        if full:
            sampler = _FullBatches(sampler)
        own: dict[str, Any] = {
            "batch_size": batch_sizes[number],
            "columns": columns[number] if columns is not None else None,
            "seed": int(generator(seed, 0, number).integers(2**31)),
        }
        available = count_batches(sampler, rows, epoch=epoch, **own)
        if available == 0:
            raise InputError(
                message(f"no batch from data set {number}", "at least one", "let its sampler keep short batches")
            )
        out.append(Source(size=rows, sampler=sampler, available=available, **own))
    return out


def stream(source: Source, epoch: int) -> Iterator[list[int]]:
    """Yield a data set's batches without end: when all have come, they are drawn anew.

    Parameters
    ----------
    source : Source
        The data set.
    epoch : int
        Epoch of the mixture.

    Yields
    ------
    list of int
        Rows of the next batch.
    """
    for again in itertools.count():
        seed = source.seed if again == 0 else int(generator(source.seed, 0, again).integers(2**31))
        yield from source.sampler.batches(
            source.size, batch_size=source.batch_size, seed=seed, epoch=epoch, columns=source.columns
        )


def as_weights(weights: Sequence[float] | None, count: int) -> npt.NDArray[np.float64] | None:
    """Return weights as float64 after checking them.

    Parameters
    ----------
    weights : sequence of float, length count, or None
        One per data set.
    count : int
        Number of data sets.

    Returns
    -------
    ndarray of shape (count,), float64, or None
        None for None.

    Raises
    ------
    InputError
        Another length, negative or non-finite weights, or all zero.
    """
    if weights is None:
        return None
    values = np.asarray(weights, dtype=np.float64)
    if values.shape != (count,):
        raise InputError(
            message(f"{values.size} weights for {count} data sets", "one per data set", "make the lists equal")
        )
    check_weights(values)
    return values


def check_weights(values: npt.NDArray[np.float64]) -> None:
    """Refuse weights that are not a distribution up to scale.

    Parameters
    ----------
    values : ndarray of shape (count,), float64
        The weights.

    Raises
    ------
    InputError
        Negative or non-finite weights, or none above zero.
    """
    if not np.isfinite(values).all() or (values < 0).any() or not (values > 0).any():
        raise InputError(
            message(f"weights {values.tolist()}", "finite weights of 0 or more, not all 0", "correct the weights")
        )


def plan(available: Sequence[int], shares: npt.NDArray[np.float64], *, stopping: str) -> npt.NDArray[np.int64]:
    """Return how many draws each data set gets, so that the shares are met as closely as whole numbers allow.

    Parameters
    ----------
    available : sequence of int
        Draws that each data set can give before its rows come again.
    shares : ndarray of shape (count,), float64
        Weights of 0 or more, on any scale.
    stopping : {"first-exhausted", "all-exhausted"}
        Stop before any row comes again, or once every row has come.

    Returns
    -------
    ndarray of shape (count,), int64
        Each within one of its share of the sum.

    Notes
    -----
    ``N = min_i a_i / p_i`` (or the maximum), ``n_i = floor(N p_i)``; what the floors leave over goes to the largest
    remainders. Computed in fractions: a share that is met exactly is not lost to rounding.

    Examples
    --------
    >>> plan([10, 100], np.array([0.5, 0.5]), stopping="first-exhausted").tolist()
    [10, 10]
    >>> plan([10, 100], np.array([0.5, 0.5]), stopping="all-exhausted").tolist()
    [100, 100]
    """
    exact = [Fraction(float(share)).limit_denominator(10**9) for share in shares]
    total = sum(exact)
    exact = [share / total for share in exact]
    ratios = [count / share for count, share in zip(available, exact, strict=True) if share > 0]
    length = int(min(ratios)) if stopping == "first-exhausted" else -int(-max(ratios) // 1)
    wanted = [share * length for share in exact]
    counts = [int(value) for value in wanted]
    by_remainder = sorted(range(len(counts)), key=lambda i: (counts[i] - wanted[i], i))
    for number in by_remainder[: length - sum(counts)]:
        counts[number] += 1
    return np.array(counts, dtype=np.int64)


def _draw(sources: list[Source], sequence: npt.NDArray[np.int64], epoch: int) -> Iterator[Batch]:
    streams = [stream(source, epoch) for source in sources]
    for number in sequence.tolist():
        yield [(number, row) for row in next(streams[number])]


class Proportional:
    """Each batch from one data set, data sets in random order and exact proportion.

    The default for several data sets. Without weights every batch of every data set comes once. Small data sets then
    hardly count; a temperature above 1 lifts them.

    Parameters
    ----------
    weights : sequence of float, optional
        Share of the batches of each data set, on any scale, at least 0; 0 leaves one out. Left out, its number of
        batches.
    temperature : float, default 1.0
        Above 0. Shares are raised to ``1 / temperature``: 1 keeps them, large ones make them equal, below 1 sharpens.
    stopping : {"first-exhausted", "all-exhausted"}, default "first-exhausted"
        The epoch ends when a data set could not keep its share without repeating a row, or when each has given all its
        rows; smaller ones are then drawn anew as often as needed.

    Examples
    --------
    >>> batches = list(Proportional([1, 1]).batches([100, 50], batch_size=10, seed=0, epoch=0))
    >>> [number for batch in batches for number, _ in batch[:1]].count(0), len(batches)
    (5, 10)
    """

    def __init__(
        self,
        weights: Sequence[float] | None = None,
        *,
        temperature: float = 1.0,
        stopping: str = "first-exhausted",
    ) -> None:
        self.weights = None if weights is None else tuple(weights)
        if self.weights is not None:
            check_weights(np.asarray(self.weights, dtype=np.float64))
        if not 0 < check_fraction(temperature, name="temperature", high=np.inf) < np.inf:
            raise InputError(message(f"temperature={temperature}", "a number above 0", "pass 1 for plain proportions"))
        self.temperature = float(temperature)
        self.stopping = check_choice(stopping, STOPPING, name="stopping")

    def length(
        self,
        sizes: Sequence[int],
        *,
        samplers: Sequence[Sampler] | None = None,
        batch_size: int,
        seed: int = 0,
        epoch: int = 0,
        columns: Sequence[Columns | None] | None = None,
    ) -> int:
        """Return the number of batches of an epoch.

        Parameters
        ----------
        sizes, samplers, batch_size, seed, epoch, columns
            As for `batches`.

        Returns
        -------
        int
            Exact.

        Raises
        ------
        InputError
            What `batches` refuses.
        """
        return int(self._planned(sizes, samplers, batch_size, seed, epoch, columns)[1].sum())

    def batches(
        self,
        sizes: Sequence[int],
        *,
        samplers: Sequence[Sampler] | None = None,
        batch_size: int,
        seed: int = 0,
        epoch: int = 0,
        columns: Sequence[Columns | None] | None = None,
    ) -> Iterator[Batch]:
        """Yield the batches of an epoch.

        Parameters
        ----------
        sizes, samplers, batch_size, seed, epoch, columns
            As for `Mixture.batches`.

        Yields
        ------
        list of (int, int)
            Data set, the same throughout a batch, and row.

        Raises
        ------
        InputError
            Lists of other lengths, a data set smaller than a batch, or what a sampler refuses.
        """
        sources, counts = self._planned(sizes, samplers, batch_size, seed, epoch, columns)
        order = generator(seed, epoch).permutation(np.repeat(np.arange(len(counts)), counts))
        return _draw(sources, order, epoch)

    def _planned(
        self, sizes: Sequence[int], samplers: Any, batch_size: int, seed: int, epoch: int, columns: Any
    ) -> tuple[list[Source], npt.NDArray[np.int64]]:
        batch_sizes = self._batch_sizes(len(sizes), check_count(batch_size, name="batch_size"))
        sources = open_sources(
            sizes, samplers=samplers, batch_sizes=batch_sizes, seed=seed, epoch=epoch, columns=columns
        )
        available = [source.available for source in sources]
        return sources, plan(available, self._shares(available), stopping=self.stopping)

    def _batch_sizes(self, count: int, batch_size: int) -> list[int]:
        return [batch_size] * count

    def _shares(self, available: Sequence[int]) -> npt.NDArray[np.float64]:
        weights = as_weights(self.weights, len(available))
        values = np.asarray(available, dtype=np.float64) if weights is None else weights
        return values if self.temperature == 1 else (values / values.max()) ** (1 / self.temperature)


class BalancedMix(Proportional):
    """Each batch from one data set, with a fixed share of all batches for the data sets of one kind.

    For a stage that adds tasks to a model trained for retrieval: retrieval keeps the share eta whatever the sizes are,
    so that it is not forgotten. Graded pairs may have larger batches than retrieval, since their loss compares pairs
    of pairs.

    Parameters
    ----------
    eta : float
        Share of the batches from the primary data sets, from 0 to 1. Too small and the first task is forgotten, too
        large and the others are not learned.
    primary : sequence of int, default (0,)
        Numbers of the data sets of the first kind.
    weights : sequence of float, optional
        How the data sets of one kind divide its share, on any scale. Left out, their numbers of batches.
    batch_sizes : sequence of int, optional
        Rows of a batch of each data set. Left out, the same for all.
    stopping : {"first-exhausted", "all-exhausted"}, default "first-exhausted"
        As for `Proportional`.

    Notes
    -----
    ``p_i = eta w_i / sum_primary w`` for a primary data set, ``(1 - eta) w_i / sum_others w`` for another.

    References
    ----------
    QZhou-Embedding Technical Report. arXiv 2508.21632, section on training (two stages, global ratio of retrieval).

    Examples
    --------
    >>> batches = list(BalancedMix(0.75).batches([800, 40, 40], batch_size=10, seed=0, epoch=0))
    >>> sum(batch[0][0] == 0 for batch in batches) / len(batches)
    0.75
    """

    def __init__(
        self,
        eta: float,
        *,
        primary: Sequence[int] = (0,),
        weights: Sequence[float] | None = None,
        batch_sizes: Sequence[int] | None = None,
        stopping: str = "first-exhausted",
    ) -> None:
        super().__init__(weights, stopping=stopping)
        self.eta = check_fraction(eta, name="eta")
        self.primary = tuple(check_count(number, name="primary", minimum=0) for number in primary)
        self.batch_sizes = (
            None if batch_sizes is None else tuple(check_count(b, name="batch_sizes") for b in batch_sizes)
        )

    def _batch_sizes(self, count: int, batch_size: int) -> list[int]:
        return [batch_size] * count if self.batch_sizes is None else list(self.batch_sizes)

    def _shares(self, available: Sequence[int]) -> npt.NDArray[np.float64]:
        values = super()._shares(available)
        first = np.isin(np.arange(len(values)), self.primary)
        for chosen, share, kind in ((first, self.eta, "primary"), (~first, 1 - self.eta, "other")):
            if share > 0 and values[chosen].sum() == 0:
                raise InputError(
                    message(
                        f"no {kind} data set with a weight for its share of {share:g}",
                        "at least one",
                        "correct primary, weights or eta",
                    )
                )
        if self.primary and max(self.primary) >= len(values):
            raise InputError(
                message(f"primary={self.primary} of {len(values)} data sets", "numbers of data sets", "count from 0")
            )
        parts = np.where(first, self.eta, 1 - self.eta)
        sums = np.where(first, values[first].sum(), values[~first].sum())
        return np.divide(parts * values, sums, out=np.zeros_like(values), where=sums > 0)


class RoundRobin:
    """One batch from each data set in turn, until the one with the fewest batches has none left.

    For tasks that must count equally whatever their sizes. What larger data sets have beyond that waits for later
    epochs, which draw other rows.

    Examples
    --------
    >>> batches = list(RoundRobin().batches([40, 20], batch_size=10, seed=0, epoch=0))
    >>> [batch[0][0] for batch in batches]
    [0, 1, 0, 1]
    """

    def length(
        self,
        sizes: Sequence[int],
        *,
        samplers: Sequence[Sampler] | None = None,
        batch_size: int,
        seed: int = 0,
        epoch: int = 0,
        columns: Sequence[Columns | None] | None = None,
    ) -> int:
        """Return the number of batches of an epoch.

        Parameters
        ----------
        sizes, samplers, batch_size, seed, epoch, columns
            As for `batches`.

        Returns
        -------
        int
            Number of data sets times the smallest number of batches.

        Raises
        ------
        InputError
            What `batches` refuses.
        """
        sources = self._sources(sizes, samplers, batch_size, seed, epoch, columns)
        return len(sources) * min(source.available for source in sources)

    def batches(
        self,
        sizes: Sequence[int],
        *,
        samplers: Sequence[Sampler] | None = None,
        batch_size: int,
        seed: int = 0,
        epoch: int = 0,
        columns: Sequence[Columns | None] | None = None,
    ) -> Iterator[Batch]:
        """Yield the batches of an epoch.

        Parameters
        ----------
        sizes, samplers, batch_size, seed, epoch, columns
            As for `Mixture.batches`.

        Yields
        ------
        list of (int, int)
            Data set, the same throughout a batch, and row.

        Raises
        ------
        InputError
            Lists of other lengths, a data set smaller than a batch, or what a sampler refuses.
        """
        sources = self._sources(sizes, samplers, batch_size, seed, epoch, columns)
        turns = min(source.available for source in sources)
        return _draw(sources, np.tile(np.arange(len(sources)), turns), epoch)

    def _sources(
        self, sizes: Sequence[int], samplers: Any, batch_size: int, seed: int, epoch: int, columns: Any
    ) -> list[Source]:
        batch_sizes = [check_count(batch_size, name="batch_size")] * len(sizes)
        return open_sources(sizes, samplers=samplers, batch_sizes=batch_sizes, seed=seed, epoch=epoch, columns=columns)
