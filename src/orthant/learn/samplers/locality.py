"""Batches of rows that lie close together, so that the negatives within a batch are hard."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.kernels.distances import inverse_norms, row_chunks
from orthant.kernels.topk import top_k
from orthant.learn.samplers.protocol import Columns, check_batch, generator
from orthant.types import FloatArray, Index
from orthant.validate import as_vectors, check_choice, check_count, check_fraction

__all__ = ["LocalityCentric"]


class LocalityCentric:
    """Batches along a graph of what a first retriever confuses, so that each row's negatives look like its positives.

    For the second stage of a training: the model tells apart at random batches well already, and now has to order the
    candidates of a first search. Take false negatives out of the candidates first, since this brings them together.

    Parameters
    ----------
    candidates : array-like of int, shape (n, m)
        For each row the ids of what a first retriever returned for it, without its positives; -1 where there are fewer.
        Any numbering: two rows are near when they have a candidate in common.
    strategy : {"snowball", "random-walk"}, default "snowball"
        Goes on with the row that waits longest (breadth first: one neighbourhood after the other) or with the one that
        came last (depth first: a chain, less concentrated).
    share : float, default 1.0
        Share of each batch that is local, from 0 to 1; the rest is drawn from all rows that are left. 0 is a plain
        shuffle.
    fan_out : int, default 64
        Most rows that one candidate brings in, at least 1. Too large, and a candidate that everything returns floods
        the queue; too small, and batches get less local.
    drop_last : bool, default False
        Leave out a last batch that is shorter than the others.

    Notes
    -----
    Rows and candidates form a bipartite graph. A batch starts from a random row; every row taken draws one of its
    candidates as its negative, and all rows with that candidate that are still to come join the queue. An empty queue
    begins anew at a random row. The queue does not outlive its batch. Cost O(n m) for the graph and O(n fan_out) per
    epoch.

    References
    ----------
    Xiao et al.: Progressively Optimized Bi-Granular Document Representation for Scalable Embedding Based Retrieval.
    arXiv 2201.05409, WWW 2022, section 3.3 (locality-centric sampling).

    Examples
    --------
    >>> near = LocalityCentric([[10], [20], [10], [20]])
    >>> sorted(sorted(batch) for batch in near.batches(4, batch_size=2, seed=0, epoch=0))
    [[0, 2], [1, 3]]
    """

    def __init__(
        self,
        candidates: npt.ArrayLike,
        *,
        strategy: str = "snowball",
        share: float = 1.0,
        fan_out: int = 64,
        drop_last: bool = False,
    ) -> None:
        self.candidates = _as_candidates(candidates)
        self.strategy = check_choice(strategy, ("snowball", "random-walk"), name="strategy")
        self.share = check_fraction(share, name="share")
        self.fan_out = check_count(fan_out, name="fan_out")
        self.drop_last = drop_last
        self._ids, self._numbers = _numbered(self.candidates)
        self._links = _links(self._numbers, len(self._ids))

    @classmethod
    def from_vectors(
        cls,
        X: npt.ArrayLike,
        *,
        m: int = 20,
        index: Index | None = None,
        strategy: str = "snowball",
        share: float = 1.0,
        fan_out: int = 64,
        drop_last: bool = False,
    ) -> LocalityCentric:
        """Return a sampler whose candidates are each row's nearest rows.

        Parameters
        ----------
        X : array-like of shape (n, d)
            One vector per row, such as the embedding of its query by the model to be trained.
        m : int, default 20
            Neighbours of a row, from 1 to n - 1. A row joins the queue as well when it is itself the candidate drawn.
        index : Index, optional
            Holds the same n vectors under the ids 0 to n - 1. Left out, all cosines are computed, O(n^2 d).
        strategy, share, fan_out, drop_last
            As for the class.

        Returns
        -------
        LocalityCentric
            The sampler.

        Raises
        ------
        InputError
            m out of range, an index of another size, or zero vectors.
        """
        vectors = as_vectors(X, nonzero=True)
        m = check_count(m, name="m", maximum=max(len(vectors) - 1, 1))
        near = _nearest(vectors, m) if index is None else _from_index(vectors, m, index)
        table = np.concatenate([np.arange(len(vectors))[:, None], near], axis=1)
        made = cls(table, strategy=strategy, share=share, fan_out=fan_out, drop_last=drop_last)
        # Linked to itself, since others may draw it, but never its own negative.
        made.candidates, made._numbers = made.candidates[:, 1:], made._numbers[:, 1:]
        return made

    @classmethod
    def from_clusters(
        cls,
        clusters: npt.ArrayLike,
        *,
        share: float = 1.0,
        fan_out: int = 64,
        drop_last: bool = False,
    ) -> LocalityCentric:
        """Return a sampler whose local rows come from one cluster after the other.

        Parameters
        ----------
        clusters : array-like of int, shape (n,)
            Cluster of each row, such as its nearest of some k-means centroids; -1 for none. The negatives drawn are
            then numbers of clusters and of no use.
        share, fan_out, drop_last
            As for the class.

        Returns
        -------
        LocalityCentric
            The sampler.

        Raises
        ------
        InputError
            Another shape, or not integers.
        """
        numbers = np.asarray(clusters)
        if numbers.ndim != 1:
            raise InputError(message(f"clusters of shape {numbers.shape}", "one number per row", "pass a flat array"))
        return cls(numbers[:, None], share=share, fan_out=fan_out, drop_last=drop_last)

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
            Candidates for another number of rows, or a batch larger than the data.
        """
        n, batch_size = self._checked(n, batch_size)
        return n // batch_size if self.drop_last else -(-n // batch_size)

    def batches(
        self, n: int, *, batch_size: int, seed: int = 0, epoch: int = 0, columns: Columns | None = None
    ) -> Iterator[list[int]]:
        """Yield the batches of an epoch.

        Parameters
        ----------
        n, batch_size, seed, epoch, columns
            As for `Sampler.batches`; `columns` is not looked at.

        Yields
        ------
        list of int
            The next rows.

        Raises
        ------
        InputError
            Candidates for another number of rows, or a batch larger than the data.
        """
        drawn = self.batches_with_negatives(n, batch_size=batch_size, seed=seed, epoch=epoch)
        return ([row for row, _ in batch] for batch in drawn)

    def batches_with_negatives(
        self, n: int, *, batch_size: int, seed: int = 0, epoch: int = 0
    ) -> Iterator[list[tuple[int, int]]]:
        """Yield the batches of an epoch, each row with the candidate that was drawn as its negative.

        Parameters
        ----------
        n, batch_size, seed, epoch
            As for `Sampler.batches`.

        Yields
        ------
        list of (int, int)
            Row, and the id of one of its candidates; -1 where it has none.

        Raises
        ------
        InputError
            Candidates for another number of rows, or a batch larger than the data.
        """
        n, batch_size = self._checked(n, batch_size)
        return self._walk(n, batch_size, seed, epoch)

    def _checked(self, n: int, batch_size: int) -> tuple[int, int]:
        n, batch_size = check_batch(n, batch_size)
        if n != len(self.candidates):
            raise InputError(
                message(
                    f"{len(self.candidates)} rows of candidates",
                    f"{n}, one per row",
                    "pass candidates of this data set",
                )
            )
        return n, batch_size

    def _walk(self, n: int, batch_size: int, seed: int, epoch: int) -> Iterator[list[tuple[int, int]]]:
        rng = generator(seed, epoch)
        starts = deque(rng.permutation(n).tolist())
        negatives = self._draw_negatives(rng)
        local = round(self.share * batch_size)
        done = np.zeros(n, dtype=bool)
        left = n
        while left >= (batch_size if self.drop_last else 1):
            batch: list[tuple[int, int]] = []
            queue: deque[int] = deque()
            seen: set[int] = set()
            for place in range(min(batch_size, left)):
                row = self._next(queue, starts, done) if place < local else _unused(starts, done)
                done[row] = True
                batch.append((row, int(self._ids[negatives[row]]) if negatives[row] >= 0 else -1))
                if place < local and negatives[row] >= 0:
                    self._push(queue, int(negatives[row]), done, seen, rng)
            left -= len(batch)
            yield batch

    def _next(self, queue: deque[int], starts: deque[int], done: npt.NDArray[np.bool_]) -> int:
        while queue:
            row = queue.popleft() if self.strategy == "snowball" else queue.pop()
            if not done[row]:
                return row
        return _unused(starts, done)

    def _push(
        self,
        queue: deque[int],
        candidate: int,
        done: npt.NDArray[np.bool_],
        seen: set[int],
        rng: np.random.Generator,
    ) -> None:
        if candidate in seen:
            return
        offsets, rows = self._links
        linked = rows[offsets[candidate] : offsets[candidate + 1]]
        waiting = linked[~done[linked]]
        if len(waiting) > self.fan_out:
            waiting = rng.choice(waiting, self.fan_out, replace=False)
        else:
            seen.add(candidate)
            waiting = rng.permutation(waiting)
        queue.extend(waiting.tolist())

    def _draw_negatives(self, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        given = self._numbers >= 0
        counts = given.sum(axis=1)
        # The j-th real candidate of each row with j drawn uniformly: real ones first, in their order.
        first = np.argsort(~given, axis=1, kind="stable")
        drawn = (rng.random(len(counts)) * counts).astype(np.int64)
        place = np.take_along_axis(first, drawn[:, None], axis=1)
        return np.where(counts > 0, np.take_along_axis(self._numbers, place, axis=1)[:, 0], -1)


def _unused(starts: deque[int], done: npt.NDArray[np.bool_]) -> int:
    row = starts.popleft()
    while done[row]:
        row = starts.popleft()
    return row


def _as_candidates(candidates: npt.ArrayLike) -> npt.NDArray[np.int64]:
    try:
        table = np.asarray(candidates)
    except ValueError as error:
        raise InputError(
            message("candidates with rows of different lengths", "a table of shape (n, m)", "fill up with -1")
        ) from error
    if table.ndim != 2 or table.dtype.kind not in "iu" or table.size == 0:
        raise InputError(
            message(
                f"candidates of shape {table.shape} and dtype {table.dtype}",
                "integers of shape (n, m)",
                "pass one row of ids per row of the data, filled up with -1",
            )
        )
    table = np.ascontiguousarray(table, dtype=np.int64)
    if not (table >= 0).any():
        raise InputError(message("candidates that are all -1", "at least one id", "search without removing every hit"))
    return table


def _numbered(candidates: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the ids that occur, and the table with their positions in place of the ids."""
    given = candidates >= 0
    ids, places = np.unique(candidates[given], return_inverse=True)
    numbers = np.full(candidates.shape, -1, dtype=np.int64)
    numbers[given] = places
    return ids, numbers


def _links(numbers: npt.NDArray[np.int64], count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return offsets per candidate, and the rows that have it, back to back."""
    rows = np.repeat(np.arange(len(numbers)), numbers.shape[1])
    flat = numbers.ravel()
    rows, flat = rows[flat >= 0], flat[flat >= 0]
    offsets = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(flat, minlength=count), out=offsets[1:])
    return offsets, rows[np.argsort(flat, kind="stable")]


def _nearest(vectors: FloatArray, m: int) -> npt.NDArray[np.int64]:
    unit = vectors * inverse_norms(vectors)[:, None]
    found = []
    for start, stop in row_chunks(len(unit), 4 * len(unit)):
        scores = unit[start:stop] @ unit.T
        scores[np.arange(stop - start), np.arange(start, stop)] = -np.inf
        found.append(top_k(scores, m)[0])
    return np.concatenate(found)


def _from_index(vectors: FloatArray, m: int, index: Index) -> npt.NDArray[np.int64]:
    if len(index) != len(vectors):
        raise InputError(
            message(f"an index of {len(index)} vectors", f"{len(vectors)}, one per row", "add the same vectors to it")
        )
    ids = index.search(vectors, min(m + 1, len(vectors))).ids
    # The row itself goes to the end wherever the index put it, and is cut off there.
    own = ids == np.arange(len(vectors))[:, None]
    kept = np.take_along_axis(np.where(own, -1, ids), np.argsort(own, axis=1, kind="stable"), axis=1)
    return kept[:, :m]
