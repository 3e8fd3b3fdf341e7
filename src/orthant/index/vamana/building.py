"""Making a state from vectors, and changing it: the steps behind ``Graph.add``, ``remove`` and ``over``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orthant import threads as pool
from orthant.index.ordering import Order, insertion_order
from orthant.index.vamana import build
from orthant.index.vamana.space import SAMPLE_ROWS, Space, fit_space
from orthant.index.vamana.state import State
from orthant.kernels import distances
from orthant.types import FloatArray, IdArray, Metric

__all__ = ["Piece", "Settings", "connect", "drop", "encoded_state", "extend", "fitted_space", "make_state"]

Progress = Callable[[int, int], None]

_MEND_SHARE = 0.02
_MEND_LEAST = 64
"""Removed slots are mended away above 64 and above two in a hundred: a search then meets few of them."""
_CHECK_SHARE = 256
"""Whether all nodes can be reached is checked once in so many-th of them was added: a check walks the whole graph."""
_ENCODED_TOGETHER = 8192
_NARROW = 128
"""Up to so many dimensions, eight bits fit into two cache lines, and four would save one at most."""


@dataclass(frozen=True)
class Settings:
    """Parameters of a graph; see ``Graph``."""

    degree: int
    beam: int
    alpha: float
    reduced_dim: int | None
    sketch: bool
    order: Order | IdArray
    seed: int
    scan_below: int
    margin: float = 0.5

    def links(self, metric: Metric, threads: int | None) -> build.BuildSettings:
        """Return what the linking steps need.

        Parameters
        ----------
        metric : {"dot", "cosine", "l2"}
            The score.
        threads : int or None
            Threads; None takes the default.

        Returns
        -------
        BuildSettings
            Degree, beam, alpha, margin, whether sketches decide, threads, and the least number of links.

        Notes
        -----
        Under dot, long vectors are often the answer and lie far from all others: nearly all their candidates are nearer
        to the first one kept. Their rows are filled up, since nothing would lead to them else.
        """
        least = self.degree if metric == "dot" else 0
        return build.BuildSettings(self.degree, self.beam, self.alpha, self.margin, self.sketch, threads, least)


@dataclass(frozen=True)
class Piece:
    """Vectors to index.

    Attributes
    ----------
    X : ndarray of shape (m, dim), float32
        Rows; where they are not copied, they must outlive the graph.
    ids : ndarray of shape (m,), int64
        Their ids.
    scale : ndarray of shape (m,), float32
        One over the norm for cosine; ones otherwise.
    kept : ndarray of shape (k,), int64
        Rows to index.
    """

    X: FloatArray
    ids: IdArray
    scale: FloatArray
    kept: npt.NDArray[np.int64]


def make_state(
    pieces: Sequence[Piece], settings: Settings, *, metric: Metric, own: bool, threads: int | None,
    progress: Progress | None = None, queries: tuple[FloatArray, FloatArray] | None = None,
) -> State:  # fmt: skip
    """Build a graph over vectors.

    Parameters
    ----------
    pieces : sequence of Piece
        At least one row in all.
    settings : Settings
        How.
    metric : {"dot", "cosine", "l2"}
        The score.
    own : bool
        Copy the vectors into room of the graph's own.
    threads : int or None
        Threads.
    progress : callable of (done, total), optional
        Called after each batch.
    queries : tuple of ndarray of shape (m, dim) and (h, dim), float32, optional
        Queries for the reduction to learn from, and to judge it by.

    Returns
    -------
    State
        The graph, every slot reachable.
    """
    rng = np.random.default_rng(settings.seed)
    state, every = encoded_state(
        pieces, settings, metric=metric, own=own, threads=threads, room=2 * settings.degree, rng=rng, queries=queries
    )
    connect(state, _order(every, pieces, settings, metric, rng), settings, threads=threads, progress=progress)
    return state


def encoded_state(
    pieces: Sequence[Piece], settings: Settings, *, metric: Metric, own: bool, threads: int | None, room: int,
    rng: np.random.Generator, queries: tuple[FloatArray, FloatArray] | None = None,
) -> tuple[State, npt.NDArray[np.int32]]:  # fmt: skip
    """Encode vectors into a state without links.

    Parameters
    ----------
    pieces, settings, metric, own, threads, queries : any
        As for ``make_state``.
    room : int
        Links that fit into a row.
    rng : numpy.random.Generator
        Draws the sample that the space is fitted to.

    Returns
    -------
    state : State
        The codes.
    slots : ndarray of shape (n,), int32
        The slot of each kept row, in order.
    """
    total = sum(len(piece.kept) for piece in pieces)
    sample = _sample(pieces, total, rng)
    largest = 1.0
    if metric != "cosine":
        largest = max(float(distances.norms(piece.X).max(initial=0.0)) for piece in pieces) or 1.0
    space = fitted_space(sample, settings, metric=metric, largest=largest, queries=queries)
    state = State.empty(space, room, total, own=own)
    return state, np.concatenate([_fill(state, piece, threads) for piece in pieces])


def fitted_space(
    sample: FloatArray, settings: Settings, *, metric: Metric, largest: float, bits: int | None = None,
    queries: tuple[FloatArray, FloatArray] | None = None,
) -> Space:  # fmt: skip
    """Fit what vectors are encoded by.

    Parameters
    ----------
    sample : ndarray of shape (m, dim), float32
        Some of the vectors, at most ``space.SAMPLE_ROWS``.
    settings : Settings
        How.
    metric : {"dot", "cosine", "l2"}
        The score.
    largest : float
        Largest norm of all vectors; 1 for cosine.
    bits : {8, 4}, optional
        Bits per dimension of a code row; left out, by their number.
    queries : tuple of ndarray, optional
        As for ``make_state``.

    Returns
    -------
    Space
        The map.
    """
    dims = min(sample.shape[1] + (metric == "dot"), settings.reduced_dim or 384)
    bits = (8 if dims <= _NARROW else 4) if bits is None else bits
    return fit_space(
        sample, metric=metric, dims=settings.reduced_dim, bits=bits, largest=largest, seed=settings.seed,
        queries=queries,
    )  # fmt: skip


def connect(
    state: State, order: npt.NDArray[np.int32], settings: Settings, *, threads: int | None,
    progress: Progress | None = None,
) -> None:  # fmt: skip
    """Link slots that are encoded, and see to it that each can be reached.

    Parameters
    ----------
    state : State
        The graph, not searched meanwhile.
    order : ndarray of shape (m,), int32
        New slots in order of insertion.
    settings : Settings
        How.
    threads : int or None
        Threads.
    progress : callable of (done, total), optional
        Called after each batch.
    """
    build.link(state, order, settings.links(state.space.metric, threads), progress)
    state.unchecked += len(order)
    if state.unchecked * _CHECK_SHARE >= state.used:
        build.ensure_reachable(state, settings.links(state.space.metric, threads))


def _sample(pieces: Sequence[Piece], total: int, rng: np.random.Generator) -> FloatArray:
    chosen = np.sort(rng.choice(total, min(total, SAMPLE_ROWS), replace=False))
    out, start = [], 0
    for piece in pieces:
        inside = chosen[(chosen >= start) & (chosen < start + len(piece.kept))] - start
        out.append(piece.X[piece.kept[inside]])
        start += len(piece.kept)
    return np.ascontiguousarray(np.concatenate(out))


def _fill(state: State, piece: Piece, threads: int | None) -> npt.NDArray[np.int32]:
    slots = state.take_slots(len(piece.kept))
    if state.vectors.own is not None:
        state.place(slots, piece.X[piece.kept], piece.ids[piece.kept])
    else:
        state.place_outside(slots, piece.X, piece.kept, piece.ids[piece.kept])

    def encode(start: int) -> None:
        state.encode(slots[start : start + _ENCODED_TOGETHER], piece.X[piece.kept[start : start + _ENCODED_TOGETHER]])

    pool.map_tasks(encode, range(0, len(slots), _ENCODED_TOGETHER), threads=threads)
    state.scales[slots] = piece.scale[piece.kept]
    return slots


def _order(
    every: npt.NDArray[np.int32], pieces: Sequence[Piece], settings: Settings, metric: Metric, rng: np.random.Generator
) -> npt.NDArray[np.int32]:
    order = settings.order
    if isinstance(order, str) and order == "random":
        return rng.permutation(every)
    if isinstance(order, str) and order == "given":
        return every
    X = np.concatenate([piece.X[piece.kept] for piece in pieces])
    return every[insertion_order(X, order, metric=metric, seed=settings.seed)]


def extend(state: State, piece: Piece, settings: Settings, *, threads: int | None) -> None:
    """Add vectors to a graph in place.

    Parameters
    ----------
    state : State
        The graph, not searched meanwhile.
    piece : Piece
        New vectors.
    settings : Settings
        How.
    threads : int or None
        Threads.
    """
    slots = _fill(state, piece, threads)
    rng = np.random.default_rng([settings.seed, state.used])
    connect(state, rng.permutation(slots), settings, threads=threads)


def drop(state: State, slots: IdArray, settings: Settings, *, threads: int | None, mend: bool | None = None) -> None:
    """Remove live slots from a graph in place, and mend its links when enough have gone.

    Parameters
    ----------
    state : State
        The graph, not searched meanwhile.
    slots : ndarray of shape (m,), int64
        Live slots.
    settings : Settings
        How.
    threads : int or None
        Threads.
    mend : bool, optional
        Whether to mend; left out, by the share of removed slots.
    """
    if len(slots):
        build.remove(state, slots)
    if mend is None:
        mend = needs_mending(state, 0)
    if mend:
        build.mend(state, settings.links(state.space.metric, threads))


def needs_mending(state: State, more: int) -> bool:
    """Return whether removing ``more`` slots makes mending due."""
    return state.dead_count + more > max(_MEND_LEAST, _MEND_SHARE * state.used)
