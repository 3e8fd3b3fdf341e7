"""From arguments to what the building steps take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.index.blocks import shown
from orthant.index.ordering import Order
from orthant.index.sources import as_live, check_distinct, outer_block
from orthant.index.vamana.building import Piece, Settings
from orthant.kernels import distances
from orthant.kernels.graph.sketch import MOST_DIMS
from orthant.types import BitmapArray, FloatArray, IdArray, Metric
from orthant.validate import as_ids, check_count

__all__ = ["as_piece", "as_pieces", "check_new", "check_settings"]


def check_settings(
    degree: int, beam: int, alpha: float, reduced_dim: int | None, sketch: bool, order: Any, seed: int, scan_below: int
) -> Settings:
    """Check the parameters of a graph.

    Parameters
    ----------
    degree, beam, alpha, reduced_dim, sketch, order, seed, scan_below : any
        As ``Graph`` describes.

    Returns
    -------
    Settings
        The parameters.

    Raises
    ------
    InputError
        One is outside its range.
    """
    degree, beam = check_count(degree, name="degree"), check_count(beam, name="beam")
    if degree < 4 or degree > 256:
        raise InputError(message(f"degree={degree}", "4 to 256", "32 suits most data"))
    if beam < degree:
        raise InputError(message(f"beam={beam} below degree={degree}", "at least the degree", "raise beam"))
    if not isinstance(alpha, (int, float)) or not 1.0 <= alpha <= 4.0:
        raise InputError(message(f"alpha={alpha!r}", "a number from 1 to 4", "1.1 suits most data"))
    if reduced_dim is not None and check_count(reduced_dim, name="reduced_dim") > MOST_DIMS:
        raise InputError(message(f"reduced_dim={reduced_dim}", f"at most {MOST_DIMS}", "leave it out"))
    if not isinstance(sketch, (bool, np.bool_)):
        raise InputError(message(f"sketch={sketch!r}", "True or False", "leave it out"))
    if isinstance(order, str):
        if order == "category" or order not in get_args(Order):
            named = [name for name in get_args(Order) if name != "category"]
            raise InputError(message(f"order={order!r}", f"one of {', '.join(named)}, or a permutation", "fix it"))
    else:
        order = as_ids(order, name="order")
    below = check_count(scan_below, name="scan_below", minimum=0)
    seed = check_count(seed, name="seed", minimum=0)
    return Settings(degree, beam, float(alpha), reduced_dim, bool(sketch), order, seed, below)


def as_piece(X: FloatArray, ids: IdArray, metric: Metric) -> Piece:
    """Return vectors that are added as a piece.

    Parameters
    ----------
    X : ndarray of shape (n, dim), float32
        Checked vectors.
    ids : ndarray of shape (n,), int64
        Checked ids.
    metric : {"dot", "cosine", "l2"}
        The score.

    Returns
    -------
    Piece
        All of them.
    """
    scale = distances.inverse_norms(X) if metric == "cosine" else np.ones(len(X), np.float32)
    return Piece(X, ids, scale, np.arange(len(X), dtype=np.int64))


def as_pieces(blocks: Iterable[Sequence[Any]], dim: int, metric: Metric, live: BitmapArray | None) -> list[Piece]:
    """Check blocks of the caller's arrays.

    Parameters
    ----------
    blocks : iterable of sequences
        As ``Graph.over`` describes.
    dim : int
        Dimension.
    metric : {"dot", "cosine", "l2"}
        The score.
    live : ndarray of uint64, optional
        Bitmap over ids.

    Returns
    -------
    list of Piece
        One per block that has live rows.

    Raises
    ------
    DimensionError, DtypeError, InputError, NonFiniteError
        What does not fit.
    """
    alive = None if live is None else as_live(live)
    made = [outer_block(i, block, dim, metric, alive) for i, block in enumerate(blocks)]
    check_distinct(made, 0)
    out = []
    for block in made:
        kept = np.flatnonzero(block.died > 0)
        if len(kept):
            scale = block.scale if metric == "cosine" else np.ones(len(block), np.float32)
            out.append(Piece(block.matrix, block.ids, scale, kept))
    return out


def check_new(slots: npt.NDArray[Any], ids: IdArray) -> None:
    """Raise unless no id has a slot.

    Parameters
    ----------
    slots : ndarray of shape (n,), int
        Slot of each id, -1 where it is absent.
    ids : ndarray of shape (n,), int64
        The ids.

    Raises
    ------
    InputError
        Ids that are present, the first few listed.
    """
    present = ids[slots >= 0]
    if len(present):
        raise InputError(
            message(
                f"{len(present)} id(s) already in the index: {shown(present)}",
                "new ids",
                "remove them first, or use a collection's upsert",
            )
        )
