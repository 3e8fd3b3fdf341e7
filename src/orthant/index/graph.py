"""The graph index: approximate nearest neighbours in microseconds, at a recall that is measured and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, StoreCorruptedError, message
from orthant.index.flat import Flat
from orthant.index.graph_tuning import GraphTuning
from orthant.index.ordering import Order
from orthant.index.vamana import files
from orthant.index.vamana.building import Settings, drop, extend, make_state, needs_mending
from orthant.index.vamana.calibration import Calibration
from orthant.index.vamana.estimate import estimate_memory
from orthant.index.vamana.inputs import as_piece, as_pieces, check_new, check_settings
from orthant.index.vamana.query_tuning import QueryTuning
from orthant.index.vamana.state import State
from orthant.types import BitmapArray, FloatArray, IdArray, Metric
from orthant.validate import as_ids, as_vectors, check_count

__all__ = ["Graph"]

_LARGEST_ID = int(np.iinfo(np.int64).max)
_COPY_ROWS, _COPY_SHARE = 512, 50
"""Additions of so many rows, and of one in so many of all, are made to a copy that then takes the place of the graph.
Searches need not wait then; for smaller additions the copy would cost more than the addition."""


class Graph(GraphTuning):
    """Approximate nearest neighbours by a graph search over codes, re-ranked with full vectors.

    Use it from some ten thousand vectors on. Below ``scan_below`` vectors it compares them all and is exact; where
    exactness matters at any size, use ``Flat`` or ``recall=1.0``. Full vectors are needed for re-ranking: kept by the
    index (``add``) or left where they lie, such as memory-mapped files (``over``).

    Any mix of calls from any threads is safe: a search sees the vectors before or after a change, never half of it.

    Parameters
    ----------
    dim : int
        Dimension of the vectors, at least 1.
    metric : {"cosine", "dot", "l2"}, default "cosine"
        Score, larger is closer; ``"l2"`` is minus the squared Euclidean distance.
    degree : int, default 32
        Links chosen per vector; rows have room for twice as many. Fewer than 16 lose recall; more than 64 cost memory
        and time for little.
    beam : int, default 100
        Candidates examined to choose a new vector's links, at least ``degree``. Smaller builds faster and loses recall.
    alpha : float, default 1.1
        At least 1: how much nearer, in squared distance, a kept neighbour must be to rule out another. Near 1 keeps
        few links; above 1.5 rows fill with near ones.
    reduced_dim : int, optional
        Dimensions of the codes, at most 384. Left out, all of them up to 384, beyond that the leading 384 principal
        directions. Fewer are faster where memory is slow, and need more re-ranking.
    sketch : bool, default True
        Let one cache line of signs rule out comparisons. False compares codes only; the answers hardly differ.
    order : str or ndarray, default "random"
        In which order ``over`` links vectors: see ``index.ordering.insertion_order``.
    seed : int, default 0
        Of the rotation and the order. Equal data, settings and seed give equal bytes on any number of threads.
    scan_below : int, default 2048
        Vectors below which everything is compared.
    queries : array-like of shape (q, dim), optional
        A sample of the queries to come, at least 64 distinct ones, better some thousands: the graph is made to suit
        them (``tune``) as soon as there is one, and where vectors are reduced, the reduction learns from them if others
        of them find more by it. Worth it where queries are unlike the vectors, such as questions against passages.

    Raises
    ------
    InputError
        A parameter outside its range, or too few queries.

    Notes
    -----
    The graph is that of Vamana: links chosen by robust pruning with ``alpha`` on squared distances (Subramanya et al.
    2019, "DiskANN", section 2), found by searching the graph itself, batch by batch. Distances come from two levels of
    codes of randomly rotated vectors: signs with an unbiased estimator and its standard error (Gao and Long 2024,
    "RaBitQ", arXiv 2405.12497, section 3), and locally adaptive quantization (Aguerrebere et al. 2023, arXiv
    2304.04759, section 3). Above 384 dimensions the reduction is that of LeanVec-ID (Tepper et al. 2024, arXiv
    2312.16335). Cost of a search: about ``effort`` times the mean number of links comparisons of 64 bytes, a fifth of
    them of a code row too, and some twenty full vectors. Memory: ``estimate_memory``.

    Examples
    --------
    >>> import numpy as np
    >>> from orthant.index import Graph
    >>> X = np.random.default_rng(0).standard_normal((3000, 32)).astype(np.float32)
    >>> index = Graph(32, metric="l2", degree=16)
    >>> ids = index.add(X)
    >>> hits = index.search(X[:5], k=1)
    >>> hits.ids.ravel()
    array([0, 1, 2, 3, 4])
    """

    def __init__(
        self,
        dim: int,
        metric: Metric = "cosine",
        *,
        degree: int = 32,
        beam: int = 100,
        alpha: float = 1.1,
        reduced_dim: int | None = None,
        sketch: bool = True,
        order: Order | npt.ArrayLike = "random",
        seed: int = 0,
        scan_below: int = 2048,
        queries: npt.ArrayLike | None = None,
    ) -> None:
        settings = check_settings(degree, beam, alpha, reduced_dim, sketch, order, seed, scan_below)
        super().__init__(dim, metric, settings)
        if queries is not None:
            self._sample = self._sampled(queries)

    @classmethod
    def over(
        cls,
        blocks: Iterable[Sequence[Any]],
        *,
        dim: int,
        metric: Metric = "cosine",
        live: BitmapArray | None = None,
        threads: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        **settings: Any,
    ) -> Graph:
        """Build a graph over vectors where they lie, such as memory-mapped segment files, without copying them.

        The arrays must not change while the index is in use. ``add`` is refused; ``extended`` makes a larger one.

        Parameters
        ----------
        blocks : iterable of (matrix, ids) or (matrix, ids, inverse_norms)
            As for ``Flat.over``: float32 C-contiguous (n, dim), int64 (n,), and for cosine optionally float32 (n,).
        dim : int
            Dimension.
        metric : {"cosine", "dot", "l2"}
            Score.
        live : ndarray of uint64, optional
            Bitmap over ids; rows outside are left out.
        threads : int, optional
            Threads for building. Left out, all cores. The result does not depend on it.
        progress : callable of (done, total), optional
            Called after each batch of links.
        **settings : any
            Further parameters of the class.

        Returns
        -------
        Graph
            Ready to search.

        Raises
        ------
        DimensionError, DtypeError, InputError
            Arrays of another shape or dtype, ids that repeat, or a setting outside its range.
        """
        out = cls(dim, metric, **settings)
        pieces = as_pieces(blocks, out._dim, out._metric, live)
        out._fixed = True
        out._next_id = max((int(piece.ids.max()) + 1 for piece in pieces if len(piece.ids)), default=0)
        if sum(len(piece.kept) for piece in pieces) < max(1, out._settings.scan_below):
            out._flat = Flat.over([(p.X, p.ids) for p in pieces], dim=dim, metric=metric, live=live)
            return out
        out._state = make_state(
            pieces, out._settings, metric=out._metric, own=False, threads=threads, progress=progress,
            queries=out._parts_of_queries(),
        )  # fmt: skip
        out._flat = None
        out._warn_if_unsound(threads)
        if out._sample is not None:
            out._tune(out._state, out._sample, threads)
        return out

    def extended(
        self,
        blocks: Iterable[Sequence[Any]],
        *,
        removed: npt.ArrayLike | None = None,
        threads: int | None = None,
    ) -> Graph:
        """Return a graph that also covers further blocks, without some ids; this one stays as it is.

        Parameters
        ----------
        blocks : iterable of (matrix, ids) or (matrix, ids, inverse_norms)
            As for ``over``.
        removed : array-like of shape (m,), int, optional
            Ids to leave out; those that are not present are ignored.
        threads : int, optional
            Threads.

        Returns
        -------
        Graph
            The larger one; vectors are shared, codes and links copied.

        Raises
        ------
        InputError
            An id that is present and not removed, or an index that holds its vectors itself (use ``add``).
        DimensionError, DtypeError
            Blocks that do not fit.

        Notes
        -----
        Cost: one copy of codes and links, plus about 0.1 ms per new vector and 1 ms per removed one on one core.
        """
        pieces = as_pieces(blocks, self._dim, self._metric, None)
        gone = np.zeros(0, np.int64) if removed is None else as_ids(removed, name="removed")
        if self._state is None or not self._fixed:
            raise InputError(
                message(
                    "extended() on an index that holds its vectors itself", "one made by over", "use add and remove"
                )
            )
        with self._writer:
            state = self._state.copy()
            slots = state.locate(gone)
            drop(state, slots[slots >= 0], self._settings, threads=threads)
            for piece in pieces:
                check_new(state.locate(piece.ids), piece.ids)
                extend(state, piece, self._settings, threads=threads)
            out = Graph(self._dim, self._metric)
            out._settings, out._fixed, out._flat, out._state = self._settings, True, None, state
            out._next_id = max(self._next_id, *(int(p.ids.max(initial=-1)) + 1 for p in pieces), 0)
            out._calibration, out._sample, out._tuning = self._calibration, self._sample, self._tuning
        return out

    def add(self, X: npt.ArrayLike, ids: npt.ArrayLike | None = None, *, threads: int | None = None) -> IdArray:
        """Add vectors; nothing is added when anything is wrong.

        Parameters
        ----------
        X : array-like of shape (n, dim)
            Any real dtype and strides; copied as float32.
        ids : array-like of shape (n,), int, optional
            Distinct, non-negative, not in the index. Left out, numbering continues after the largest id ever given.
        threads : int, optional
            Threads. Left out, all cores; the result does not depend on it.

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

        Notes
        -----
        Cost: about 0.1 ms per vector of 384 dimensions on one core, once the graph exists.
        """
        matrix = as_vectors(X, dim=self._dim, nonzero=self._metric == "cosine")
        given = None if ids is None else as_ids(ids, count=len(matrix))
        with self._writer:
            self._check_writable("add")
            if given is None:
                if self._next_id + len(matrix) > _LARGEST_ID:
                    raise InputError(message("no automatic ids left", "fewer than 2**63 - 1", "pass ids="))
                given = np.arange(self._next_id, self._next_id + len(matrix), dtype=np.int64)
            if not len(matrix):
                return given
            if self._state is None:
                self._add_flat(matrix, given, threads)
            else:
                self._add_linked(self._state, matrix, given, threads)
            self._next_id = max(self._next_id, int(given.max()) + 1)
        return given

    def _add_flat(self, matrix: FloatArray, given: IdArray, threads: int | None) -> None:
        flat = self._flat
        if flat is None:
            raise RuntimeError("a graph has neither links nor a flat part")
        if len(flat) + len(matrix) < self._settings.scan_below:
            flat.add(matrix, given)
            return
        check_new(np.where(np.isneginf(flat.score_ids(np.ones(self._dim), given)), -1, 0), given)
        old = flat.reconstruct(flat.ids())
        ids = np.concatenate([flat.ids(), given])
        piece = as_piece(np.concatenate([old, matrix]), ids, self._metric)
        state = make_state(
            [piece], self._settings, metric=self._metric, own=True, threads=threads, queries=self._parts_of_queries()
        )
        if self._sample is not None:
            self._tune(state, self._sample, threads)
        with self._lock.writing():
            self._state, self._flat = state, None
            self._forget()
        self._warn_if_unsound(threads)

    def _add_linked(self, state: State, matrix: FloatArray, given: IdArray, threads: int | None) -> None:
        check_new(state.locate(given), given)
        piece = as_piece(matrix, given, self._metric)
        if len(matrix) >= max(_COPY_ROWS, state.used // _COPY_SHARE):
            fresh = state.copy()
            extend(fresh, piece, self._settings, threads=threads)
            with self._lock.writing():
                self._state = fresh
                self._forget()
            return
        with self._lock.writing():
            state.own_arrays()
            self._forget()
            extend(state, piece, self._settings, threads=threads)

    def remove(self, ids: npt.ArrayLike, *, threads: int | None = None) -> int:
        """Remove vectors by id; ids that are not present are ignored.

        Parameters
        ----------
        ids : array-like of shape (m,), int
            Distinct ids.
        threads : int, optional
            Threads for mending links.

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
        Cost O(m) to mark them; above 64 removed vectors and two in a hundred the links around them are mended and
        their slots given free, about 1 ms per removed vector.
        """
        wanted = as_ids(ids)
        with self._writer:
            self._check_writable("remove")
            if self._state is None:
                return 0 if self._flat is None else self._flat.remove(wanted)
            state = self._state
            slots = state.locate(wanted)
            slots = slots[slots >= 0]
            if not len(slots):
                return 0
            if len(slots) == state.live:
                with self._lock.writing():
                    self._state, self._flat = None, Flat(self._dim, self._metric)
                    self._forget()
                return len(slots)
            if needs_mending(state, len(slots)):
                fresh = state.copy()
                drop(fresh, slots, self._settings, threads=threads)
                with self._lock.writing():
                    self._state = fresh
                    self._forget()
            else:
                with self._lock.writing():
                    state.own_arrays()
                    self._forget()
                    drop(state, slots, self._settings, threads=threads)
            return len(slots)

    def _check_writable(self, verb: str) -> None:
        if self._fixed:
            raise InputError(
                message(f"{verb}() on an index over the caller's arrays", "one made by Graph(dim)", "use extended()")
            )

    @classmethod
    def load(cls, path: str | Path, *, mmap: bool = True) -> Graph:
        """Open an index that ``save`` wrote; every byte is verified first.

        Parameters
        ----------
        path : str or Path
            The folder.
        mmap : bool, default True
            Map codes, links and vectors instead of copying them into memory; a change copies them.

        Returns
        -------
        Graph
            The index, writable.

        Raises
        ------
        NotFoundError
            No index there.
        StoreCorruptedError
            A file is missing, cut or changed; the text names it.
        StoreVersionError
            A newer release wrote it.
        """
        return files.either_settled(cls._loaded)(path, mmap)

    @classmethod
    def _loaded(cls, path: str | Path, mmap: bool) -> Graph:
        if (Path(path) / files.FLAT).is_dir():
            flat = Flat.load(Path(path) / files.FLAT, mmap=mmap)
            settings, saved = files.read_settings(path)
            out = cls._made(path, flat.dim, flat.metric, settings, saved)
            out._flat = flat
            return out
        state, saved = files.read_graph(path, mmap=mmap, vectors=True)
        out = cls._made(path, state.space.dim, state.space.metric, files.settings_of(saved), saved)
        out._flat, out._state = None, state
        return out

    @classmethod
    def attach(
        cls,
        path: str | Path,
        blocks: Iterable[Sequence[Any]],
        *,
        live: BitmapArray | None = None,
        mmap: bool = True,
    ) -> Graph:
        """Open links and codes that ``save_links`` wrote, over vectors where they lie.

        Parameters
        ----------
        path : str or Path
            The folder.
        blocks : iterable of (matrix, ids) or (matrix, ids, inverse_norms)
            As for ``over``. Rows that the graph does not know are left out; add them with ``extended``.
        live : ndarray of uint64, optional
            Bitmap over ids; what the graph knows outside of it, or what no block holds, is not returned.
        mmap : bool, default True
            Map links and codes.

        Returns
        -------
        Graph
            As ``over`` would make it.

        Raises
        ------
        NotFoundError, StoreCorruptedError, StoreVersionError
            As ``load``.
        DimensionError, DtypeError, InputError
            Blocks that do not fit.
        """
        state, saved = files.read_graph(path, mmap=mmap, vectors=False)
        out = cls._made(path, state.space.dim, state.space.metric, files.settings_of(saved), saved)
        out._flat, out._state, out._fixed = None, state, True
        known = np.zeros(state.used, dtype=bool)
        for piece in as_pieces(blocks, out._dim, out._metric, live):
            slots = state.locate(piece.ids[piece.kept])
            kept, slots = piece.kept[slots >= 0], slots[slots >= 0]
            state.point_outside(slots.astype(np.int32), piece.X, kept)
            known[slots] = True
        gone = state.live_slots()
        gone = gone[~known[gone]]
        if len(gone):
            # Marked only: nothing is mended here, so that opening costs no building.
            state.own_arrays()
            drop(state, gone, out._settings, threads=None, mend=False)
        return out

    @classmethod
    def _made(cls, path: str | Path, dim: int, metric: Metric, settings: Settings, saved: dict[str, Any]) -> Graph:
        out = cls(dim, metric)
        out._sample = files.read_queries(path)
        try:
            if saved.get("tuning") is not None:
                out._tuning = QueryTuning.from_dict(saved["tuning"])
            out._settings, out._next_id = settings, int(saved["next_id"])
            if saved["calibration"] is not None:
                out._calibration = Calibration.from_dict(saved["calibration"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreCorruptedError(
                message("a graph with settings that do not fit together", "what was saved", "restore it from a copy")
            ) from error
        return out

    @staticmethod
    def estimate_memory(
        n: int, dim: int, *, degree: int = 32, reduced_dim: int | None = None, over: bool = False
    ) -> dict[str, int]:
        """Return what an index will weigh, before it is built.

        Parameters
        ----------
        n, dim : int
            Vectors and their dimension.
        degree : int, default 32
            As for the class.
        reduced_dim : int, optional
            As for the class.
        over : bool, default False
            For vectors that lie elsewhere, as ``over`` leaves them.

        Returns
        -------
        dict of str to int
            Bytes by part, their ``"total"``, and ``"building"``, which building needs besides.

        Raises
        ------
        InputError
            A number outside its range.
        """
        n, dim = check_count(n, name="n", minimum=0), check_count(dim, name="dim")
        check_settings(degree, max(degree, 100), 1.1, reduced_dim, True, "random", 0, 0)
        return estimate_memory(n, dim, degree=degree, reduced_dim=reduced_dim, own=not over)
