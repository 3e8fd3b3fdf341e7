"""The exact index: every allowed vector is compared, so its answer is the truth other indexes are judged by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, InputError, NotFoundError, message
from orthant.index.blocks import ALIVE, Block, BlockSet, IdRuns, checked_scale
from orthant.index.flat_file import read_flat, write_flat
from orthant.index.scan import scan, score_lists, score_rows
from orthant.index.sources import Tail, as_live, check_distinct, outer_block
from orthant.kernels import distances
from orthant.kernels.topk import check_answers
from orthant.threads import Turn
from orthant.types import BitmapArray, FloatArray, Hits, IdArray, IndexStats, Metric
from orthant.validate import as_allowed, as_ids, as_vectors, check_count, check_fraction, check_metric

__all__ = ["Flat"]

_COMPACT_ROWS = 1024
_COMPACT_SHARE = 5
"""Dead rows are squeezed out above 1,024 and above one in five."""

_LARGEST_ID = int(np.iinfo(np.int64).max)


class Flat:
    """Exact nearest neighbours by comparing a query with every vector.

    Use it below some twenty thousand vectors, under strict filters, and as the truth that approximate indexes are
    measured against. Do not use it where millions of vectors must answer within milliseconds.

    Any mix of calls from any threads is safe: a search sees the vectors of the moment it began.

    Parameters
    ----------
    dim : int
        Dimension of the vectors, at least 1.
    metric : {"cosine", "dot", "l2"}, default "cosine"
        Score, larger is closer; ``"l2"`` is minus the squared Euclidean distance.

    Raises
    ------
    InputError
        ``dim`` below 1 or an unknown metric.

    Notes
    -----
    A search is one pass of float32 matrix products. Every score carries a bound on its rounding, and all rows that
    could be among the k best are scored again in float64, so ids and scores are those of exact arithmetic, rounded
    to float32 (and cut at its largest value). Scores equal in float32 are ordered by id, smaller first.

    Cost of a search: O(q n d) multiplications, n d 4 bytes read per 512 queries, working arrays under 32 MiB.

    Examples
    --------
    >>> import numpy as np
    >>> from orthant.index import Flat
    >>> index = Flat(2, metric="cosine")
    >>> index.add(np.array([[1, 0], [0, 1], [1, 1]]))
    array([0, 1, 2])
    >>> hits = index.search([1.0, 0.1], k=2)
    >>> hits.ids
    array([[0, 2]])
    >>> index.search([1.0, 0.1], k=2, allowed=np.array([1])).ids
    array([[ 1, -1]])
    """

    def __init__(self, dim: int, metric: Metric = "cosine") -> None:
        self._dim = check_count(dim, name="dim")
        self._metric = check_metric(metric)
        self._lock = Turn()
        self._data = BlockSet(self._dim, given_runs=IdRuns())
        self._sealed: tuple[Block, ...] = ()
        self._tail = Tail(self._dim, 0)
        self._next_id = 0
        self._fixed = False

    @classmethod
    def over(
        cls,
        blocks: Iterable[Sequence[Any]],
        *,
        dim: int,
        metric: Metric = "cosine",
        live: BitmapArray | None = None,
    ) -> Flat:
        """Search existing arrays in place, such as memory-mapped files, without copying them.

        The arrays must not change while the index is in use. ``add`` and ``remove`` are refused.

        Parameters
        ----------
        blocks : iterable of (matrix, ids) or (matrix, ids, inverse_norms)
            ``matrix`` (n, dim) float32 C-contiguous, may be read-only; ``ids`` (n,) int64, distinct over all live
            rows; ``inverse_norms`` (n,) float32 as ``kernels.distances.inverse_norms`` gives, cosine only. Without
            them, each block's norms are computed by one pass at its first search and kept.
        dim : int
            Dimension.
        metric : {"cosine", "dot", "l2"}, default "cosine"
            Score.
        live : ndarray of uint64, optional
            Bitmap over ids; rows outside are skipped. Left out, all rows live.

        Returns
        -------
        Flat
            Ready to search.

        Raises
        ------
        DimensionError, DtypeError, InputError
            Arrays of another shape or dtype, or ids that repeat.

        Examples
        --------
        >>> import numpy as np
        >>> matrix = np.eye(3, dtype=np.float32)
        >>> index = Flat.over([(matrix, np.arange(3))], dim=3, metric="dot")
        >>> index.search(matrix[1], k=1).ids
        array([[1]])
        """
        out = cls(dim, metric)
        alive = None if live is None else as_live(live)
        made = [outer_block(i, block, out._dim, out._metric, alive) for i, block in enumerate(blocks)]
        check_distinct(made, 0)
        dead = sum(int(np.count_nonzero(block.died == 0)) for block in made) if alive is not None else 0
        out._data = BlockSet(out._dim, tuple(made), dead=dead)
        out._next_id = max((int(block.ids.max()) + 1 for block in made if len(block)), default=0)
        out._fixed = True
        return out

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        return self._dim

    @property
    def metric(self) -> Metric:
        """Score of the index."""
        return self._metric

    def __len__(self) -> int:
        """Return the number of live vectors."""
        return len(self._data)

    def __repr__(self) -> str:
        return f"Flat(dim={self._dim}, metric={self._metric!r}, {len(self)} vectors)"

    def add(self, X: npt.ArrayLike, ids: npt.ArrayLike | None = None) -> IdArray:
        """Add vectors; nothing is added when anything is wrong.

        Parameters
        ----------
        X : array-like of shape (n, dim)
            Any real dtype and strides; copied as float32.
        ids : array-like of shape (n,), int, optional
            Distinct, non-negative, not in the index. Left out, numbering continues after the largest id ever given.

        Returns
        -------
        ndarray of shape (n,), int64
            The ids.

        Raises
        ------
        InputError
            An id is present already (listed), a zero vector under cosine, or the index was made by ``over``.
        DimensionError, DtypeError, NonFiniteError
            X does not fit.
        """
        matrix = as_vectors(X, dim=self._dim, nonzero=self._metric == "cosine")
        given = None if ids is None else as_ids(ids, count=len(matrix))
        with self._lock:
            self._check_writable("add")
            if given is None:
                if self._next_id + len(matrix) > _LARGEST_ID:
                    raise InputError(message("no automatic ids left", "fewer than 2**63 - 1", "pass ids="))
                given = np.arange(self._next_id, self._next_id + len(matrix), dtype=np.int64)
            elif len(given):
                present = given[self._data.locate(given) >= 0]
                if len(present):
                    raise InputError(
                        message(
                            f"{len(present)} id(s) already in the index: {_listed(present)}",
                            "new ids",
                            "remove them first, or use a collection's upsert",
                        )
                    )
            if len(matrix):
                self._append(matrix, given, checked_scale(matrix, given, self._metric))
        return given

    def remove(self, ids: npt.ArrayLike) -> int:
        """Remove vectors by id; ids that are not present are ignored.

        Parameters
        ----------
        ids : array-like of shape (m,), int
            Distinct ids.

        Returns
        -------
        int
            How many were present.

        Raises
        ------
        InputError, DtypeError, DimensionError
            Not ids, or the index was made by ``over``.

        Notes
        -----
        Cost O(m log n); when more than a fifth of the rows are dead they are squeezed out, O(1) per removal amortised.
        """
        wanted = as_ids(ids)
        with self._lock:
            self._check_writable("remove")
            data = self._data
            rows = data.locate(wanted)
            rows = rows[rows >= 0]
            if not len(rows):
                return 0
            generation, dead = data.generation + 1, data.dead + len(rows)
            for block, _, inner in data.parts(rows):
                block.died[inner] = generation
            if dead > _COMPACT_ROWS and dead * _COMPACT_SHARE > data.total:
                self._compact(BlockSet(self._dim, data.blocks, generation, dead, data.runs))
            else:
                self._data = BlockSet(self._dim, data.blocks, generation, dead, data.runs)
            return len(rows)

    def search(
        self,
        Q: npt.ArrayLike,
        k: int = 10,
        *,
        allowed: BitmapArray | IdArray | npt.NDArray[np.bool_] | None = None,
        effort: int | None = None,
        recall: float | None = None,
        threads: int | None = None,
    ) -> Hits:
        """Return the k nearest live, allowed vectors of each query, exactly.

        Parameters
        ----------
        Q : array-like of shape (q, dim) or (dim,)
            Queries; non-zero under cosine.
        k : int, default 10
            Neighbours wanted, at least 1. Where there are fewer, rows are padded.
        allowed : uint64 bitmap over ids, bool mask over ids, or array of ids, optional
            Restricts the answer. When fewer than a quarter of the vectors are allowed, only those are compared.
        effort : None
            Not a setting of an exact index; anything else is refused.
        recall : float, optional
            Recall wanted, from 0 to 1; an exact index always meets it.
        threads : int, optional
            Parts that a large batch is split into at most. Left out, 1: the linear-algebra library under NumPy already
            spreads each product over the cores (``OPENBLAS_NUM_THREADS``). More helps where that is set to 1.

        Returns
        -------
        Hits
            ids (q, k) int64 padded with -1, scores (q, k) float32 padded with -inf, counts (q,), cost.

        Raises
        ------
        InputError
            k below 1, a zero query under cosine, ``effort`` given.
        DimensionError, DtypeError, NonFiniteError
            Q or ``allowed`` do not fit.
        """
        queries = as_vectors(Q, dim=self._dim, name="queries", nonzero=self._metric == "cosine", single=True)
        wanted = check_answers(k, queries=len(queries), held=len(self))
        if effort is not None:
            raise InputError(
                message(f"effort={effort!r} for an exact index", "no effort", "leave it out: every vector is compared")
            )
        if recall is not None:
            check_fraction(recall, name="recall")
        if threads is not None:
            check_count(threads, name="threads")
        data = self._data
        selection = data.select(as_allowed(allowed))
        return scan(data, queries, wanted, metric=self._metric, selection=selection, threads=threads)

    def ids(self) -> IdArray:
        """Return the ids of all live vectors, shape (n,), int64, in the order of the rows."""
        data = self._data
        return data.ids_of(data.alive_rows())

    def score_ids(self, q: npt.ArrayLike, ids: npt.ArrayLike) -> FloatArray:
        """Return one query's exact scores with given ids.

        Parameters
        ----------
        q : array-like of shape (dim,)
            The query; non-zero under cosine.
        ids : array-like of shape (m,), int
            Distinct ids.

        Returns
        -------
        ndarray of shape (m,), float32
            Scores in the order of ``ids``; -inf where the id is absent.

        Raises
        ------
        DimensionError, DtypeError, NonFiniteError, InputError
            The arguments do not fit.
        """
        query = as_vectors(q, dim=self._dim, name="query", nonzero=self._metric == "cosine", single=True)
        if len(query) != 1:
            raise DimensionError(message(f"{len(query)} queries", "one", "call score_ids once per query"))
        wanted, data = as_ids(ids), self._data
        return score_rows(data, query, data.locate(wanted), metric=self._metric)

    def score_lists(
        self,
        Q: FloatArray,
        queries: Sequence[int],
        ids: IdArray,
        bounds: IdArray,
        out: FloatArray,
        *,
        threads: int | None = None,
    ) -> None:
        """Score a list of ids for each of several queries: as ``score_ids``, but compiled, at once and unchecked.

        Parameters
        ----------
        Q : ndarray of shape (m, dim), float32
            Queries; non-zero under cosine.
        queries : sequence of int, length m
            Which list each query asks.
        ids, bounds : ndarray of int64
            The lists, back to back: list i is ``ids[bounds[i]:bounds[i + 1]]``.
        out : ndarray of shape (len(ids),), float32
            Receives the scores where it is -inf; left alone elsewhere, where an id is absent and where no query asks.
        threads : int, optional
            Threads; the scores do not depend on it.
        """
        score_lists(self._data, Q, queries, ids, bounds, out, metric=self._metric, threads=threads)

    def reconstruct(self, ids: npt.ArrayLike) -> FloatArray:
        """Return the stored vectors of given ids.

        Parameters
        ----------
        ids : array-like of shape (m,), int
            Distinct ids.

        Returns
        -------
        ndarray of shape (m, dim), float32
            Copies, exactly as added.

        Raises
        ------
        NotFoundError
            Ids that are not present (listed).
        """
        wanted, data = as_ids(ids), self._data
        rows = data.locate(wanted)
        missing = wanted[rows < 0]
        if len(missing):
            raise NotFoundError(message(f"ids {_listed(missing)}", "ids in the index", "check them with score_ids"))
        return data.vectors_of(rows)

    def stats(self) -> IndexStats:
        """Return counts and bytes.

        Returns
        -------
        IndexStats
            ``memory_bytes`` counts vectors, ids, removal marks, norms and lookup, mapped files included;
            ``details["blocks"]`` is the number of blocks.
        """
        data = self._data
        return IndexStats(
            kind="Flat",
            count=len(data),
            dead=data.dead,
            dim=self._dim,
            metric=self._metric,
            memory_bytes=data.nbytes,
            bytes_per_vector=data.nbytes / data.total if data.total else 0.0,
            details={"blocks": len(data.blocks), "writable": not self._fixed},
        )

    @staticmethod
    def estimate_memory(n: int, dim: int) -> dict[str, int]:
        """Estimate the memory that an index will need, before it is filled.

        Parameters
        ----------
        n, dim : int
            Vectors and their dimension.

        Returns
        -------
        dict of str to int
            Bytes by part, their ``"total"`` when all come in one call (in many, arrays that grow hold up to twice as
            much), and ``"building"``, the copy of a call's vectors that is made and given back.

        Raises
        ------
        InputError
            A number outside its range.
        """
        n, dim = check_count(n, name="n", minimum=0), check_count(dim, name="dim")
        out = {"vectors": n * dim * 4, "ids": n * 8, "marks": n * 8, "norms": n * 4, "lookup": n * 16}
        return {**out, "total": sum(out.values()), "building": n * dim * 4}

    def save(self, path: str | Path) -> None:
        """Write the live vectors to a folder, replacing its contents atomically.

        Parameters
        ----------
        path : str or Path
            Folder; created if missing. It may be moved later: no absolute path is stored.

        Raises
        ------
        InputError
            The path is a file.
        """
        with self._lock:
            data, next_id = self._data, self._next_id
        rows = data.alive_rows()
        chunks = distances.row_chunks(len(rows), self._dim * 4)
        vectors = (data.vectors_of(rows[a:b]) for a, b in chunks)
        write_flat(path, vectors=vectors, ids=data.ids_of(rows), dim=self._dim, metric=self._metric, next_id=next_id)

    @classmethod
    def load(cls, path: str | Path, *, mmap: bool = True) -> Flat:
        """Read an index that ``save`` wrote, checking every byte.

        Parameters
        ----------
        path : str or Path
            The folder.
        mmap : bool, default True
            Map the vectors read-only instead of copying them into memory; additions go to memory beside them.

        Returns
        -------
        Flat
            Ready to search, add and remove.

        Raises
        ------
        NotFoundError
            No index there.
        StoreCorruptedError
            A file is missing, cut or changed; the text names file and block.
        StoreVersionError
            A newer release wrote it.
        """
        saved = read_flat(path, mmap=mmap)
        return cls._holding(saved.matrix, saved.ids, dim=saved.dim, metric=saved.metric, next_id=saved.next_id)

    @classmethod
    def _holding(cls, matrix: FloatArray, ids: IdArray, *, dim: int, metric: Metric, next_id: int) -> Flat:
        """Return a writable index whose first rows lie where they are, such as in a mapped file."""
        out = cls(dim, metric)
        out._next_id = next_id
        if len(ids):
            died = np.full(len(ids), ALIVE, dtype=np.int64)
            out._sealed = (Block(matrix, ids, metric=metric, died=died),)
            out._data = BlockSet(dim, out._sealed)
        return out

    def _check_writable(self, verb: str) -> None:
        if self._fixed:
            raise InputError(
                message(f"{verb} on an index made by Flat.over", "a read-only use", "build a Flat and add to it")
            )

    def _append(self, matrix: FloatArray, ids: IdArray, scale: FloatArray) -> None:
        data = self._data
        rows = np.arange(data.total, data.total + len(ids), dtype=np.int64)
        runs = data.runs.add(ids, rows)
        self._tail = self._tail.extended(matrix, ids, scale)
        blocks = (*self._sealed, self._tail.block(self._metric))
        self._next_id = max(self._next_id, int(ids.max()) + 1)
        self._data = BlockSet(self._dim, blocks, data.generation, data.dead, runs)

    def _compact(self, data: BlockSet) -> None:
        rows = data.alive_rows()
        ids = data.ids_of(rows)
        scale = np.concatenate([block.scale for block in data.blocks])[rows]
        self._sealed = ()
        self._tail = Tail(self._dim, len(rows)).extended(data.vectors_of(rows), ids, scale)
        runs = IdRuns().add(ids, np.arange(len(ids), dtype=np.int64))
        blocks = (self._tail.block(self._metric),) if len(ids) else ()
        self._data = BlockSet(self._dim, blocks, data.generation, 0, runs)


def _listed(ids: IdArray, most: int = 10) -> str:
    return ", ".join(str(i) for i in ids[:most]) + (f" and {len(ids) - most} more" if len(ids) > most else "")
