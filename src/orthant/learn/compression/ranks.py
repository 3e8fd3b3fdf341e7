"""Which width of codewords: what the map loses, what clustering loses, and where their sum is least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orthant.kernels.clustering.nearest import nearest, squared_errors
from orthant.quantization import lowrank_fitting as fitting
from orthant.types import FloatArray
from orthant.validate import as_vectors, check_count, check_fraction

__all__ = ["RankErrors", "error_curves", "suggest_rank"]


@dataclass(frozen=True)
class RankErrors:
    """What a weight loses at each rank, as shares of its squares.

    Attributes
    ----------
    ranks : tuple of int
        d.
    low_rank : tuple of float
        Lost by ``L W~`` before anything is clustered; falls with d, and training lowers it further.
    clustering : tuple of float
        Lost by codes of W~; grows with d.
    """

    ranks: tuple[int, ...]
    low_rank: tuple[float, ...]
    clustering: tuple[float, ...]

    @property
    def total(self) -> tuple[float, ...]:
        """Return the sums: what a weight loses that is not trained."""
        return tuple(a + b for a, b in zip(self.low_rank, self.clustering, strict=True))


def error_curves(
    weight: npt.ArrayLike,
    *,
    block: int = 16,
    codebook_size: int = 256,
    ranks: Sequence[int] | None = None,
    iterations: int = 10,
    seed: int = 0,
) -> RankErrors:
    """Measure both losses of a weight over ranks.

    Parameters
    ----------
    weight : array-like of shape (out, in)
        A pretrained weight, or one after training as factors.
    block : int, default 16
        m; must divide the columns.
    codebook_size : int, default 256
        k.
    ranks : sequence of int, optional
        From 1 to m; about six of them where left out.
    iterations : int, default 10
        Passes of k-means for each.
    seed : int, default 0
        Of k-means.

    Returns
    -------
    RankErrors
        The curves.

    Raises
    ------
    InputError
        A block that does not divide, a rank beyond it, or more codewords than blocks.

    Notes
    -----
    Directions are orthonormal, so the two losses add up exactly: the error of the map is orthogonal to that of the
    codes. Cost: O(100 k^2 d) for each rank and pass, and O(n k d) to assign n blocks.

    References
    ----------
    Zhu, Wang, Cheng, Gao: Learning low-rank representations for model compression. arXiv 2211.11397, section 3.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> curves = error_curves(rng.standard_normal((64, 32)), block=8, codebook_size=16, ranks=(2, 4, 8))
    >>> curves.low_rank[0] > curves.low_rank[1] > curves.low_rank[2]
    True
    """
    rows = as_vectors(weight, name="weight")
    blocks = fitting.blocks_of(rows, check_count(block, name="block"))
    if ranks is None:
        ranks = sorted({max(1, round(block * share)) for share in (0.125, 0.25, 0.375, 0.5, 0.75, 1.0)})
    tried = [check_count(rank, name="rank", maximum=block) for rank in ranks]
    energy = float(np.square(blocks, dtype=np.float64).sum()) or 1.0
    every = _narrow(blocks, block)
    low, clustered = [], []
    for rank in tried:
        narrow = np.ascontiguousarray(every[:, :rank])
        words = fitting.codewords(narrow, codebook_size, iterations=iterations, seed=seed)
        low.append(max(0.0, 1.0 - float(np.square(narrow, dtype=np.float64).sum()) / energy))
        clustered.append(float(squared_errors(narrow, words, nearest(narrow, words)).sum()) / energy)
    return RankErrors(tuple(tried), tuple(low), tuple(clustered))


def _narrow(blocks: FloatArray, block: int) -> FloatArray:
    """Return the blocks along all their directions, leading ones first."""
    wide = blocks.astype(np.float64)
    return np.asarray(wide @ np.linalg.eigh(wide.T @ wide)[1][:, ::-1], dtype=np.float32)


def suggest_rank(
    weight: npt.ArrayLike,
    *,
    block: int = 16,
    codebook_size: int = 256,
    trained: float = 0.0,
    ranks: Sequence[int] | None = None,
    seed: int = 0,
) -> int:
    """Choose the rank at which a weight loses least, given how much training makes up for.

    Parameters
    ----------
    weight : array-like of shape (out, in)
        A pretrained weight.
    block : int, default 16
        m.
    codebook_size : int, default 256
        k.
    trained : float, default 0.0, range 0 to 1
        Share of the map's loss that training as factors wins back. At 0, which is true without training, the answer is
        the block itself or near it. How much it is depends on network and course: measure a short one.
    ranks : sequence of int, optional
        Ranks to try.
    seed : int, default 0
        Of k-means.

    Returns
    -------
    int
        The rank of the least sum; the smaller of equals.

    Raises
    ------
    InputError
        As `error_curves`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> W = rng.standard_normal((64, 32))
    >>> suggest_rank(W, block=8, codebook_size=16), suggest_rank(W, block=8, codebook_size=16, trained=1.0)
    (8, 1)
    """
    share = 1.0 - check_fraction(trained, name="trained")
    curves = error_curves(weight, block=block, codebook_size=codebook_size, ranks=ranks, seed=seed)
    sums = [share * a + b for a, b in zip(curves.low_rank, curves.clustering, strict=True)]
    return curves.ranks[int(np.argmin(sums))]
