"""An index larger than memory: codes in memory find candidates, full vectors on disk order them."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, InputError, NotFoundError, StoreCorruptedError, message, quiet
from orthant.index.blocks import checked_scale
from orthant.index.tiers import files
from orthant.index.tiers.budget import chosen_plan, chosen_quantizer, estimated_bytes, graph_row_bytes, light_bytes
from orthant.index.tiers.light import Light, Room
from orthant.index.tiers.reading import TwoTierReading
from orthant.index.tiers.row_files import ACCESS, DiskRows, RowFile
from orthant.index.tiers.walking import CodeGraph
from orthant.index.vamana.calibration import Calibration
from orthant.threads import Turn
from orthant.types import FloatArray, IdArray, Metric, Quantizer
from orthant.validate import as_ids, as_vectors, check_choice, check_count, check_fraction

__all__ = ["TwoTier"]

_LARGEST_ID = int(np.iinfo(np.int64).max)
_COMPACT_ROWS, _COMPACT_SHARE = 1024, 5
"""Dead rows are squeezed out above 1,024 and above one in five: the file is written anew."""

_SAMPLE, _SAMPLE_SHARE = 65_536, 4
"""Rows that a quantizer is fitted on at most, and the part of the memory limit that they take at most."""


class TwoTier(TwoTierReading):
    """Nearest neighbours among more vectors than memory holds: small codes in memory, full vectors on disk.

    A search finds the best codes, by scoring all of them or by walking a graph over them, reads those of the best
    ``effort`` vectors from disk that can be among the answers, and orders them by their exact scores. Use it where the
    vectors do not fit memory and a disk is at hand; where they fit, `Graph` answers sooner.

    Any mix of calls from any threads is safe: a search sees the vectors of the moment it began.

    Parameters
    ----------
    dim : int
        Dimension of the vectors, at least 1.
    metric : {"cosine", "dot", "l2"}, default "cosine"
        Score, larger is closer; ``"l2"`` is minus the squared Euclidean distance.
    quantizer : Quantizer, optional
        Of `orthant.quantization`, fitted or not; a copy is kept. Left out, the finest of `LVQ` with 8 bits, with 4, and
        `ProductQuantizer` that fits the limit; without a limit `LVQ` with 4 bits.
    memory_limit_bytes : int, optional
        Most bytes for codes, ids and what the quantizer learned. An ``add`` beyond it is refused before anything is
        written. Below what the smallest codes of ``capacity`` vectors take, the index is refused.
    capacity : int, optional
        Vectors that there will be: room is made once, and codes are chosen for so many. Left out, those that are there
        when codes are first made.
    train_rows : int, default 4096
        Vectors from which an unfitted quantizer is fitted; until then searches read all vectors and are exact. Too few
        make poor codes.
    folder : str or Path, optional
        Where vectors are kept until the index is saved, in a file without a name that is gone when the index is. Left
        out, the folder for temporary files: choose another where that one lies in memory.
    search : {"scan", "graph"}, default "scan"
        "scan" scores every code: its time grows with their number, codes may be small and any quantizer serves. "graph"
        walks from code to code: a search compares some thousands however many there are, takes memory for links (about
        230 to 550 bytes a vector in all, the most that the limit allows), and building takes about 0.1 ms per vector
        and core. Take it from some hundred thousand vectors on.
    access : {"cached", "uncached", "direct"}, default "cached"
        "cached" lets the system keep what was read, which makes the next search quicker and takes only memory that
        nobody wants; "uncached" has it dropped after each search; "direct" reads past the cache, from a disk that
        allows it.
    readers : int, default 16
        Direct reads under way at a time, up to 32.
    sure : float or None, default 3.5
        Candidates whose codes would have to be off by so many standard deviations, seen from the vectors read first,
        are not read. Less reads less and loses neighbours; None reads every candidate.
    seed : int, default 0
        Of the rows that a quantizer is fitted on.

    Raises
    ------
    InputError
        A parameter outside its range, a limit below the smallest codes, or direct reads that the disk refuses.
    DimensionError
        A quantizer fitted on vectors of another dimension.

    Notes
    -----
    ``score(q) = s(q, x)`` for the ``effort`` rows of the largest ``s(q, decode(code(x)))``, but for those that ``sure``
    rules out. Scores and order are those that the vectors would have in memory, to the last bit. Cost of a search: n
    codes, or those that a walk of width ``2 effort`` (at least 64) meets, and at most ``effort`` vectors in about as
    many reads (fewer where rows lie side by side, or queries of a batch share them); ``cost.details`` counts them. The
    graph is that of `Graph`, with codes of no more dimensions than fit; removed rows stay in it until a fifth are dead,
    when it is built anew. Memory: ``estimate_memory``. Disk: 4 n dim bytes, for a moment twice that when a fifth of the
    vectors was removed.

    References
    ----------
    Xiao et al.: Progressively Optimized Bi-Granular Document Representation for Scalable Embedding Based Retrieval.
    arXiv 2201.05409, WWW 2022, section 3.
    Subramanya et al.: DiskANN: Fast accurate billion-point nearest neighbor search on a single node. NeurIPS 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from orthant.index import TwoTier
    >>> X = np.random.default_rng(0).standard_normal((5000, 32)).astype(np.float32)
    >>> index = TwoTier(32, memory_limit_bytes=5000 * 32)
    >>> ids = index.add(X)
    >>> hits = index.search(X[:2], k=1, effort=50)
    >>> hits.ids.ravel(), hits.cost.details["rows_read"] <= 100
    (array([0, 1]), True)
    >>> index.stats().memory_bytes < 5000 * 32 < X.nbytes / 3
    True
    """

    def __init__(
        self,
        dim: int,
        metric: Metric = "cosine",
        *,
        quantizer: Quantizer | None = None,
        memory_limit_bytes: int | None = None,
        capacity: int | None = None,
        train_rows: int = 4096,
        folder: str | Path | None = None,
        search: str = "scan",
        access: str = "cached",
        readers: int = 16,
        sure: float | None = 3.5,
        seed: int = 0,
    ) -> None:
        super().__init__(dim, metric)
        if memory_limit_bytes is not None:
            memory_limit_bytes = check_count(memory_limit_bytes, name="memory_limit_bytes")
        self._limit = memory_limit_bytes
        self._capacity = None if capacity is None else check_count(capacity, name="capacity")
        self._train_rows = check_count(train_rows, name="train_rows")
        self._folder = folder
        self._way = check_choice(search, ("scan", "graph"), name="search")
        if quantizer is not None and self._way == "graph":
            raise InputError(message("a quantizer for search='graph'", "none: it has its own codes", "leave it out"))
        self._access = check_choice(access, ACCESS, name="access")
        self._readers = check_count(readers, name="readers", maximum=32)
        self._sure = None if sure is None else check_fraction(sure, name="sure", high=1e6)
        self._seed = check_count(seed, name="seed", minimum=0)
        self._given = _checked_quantizer(quantizer, self._dim)
        self._writer = Turn()
        self._room = Room(0, 0)
        self._next_id = 0
        if _is_fitted(self._given):
            self._state = replace(self._state, quantizer=self._given)
            self._room = Room(int(self._given.code_size), 0)
        if self._capacity is not None:
            self._check_limit(self._capacity, self._expected_row_bytes(self._capacity))
        if self._access == "direct":
            RowFile.fresh(self._folder, self._dim, access=self._access)

    def _expected_row_bytes(self, rows: int) -> int | None:
        if self._state.graph is not None:
            return graph_row_bytes(self._state.graph.plan)
        if self._way == "graph" and self._limit is not None:
            return graph_row_bytes(chosen_plan(self._dim, metric=self._metric, limit=self._limit, rows=rows))
        if self._state.quantizer is not None:
            return int(self._state.quantizer.code_size)
        if self._way == "scan" and self._given is None and self._limit is not None:
            return chosen_quantizer(self._dim, limit=self._limit, rows=rows).size
        return None

    def _check_limit(self, rows: int, row_bytes: int | None) -> None:
        if self._limit is None:
            return
        size = 0 if row_bytes is None else row_bytes
        learned = self._quantizer_bytes(self._state.quantizer)
        wanted = light_bytes(rows, size, sorted_ids=self._state.runs is None) + learned
        if wanted > self._limit and row_bytes is None:
            # Codes are not chosen yet, and there is no room for what comes before them.
            given, least = f"memory_limit_bytes={self._limit} for {rows} vectors", f"more than {wanted}"
            way = "raise the limit, or divide the vectors among machines"
            raise InputError(message(given, f"{least}, the id and the mark of each without its code", way))
        if wanted > self._limit:
            links = ", links included" if self._way == "graph" else ""
            given = f"memory_limit_bytes={self._limit} for {rows} vectors with codes of {size} bytes{links}"
            way = "raise the limit, or pass a smaller quantizer"
            if self._given is None:
                # With a higher limit alone, finer codes would be chosen for the first vectors.
                way = f"make the index with capacity={rows} or more, so that codes are chosen for all of them"
            raise InputError(message(given, f"at least {wanted}", way))

    @classmethod
    def over(
        cls,
        path: str | Path,
        *,
        metric: Metric = "cosine",
        ids: npt.ArrayLike | None = None,
        **settings: Any,
    ) -> TwoTier:
        """Return an index of the vectors of a .npy file, which are read where they lie.

        Parameters
        ----------
        path : str or Path
            float32 values of shape (n, dim) in C order, as ``numpy.save`` writes them. The file must not change while
            the index is in use; what is added goes to a file of its own.
        metric : {"cosine", "dot", "l2"}, default "cosine"
            Score.
        ids : array-like of shape (n,), int, optional
            Left out, the row numbers.
        **settings : any
            Further parameters of the class.

        Returns
        -------
        TwoTier
            Ready to search, add and remove.

        Raises
        ------
        InputError
            Another dtype or order, or what the class refuses.
        StoreCorruptedError
            A file that is shorter than its header says.
        NonFiniteError
            NaN or infinity among the vectors.
        """
        dim, count, offset = _npy_layout(path)
        out = cls(dim, metric, **settings)
        names = np.arange(count, dtype=np.int64) if ids is None else as_ids(ids, count=count)
        if out._capacity is None and count:
            out._capacity = count
            out._check_limit(count, out._expected_row_bytes(count))
        if not count:
            return out
        rows = DiskRows(dim, ((RowFile(path, dim, count, access=out._access, offset=offset), count),))
        runs = out._state.with_runs(names)
        out._room = Room(0, 0).extended(names, np.zeros((count, 0), np.uint8), count)
        quantizer = out._state.quantizer
        state = Light(rows, out._room.ids[:count], out._room.codes[:count], None, None, runs)
        for part, vectors, _ in rows.chunks(np.arange(count)):
            checked_scale(vectors, names[part], out._metric)
        with out._writer:
            if quantizer is not None or count >= out._train_rows:
                state = out._coded(state, quantizer)
            out._next_id, out._state = int(names.max()) + 1, state
        return out

    def add(self, X: npt.ArrayLike, ids: npt.ArrayLike | None = None, *, light: npt.ArrayLike | None = None) -> IdArray:
        """Add vectors; nothing is added when anything is wrong.

        Parameters
        ----------
        X : array-like of shape (n, dim)
            Any real dtype and strides; written to disk as float32. Add what does not fit memory in parts.
        ids : array-like of shape (n,), int, optional
            Distinct, non-negative, not in the index. Left out, numbering continues after the largest id ever given.
        light : array-like of shape (n, dim), optional
            What codes are made of in place of X, where both were trained for their part, as `BiGranularTrainer` does.
            Needs a fitted quantizer, and ``search="scan"``.

        Returns
        -------
        ndarray of shape (n,), int64
            The ids.

        Raises
        ------
        InputError
            An id is present already, a zero vector under cosine, or more than the memory limit allows.
        DimensionError, DtypeError, NonFiniteError
            X does not fit.
        """
        matrix = as_vectors(X, dim=self._dim, nonzero=self._metric == "cosine")
        given = None if ids is None else as_ids(ids, count=len(matrix))
        coarse = matrix if light is None else as_vectors(light, dim=self._dim, name="light")
        if len(coarse) != len(matrix):
            given_text = f"{len(coarse)} light vectors for {len(matrix)} full ones"
            raise DimensionError(message(given_text, "one each", "align them"))
        with self._writer:
            state = self._state
            if light is not None and self._way == "graph":
                raise InputError(message("light with search='graph'", "search='scan'", "its codes are of X"))
            if light is not None and state.quantizer is None:
                raise InputError(message("light without a fitted quantizer", "one", "pass quantizer= already fitted"))
            if given is None:
                if self._next_id + len(matrix) > _LARGEST_ID:
                    raise InputError(message("no automatic ids left", "fewer than 2**63 - 1", "pass ids="))
                given = np.arange(self._next_id, self._next_id + len(matrix), dtype=np.int64)
            present = given[state.locate(given) >= 0]
            if len(present):
                shown = ", ".join(map(str, present[:10]))
                given_text = f"{len(present)} id(s) already in the index: {shown}"
                raise InputError(message(given_text, "new ids", "remove them first"))
            if not len(matrix):
                return given
            checked_scale(matrix, given, self._metric)
            total = len(state.ids) + len(given)
            will_be = max(total, self._capacity or 0) if total >= self._train_rows else None
            will_be = total if state.coded else will_be
            self._check_limit(total, None if will_be is None else self._expected_row_bytes(will_be))
            self._state = self._with(state, matrix, given, coarse)
            self._next_id = max(self._next_id, int(given.max()) + 1)
        return given

    def _with(self, state: Light, matrix: FloatArray, ids: IdArray, coarse: FloatArray) -> Light:
        codes = np.zeros((len(ids), 0), dtype=np.uint8)
        if state.quantizer is not None:
            codes = state.quantizer.encode(coarse)
        runs = state.with_runs(ids)
        rows = state.rows.extended(matrix, self._folder, self._access)
        start = len(state.ids)
        room = self._room if self._room.count == len(state.ids) else self._copied(state)
        self._room = room.extended(ids, codes, self._capacity or 0)
        live = state.live if state.live is None else np.concatenate([state.live, np.ones(len(ids), dtype=bool)])
        stop = self._room.count
        ids_, codes_ = self._room.ids[:stop], self._room.codes[:stop]
        out = Light(rows, ids_, codes_, state.quantizer, live, runs, state.graph)
        if not out.coded and len(out) >= self._train_rows:
            return self._coded(out, None)
        if out.graph is not None:
            if out.graph.state.used != start:
                # A call that failed half-way left rows behind.
                return self._coded(out, None)
            out.graph.extend(coarse, most=self._most_rows())
        return out

    def _copied(self, state: Light) -> Room:
        room = Room(state.codes.shape[1], 0)
        return room.extended(state.ids, state.codes, self._capacity or 0)

    def _coded(self, state: Light, quantizer: Any) -> Light:
        """Return the rows with codes, of a quantizer that is fitted on a sample of them where it is not yet."""
        if self._way == "graph":
            return self._linked(state)
        if quantizer is None:
            rows = state.alive_rows()
            expected = max(len(rows), self._capacity or 0)
            quantizer = self._given or chosen_quantizer(self._dim, limit=self._limit, rows=expected).quantizer
            rng = np.random.default_rng(self._seed)
            most = self._sample_rows()
            if len(rows) > most:
                rows = np.sort(rng.choice(rows, most, replace=False))
            # Codes that the memory limit decided are nobody's to change.
            with quiet() if self._given is None else nullcontext():
                quantizer = copy.deepcopy(quantizer).fit(state.rows.read(rows, readers=self._readers)[0])
        size = int(quantizer.code_size)
        if self._limit is not None:
            self._check_limit(max(len(state.ids), self._capacity or 0), size)
        room = Room(size, max(len(state.ids), self._capacity or 0))
        for part, vectors, _ in state.rows.chunks(np.arange(len(state.ids)), readers=self._readers):
            room = room.extended(state.ids[part], quantizer.encode(vectors), 0)
        self._room, stop = room, room.count
        return replace(state, ids=room.ids[:stop], codes=room.codes[:stop], quantizer=quantizer)

    def _sample_rows(self) -> int:
        """Return how many rows may be learned from: they are held in memory, and the limit is not to be outgrown."""
        most = _SAMPLE if self._limit is None else self._limit // (_SAMPLE_SHARE * 4 * self._dim)
        return min(_SAMPLE, max(most, self._train_rows))

    def _most_rows(self) -> int | None:
        """Return how many rows fit the limit, for which room may be made in advance."""
        size = self._expected_row_bytes(len(self._state.ids))
        return None if self._limit is None or size is None else self._limit // light_bytes(1, size)

    def _linked(self, state: Light) -> Light:
        expected = max(len(state.ids), self._capacity or 0)
        plan = chosen_plan(self._dim, metric=self._metric, limit=self._limit, rows=expected)
        self._check_limit(expected, graph_row_bytes(plan))
        graph = CodeGraph.built(
            state.rows, plan, metric=self._metric, seed=self._seed, capacity=expected, readers=self._readers,
            most=self._sample_rows(),
        )  # fmt: skip
        return replace(state, graph=graph)

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
            Not ids.

        Notes
        -----
        Cost: a byte for each vector; when more than a fifth are dead, the vectors are written to a new file, and a
        graph is built anew.
        """
        wanted = as_ids(ids)
        with self._writer:
            rows = self._state.locate(wanted)
            rows = rows[rows >= 0]
            if not len(rows):
                return 0
            state = self._state.without(rows)
            if state.dead > _COMPACT_ROWS and state.dead * _COMPACT_SHARE > len(state.ids):
                state = self._compacted(state)
            self._state = state
            return len(rows)

    def _compacted(self, state: Light) -> Light:
        kept = state.alive_rows()
        rows, room = DiskRows(self._dim), Room(state.codes.shape[1], self._capacity or len(kept))
        out = Light(rows, room.ids[:0], room.codes[:0], state.quantizer)
        for part, vectors, _ in state.rows.chunks(kept, readers=self._readers):
            rows = rows.extended(vectors, self._folder, self._access)
            room = room.extended(state.ids[part], state.codes[part], 0)
        self._room, stop = room, room.count
        ids = room.ids[:stop]
        out = replace(out, rows=rows, ids=ids, codes=room.codes[:stop], runs=out.with_runs(ids) if stop else None)
        return self._linked(out) if state.graph is not None and stop else out

    def save(self, path: str | Path) -> None:
        """Write the live vectors, their codes and the quantizer to a folder, replacing what it held in one step.

        Parameters
        ----------
        path : str or Path
            Folder; created if missing. It may be moved later. Vectors pass through memory a few MiB at a time. Removed
            rows of a graph keep their place, filled with zeros.

        Raises
        ------
        InputError
            The path is a file, or a quantizer that cannot be saved.
        """
        with self._writer:
            state, next_id, calibration = self._state, self._next_id, self._calibration
            body = {
                "dim": self._dim,
                "metric": self._metric,
                "next_id": next_id,
                "memory_limit_bytes": self._limit,
                "capacity": self._capacity,
                "train_rows": self._train_rows,
                "seed": self._seed,
                "search": self._way,
                "sure": self._sure,
                "calibration": None if calibration is None else calibration.as_dict(),
            }
            if state.graph is not None:
                # It grows in place: it is that of these rows only while nobody adds any.
                files.write_two_tier(path, state, body)
                return
        files.write_two_tier(path, state, body)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        mmap: bool = True,
        access: str = "cached",
        readers: int = 16,
        folder: str | Path | None = None,
        verify: bool = True,
    ) -> TwoTier:
        """Open an index that ``save`` wrote; vectors stay on disk and are read from there.

        Parameters
        ----------
        path : str or Path
            The folder.
        mmap : bool, default True
            Map the codes read-only instead of copying them into memory; a change copies them.
        access, readers, folder : optional
            As for the class.
        verify : bool, default True
            Compare the checksums of the vectors, which reads them all once. Everything else is always verified, and the
            length of the vectors' file.

        Returns
        -------
        TwoTier
            Ready to search, add and remove. Additions go to a file of their own until it is saved.

        Raises
        ------
        NotFoundError
            No index there.
        StoreCorruptedError
            A file is missing, cut or changed; the text names it.
        StoreVersionError
            A newer release wrote it.
        """
        check_choice(access, ACCESS, name="access")
        saved = files.read_two_tier(path, mmap=mmap, access=access, verify=verify)
        body = saved.body
        try:
            out = cls(
                int(body["dim"]), body["metric"], quantizer=saved.state.quantizer, capacity=body["capacity"],
                memory_limit_bytes=body["memory_limit_bytes"], train_rows=int(body["train_rows"]), folder=folder,
                access=access, readers=readers, seed=int(body["seed"]), search=str(body.get("search", "scan")),
                sure=body.get("sure", 3.5),
            )  # fmt: skip
            out._next_id = int(body["next_id"])
            if body["calibration"] is not None:
                out._calibration = Calibration.from_dict(body["calibration"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            text = message(f"an index at {path} whose settings do not fit", "what was saved", "restore it from a copy")
            raise StoreCorruptedError(text) from error
        out._state = saved.state
        out._room = Room(saved.state.codes.shape[1], 0)
        return out

    @staticmethod
    def estimate_memory(
        n: int, dim: int, *, code_size: int | None = None, memory_limit_bytes: int | None = None,
        search: str = "scan", metric: Metric = "cosine",
    ) -> dict[str, int]:  # fmt: skip
        """Estimate the memory that an index will need, before it is filled.

        Parameters
        ----------
        n, dim : int
            Vectors and their dimension.
        code_size : int, optional
            Bytes of a code, of a quantizer that learns nothing; left out, the codes that would be chosen.
        memory_limit_bytes : int, optional
            As for the class.
        search, metric : str
            As for the class.

        Returns
        -------
        dict of str to int
            Bytes by part (``"links"`` is all that a graph needs beside its codes; ``"learned"`` a mean, codebooks or a
            basis), their ``"total"`` in memory, and ``"disk"``. Ids that do not rise need 16 bytes each besides.

        Raises
        ------
        InputError
            A number outside its range, or a limit below the smallest codes.
        """
        return estimated_bytes(
            n, dim, code_size=code_size, limit=memory_limit_bytes, search=search, metric=metric
        )  # fmt: skip


def _is_fitted(quantizer: Any) -> bool:
    return quantizer is not None and hasattr(quantizer, "n_features_in_")


def _checked_quantizer(quantizer: Any, dim: int) -> Any:
    if quantizer is None:
        return None
    # Looked up on the class: an unfitted one cannot tell its size yet.
    if not all(hasattr(type(quantizer), name) for name in ("code_size", "fit", "encode", "score")):
        given = f"a quantizer of type {type(quantizer).__name__}"
        raise InputError(message(given, "one of orthant.quantization", "pass LVQ(), ProductQuantizer(), ..."))
    found = getattr(quantizer, "n_features_in_", dim)
    if found != dim:
        given = f"a quantizer fitted on vectors of dimension {found}"
        raise DimensionError(message(given, f"{dim}", "fit it on vectors of this index"))
    # Before thousands of vectors are in that the fit, much later, would refuse.
    parts, wide = getattr(quantizer, "m", None), getattr(quantizer, "dim", None)
    if isinstance(parts, int) and parts > 0 and dim % parts:
        given = f"a quantizer of {parts} parts for dimension {dim}"
        raise InputError(message(given, "a divisor of the dimension", "choose another m"))
    if isinstance(wide, int) and wide > dim:
        given = f"a quantizer with codes of {wide} dimensions for vectors of {dim}"
        raise InputError(message(given, f"at most {dim}", "lower its dim, or leave it out"))
    return copy.deepcopy(quantizer)


def _npy_layout(path: str | Path) -> tuple[int, int, int]:
    """Return dimension, rows and where they begin, of a file that ``numpy.save`` wrote."""
    if not Path(path).is_file():
        raise NotFoundError(message(f"no file {path}", "vectors that numpy.save wrote", "check the path"))
    try:
        with open(path, "rb") as handle:
            version = np.lib.format.read_magic(handle)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(handle)
            offset = handle.tell()
    except ValueError as error:
        raise InputError(message(f"{path}, which is no .npy file", "one", "write it with numpy.save")) from error
    if len(shape) != 2 or fortran or dtype != np.dtype("<f4"):
        given = f"{path} with {dtype} values of shape {shape}" + (" in Fortran order" if fortran else "")
        raise InputError(message(given, "float32 of shape (n, dim) in C order", "convert the file once"))
    return int(shape[1]), int(shape[0]), offset
