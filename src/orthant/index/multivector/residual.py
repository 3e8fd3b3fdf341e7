"""Tokens as cells and residual codes: candidates by inverted lists, then by centroids, then by decoded tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import quiet
from orthant.index.multivector.sets import SetBlock, Sets, places_of
from orthant.index.multivector.stages import Beside, Proposal, candidate_rows
from orthant.kernels.clustering.kmeans import kmeans
from orthant.kernels.clustering.nearest import nearest
from orthant.kernels.multivector.cells import cell_scores
from orthant.kernels.multivector.maxsim import maxsim_scores
from orthant.quantization.product import ProductQuantizer
from orthant.types import FloatArray, IdArray, Ragged

__all__ = ["Residual", "residual_stage"]

_WIDER = 4
"""Candidates by centroids are so many times those by decoded tokens."""
_BATCH_ROWS = 1 << 15
_ROUNDS = 8
_CODE_TOKENS = 1 << 14


class Residual(Beside):
    """Centroids of tokens, inverted lists of sets, and product codes of what centroids leave.

    Parameters
    ----------
    centroids : ndarray of shape (K, d), float32
        Centres of the cells.
    quantizer : ProductQuantizer
        Fitted on residuals.
    probes : int
        Cells searched for each query token.
    prune : float
        Cells whose best score is below this share of the overall best are passed over when sets are scored.
    """

    def __init__(self, centroids: FloatArray, quantizer: ProductQuantizer, *, probes: int, prune: float) -> None:
        self.centroids = centroids
        self.quantizer = quantizer
        self.probes = probes
        self.prune = prune

    def coded(self, tokens: Ragged) -> Mapping[str, npt.NDArray[Any]]:
        """Return cells and residual codes of all tokens.

        Parameters
        ----------
        tokens : Ragged
            The sets.

        Returns
        -------
        mapping
            ``token_cells`` (T,) int32 and ``token_codes`` (T, code_size) uint8.
        """
        cells = nearest(tokens.values, self.centroids)
        codes = self.quantizer.encode(tokens.values - self.centroids[cells])
        return {"token_cells": cells.astype(np.int32), "token_codes": codes}

    def rows(self, sets: Sets, queries: Ragged, count: int, least: int, allowed: Any, threads: int | None) -> Proposal:
        """Return rows that are near by centroids and then by decoded tokens.

        Parameters
        ----------
        sets : Sets
            With cells and codes.
        queries : Ragged
            Queries.
        count : int
            Candidates of each.
        least : int
            Hits wanted, which there must be candidates for.
        allowed : ndarray or None
            Checked ``allowed``.
        threads : int, optional
            Not used: one query runs on one thread.

        Returns
        -------
        Proposal
            At most ``count`` rows for each query; ``least`` where so many are allowed.
        """
        selection = sets.rows.select(allowed)
        keep = np.zeros(sets.rows.total, dtype=bool)
        if selection.rows is not None:
            keep[selection.rows] = True
        else:
            for start, block, mask in zip(sets.rows.starts, sets.blocks, selection.masks, strict=False):
                keep[start : start + len(block.rows)] = True if mask is None else mask
        found, compared, read, kept = [], 0, 0, int(np.count_nonzero(keep))
        for i in range(len(queries)):
            table = np.ascontiguousarray(self.centroids @ queries[i].T)
            rows, scores, seen = self._by_cells(sets, table, keep, probe=selection.rows is None)
            if len(rows) < min(least, kept):
                # The probed cells hold too few: a page must not come out short for that.
                rows, scores, seen = self._by_cells(sets, table, keep, probe=False)
            compared, read = compared + len(rows), read + 4 * seen
            rows = rows[candidate_rows(scores[None], _WIDER * count)[0]]
            if len(rows) > count:
                decoded = self._decoded(sets, rows)
                one = np.array([0, len(queries[i])], dtype=np.int64)
                query = np.ascontiguousarray(queries[i])
                finer = maxsim_scores(query, one, decoded.values, decoded.offsets, threads=1)
                read += len(decoded.values) * (4 + self.quantizer.code_size)
                rows = rows[candidate_rows(finer, count)[0]]
            found.append(rows)
        return Proposal(found, compared, read)

    def _by_cells(
        self, sets: Sets, table: FloatArray, keep: npt.NDArray[np.bool_], *, probe: bool
    ) -> tuple[IdArray, FloatArray, int]:
        """Return kept rows, with ``probe`` those in probed cells only, their scores, and the tokens looked at."""
        probes = min(self.probes, len(table))
        probed = np.zeros(len(table), dtype=bool)
        # Token by token over adjacent values: along the other axis both cost several times as much.
        by_token = np.ascontiguousarray(table.T)
        probed[np.argpartition(by_token, -probes, axis=1)[:, -probes:].ravel()] = True
        best = by_token.max(axis=0)
        counted = best >= self.prune * best.max()
        rows, scores, seen = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)], 0
        for start, block in zip(sets.rows.starts, sets.blocks, strict=False):
            inner = _holding(block, probed) if probe else np.arange(len(block.rows))
            inner = inner[keep[start + inner]]
            spans = block.spans[inner]
            seen += int((spans[:, 1] - spans[:, 0]).sum())
            rows.append(start + inner)
            scores.append(cell_scores(table, counted, block.extras["token_cells"], spans))
        return np.concatenate(rows), np.concatenate(scores), seen

    def _decoded(self, sets: Sets, rows: IdArray) -> Ragged:
        cells, codes = sets.extra("token_cells", rows), sets.extra("token_codes", rows)
        spans = np.concatenate([block.spans for block in sets.blocks])[rows]
        _, offsets = places_of(spans)
        return Ragged(self.centroids[cells] + self.quantizer.decode(codes), offsets)

    @property
    def nbytes(self) -> int:
        """Bytes of centroids and codebooks."""
        return int(self.centroids.nbytes + self.quantizer.codebooks_.nbytes)


def _holding(block: SetBlock, probed: npt.NDArray[np.bool_]) -> IdArray:
    cells, owners = block.lists
    wanted = np.flatnonzero(probed)
    first, last = np.searchsorted(cells, wanted), np.searchsorted(cells, wanted, side="right")
    places, _ = places_of(np.column_stack([first, last]))
    held = np.zeros(len(block.rows), dtype=bool)
    held[owners[places]] = True
    return np.flatnonzero(held)


def residual_stage(
    sample: Ragged, *, cells: int | None, parts: int, probes: int, prune: float, expected: int, seed: int
) -> Residual:
    """Learn cells and residual codes.

    Parameters
    ----------
    sample : Ragged
        Sets to learn from.
    cells : int or None
        Number of centroids; None takes the power of two next to ``8 sqrt(tokens)``, at most a 16th of the sample.
    parts : int
        Codes of a residual.
    probes, prune : int and float
        As in the class.
    expected : int
        Tokens that will be held.
    seed : int
        Of the clustering.

    Returns
    -------
    Residual
        The stage.
    """
    values = sample.values
    wanted = cells if cells is not None else 1 << round(float(np.log2(8 * np.sqrt(max(1, expected)))))
    wanted = max(1, min(wanted, max(1, len(values) // 16)) if cells is None else min(wanted, len(values)))
    found = kmeans(values, wanted, seed=seed, iterations=_ROUNDS, batch_rows=_BATCH_ROWS)
    rows = np.random.default_rng(seed).permutation(len(values))[:_CODE_TOKENS]
    left = values[rows] - found.centroids[found.labels[rows]]
    # How many codewords there are is decided here: with few tokens most stay unused, which nobody outside can change.
    with quiet():
        quantizer = ProductQuantizer(m=parts, iterations=_ROUNDS, seed=seed).fit(left)
    return Residual(found.centroids, quantizer, probes=probes, prune=prune)
