"""Several data sets within one batch: sub-batches of one data set each, or mostly one with some rows exchanged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.learn.samplers.mixtures import (
    STOPPING,
    Batch,
    Proportional,
    Source,
    as_weights,
    check_weights,
    open_sources,
    plan,
    stream,
)
from orthant.learn.samplers.protocol import Columns, Mixture, Sampler, count_mixed_batches, generator
from orthant.validate import check_choice, check_count, check_fraction

__all__ = ["Interleaved", "SemiHomogeneous"]

EXCHANGE = 1


class Interleaved:
    """Batches put together from sub-batches, each of one data set.

    The middle way between one data set per batch (hard negatives, but batches unlike each other) and rows of all of
    them mixed (easy negatives: another task is recognised at once).

    Parameters
    ----------
    sub_batch : int
        Rows of a sub-batch; divides the batch size. 1 mixes all, the whole batch size mixes nothing.
    weights : sequence of float, optional
        Share of the sub-batches of each data set, on any scale, at least 0. Left out, its number of sub-batches.
    stopping : {"first-exhausted", "all-exhausted"}, default "first-exhausted"
        As for `Proportional`.

    Notes
    -----
    The shares are met exactly over an epoch, up to whole sub-batches, and the order of the sub-batches is random.
    Sub-batches that do not fill a batch at the end are left out, as are short ones.

    References
    ----------
    Meng et al.: VLM2Vec-V2: Advancing Multimodal Embedding for Videos, Images, and Visual Documents. arXiv 2507.04590,
    TMLR 2026, section 3.3 (interleaved sub-batching).

    Examples
    --------
    >>> batches = list(Interleaved(2).batches([20, 20], batch_size=4, seed=0, epoch=0))
    >>> all(batch[0][0] == batch[1][0] and batch[2][0] == batch[3][0] for batch in batches), len(batches)
    (True, 10)
    """

    def __init__(
        self, sub_batch: int, weights: Sequence[float] | None = None, *, stopping: str = "first-exhausted"
    ) -> None:
        self.sub_batch = check_count(sub_batch, name="sub_batch")
        self.weights = None if weights is None else tuple(weights)
        if self.weights is not None:
            check_weights(np.asarray(self.weights, dtype=np.float64))
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
        _, counts = self._planned(sizes, samplers, batch_size, seed, epoch, columns)
        return int(counts.sum()) * self.sub_batch // batch_size

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
            Data set, the same throughout a sub-batch, and row.

        Raises
        ------
        InputError
            A sub-batch that does not divide the batch, a data set smaller than one sub-batch, weights of another
            length, or what a sampler refuses.
        """
        sources, counts = self._planned(sizes, samplers, batch_size, seed, epoch, columns)
        order = generator(seed, epoch).permutation(np.repeat(np.arange(len(counts)), counts))
        return self._assemble(sources, order, batch_size // self.sub_batch, epoch)

    def _planned(
        self,
        sizes: Sequence[int],
        samplers: Sequence[Sampler] | None,
        batch_size: int,
        seed: int,
        epoch: int,
        columns: Sequence[Columns | None] | None,
    ) -> tuple[list[Source], npt.NDArray[np.int64]]:
        if check_count(batch_size, name="batch_size") % self.sub_batch:
            raise InputError(
                message(
                    f"sub_batch={self.sub_batch} for batch_size={batch_size}",
                    "a divisor of the batch size",
                    "choose one of them anew",
                )
            )
        sources = open_sources(
            sizes,
            samplers=samplers,
            batch_sizes=[self.sub_batch] * len(sizes),
            seed=seed,
            epoch=epoch,
            columns=columns,
            full=True,
        )
        available = [source.available for source in sources]
        weights = as_weights(self.weights, len(sources))
        shares = np.asarray(available, dtype=np.float64) if weights is None else weights
        return sources, plan(available, shares, stopping=self.stopping)

    def _assemble(self, sources: list[Source], order: npt.NDArray[np.int64], parts: int, epoch: int) -> Iterator[Batch]:
        streams = [stream(source, epoch) for source in sources]
        for start in range(0, len(order) - len(order) % parts, parts):
            yield [(number, row) for number in order[start : start + parts].tolist() for row in next(streams[number])]


class SemiHomogeneous:
    """Batches of one data set, of which a fraction of rows is exchanged with other batches.

    Negatives of the same task are hard, a few rows of other tasks keep batches from being all alike.

    Parameters
    ----------
    ratio : float
        Share of each batch that stays, from 0 to 1: 1 exchanges nothing, 0 mixes all rows.
    mixture : Mixture, optional
        Makes the batches before the exchange. Left out, `Proportional`.

    Notes
    -----
    In a batch of B rows, ``round((1 - ratio) B)`` places are drawn. The rows at all drawn places of the epoch change
    places among each other at random, so that sizes stay and every row comes as often as before. A row may come back
    to its batch.

    References
    ----------
    KaLM-Embedding-V2: Superior Training Techniques and Data Inspire A Versatile Embedding Model. arXiv 2506.20923
    (homogeneous ratio, in the released code).

    Examples
    --------
    >>> batches = list(SemiHomogeneous(0.75).batches([40, 40], batch_size=8, seed=0, epoch=0))
    >>> min(max(sum(n == k for n, _ in batch) for k in (0, 1)) for batch in batches) >= 6
    True
    """

    def __init__(self, ratio: float, *, mixture: Mixture | None = None) -> None:
        self.ratio = check_fraction(ratio, name="ratio")
        self.mixture = Proportional() if mixture is None else mixture

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
            That of the mixture.

        Raises
        ------
        InputError
            What `batches` refuses.
        """
        return count_mixed_batches(
            self.mixture, sizes, samplers=samplers, batch_size=batch_size, seed=seed, epoch=epoch, columns=columns
        )

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
            Data set and row; at least the share `ratio` of a batch from one data set, if the mixture's batches are.

        Raises
        ------
        InputError
            What the mixture refuses.
        """
        made = list(
            self.mixture.batches(
                sizes, samplers=samplers, batch_size=batch_size, seed=seed, epoch=epoch, columns=columns
            )
        )
        rng = generator(seed, epoch, EXCHANGE)
        places = [
            (number, place)
            for number, batch in enumerate(made)
            for place in rng.permutation(len(batch))[: round((1 - self.ratio) * len(batch))].tolist()
        ]
        rows = [made[number][place] for number, place in places]
        for (number, place), chosen in zip(places, rng.permutation(len(rows)).tolist(), strict=True):
            made[number][place] = rows[chosen]
        return iter(made)
