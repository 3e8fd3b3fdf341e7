"""What proposes candidates: single vectors in a graph, codes of single vectors, or cells of tokens.

A stage learns from a sample, says what to keep beside a block of sets, and names rows worth scoring exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from orthant.index.graph import Graph
from orthant.index.multivector.sets import Sets
from orthant.kernels.topk import top_k
from orthant.quantization.product import ProductQuantizer
from orthant.transforms.fixed_dimensional import FixedDimensionalEncoding
from orthant.types import FloatArray, IdArray, Ragged

__all__ = ["Coded", "Encoding", "Linked", "Pooling", "Stage", "candidate_rows"]


class Encoding(Protocol):
    """One vector per set, on either side."""

    def transform(self, X: Any, *, threads: int | None = None) -> FloatArray:
        """Encode documents."""
        ...

    def transform_queries(self, Q: Any, *, threads: int | None = None) -> FloatArray:
        """Encode queries."""
        ...


class Pooling:
    """The mean of each document's tokens at unit length, and the sum of each query's tokens.

    The unit length makes up for documents of many topics, whose mean is short though their best tokens are not.
    """

    def transform(self, X: Ragged, *, threads: int | None = None) -> FloatArray:
        """Return the direction of the mean of each document, shape (n, d), float32.

        Parameters
        ----------
        X : Ragged
            Documents.
        threads : int, optional
            Not used.

        Returns
        -------
        ndarray of shape (n, d), float32
            Unit vectors; zero where tokens cancel out.
        """
        out = self.transform_queries(X).astype(np.float64)
        lengths = np.linalg.norm(out, axis=1, keepdims=True)
        return (out / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)

    def transform_queries(self, Q: Ragged, *, threads: int | None = None) -> FloatArray:
        """Return the sum of each query, shape (q, d), float32.

        Parameters
        ----------
        Q : Ragged
            Queries.
        threads : int, optional
            Not used.

        Returns
        -------
        ndarray of shape (q, d), float32
            The sums.
        """
        if not len(Q):
            return Q.values[:0]
        return np.add.reduceat(Q.values, Q.offsets[:-1], axis=0)


class Stage(Protocol):
    """What the index asks of a stage."""

    def coded(self, tokens: Ragged) -> Mapping[str, npt.NDArray[Any]]:
        """Return what to keep beside these sets."""
        ...

    def add(self, tokens: Ragged, ids: IdArray) -> None:
        """Take in sets, where the stage has an index of its own."""
        ...

    def remove(self, ids: IdArray) -> None:
        """Forget sets."""
        ...

    def rows(self, sets: Sets, queries: Ragged, count: int, least: int, allowed: Any, threads: int | None) -> Proposal:
        """Return rows to score for each query, and what finding them cost."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of what the stage holds itself."""
        ...


class Beside:
    """A stage whose codes lie beside the sets: it has nothing of its own to change."""

    def add(self, tokens: Ragged, ids: IdArray) -> None:
        """Do nothing: codes lie beside the sets.

        Parameters
        ----------
        tokens : Ragged
            The sets.
        ids : ndarray of shape (n,), int64
            Their ids.
        """

    def remove(self, ids: IdArray) -> None:
        """Do nothing: dead sets are passed over.

        Parameters
        ----------
        ids : ndarray of shape (m,), int64
            The ids.
        """


@dataclass(frozen=True)
class Proposal:
    """Candidates.

    Attributes
    ----------
    rows : list of ndarray of shape (m,), int64
        Live, allowed rows for each query, ascending.
    compared : int
        Codes, vectors or sets compared on the way.
    bytes_read : int
        Bytes that they took.
    """

    rows: list[IdArray]
    compared: int
    bytes_read: int


class Linked:
    """Encoded sets in a graph.

    Parameters
    ----------
    encoding : Encoding
        Sets to vectors.
    graph : Graph
        Under ``"dot"``, empty or loaded.
    """

    def __init__(self, encoding: Encoding, graph: Graph) -> None:
        self.encoding = encoding
        self.graph = graph

    def coded(self, tokens: Ragged) -> Mapping[str, npt.NDArray[Any]]:
        """Return nothing: the graph keeps the vectors.

        Parameters
        ----------
        tokens : Ragged
            The sets.

        Returns
        -------
        mapping
            Empty.
        """
        return {}

    def add(self, tokens: Ragged, ids: IdArray) -> None:
        """Encode sets into the graph.

        Parameters
        ----------
        tokens : Ragged
            The sets.
        ids : ndarray of shape (n,), int64
            Their ids.
        """
        self.graph.add(self.encoding.transform(tokens), ids)

    def remove(self, ids: IdArray) -> None:
        """Take ids out of the graph.

        Parameters
        ----------
        ids : ndarray of shape (m,), int64
            The ids.
        """
        self.graph.remove(ids)

    def rows(self, sets: Sets, queries: Ragged, count: int, least: int, allowed: Any, threads: int | None) -> Proposal:
        """Return the rows that a walk finds.

        Parameters
        ----------
        sets : Sets
            Where rows are looked up.
        queries : Ragged
            Queries.
        count : int
            Candidates of each.
        least : int
            Hits wanted, which there must be candidates for.
        allowed : ndarray or None
            Checked ``allowed``.
        threads : int, optional
            Threads.

        Returns
        -------
        Proposal
            At most ``count`` rows for each query.
        """
        vectors = self.encoding.transform_queries(queries, threads=threads)
        hits = self.graph.search(vectors, count, allowed=allowed, effort=count, threads=threads)
        found = []
        for ids, real in zip(hits.ids, hits.counts, strict=True):
            rows = sets.rows.locate(ids[:real])
            found.append(np.sort(rows[rows >= 0]))
        return Proposal(found, hits.cost.distances, hits.cost.bytes_read)

    @property
    def nbytes(self) -> int:
        """Bytes of the graph, and of what was learned for the encoding."""
        return self.graph.stats().memory_bytes + int(getattr(self.encoding, "nbytes", 0))


