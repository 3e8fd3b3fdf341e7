"""What proposes candidates among sets of tokens that are stored elsewhere, such as in mapped segment files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import StoreCorruptedError, message
from orthant.index.graph import Graph
from orthant.index.multivector.files import SavedCodes, read_codes, write_sets
from orthant.index.multivector.reading import MultiVectorReading, State
from orthant.index.multivector.scoring import exact_top, scan
from orthant.index.multivector.sets import SetBlock, Sets, make_block, pieces, places_of
from orthant.index.multivector.settings import Settings, check_settings, choose_method, make_stage, sample_of
from orthant.index.multivector.stages import Linked, Stage
from orthant.index.multivector.staging import coded_in_parts, staged
from orthant.kernels import bitmaps
from orthant.measures.neighbours import recall_per_query
from orthant.types import BitmapArray, IdArray, Ragged
from orthant.validate import as_ids

__all__ = ["SetCodes"]

_CALIBRATION_QUERIES, _CALIBRATION_TOKENS = 32, 8
_FIRST_EFFORT, _ENOUGH = 25, 0.995

Blocks = Iterable[Sequence[Any]]
"""Pairs of tokens (T, d), float32 or float16, and the id of each (T,), those of one set side by side."""


class SetCodes(MultiVectorReading):
    """The candidates of ``MultiVector`` for sets whose tokens lie elsewhere, and are not copied.

    A collection uses it for its spaces of tokens. Made by :meth:`over`, saved without the tokens by
    :meth:`save_links`, and opened over them by :meth:`attach`. Sets are not changed in place: :meth:`extended` gives
    another one. For sets that the index should hold itself use ``MultiVector``.

    Parameters
    ----------
    sets : Sets
        The sets, with codes beside them.
    stage : Stage or None
        What proposes candidates; None compares everything.
    method : str
        Its name, or ``"exact"``.
    settings : Settings
        Parameters.
    calibration : tuple of (int, float), optional
        Recall by effort.

    Notes
    -----
    Memory: codes, 16 bytes a set for where its tokens are, and 16 for the lookup.

    Examples
    --------
    >>> import numpy as np
    >>> from orthant.index.multivector.attached import SetCodes
    >>> tokens, owners = np.eye(4, dtype=np.float32), np.array([7, 7, 8, 9])
    >>> codes = SetCodes.over([(tokens, owners)], dim=4, method="pooled")
    >>> codes.search([tokens[2:3]], k=1).ids
    array([[8]])
    """

    # What was taken away with a compaction stays in a graph, and is masked by whoever searches.
    _same_ids = False

    def __init__(
        self,
        sets: Sets,
        stage: Stage | None,
        method: str,
        settings: Settings,
        *,
        calibration: tuple[tuple[int, float], ...] = (),
    ) -> None:
        super().__init__(sets.dim, settings)
        self._state = State(sets, stage, method)
        self._calibration = calibration

    @property
    def calibration(self) -> tuple[tuple[int, float], ...]:
        """Recall by effort, measured with parts of sets as queries by :meth:`calibrate`; empty before."""
        return self._calibration

    @classmethod
    def over(
        cls,
        blocks: Blocks,
        *,
        dim: int,
        method: str = "auto",
        live: BitmapArray | None = None,
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> SetCodes:
        """Learn from sets where they lie, and encode them.

        Parameters
        ----------
        blocks : iterable of (ndarray of shape (T, dim), ndarray of shape (T,))
            Tokens of float32 or float16, and the id of the set of each.
        dim : int
            Dimension of a token.
        method : {"auto", "exact", "fde", "pooled", "plaid"}, default "auto"
            As for ``MultiVector``.
        live : ndarray of uint64, optional
            Bitmap over ids; others are left out.
        seed : int, default 0
            Of everything random.
        progress : callable of (done, total), optional
            Told when learning and when encoding has ended.

        Returns
        -------
        SetCodes
            Ready to search.

        Raises
        ------
        InputError
            An unknown method.
        """
        settings = check_settings(
            method, exact_below=0, encoding=None, codes=None, reduced_dim=None, block=None, cells=None, probes=None,
            prune=None, sample=16_384, seed=seed,
        )  # fmt: skip
        sets = _without(Sets.of(dim, [_block(*block) for block in blocks]), live)
        if method == "exact" or not len(sets):
            return cls(sets, None, "exact", settings)
        sample = sample_of(sets, settings.sample, settings.seed)
        chosen = choose_method(sample, settings) if method == "auto" else method
        stage = make_stage(chosen, sample, settings, expected=sets.tokens)
        if progress is not None:
            progress(1, 2)
        out = cls(staged(sets, stage), stage, chosen, settings)
        if progress is not None:
            progress(2, 2)
        return out

    @classmethod
    def attach(cls, path: str | Path, blocks: Blocks) -> SetCodes:
        """Open saved codes over the tokens that they were made of.

        Parameters
        ----------
        path : str or Path
            What :meth:`save_links` wrote.
        blocks : iterable of (ndarray of shape (T, dim), ndarray of shape (T,))
            The tokens. Sets that are not in the file, and sets of the file that are not here, are left out.

        Returns
        -------
        SetCodes
            Codes are mapped where the order of the sets allows it.

        Raises
        ------
        NotFoundError, StoreCorruptedError, StoreVersionError
            No codes there, damage, a newer release, or codes of other tokens.
        """
        saved = read_codes(path)
        made = [_coded(_block(*block), saved, Path(path)) for block in blocks]
        sets = Sets.of(saved.dim, [block for block, _ in made])
        gone = np.concatenate([np.zeros(0, np.int64), *(dead for _, dead in made)])
        sets = _removed(sets, gone)
        return cls(sets, saved.stage, saved.method, saved.settings, calibration=saved.measured)

    def extended(self, blocks: Blocks, *, removed: npt.ArrayLike | None = None) -> SetCodes:
        """Return codes that also cover further sets, without some ids; this one stays as it is.

        Parameters
        ----------
        blocks : iterable of (ndarray of shape (T, dim), ndarray of shape (T,))
            Further sets.
        removed : array-like of shape (m,), int, optional
            Ids to leave out; those that are not present are ignored.

        Returns
        -------
        SetCodes
            With the same cells, codebooks and encodings, which are not learned anew.

        Notes
        -----
        Cost: encoding the further sets, and for ``"pooled"`` a copy of its graph.
        """
        gone = np.zeros(0, np.int64) if removed is None else as_ids(removed, name="removed")
        state, stage = self._state, self._state.stage
        fresh = [_block(*block) for block in blocks]
        if isinstance(stage, Linked):
            stage = Linked(stage.encoding, _copied(stage.graph))
            stage.remove(gone)
        if stage is not None:
            fresh = [_joined(stage, block) for block in fresh]
        # Deaths are marked in place: this generation's must not be seen by searches of the earlier one.
        old = [
            make_block(Ragged(block.values, block.offsets), block.rows.ids, block.extras, fixed=True)
            for block in state.sets.blocks
        ]
        dead = [
            block.rows.ids[block.rows.died <= state.sets.rows.generation]
            for block in state.sets.blocks
            if len(block.rows)
        ]
        sets = _removed(Sets.of(self._dim, old), np.unique(np.concatenate([gone, *dead])))
        for block in fresh:
            sets = sets.added(block)
        return type(self)(sets, stage, state.method, self._settings, calibration=self._calibration)

    def calibrate(self, *, k: int = 10, seed: int = 0) -> tuple[tuple[int, float], ...]:
        """Measure how many candidates it takes to find what is nearest, with parts of sets in place of queries.

        Parts of sets are more like the sets than real queries are: ``report`` with real queries is what counts.

        Parameters
        ----------
        k : int, default 10
            Neighbours looked for, beside the set that a part is of.
        seed : int, default 0
            Of the choice of sets and tokens.

        Returns
        -------
        tuple of (int, float)
            Recall by effort, for efforts that double from 25 on, up to a quarter of the sets.

        Notes
        -----
        Cost: an exact search of 32 queries of at most 8 tokens, and a search by candidates for each effort.
        """
        state, rng = self._state, np.random.default_rng(seed)
        rows = state.sets.rows.alive_rows()
        if state.stage is None or len(rows) <= k:
            return self._calibration
        own = np.sort(rng.choice(rows, min(_CALIBRATION_QUERIES, len(rows)), replace=False))
        held, ids = state.sets.gathered(own), state.sets.rows.ids_of(own)
        parts = [held[i][np.sort(rng.permutation(len(held[i]))[:_CALIBRATION_TOKENS])] for i in range(len(own))]
        queries = Ragged(np.concatenate(parts), np.cumsum([0, *map(len, parts)], dtype=np.int64))
        (truth, _, _), _ = scan(state.sets, queries, k + 1, selection=state.sets.rows.select(None))
        truth = _without_own(truth, ids, k)
        out, effort = [], _FIRST_EFFORT
        while effort <= max(_FIRST_EFFORT, len(rows) // 4):
            proposal = state.stage.rows(state.sets, queries, effort, k + 1, None, None)
            (found, _, _), _ = exact_top(state.sets, queries, proposal.rows, k + 1)
            out.append((effort, float(np.mean(recall_per_query(_without_own(found, ids, k), truth)))))
            if out[-1][1] >= _ENOUGH:
                break
            effort *= 2
        self._calibration = tuple(out)
        return self._calibration

    def save_links(self, path: str | Path) -> None:
        """Write everything but the tokens to a folder.

        Parameters
        ----------
        path : str or Path
            Folder; created if missing.

        Raises
        ------
        InputError
            The path is a file.
        """
        state = self._state
        write_sets(
            path, state.sets, state.stage, state.method, self._settings, measured=self._calibration, tokens=False
        )


def _without_own(found: IdArray, ids: IdArray, k: int) -> IdArray:
    """Return k neighbours of each part of a set, the set itself left out."""
    return np.stack([row[row != own][:k] for row, own in zip(found, ids, strict=True)])


def _block(tokens: Any, owners: IdArray) -> SetBlock:
    """Return the sets of one block of tokens, without codes."""
    first = np.flatnonzero(np.concatenate([[True], owners[1:] != owners[:-1]]))[: len(owners)]
    offsets = np.append(first, len(owners)).astype(np.int64)
    return make_block(Ragged(tokens, offsets), owners[first].astype(np.int64), {}, fixed=True)


def _without(sets: Sets, live: BitmapArray | None) -> Sets:
    if live is None:
        return sets
    dead = [block.rows.ids[~bitmaps.contains_rows(live, block.rows.ids)] for block in sets.blocks]
    return _removed(sets, np.concatenate([np.zeros(0, np.int64), *dead]))


def _removed(sets: Sets, ids: IdArray) -> Sets:
    rows = sets.rows.locate(ids)
    rows = rows[rows >= 0]
    return sets.removed(rows) if len(rows) else sets


def _joined(stage: Stage, block: SetBlock) -> SetBlock:
    """Return a block with codes, added to the index of a stage that has one."""
    tokens = Ragged(block.values, block.offsets)
    for start, stop, part in pieces(tokens):
        stage.add(part, block.rows.ids[start:stop])
    return SetBlock(block.values, block.rows, coded_in_parts(stage, tokens), block.fixed)


def _copied(graph: Graph) -> Graph:
    """Return a graph that can be changed while searches use the other one."""
    with tempfile.TemporaryDirectory() as folder:
        graph.save(folder)
        return Graph.load(folder, mmap=False)


def _coded(block: SetBlock, saved: SavedCodes, path: Path) -> tuple[SetBlock, IdArray]:
    """Return a block with its saved codes, and the ids that have none."""
    ids = block.rows.ids
    places = np.minimum(np.searchsorted(saved.ids, ids), max(0, len(saved.ids) - 1))
    held = np.zeros(len(ids), dtype=bool) if not len(saved.ids) else saved.ids[places] == ids
    spans = np.column_stack([saved.offsets[:-1], saved.offsets[1:]])[places[held]]
    lengths = block.spans[:, 1] - block.spans[:, 0]
    if not np.array_equal(spans[:, 1] - spans[:, 0], lengths[held]):
        raise StoreCorruptedError(message(f"codes in {path} of other tokens", "those of these sets", "make them anew"))
    extras = {}
    for name, array in saved.extras.items():
        wanted = spans if name.startswith("token") else np.column_stack([places, places + 1])[held]
        whole = held.all() and len(wanted) and np.array_equal(wanted[1:, 0], wanted[:-1, 1])
        if whole:
            extras[name] = array[wanted[0, 0] : wanted[-1, 1]]
            continue
        # Sets without codes are dead: what stands in their place is never looked at.
        slots = (
            block.spans if name.startswith("token") else np.column_stack([np.arange(len(ids)), np.arange(len(ids)) + 1])
        )
        out = np.zeros((int(slots[-1, 1]) if len(slots) else 0, *array.shape[1:]), array.dtype)
        out[places_of(slots[held])[0]] = array[places_of(wanted)[0]]
        extras[name] = out
    return SetBlock(block.values, block.rows, extras, fixed=True), ids[~held]
