"""Encodings of sets reduced to their leading directions, so that a graph can walk them."""

from __future__ import annotations

from pathlib import Path

from orthant.index.graph import Graph
from orthant.index.multivector.stages import Linked
from orthant.transforms.fixed_dimensional import FixedDimensionalEncoding
from orthant.transforms.leanvec import LeanVec
from orthant.types import FloatArray, Ragged

__all__ = ["ReducedEncoding", "reduced_stage"]

_ENCODING, _REDUCTION = "encoding", "reduction"


class ReducedEncoding:
    """A fixed dimensional encoding, and the projection of what it gives.

    Parameters
    ----------
    encoding : FixedDimensionalEncoding
        Fitted.
    reduction : LeanVec
        Fitted on encoded documents.

    Notes
    -----
    Cells of random partitions repeat much of what the others say, so a tenth of the columns keep nearly all of their
    dot products. Fewer cells for each partition reduce better than many: their columns repeat each other more.
    """

    def __init__(self, encoding: FixedDimensionalEncoding, reduction: LeanVec) -> None:
        self.encoding = encoding
        self.reduction = reduction

    @property
    def dim(self) -> int:
        """Columns of the result."""
        return self.reduction.dim_

    @property
    def nbytes(self) -> int:
        """Bytes of both projections."""
        return int(self.reduction.components_x_.nbytes + self.reduction.components_q_.nbytes)

    @classmethod
    def learned(cls, sample: Ragged, encoding: FixedDimensionalEncoding, *, dim: int) -> ReducedEncoding:
        """Learn the directions from some sets.

        Parameters
        ----------
        sample : Ragged
            Sets.
        encoding : FixedDimensionalEncoding
            Fitted on them.
        dim : int
            Columns kept at most.

        Returns
        -------
        ReducedEncoding
            With the leading directions of the encoded sets about the origin.
        """
        vectors = encoding.transform(sample)
        # So many vectors span no more.
        kept = min(dim, *vectors.shape)
        return cls(encoding, LeanVec(dim=kept, metric="dot", center=False).fit(vectors))

    def transform(self, X: Ragged, *, threads: int | None = None) -> FloatArray:
        """Encode documents.

        Parameters
        ----------
        X : Ragged
            Documents.
        threads : int, optional
            Threads.

        Returns
        -------
        ndarray of shape (n, dim), float32
            To be compared by dot product.
        """
        return self.reduction.transform(self.encoding.transform(X, threads=threads))

    def transform_queries(self, Q: Ragged, *, threads: int | None = None) -> FloatArray:
        """Encode queries.

        Parameters
        ----------
        Q : Ragged
            Queries.
        threads : int, optional
            Threads.

        Returns
        -------
        ndarray of shape (q, dim), float32
            To be compared by dot product.
        """
        return self.reduction.transform_queries(self.encoding.transform_queries(Q, threads=threads))

    def save(self, folder: Path) -> None:
        """Write both parts to folders inside another one.

        Parameters
        ----------
        folder : Path
            The folder.
        """
        self.encoding.save(folder / _ENCODING)
        self.reduction.save(folder / _REDUCTION)

    @classmethod
    def load(cls, folder: Path) -> ReducedEncoding:
        """Read what ``save`` wrote.

        Parameters
        ----------
        folder : Path
            The folder.

        Returns
        -------
        ReducedEncoding
            The same.
        """
        found = cls(FixedDimensionalEncoding.load(folder / _ENCODING), LeanVec.load(folder / _REDUCTION))
        if found.reduction.n_features_in_ != found.encoding.dim_:
            raise ValueError("a reduction of other encodings")
        return found


def reduced_stage(sample: Ragged, encoding: FixedDimensionalEncoding, *, dim: int) -> Linked:
    """Return an empty stage of reduced encodings in a graph.

    Parameters
    ----------
    sample : Ragged
        Sets to learn from.
    encoding : FixedDimensionalEncoding
        Fitted on them here.
    dim : int
        Columns kept at most.

    Returns
    -------
    Linked
        The stage.
    """
    side = ReducedEncoding.learned(sample, encoding.fit(sample), dim=dim)
    return Linked(side, Graph(side.dim, "dot", seed=int(encoding.seed)))
