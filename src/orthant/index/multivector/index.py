"""The index of sets of vectors: exact MaxSim, reached by comparing everything or by candidates."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.index.blocks import shown
from orthant.index.multivector.files import read_sets
from orthant.index.multivector.reading import MultiVectorReading, State
from orthant.index.multivector.sets import Sets, make_block
from orthant.index.multivector.settings import check_settings, choose_method, make_stage, sample_of
from orthant.index.multivector.staging import coded_in_parts, staged
from orthant.index.multivector.streaming import spooled
from orthant.transforms.fixed_dimensional import FixedDimensionalEncoding
from orthant.types import IdArray, Ragged
from orthant.validate import as_ids, as_ragged, check_count

__all__ = ["MultiVector"]

_LARGEST_ID = int(np.iinfo(np.int64).max)
_COMPACT_ROWS, _COMPACT_SHARE = 1024, 5


class MultiVector(MultiVectorReading):
    """Nearest neighbours among sets of vectors by MaxSim, such as the tokens of a late-interaction model.

    Below ``exact_below`` sets every set is compared, which is exact and needs nothing but the tokens. Above, a cheaper
    representation proposes candidates and exact MaxSim orders them; ``report`` measures on your queries what that
    loses. For one vector per item use ``Graph`` or ``Flat``.

    Any mix of calls from any threads is safe: a search sees the sets of the moment it began.

    Parameters
    ----------
    dim : int
        Dimension of a token, at least 1.
    method : {"auto", "exact", "fde", "pooled", "plaid"}, default "auto"
        What proposes candidates. "exact": nothing, everything is compared. "fde": fixed dimensional encodings.
        "pooled": means of tokens in a graph; the smallest. "plaid": cells of tokens and residual codes; the surest,
        some 30 bytes per token. "auto": "pooled" or "fde", whichever follows MaxSim better on a sample.
    exact_below : int, default 4096
        Sets below which everything is compared, whatever the method; 0 never does.
    encoding : FixedDimensionalEncoding, optional
        Settings of "fde"; left out, 16 columns for a cell, and 40 repetitions of 2 cells for "reduced", 20 of 16
        for other codes.
    codes : {"auto", "reduced", "product", "graph"}, optional
        What becomes of encodings of "fde". "reduced": their leading directions in a graph, quick to search. "product":
        codes that are all scanned, smaller, and surer where tokens have little in common. "auto", the default:
        "reduced" unless a sample loses too much by it. "graph": whole in a graph, which takes 4 bytes for each column
        and minutes to build above 2,000 columns.
    reduced_dim : int, optional
        Directions kept by "reduced", at most; default 128. Fewer lose neighbours, more take 4 bytes each.
    block : int, optional
        Columns of an encoding for each byte of "product", near to which a divisor is taken; default 8.
    cells : int, optional
        Centroids of "plaid"; left out, about 8 times the square root of the number of tokens.
    probes : int, optional
        Cells searched for each query token by "plaid"; default 8. Fewer miss more.
    prune : float, optional
        Cells of "plaid" whose score is below this share of the best are passed over, 0 to 1; default 0.3.
    sample : int, default 16384
        Sets that encodings, cells and codes are learned from.
    seed : int, default 0
        Of everything random. Equal calls give equal indexes.

    Raises
    ------
    InputError
        A value out of range, an unknown method, or a setting that the method does not read.

    Notes
    -----
    ``score(Q, P) = sum_i max_j <q_i, p_j>``. Scores of hits are computed in float64 from the tokens added, so methods
    differ in what they find and never in a score. Cost of an exact search: (query tokens) x (all tokens) x dim
    multiplications; of another, its candidates and ``effort`` sets. Memory: ``estimate_memory``.

    References
    ----------
    O. Khattab, M. Zaharia: ColBERT. arXiv 2004.12832. L. Dhulipala et al.: MUVERA. arXiv 2405.19504.
    K. Santhanam, O. Khattab, C. Potts, M. Zaharia: PLAID. arXiv 2205.09707, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> from orthant.index import MultiVector
    >>> rng = np.random.default_rng(0)
    >>> documents = [rng.standard_normal((int(n), 16)) for n in rng.integers(2, 9, 40)]
    >>> index = MultiVector(16)
    >>> ids = index.add(documents)
    >>> index.search([documents[5][:2]], k=1).ids
    array([[5]])
    """

    def __init__(
        self,
        dim: int,
        method: str = "auto",
        *,
        exact_below: int = 4096,
        encoding: FixedDimensionalEncoding | None = None,
        codes: str | None = None,
        reduced_dim: int | None = None,
        block: int | None = None,
        cells: int | None = None,
        probes: int | None = None,
        prune: float | None = None,
        sample: int = 16384,
        seed: int = 0,
    ) -> None:
        settings = check_settings(
            method, exact_below=exact_below, encoding=encoding, codes=codes, reduced_dim=reduced_dim, block=block,
            cells=cells, probes=probes, prune=prune, sample=sample, seed=seed,
        )  # fmt: skip
        super().__init__(dim, settings)

    @classmethod
    def stream(
        cls, path: str | Path, chunks: Iterable[Any], *, dim: int, method: str = "auto", **settings: Any
    ) -> MultiVector:
        """Build an index on disk from an iterator, in memory for one chunk, a sample and the codes.

        Parameters
        ----------
        path : str or Path
            Folder to save to; a file beside the index holds the tokens meanwhile and is removed.
        chunks : iterable of Ragged, or of (Ragged, ids)
            Sets, read once; all with ids or all without.
        dim : int
            Dimension of a token.
        method : str, default "auto"
            As in the class.
        **settings : any
            Further parameters of the class.

        Returns
        -------
        MultiVector
            The saved index, its tokens mapped.

        Raises
        ------
        InputError
            A chunk that does not fit, or ids that repeat; nothing is left behind.

        Notes
        -----
        Tokens are written as they come, then the sample is drawn from all of them, then codes are computed part by
        part. Disk: twice the tokens while it runs.
        """
        out = cls(dim, method, **settings)
        with spooled(path, chunks, dim) as (tokens, ids):
            out._state = State(Sets.of(dim, [make_block(tokens, ids, {}, fixed=True)] if len(ids) else []))
            out._next_id = int(ids.max(initial=-1)) + 1
            out._grow()
            out.save(path)
            # The map must be let go before the file is removed.
            out._state = State(Sets(dim))
            del tokens
        return cls.load(path)

    def add(self, X: Any, ids: npt.ArrayLike | None = None) -> IdArray:
        """Add sets; nothing is added when anything is wrong.

        Parameters
        ----------
        X : Ragged, or sequence of array-like of shape (length, dim)
            Sets of one token at least; copied as float32.
        ids : array-like of shape (n,), int, optional
            Distinct, non-negative, not in the index. Left out, numbering continues after the largest id ever given.

        Returns
        -------
        ndarray of shape (n,), int64
            The ids.

        Raises
        ------
        InputError
            An id is present already (listed), or a set without tokens.
        DimensionError, DtypeError, NonFiniteError
            X does not fit.

        Notes
        -----
        The call that brings the index to ``exact_below`` sets learns the stage and encodes all sets.
        """
        tokens = as_ragged(X, dim=self._dim, name="sets", nonempty=True)
        given = None if ids is None else as_ids(ids, count=len(tokens))
        with self._lock:
            if given is None:
                if self._next_id + len(tokens) > _LARGEST_ID:
                    raise InputError(message("no automatic ids left", "fewer than 2**63 - 1", "pass ids="))
                given = np.arange(self._next_id, self._next_id + len(tokens), dtype=np.int64)
            if not len(tokens):
                return given
            state = self._state
            present = given[state.sets.rows.locate(given) >= 0]
            if len(present):
                given_text = f"{len(present)} id(s) already in the index: {shown(present)}"
                raise InputError(message(given_text, "new ids", "remove them first"))
            # What the caller holds may change; what is stored must not.
            own = Ragged(tokens.values.copy(), tokens.offsets.copy())
            extras = {} if state.stage is None else coded_in_parts(state.stage, own)
            sets = state.sets.added(make_block(own, given.copy(), extras))
            if state.stage is not None:
                state.stage.add(own, given)
            self._state = State(sets, state.stage, state.method)
            self._next_id = max(self._next_id, int(given.max()) + 1)
            self._grow()
        return given

    def _grow(self) -> None:
        """Learn a stage where there is none and one is due."""
        if self._state.stage is None:
            self._state = self._learned(self._state.sets)

    def _learned(self, sets: Sets) -> State:
        settings = self._settings
        if settings.method == "exact" or len(sets) < max(1, settings.exact_below):
            return State(sets)
        sample = sample_of(sets, settings.sample, settings.seed)
        method = choose_method(sample, settings) if settings.method == "auto" else settings.method
        stage = make_stage(method, sample, settings, expected=sets.tokens)
        return State(staged(sets, stage), stage, method)

    def rebuild(self) -> None:
        """Squeeze out removed sets and learn encodings, cells and codes anew, from the sets that are there now.

        Use it when the index has grown several times, or to other material than it was learned from. Searches go on
        meanwhile with what there was.
        """
        with self._lock:
            self._state = self._learned(self._state.sets.compacted())
            self._measured = ()

    def remove(self, ids: npt.ArrayLike) -> int:
        """Remove sets by id; ids that are not present are ignored.

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
        Tokens of removed sets are squeezed out above 1,024 and a fifth of all.
        """
        wanted = as_ids(ids)
        with self._lock:
            state = self._state
            rows = state.sets.rows.locate(wanted)
            rows = rows[rows >= 0]
            if not len(rows):
                return 0
            gone = state.sets.rows.ids_of(rows)
            sets = state.sets.removed(rows)
            if sets.rows.dead > _COMPACT_ROWS and sets.rows.dead * _COMPACT_SHARE > sets.rows.total:
                sets = sets.compacted()
            if not len(sets):
                # The next sets may be of another kind: learn from them.
                self._state = State(Sets.of(self._dim, [], generation=sets.rows.generation))
                return len(rows)
            if state.stage is not None:
                state.stage.remove(gone)
            self._state = State(sets, state.stage, state.method)
            return len(rows)

    @classmethod
    def load(cls, path: str | Path, *, mmap: bool = True) -> MultiVector:
        """Open an index that ``save`` wrote; every byte is verified first.

        Parameters
        ----------
        path : str or Path
            The folder.
        mmap : bool, default True
            Map tokens and codes instead of copying them into memory; additions go to memory beside them.

        Returns
        -------
        MultiVector
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
        saved = read_sets(path, mmap=mmap)
        out = cls.__new__(cls)
        MultiVectorReading.__init__(out, saved.sets.dim, saved.settings)
        out._state = State(saved.sets, saved.stage, saved.method)
        out._next_id, out._measured = saved.next_id, saved.measured
        return out

    @staticmethod
    def estimate_memory(
        n: int,
        dim: int,
        *,
        tokens_per_set: float,
        method: str = "exact",
        columns: int = 5120,
        block: int = 8,
    ) -> dict[str, int]:
        """Return about what an index will weigh.

        Parameters
        ----------
        n, dim : int
            Sets and dimension of a token.
        tokens_per_set : float
            Mean number of tokens.
        method : {"exact", "fde", "pooled", "plaid"}, default "exact"
            The method; "fde" with product codes. Reduced encodings weigh as much as "pooled" with a ``dim`` of 128.
        columns, block : int, default 5120 and 8
            Columns of an encoding, and columns for each byte of code.

        Returns
        -------
        dict of str to int
            ``"tokens"``, ``"beside"`` (codes or graph), ``"ids"`` and ``"total"`` bytes.

        Raises
        ------
        InputError
            Values below 1, or another method.

        Examples
        --------
        >>> MultiVector.estimate_memory(1000, 96, tokens_per_set=45, method="fde")["tokens"]
        17280000
        """
        return _estimate(check_count(n, name="n"), check_count(dim, name="dim"), tokens_per_set, method, columns, block)


def _estimate(n: int, dim: int, tokens_per_set: float, method: str, columns: int, block: int) -> dict[str, int]:
    from orthant.index.graph import Graph
    from orthant.validate import check_choice

    tokens = int(n * float(tokens_per_set))
    if tokens < n:
        raise InputError(message(f"tokens_per_set={tokens_per_set!r}", "1 at least", "pass the mean number of tokens"))
    beside = {
        "exact": 0,
        "fde": n * -(-columns // block),
        "pooled": Graph.estimate_memory(n, dim)["total"],
        "plaid": tokens * (4 + max(1, dim // 4)),
    }
    check_choice(method, tuple(beside), name="method")
    # Spans, ids, deaths and the lookup.
    out = {"tokens": tokens * dim * 4, "beside": beside[method], "ids": n * 48}
    return {**out, "total": sum(out.values())}
