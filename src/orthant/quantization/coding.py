"""A way to compress vectors as a whole: what reduces them, what codes the rest, and how the codes are searched."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from orthant.artifact import load_artifact
from orthant.errors import InputError, message
from orthant.kernels.bitmaps import contains_rows
from orthant.kernels.distances import norms, row_chunks
from orthant.kernels.topk import merge_top_k, top_k
from orthant.quantization.binary.grid import GridQuantizer
from orthant.quantization.binary.recurrent import RecurrentBinary
from orthant.quantization.binary.scan import CodeScan
from orthant.quantization.product import ProductQuantizer
from orthant.quantization.residual import ResidualQuantizer
from orthant.quantization.scoring import as_queries
from orthant.types import BitmapArray, CodeArray, FloatArray, IdArray, Metric, Quantizer, Transform
from orthant.validate import as_codes

__all__ = ["BOOK_ROWS", "CodedRows", "Coding"]

BOOK_ROWS = 8192
"""Rows that codebooks are learned from at most: 32 for each of 256 codewords."""

_SCORE_BYTES = 32 << 20
_QUANTIZER, _TRANSFORM = "quantizer", "transform"


class Coding:
    """A quantizer, perhaps after a transform, for one score: what `report` compares and a collection applies.

    Parameters
    ----------
    quantizer : Quantizer
        Makes the codes.
    transform : Transform, optional
        Applied before; one with ``transform_queries`` treats queries by that.
    metric : {"dot", "cosine", "l2"}, default "cosine"
        The score that codes are to preserve. Binary codes estimate products, so they serve the first two.

    Raises
    ------
    InputError
        Binary codes for l2.

    Notes
    -----
    Under cosine, vectors get unit length before a transform or binary codes, and products are compared from then on.

    Examples
    --------
    >>> import numpy as np
    >>> from orthant.quantization import LVQ
    >>> X = np.random.default_rng(0).standard_normal((500, 32)).astype(np.float32)
    >>> coding = Coding(LVQ(bits=8)).fit(X)
    >>> coding.rows(coding.encode(X)).best(X[:2], 1)[0].ravel().tolist()
    [0, 1]
    """

    def __init__(self, quantizer: Quantizer, transform: Transform | None = None, *, metric: Metric = "cosine") -> None:
        self.quantizer = quantizer
        self.transform = transform
        self.metric: Metric = metric
        self.binary = isinstance(quantizer, GridQuantizer)
        if self.binary and metric == "l2":
            given, remedy = "binary codes for l2", "use LVQ, SQ8 or product codes"
            raise InputError(message(given, "the score dot or cosine", remedy))

    @property
    def code_size(self) -> int:
        """Bytes per vector, constants included."""
        return int(self.quantizer.code_size)

    @property
    def scored_as(self) -> Metric:
        """The score between queries and codes: products, where vectors were brought to unit length before."""
        return "dot" if self.metric == "cosine" and (self.binary or self.transform is not None) else self.metric

    def fit(self, X: FloatArray, *, beside: Iterable[Coding] = ()) -> Coding:
        """Learn from vectors.

        Parameters
        ----------
        X : ndarray of shape (n, d), float32
            Vectors; codebooks look at 8,192 of them, evenly spread.
        beside : iterable of Coding, default ()
            Fitted on the same vectors for the same score. What they learned is not learned again: recurrent binary
            codes of as many dimensions share their rotation. The outcome is the same without.

        Returns
        -------
        Coding
            Self.
        """
        slow = isinstance(self.quantizer, ProductQuantizer | ResidualQuantizer)
        if slow and len(X) > BOOK_ROWS:
            X = X[np.linspace(0, len(X) - 1, BOOK_ROWS).astype(np.int64)]
        if self.transform is not None:
            X = self.transform.fit(X).transform(X)
        elif self.binary:
            X = self._directed(X)
        turned = self._turned_alike(beside)
        if turned is None:
            self.quantizer.fit(X)
        else:
            turned[0].fit_turned(X, turned[1])
        return self

    def _turned_alike(self, beside: Iterable[Coding]) -> tuple[RecurrentBinary, RecurrentBinary] | None:
        """Return the quantizer, and a fitted one with the rotation that it would find."""
        own = self.quantizer
        if not isinstance(own, RecurrentBinary) or self.transform is not None:
            return None
        for coding in beside:
            other = coding.quantizer
            if isinstance(other, RecurrentBinary) and coding.transform is None:
                size = other.n_features_in_ if own.dim is None else own.dim
                if (other.code_dim_, other.unit, other.seed) == (size, own.unit, own.seed):
                    return own, other
        return None

    def encode(self, X: FloatArray) -> CodeArray:
        """Return the codes of vectors.

        Parameters
        ----------
        X : ndarray of shape (n, d), float32
            Vectors.

        Returns
        -------
        ndarray of shape (n, code_size), uint8
            The codes.
        """
        if self.transform is not None:
            X = self.transform.transform(X)
        elif self.binary:
            X = self._directed(X)
        return self.quantizer.encode(X)

    def turned(self, Q: FloatArray) -> FloatArray:
        """Return queries as codes are compared with them.

        Parameters
        ----------
        Q : ndarray of shape (q, d), float32
            Queries.

        Returns
        -------
        ndarray of shape (q, e), float32
            Transformed.
        """
        if self.transform is None:
            return self._directed(Q) if self.binary else Q
        turn = getattr(self.transform, "transform_queries", self.transform.transform)
        return np.ascontiguousarray(turn(Q), dtype=np.float32)

    def _directed(self, X: FloatArray) -> FloatArray:
        if self.metric != "cosine":
            return X
        return (X / np.maximum(norms(X), 1e-30)[:, None]).astype(np.float32)

    def rows(self, codes: CodeArray) -> CodedRows:
        """Return codes in the form in which they are searched.

        Parameters
        ----------
        codes : ndarray of shape (n, code_size), uint8
            What ``encode`` gave; may be a memory map, which binary codes copy.

        Returns
        -------
        CodedRows
            Numbered from 0.

        Raises
        ------
        InputError
            Codes of another width, such as those of another quantizer.
        """
        return CodedRows(self, as_codes(codes, size=self.code_size))

    def save(self, path: Path) -> None:
        """Write what was learned.

        Parameters
        ----------
        path : Path
            A folder; gets one folder for each part.
        """
        parts: dict[str, Any] = {_QUANTIZER: self.quantizer, _TRANSFORM: self.transform}
        for name, part in parts.items():
            if part is not None:
                part.save(path / name)

    @classmethod
    def load(cls, path: Path, *, metric: Metric) -> Coding:
        """Read what ``save`` wrote.

        Parameters
        ----------
        path : Path
            The folder.
        metric : {"dot", "cosine", "l2"}
            The score that it was made for.

        Returns
        -------
        Coding
            Fitted.

        Raises
        ------
        NotFoundError, StoreCorruptedError
            No such folder, or a damaged file.
        """
        held = path / _TRANSFORM
        return cls(load_artifact(path / _QUANTIZER), load_artifact(held) if held.exists() else None, metric=metric)


class CodedRows:
    """Codes that are searched; made by ``Coding.rows``.

    Parameters
    ----------
    coding : Coding
        What made them.
    codes : ndarray of shape (n, code_size), uint8
        The codes.

    Notes
    -----
    Cosines need the length of what each code stands for. The first search computes them, at the cost of a search by
    distance, and 4 bytes a row hold them.
    """

    def __init__(self, coding: Coding, codes: CodeArray) -> None:
        self._coding, self._codes = coding, codes
        self._scan: CodeScan | None = None
        self._lengths: FloatArray | None = None
        if isinstance(coding.quantizer, GridQuantizer):
            self._scan = CodeScan(coding.quantizer)
            self._scan.add_codes(codes)

    def __len__(self) -> int:
        """Return the number of codes."""
        return len(self._codes)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row in memory: its code, and its length where searches need one."""
        return self._coding.code_size + (4 if self._coding.scored_as == "cosine" else 0)

    def _scores(self, asked: FloatArray, codes: CodeArray, rows: IdArray) -> FloatArray:
        quantizer = self._coding.quantizer
        if self._coding.scored_as != "cosine":
            return quantizer.score(asked, codes, metric=self._coding.scored_as)
        if self._lengths is None:
            # Whoever comes in meanwhile finds the same.
            nothing = np.zeros((1, asked.shape[1]), dtype=np.float32)
            self._lengths = np.sqrt(-quantizer.score(nothing, self._codes, metric="l2")[0])
        lengths = self._lengths[rows]
        scores = quantizer.score(as_queries(asked, asked.shape[1], "cosine"), codes, metric="dot")
        return np.divide(scores, lengths, out=np.zeros_like(scores), where=lengths > 0)

    def best(
        self, Q: FloatArray, k: int, *, allowed: BitmapArray | None = None, threads: int | None = None
    ) -> tuple[IdArray, FloatArray]:
        """Return the rows whose codes score best.

        Parameters
        ----------
        Q : ndarray of shape (q, d), float32
            Queries.
        k : int
            Rows wanted.
        allowed : ndarray of uint64, optional
            Bitmap over rows. Only these are compared.
        threads : int, optional
            Threads for binary codes.

        Returns
        -------
        rows : ndarray of shape (q, k), int64
            Best first; -1 where there are fewer.
        scores : ndarray of shape (q, k), float32
            Estimates, -inf where there are fewer.

        Notes
        -----
        Cost: every allowed code is read once for each tile of queries.
        """
        asked = self._coding.turned(Q)
        if self._scan is not None:
            found = self._scan.search(asked, k, allowed=allowed, threads=threads)
            return found.ids, found.scores
        parts: list[tuple[IdArray, FloatArray]] = []
        for start, stop in row_chunks(len(self._codes), 4 * max(1, len(asked)), _SCORE_BYTES):
            rows = np.arange(start, stop, dtype=np.int64)
            codes = self._codes[start:stop]
            if allowed is not None:
                rows = rows[contains_rows(allowed, rows)]
                codes = codes[rows - start]
            if len(rows):
                scores = self._scores(asked, codes, rows)
                places, best, _ = top_k(scores, k)
                parts.append((np.where(places < 0, -1, rows[places]), best))
        empty = (np.full((len(asked), k), -1, np.int64), np.full((len(asked), k), -np.inf, np.float32))
        ids, scores, _ = merge_top_k(parts or [empty], k)
        return ids, scores
