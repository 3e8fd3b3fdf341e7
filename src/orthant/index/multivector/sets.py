"""Sets of vectors in blocks: which live, where an id is, and what is kept beside them.

Rows, ids, deaths and filters are those of `index.blocks`; a row's "vector" there is the span of its tokens here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.index.blocks import ALIVE, Block, BlockSet, IdRuns
from orthant.kernels.distances import norms
from orthant.types import FloatArray, IdArray, Ragged

__all__ = ["Extras", "SetBlock", "Sets", "make_block", "pieces", "places_of"]

Extras = Mapping[str, npt.NDArray[Any]]
"""What a stage keeps: arrays with a row per token (names beginning with "token") or per set."""

_PIECE_TOKENS = 1 << 18


@dataclass(frozen=True)
class SetBlock:
    """Some sets.

    Attributes
    ----------
    values : ndarray of shape (T, d), float32
        Tokens; may be memory-mapped, and of float16 where they are stored so elsewhere.
    rows : Block
        Spans in ``values`` as its matrix, shape (n, 2), int64; ids; deaths.
    extras : mapping of str to ndarray
        Codes.
    fixed : bool
        Mapped, so never merged with what comes later.
    """

    values: FloatArray
    rows: Block
    extras: Extras = field(default_factory=dict)
    fixed: bool = False

    @property
    def spans(self) -> npt.NDArray[np.int64]:
        """First and last place of each set's tokens, shape (n, 2)."""
        return self.rows.matrix  # type: ignore[return-value]

    @property
    def offsets(self) -> npt.NDArray[np.int64]:
        """Spans as offsets, shape (n + 1,); blocks hold their sets back to back."""
        return np.concatenate([self.spans[:1, 0], self.spans[:, 1]])

    @cached_property
    def longest(self) -> float:
        """Largest norm of a token."""
        return float(norms(self.values).max(initial=0.0))

    @cached_property
    def lists(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Sets by cell: sorted ``cell * n + set``, and nothing twice."""
        count = len(self.rows)
        owner = np.repeat(np.arange(count), self.spans[:, 1] - self.spans[:, 0])
        keys = np.unique(self.extras["token_cells"].astype(np.int64) * count + owner)
        return keys // count, keys % count


def make_block(tokens: Ragged, ids: IdArray, extras: Extras, *, fixed: bool = False) -> SetBlock:
    """Return a block of live sets.

    Parameters
    ----------
    tokens : Ragged
        The sets.
    ids : ndarray of shape (n,), int64
        Their ids.
    extras : mapping of str to ndarray
        Codes.
    fixed : bool, default False
        Whether the arrays are mapped.

    Returns
    -------
    SetBlock
        It shares the arrays.
    """
    spans: Any = np.column_stack([tokens.offsets[:-1], tokens.offsets[1:]])
    died = np.full(len(ids), ALIVE, dtype=np.int64)
    return SetBlock(tokens.values, Block(spans, ids, metric="dot", died=died), extras, fixed)


def places_of(spans: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the places of all tokens of some spans, and the offsets of the sets among them.

    Parameters
    ----------
    spans : ndarray of shape (n, 2), int64
        First and last place.

    Returns
    -------
    places : ndarray of shape (T,), int64
        In the order of the spans.
    offsets : ndarray of shape (n + 1,), int64
        From 0 to T.
    """
    lengths = spans[:, 1] - spans[:, 0]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return np.repeat(spans[:, 0] - offsets[:-1], lengths) + np.arange(offsets[-1]), offsets


def pieces(tokens: Ragged) -> Iterator[tuple[int, int, Ragged]]:
    """Yield sets in parts of bounded size, as float32.

    Parameters
    ----------
    tokens : Ragged
        Sets.

    Yields
    ------
    start, stop, part : int, int, Ragged
        Which sets, and the sets.
    """
    start = 0
    while start < len(tokens):
        limit = tokens.offsets[start] + _PIECE_TOKENS
        stop = max(start + 1, int(np.searchsorted(tokens.offsets, limit, side="right")) - 1)
        offsets = tokens.offsets[start : stop + 1]
        values = np.ascontiguousarray(tokens.values[offsets[0] : offsets[-1]], dtype=np.float32)
        yield start, stop, Ragged(values, offsets - offsets[0])
        start = stop


def _merged(first: SetBlock, second: SetBlock) -> SetBlock:
    spans: Any = np.concatenate([first.spans, second.spans + len(first.values)])
    died = np.concatenate([first.rows.died, second.rows.died])
    rows = Block(spans, np.concatenate([first.rows.ids, second.rows.ids]), metric="dot", died=died)
    extras = {name: np.concatenate([first.extras[name], second.extras[name]]) for name in first.extras}
    return SetBlock(np.concatenate([first.values, second.values]), rows, extras)


@dataclass(frozen=True)
class Sets:
    """One generation of an index of sets.

    Attributes
    ----------
    dim : int
        Dimension of the tokens.
    blocks : tuple of SetBlock
        The sets.
    rows : BlockSet
        Their rows.
    """

    dim: int
    blocks: tuple[SetBlock, ...] = ()
    rows: BlockSet = field(default_factory=lambda: BlockSet(2, given_runs=IdRuns()))

    @classmethod
    def of(cls, dim: int, blocks: Sequence[SetBlock], *, generation: int = 0) -> Sets:
        """Return blocks of live sets as a generation of their own.

        Parameters
        ----------
        dim : int
            Dimension of the tokens.
        blocks : sequence of SetBlock
            The sets.
        generation : int, default 0
            Number of the generation.

        Returns
        -------
        Sets
            With a lookup of its own.
        """
        rows = BlockSet(2, tuple(block.rows for block in blocks), generation)
        return cls(dim, tuple(blocks), BlockSet(2, rows.blocks, generation, 0, rows.runs))

    def __len__(self) -> int:
        """Return the number of live sets."""
        return len(self.rows)

    @property
    def tokens(self) -> int:
        """Tokens, those of dead sets included."""
        return sum(len(block.values) for block in self.blocks)

    def added(self, block: SetBlock) -> Sets:
        """Return a generation with one block more; small blocks at the end grow together.

        Parameters
        ----------
        block : SetBlock
            Ids that are not held.

        Returns
        -------
        Sets
            The new generation; this one stays as it is.
        """
        total = self.rows.total
        runs = self.rows.runs.add(block.rows.ids, np.arange(total, total + len(block.rows), dtype=np.int64))
        blocks = list(self.blocks)
        # A block is copied only when it at most doubles the one behind it: O(T log T) in all.
        while blocks and not blocks[-1].fixed and len(blocks[-1].values) <= 2 * len(block.values):
            block = _merged(blocks.pop(), block)
        blocks.append(block)
        rows = tuple(each.rows for each in blocks)
        return Sets(self.dim, tuple(blocks), BlockSet(2, rows, self.rows.generation, self.rows.dead, runs))

    def removed(self, rows: IdArray) -> Sets:
        """Return a generation in which some live rows are dead.

        Parameters
        ----------
        rows : ndarray of shape (m,), int64
            Live rows.

        Returns
        -------
        Sets
            The new generation; this one stays as it is.
        """
        old, generation = self.rows, self.rows.generation + 1
        for block, _, inner in old.parts(rows):
            block.died[inner] = generation
        return Sets(self.dim, self.blocks, BlockSet(2, old.blocks, generation, old.dead + len(rows), old.runs))

    def compacted(self) -> Sets:
        """Return the live sets alone, in one block."""
        rows = self.rows.alive_rows()
        tokens, extras = self.gathered(rows), {name: self.extra(name, rows) for name in self.names}
        block = make_block(tokens, self.rows.ids_of(rows), extras)
        return Sets.of(self.dim, [block] if len(rows) else [], generation=self.rows.generation)

    @property
    def longest(self) -> float:
        """Largest norm of a token."""
        return max((block.longest for block in self.blocks), default=0.0)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of what is kept beside the tokens."""
        return tuple(self.blocks[0].extras) if self.blocks else ()

    def gathered(self, rows: IdArray) -> Ragged:
        """Return copies of the tokens of some rows.

        Parameters
        ----------
        rows : ndarray of shape (m,), int64
            Rows, dead ones included.

        Returns
        -------
        Ragged
            In the order of the rows.
        """
        values, offsets = self._collected(rows, lambda block: block.values, (self.dim,), np.dtype(np.float32))
        return Ragged(values.astype(np.float32, copy=False), offsets)

    def extra(self, name: str, rows: IdArray) -> npt.NDArray[Any]:
        """Return what is kept beside some rows.

        Parameters
        ----------
        name : str
            One of ``names``.
        rows : ndarray of shape (m,), int64
            Rows, dead ones included.

        Returns
        -------
        ndarray
            A row for each row, or for each of their tokens where the name begins with "token".
        """
        like = self.blocks[0].extras[name]
        if name.startswith("token"):
            return self._collected(rows, lambda block: block.extras[name], like.shape[1:], like.dtype)[0]
        out = np.empty((len(rows), *like.shape[1:]), like.dtype)
        for block, at, inner in self._parts(rows):
            out[at] = block.extras[name][inner]
        return out

    def _parts(self, rows: IdArray) -> Any:
        by_rows = {id(block.rows): block for block in self.blocks}
        return ((by_rows[id(block)], at, inner) for block, at, inner in self.rows.parts(rows))

    def _collected(self, rows: IdArray, source: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        lengths = np.zeros(len(rows), dtype=np.int64)
        parts = list(self._parts(rows))
        for block, at, inner in parts:
            lengths[at] = block.spans[inner, 1] - block.spans[inner, 0]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        if len(parts) == 1:
            return source(parts[0][0])[places_of(parts[0][0].spans[parts[0][2]])[0]], offsets
        out = np.empty((int(offsets[-1]), *shape), dtype)
        for block, at, inner in parts:
            target = places_of(np.column_stack([offsets[at], offsets[at + 1]]))[0]
            out[target] = source(block)[places_of(block.spans[inner])[0]]
        return out, offsets

    @property
    def nbytes(self) -> int:
        """Bytes of tokens, codes, ids and lookup."""
        codes = sum(array.nbytes for block in self.blocks for array in block.extras.values())
        return self.rows.nbytes + codes + sum(block.values.nbytes for block in self.blocks)
