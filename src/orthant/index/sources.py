"""Where blocks come from: room that grows as vectors are added, or arrays that the caller keeps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from orthant.errors import DimensionError, DtypeError, InputError, message
from orthant.index.blocks import ALIVE, Block, shown
from orthant.kernels import bitmaps
from orthant.types import BitmapArray, FloatArray, IdArray, Metric
from orthant.validate import as_allowed

__all__ = ["Tail", "as_live", "check_distinct", "outer_block"]


class Tail:
    """Room that grows by doubling; rows below ``count`` never change, so views of them stay valid."""

    def __init__(self, dim: int, capacity: int) -> None:
        self.matrix = np.empty((capacity, dim), dtype=np.float32)
        self.ids = np.empty(capacity, dtype=np.int64)
        self.died = np.empty(capacity, dtype=np.int64)
        self.scale = np.empty(capacity, dtype=np.float32)
        self.count = 0

    def extended(self, matrix: FloatArray, ids: IdArray, scale: FloatArray) -> Tail:
        """Return a tail that also holds these rows; the same arrays when they had room.

        Parameters
        ----------
        matrix : ndarray of shape (m, dim), float32
            Vectors to append.
        ids : ndarray of shape (m,), int64
            Their ids.
        scale : ndarray of shape (m,), float32
            Their factors, from `checked_scale`.

        Returns
        -------
        Tail
            This tail, or a larger one with copies of its rows.
        """
        start, stop = self.count, self.count + len(ids)
        out = self
        if stop > len(self.ids):
            out = Tail(self.matrix.shape[1], max(stop, 2 * len(self.ids)))
            for name in ("matrix", "ids", "died", "scale"):
                getattr(out, name)[:start] = getattr(self, name)[:start]
        out.matrix[start:stop] = matrix
        out.ids[start:stop] = ids
        out.died[start:stop] = ALIVE
        out.scale[start:stop] = scale
        out.count = stop
        return out

    def block(self, metric: Metric) -> Block:
        """Return the rows so far as a block.

        Parameters
        ----------
        metric : {"dot", "cosine", "l2"}
            The score.

        Returns
        -------
        Block
            Views of the rows, without copies.
        """
        n = self.count
        return Block(self.matrix[:n], self.ids[:n], metric=metric, died=self.died[:n], scale=self.scale[:n])


def as_live(live: BitmapArray) -> BitmapArray:
    """Check a ``live`` argument: a uint64 bitmap over ids.

    Parameters
    ----------
    live : ndarray of uint64
        The bitmap.

    Returns
    -------
    ndarray of uint64
        The bitmap.

    Raises
    ------
    DtypeError
        Another dtype.
    """
    bitmap = as_allowed(live, name="live")
    if bitmap is None or bitmap.dtype != np.uint64:
        raise DtypeError(message(f"live of dtype {np.asarray(live).dtype}", "a uint64 bitmap over ids", "convert it"))
    return bitmap  # type: ignore[return-value]


def outer_block(number: int, block: Sequence[Any], dim: int, metric: Metric, live: BitmapArray | None) -> Block:
    """Check one block of the caller's arrays and wrap it without copying.

    Parameters
    ----------
    number : int
        Place among the blocks, for errors.
    block : (matrix, ids) or (matrix, ids, inverse_norms)
        As ``Flat.over`` describes.
    dim : int
        Dimension.
    metric : {"dot", "cosine", "l2"}
        Score.
    live : ndarray of uint64 or None
        Bitmap over ids; rows outside are dead from the start.

    Returns
    -------
    Block
        Views of the arrays.

    Raises
    ------
    DtypeError, DimensionError, InputError
        What does not fit.
    """
    if len(block) not in (2, 3):
        raise InputError(
            message(
                f"blocks[{number}] of {len(block)} parts", "(matrix, ids) or (matrix, ids, inverse_norms)", "fix it"
            )
        )
    matrix, ids = np.asarray(block[0]), np.asarray(block[1])
    if matrix.dtype != np.float32 or not matrix.flags.c_contiguous or ids.dtype != np.int64:
        raise DtypeError(
            message(
                f"blocks[{number}] with a {matrix.dtype} matrix and {ids.dtype} ids",
                "a float32 C-contiguous matrix and int64 ids, since nothing is copied",
                "convert them once, or use add",
            )
        )
    if matrix.ndim != 2 or matrix.shape[1] != dim or ids.shape != (len(matrix),):
        raise DimensionError(
            message(
                f"blocks[{number}] with shapes {matrix.shape} and {ids.shape}",
                f"(n, {dim}) and (n,)",
                "check the block",
            )
        )
    if len(ids) and int(ids.min()) < 0:
        raise InputError(message(f"blocks[{number}] with a negative id", "ids of 0 or more", "-1 means 'no neighbour'"))
    scale = None
    if len(block) == 3:
        scale = np.asarray(block[2], dtype=np.float32)
        if metric != "cosine" or scale.shape != (len(matrix),):
            raise InputError(
                message(
                    f"blocks[{number}] with inverse norms of shape {scale.shape}", "one per row, cosine only", "omit"
                )
            )
    died = np.full(len(matrix), ALIVE, dtype=np.int64)
    if live is not None:
        died[~bitmaps.contains_rows(live, ids)] = 0
    return Block(matrix, ids, metric=metric, died=died, scale=scale)


def check_distinct(blocks: Sequence[Block], generation: int) -> None:
    """Raise unless live ids are distinct over all blocks.

    Parameters
    ----------
    blocks : sequence of Block
        The rows.
    generation : int
        As in ``BlockSet``.

    Raises
    ------
    InputError
        An id that lives twice; the first few are listed.
    """
    filled = [block for block in blocks if len(block)]
    in_order = all(a.ids[-1] < b.ids[0] for a, b in itertools.pairwise(filled))
    if in_order and all(block.ascending for block in filled):
        return
    live = np.sort(np.concatenate([block.ids[block.died > generation] for block in filled]))
    twice = np.unique(live[1:][live[1:] == live[:-1]])
    if len(twice):
        raise InputError(
            message(f"blocks with repeated ids {shown(twice)}", "one live row per id", "clear the older rows in live=")
        )
