"""Searching codes of a few bits by byte shuffles: exact over the codes, without decoding any."""

from __future__ import annotations

import time
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from orthant.errors import EncoderMismatchError, InputError, message
from orthant.estimator import check_is_fitted
from orthant.kernels.binary.blocks import (
    BLOCK,
    block_levels,
    pairs_for,
    quantised_tables,
    symmetric_tables,
    unblock_levels,
)
from orthant.kernels.binary.lookups import scan_best
from orthant.kernels.binary.planes import code_bytes, grid_values, unpack_planes
from orthant.kernels.bitmaps import from_mask, from_rows, resize
from orthant.kernels.topk import check_answers, merge_top_k
from orthant.quantization.binary.grid import GridQuantizer
from orthant.threads import map_ranges
from orthant.types import BitmapArray, CodeArray, FloatArray, Hits, SearchCost
from orthant.validate import as_allowed, as_codes, as_vectors, check_choice

__all__ = ["CodeScan"]

_PART_BLOCKS = 1 << 9
_FULL = (1 << 16) - 1


class CodeScan:
    """Compare queries with every code, 64 codes at a time: the exhaustive search for vectors of a few bits.

    For up to some ten million codes in memory, as a first stage whose best rows are scored again with full vectors, or
    alone where its recall is enough. Rows are numbered from 0 in the order of adding. Codes of another quantizer are
    refused, unless this one was trained to be compatible with it.

    Parameters
    ----------
    quantizer : GridQuantizer
        Fitted. Scores are estimates of dot products; for codes of directions (``unit=True``), of ``|q|`` times the
        cosine.

    Attributes
    ----------
    quantizer : GridQuantizer
        What encodes queries and rows.

    Notes
    -----
    Two ways to compare, at the same cost for each row:

    - ``"floats"``: the query is projected to the space of the codes and not coded; its products with the 16 things that
      4 bits of a code may be are rounded to 64 steps. More accurate, since only one side is compressed.
    - ``"codes"``: the query is coded as well; products of codes are exact small integers. This is what codes compatible
      by training are compared by, and needs nothing of the query but its code. For codes of directions only.

    Cost: ``n code_dim bits / 4`` look-ups a query, 64 at a time; memory ``code_dim bits / 8 + 2`` bytes a row.

    References
    ----------
    Gan et al.: Binary embedding-based retrieval at Tencent. arXiv 2302.08714, section 3.4. André, Kermarrec,
    Le Scouarnec: Cache locality is not enough: high-performance nearest neighbor search with product quantization fast
    scan. VLDB 2015, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> from orthant.quantization.binary import SignCodes
    >>> X = np.random.default_rng(0).standard_normal((1000, 64)).astype(np.float32)
    >>> scan = CodeScan(SignCodes(dim=64, bits=2, unit=True).fit(X))
    >>> scan.add(X)
    >>> scan.search(X[:3], k=1).ids[:, 0].tolist(), scan.bytes_per_vector
    ([0, 1, 2], 18)
    """

    def __init__(self, quantizer: GridQuantizer) -> None:
        if not isinstance(quantizer, GridQuantizer):
            given = f"a {type(quantizer).__name__}"
            raise InputError(message(given, "SignCodes, ITQ, RaBitQ or RecurrentBinary", "fit one of these"))
        check_is_fitted(quantizer)
        self.quantizer = quantizer
        pairs = pairs_for(quantizer.code_dim_, quantizer.bits)
        self._blocks: CodeArray = np.zeros((0, pairs, BLOCK), dtype=np.uint8)
        self._factors: FloatArray = np.zeros(0, dtype=np.float32)
        self._weights: npt.NDArray[np.uint16] = np.zeros(0, dtype=np.uint16)
        self._largest = 1.0

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._factors)

    @property
    def bytes_per_vector(self) -> int:
        """Bytes that a search reads of each row: its code and a factor of 2 bytes."""
        return self._blocks.shape[1] + 2

    def add(self, X: npt.ArrayLike) -> None:
        """Encode vectors and append them.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors.
        """
        self.add_codes(self.quantizer.encode(X))

    def add_codes(self, codes: CodeArray, *, made_by: GridQuantizer | None = None) -> None:
        """Append codes.

        Parameters
        ----------
        codes : ndarray of shape (n, code_size), uint8
            What ``encode`` returned.
        made_by : GridQuantizer, optional
            Whose ``encode``; left out, that of this scan's quantizer.

        Raises
        ------
        EncoderMismatchError
            Codes of a quantizer that this one was not trained to be compatible with.
        InputError
            Not a quantizer of binary codes, or bytes of another width.
        """
        maker = self.quantizer if made_by is None else made_by
        if not isinstance(maker, GridQuantizer):
            given, remedy = (
                f"made_by={type(maker).__name__}",
                "pass the one that encoded them; a scan takes no other codes",
            )
            raise InputError(message(given, "a fitted quantizer of binary codes", remedy))
        check_is_fitted(maker)
        known = {self.quantizer.fingerprint, *getattr(self.quantizer, "compatible_with_", ())}
        if maker.fingerprint not in known or maker.code_dim_ != self.quantizer.code_dim_:
            raise EncoderMismatchError(
                message(
                    f"codes of {maker.fingerprint} ({type(maker).__name__})",
                    f"codes of {', '.join(sorted(known))}",
                    "encode the vectors again, or train the new quantizer with compatible_with=",
                )
            )
        table = as_codes(codes, size=maker.code_size)
        dim, bits = maker.code_dim_, maker.bits
        levels = unpack_planes(table[:, : code_bytes(dim, bits)], dim, bits)
        held = unblock_levels(self._blocks[len(self) // BLOCK :], len(self) % BLOCK, dim, bits)
        tail = block_levels(np.concatenate([held, levels]), bits)
        self._blocks = np.concatenate([self._blocks[: len(self) // BLOCK], tail])
        self._factors = np.concatenate([self._factors, self._own_factors(maker, table, levels)])
        self._largest = max(float(self._factors.max(initial=0.0)), 1e-30)
        self._weights = np.zeros(len(self._blocks) * BLOCK, dtype=np.uint16)
        self._weights[: len(self)] = np.rint(np.maximum(self._factors, 0) / self._largest * _FULL)

    @staticmethod
    def _own_factors(maker: GridQuantizer, codes: CodeArray, levels: CodeArray) -> FloatArray:
        constants = maker.constants(codes)
        if constants is not None:
            return constants
        values = grid_values(levels, maker.bits).astype(np.float32)
        return (1.0 / np.sqrt(np.einsum("ij,ij->i", values, values))).astype(np.float32)

    def search(
        self,
        Q: npt.ArrayLike,
        k: int = 10,
        *,
        queries: Literal["floats", "codes"] = "floats",
        allowed: BitmapArray | npt.ArrayLike | None = None,
        threads: int | None = None,
        compiled: bool | None = None,
    ) -> Hits:
        """Find the rows with the largest scores.

        Parameters
        ----------
        Q : array-like of shape (q, d)
            Queries.
        k : int, default 10
            Rows wanted.
        queries : {"floats", "codes"}, default "floats"
            Whether queries stay as they are or are coded too; see the notes of the class.
        allowed : bitmap, mask or ids, optional
            Rows that may be answers.
        threads : int, optional
            Threads at most.
        compiled : bool, optional
            True and False force the kernels or NumPy.

        Returns
        -------
        Hits
            Rows, best first, equal scores by the smaller row.

        Raises
        ------
        InputError
            Settings out of range, or queries of the wrong shape.
        """
        check_answers(k, queries=1, held=len(self))
        if check_choice(queries, ("floats", "codes"), name="queries") == "codes" and not self.quantizer.unit:
            given, remedy = "queries='codes' with codes about a mean", "use queries='floats', or fit with unit=True"
            raise InputError(message(given, "codes of directions", remedy))
        begun = time.perf_counter()
        matrix = as_vectors(Q, dim=self.quantizer.n_features_in_, name="queries")
        check_answers(k, queries=len(matrix), held=len(self))
        bits = self.quantizer.bits
        if queries == "codes":
            tables, steps, offsets = symmetric_tables(self.quantizer.levels(matrix), bits)
        else:
            tables, steps, offsets = quantised_tables(self.quantizer.project(matrix), bits)
        bitmap = self._bitmap(allowed)
        scale = np.float32(self._largest / _FULL)

        def part(first: int, last: int) -> tuple[npt.NDArray[np.int64], FloatArray]:
            arrays = (tables, steps * scale, offsets * scale, self._blocks, self._weights, bitmap)
            return scan_best(*arrays, k=k, first=first, last=last, compiled=compiled)

        parts = map_ranges(part, len(self._blocks), threads=threads, minimum=_PART_BLOCKS)
        empty = (np.full((len(matrix), k), -1, np.int64), np.full((len(matrix), k), -np.inf, np.float32))
        ids, scores, counts = merge_top_k(parts or [empty], k)
        if not self.quantizer.unit:
            scores += (matrix @ self.quantizer.mean_)[:, None]
        compared = len(matrix) * len(self)
        cost = SearchCost("scan", compared, time.perf_counter() - begun, compared * self.bytes_per_vector)
        return Hits(ids, scores, counts, cost)

    def _bitmap(self, allowed: BitmapArray | npt.ArrayLike | None) -> BitmapArray:
        words = len(self._blocks)
        present = from_mask(np.ones(len(self), dtype=bool))
        given: npt.NDArray[Any] | None = as_allowed(allowed)
        if given is None:
            return resize(present, words)
        if given.dtype == np.bool_:
            given = from_mask(given)
        elif given.dtype != np.uint64:
            given = from_rows(given[(given >= 0) & (given < len(self))])
        return resize(given, words) & resize(present, words)