class Coded(Beside):
    """Product codes of encoded sets, all of them scanned by table look-ups.

    Parameters
    ----------
    encoding : Encoding
        Sets to vectors.
    quantizer : ProductQuantizer
        Fitted on encoded sets.
    """

    def __init__(self, encoding: Encoding, quantizer: ProductQuantizer) -> None:
        self.encoding = encoding
        self.quantizer = quantizer

    def coded(self, tokens: Ragged) -> Mapping[str, npt.NDArray[Any]]:
        """Return the codes of sets, encoded in parts of bounded size.

        Parameters
        ----------
        tokens : Ragged
            The sets.

        Returns
        -------
        mapping
            ``codes`` of shape (n, code_size), uint8.
        """
        codes = [self.quantizer.encode(self.encoding.transform(part)) for part in _in_parts(tokens)]
        empty = np.zeros((0, self.quantizer.code_size), dtype=np.uint8)
        return {"codes": np.concatenate([empty, *codes])}

    def rows(self, sets: Sets, queries: Ragged, count: int, least: int, allowed: Any, threads: int | None) -> Proposal:
        """Return the rows of the best codes.

        Parameters
        ----------
        sets : Sets
            With codes.
        queries : Ragged
            Queries.
        count : int
            Candidates of each.
        least : int
            Hits wanted, which there must be candidates for.
        allowed : ndarray or None
            Checked ``allowed``.
        threads : int, optional
            Threads for encoding.

        Returns
        -------
        Proposal
            At most ``count`` rows for each query.
        """
        vectors = self.encoding.transform_queries(queries, threads=threads)
        selection = sets.rows.select(allowed)
        size = self.quantizer.code_size
        if selection.rows is not None:
            scores = self.quantizer.score(vectors, sets.extra("codes", selection.rows), metric="dot")
            places, _, counts = top_k(scores, count)
            found = [np.sort(selection.rows[row[:n]]) for row, n in zip(places, counts, strict=True)]
            return Proposal(found, scores.size, scores.size * size)
        found = []
        for start in range(0, len(vectors), _QUERIES):
            part = [
                _masked(self.quantizer.score(vectors[start : start + _QUERIES], block.extras["codes"], metric="dot"), m)
                for block, m in zip(sets.blocks, selection.masks, strict=True)
            ]
            found += candidate_rows(np.concatenate(part, axis=1), count)
        compared = len(vectors) * sets.rows.total
        return Proposal(found, compared, compared * size)

    @property
    def nbytes(self) -> int:
        """Bytes of the codebooks."""
        return int(self.quantizer.codebooks_.nbytes)


_QUERIES = 64
_PART_SETS = 4096


def _in_parts(tokens: Ragged) -> list[Ragged]:
    out = []
    for start in range(0, len(tokens), _PART_SETS):
        offsets = tokens.offsets[start : start + _PART_SETS + 1]
        out.append(Ragged(tokens.values[offsets[0] : offsets[-1]], offsets - offsets[0]))
    return out


def _masked(scores: FloatArray, mask: npt.NDArray[np.bool_] | None) -> FloatArray:
    if mask is not None:
        scores[:, ~mask] = -np.inf
    return scores


def candidate_rows(scores: FloatArray, count: int) -> list[IdArray]:
    """Return the columns of the best scores of each row.

    Parameters
    ----------
    scores : ndarray of shape (q, n), float32
        -inf where a column must not be returned.
    count : int
        At most so many.

    Returns
    -------
    list of ndarray of shape (m,), int64
        Ascending.
    """
    places, _, counts = top_k(scores, count)
    return [np.sort(row[:n]) for row, n in zip(places, counts, strict=True)]


def pooled_stage(sample: Ragged, *, seed: int) -> Linked:
    """Return an empty stage of pooled sets.

    Parameters
    ----------
    sample : Ragged
        Some sets.
    seed : int
        Of the graph.

    Returns
    -------
    Linked
        A graph of ``sample``'s dimension.
    """
    return Linked(Pooling(), Graph(sample.values.shape[1], "dot", seed=seed))


def encoded_stage(
    sample: Ragged, encoding: FixedDimensionalEncoding, *, codes: str, fit: Callable[[FloatArray], ProductQuantizer]
) -> Linked | Coded:
    """Return an empty stage of fixed dimensional encodings.

    Parameters
    ----------
    sample : Ragged
        Sets to learn from.
    encoding : FixedDimensionalEncoding
        Fitted on the sample here.
    codes : {"product", "graph"}
        Codes that are scanned, or a graph over whole vectors.
    fit : callable of ndarray
        Makes a fitted quantizer of at most 4,096 encodings.

    Returns
    -------
    Linked or Coded
        The stage.
    """
    encoding.fit(sample)
    if codes == "graph":
        return Linked(encoding, Graph(encoding.dim_, "dot", seed=int(encoding.seed)))
    return Coded(encoding, fit(encoding.transform(_in_parts(sample)[0])))
