"""The plain samplers: rows in their order, and rows in random order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orthant.learn.samplers.protocol import Columns, check_batch, generator

__all__ = ["Sequential", "Shuffled", "cut"]


def cut(order: Sequence[int], batch_size: int, *, drop_last: bool) -> Iterator[list[int]]:
    """Yield consecutive pieces of an order of rows.

    Parameters
    ----------
    order : sequence of int, length n
        Row numbers.
    batch_size : int
        Rows of a piece.
    drop_last : bool
        Leave out a last piece that is shorter.

    Yields
    ------
    list of int
        The next piece.

    Examples
    --------
    >>> list(cut([3, 1, 2], 2, drop_last=False))
    [[3, 1], [2]]
    """
    stop = len(order) - len(order) % batch_size if drop_last else len(order)
    for start in range(0, stop, batch_size):
        yield list(order[start : min(start + batch_size, stop)])


class Sequential:
    """Rows in the order in which they stand, in every epoch.

    For data that is already in the order wanted, such as a stream sorted by time or batches built elsewhere.

    Parameters
    ----------
    drop_last : bool, default False
        Leave out a last batch that is shorter than the others.

    Examples
    --------
    >>> list(Sequential().batches(5, batch_size=2))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, *, drop_last: bool = False) -> None:
        self.drop_last = drop_last

    def length(self, n: int, *, batch_size: int, seed: int = 0, epoch: int = 0, columns: Columns | None = None) -> int:
        """Return the number of batches of an epoch.

        Parameters
        ----------
        n, batch_size, seed, epoch, columns
            As for `Sampler.batches`; the last three have no influence.

        Returns
        -------
        int
            ``ceil(n / batch_size)``, rounded down when the last is dropped.

        Raises
        ------
        InputError
            A batch larger than the data.
        """
        n, batch_size = check_batch(n, batch_size)
        return n // batch_size if self.drop_last else -(-n // batch_size)

    def batches(
        self, n: int, *, batch_size: int, seed: int = 0, epoch: int = 0, columns: Columns | None = None
    ) -> Iterator[list[int]]:
        """Yield the batches of an epoch.

        Parameters
        ----------
        n, batch_size, seed, epoch, columns
            As for `Sampler.batches`; the last three have no influence.

        Yields
        ------
        list of int
            The next rows.

        Raises
        ------
        InputError
            A batch larger than the data.
        """
        n, batch_size = check_batch(n, batch_size)
        return cut(range(n), batch_size, drop_last=self.drop_last)


class Shuffled:
    """Rows in an order drawn anew for every epoch.

    The default wherever nothing speaks for another: batches are independent of how the data was collected. With
    in-batch negatives and repeated texts take `NoDuplicates`.

    Parameters
    ----------
    drop_last : bool, default False
        Leave out a last batch that is shorter than the others. Which rows those are changes from epoch to epoch.

    Examples
    --------
    >>> batches = list(Shuffled().batches(5, batch_size=2, seed=1, epoch=0))
    >>> [len(batch) for batch in batches], sorted(sum(batches, []))
    ([2, 2, 1], [0, 1, 2, 3, 4])
    """

    def __init__(self, *, drop_last: bool = False) -> None:
        self.drop_last = drop_last

    def length(self, n: int, *, batch_size: int, seed: int = 0, epoch: int = 0, columns: Columns | None = None) -> int:
        """Return the number of batches of an epoch.

        Parameters
        ----------
        n, batch_size, seed, epoch, columns
            As for `Sampler.batches`; the last three have no influence.

        Returns
        -------
        int
            ``ceil(n / batch_size)``, rounded down when the last is dropped.

        Raises
        ------
        InputError
            A batch larger than the data.
        """
        n, batch_size = check_batch(n, batch_size)
        return n // batch_size if self.drop_last else -(-n // batch_size)

    def batches(
        self, n: int, *, batch_size: int, seed: int = 0, epoch: int = 0, columns: Columns | None = None
    ) -> Iterator[list[int]]:
        """Yield the batches of an epoch.

        Parameters
        ----------
        n, batch_size, seed, epoch, columns
            As for `Sampler.batches`; `columns` has no influence.

        Yields
        ------
        list of int
            The next rows.

        Raises
        ------
        InputError
            A batch larger than the data, or a negative seed or epoch.
        """
        n, batch_size = check_batch(n, batch_size)
        order = generator(seed, epoch).permutation(n).tolist()
        return cut(order, batch_size, drop_last=self.drop_last)
