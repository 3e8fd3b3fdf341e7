"""Fewer token vectors per text: k-means within each text, for the tokens of any model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, DtypeError, InputError, message
from orthant.estimator import Estimator
from orthant.types import FloatArray, Ragged
from orthant.validate import as_vectors, check_choice, check_count, check_fraction

__all__ = ["TokenClusterer", "check_budget", "cluster_budget", "spread_positions"]

Counts = npt.NDArray[np.int64]

# Texts handled at once are padded to the longest of them: enough to fill a product, few enough to stay in cache.
_BLOCK_VALUES = 1 << 19


def check_budget(k: int | None, ratio: float | None) -> None:
    """Refuse anything but exactly one of a number and a share of vectors.

    Parameters
    ----------
    k : int or None
        Vectors per text, at least 1.
    ratio : float or None
        Vectors per token, above 0 and at most 1.

    Raises
    ------
    InputError
        Both, neither, or out of range.
    """
    if (k is None) == (ratio is None):
        raise InputError(message(f"k={k!r} and ratio={ratio!r}", "exactly one of them", "pass k=8 or ratio=0.25"))
    if k is not None:
        check_count(k, name="k")
    elif not check_fraction(ratio, name="ratio"):
        raise InputError(message("ratio=0", "above 0, at most 1", "keep at least some of the tokens"))


def cluster_budget(counts: Counts, *, k: int | None, ratio: float | None) -> Counts:
    """Return how many vectors texts of given lengths are reduced to.

    Parameters
    ----------
    counts : ndarray of shape (n,), int64
        Tokens per text.
    k : int or None
        Vectors per text.
    ratio : float or None
        Vectors per token.

    Returns
    -------
    ndarray of shape (n,), int64
        ``min(k, count)``, or the share rounded down and at least 1; 0 for a text without tokens.
    """
    if ratio is None:
        return np.minimum(counts, k if k is not None else counts)
    return np.minimum(counts, np.maximum(1, np.floor(counts * ratio).astype(np.int64)))


def spread_positions(counts: Counts, budgets: Counts, width: int) -> Counts:
    """Return evenly spaced positions to start clusters from.

    Parameters
    ----------
    counts : ndarray of shape (n,), int64
        Tokens per text.
    budgets : ndarray of shape (n,), int64
        Clusters per text, at most its tokens.
    width : int
        Columns returned, at least the largest budget.

    Returns
    -------
    ndarray of shape (n, width), int64
        Distinct positions in the first ``budgets[i]`` columns of row i, 0 beyond.
    """
    columns = np.arange(width, dtype=np.int64)
    places = (2 * columns + 1) * counts[:, None] // np.maximum(2 * budgets[:, None], 1)
    return np.where(columns < budgets[:, None], places, 0)


class TokenClusterer(Estimator):
    """Replace the token vectors of each text by the means of a few clusters of them.

    Use it on a late-interaction model to store 3 to 11 times fewer vectors per document. A model trained with
    `orthant.nn.token_reducers.ClusterReducer` in its forward pass loses less; this class computes the same for it
    without torch, and does what can be done for any other model.

    Parameters
    ----------
    k : int, optional
        Vectors per text, at least 1; shorter texts keep their tokens. 4 to 8 suit queries and 8 to 32 documents; too
        few blur what a text says.
    ratio : float, optional
        Instead of ``k``: vectors per token, above 0 and at most 1, rounded down, at least one.
    n_iter : int, default 8
        Rounds of k-means. Below 3 clusters are still rough; beyond 10 little changes.
    init : {"spread", "farthest"}, default "spread"
        Start from tokens at even distances along the text, or from each time the token farthest from those chosen.
    normalize : bool, default False
        Bring the means to unit length.

    Raises
    ------
    InputError
        At the first use: both of ``k`` and ``ratio`` or neither, or a value out of range.

    Notes
    -----
    Lloyd's rounds by squared Euclidean distance, ties to the first cluster; a cluster that falls empty takes the token
    farthest from its own centre among clusters of more than one, so a text has exactly ``min(k, tokens)`` vectors.
    Clusters keep the order of their starting tokens. Needs no ``fit``. Cost: O(n_iter T k d) for T tokens.

    References
    ----------
    Veneroso et al.: CRISP: Clustering Multi-Vector Representations for Denoising and Pruning. arXiv 2505.11471,
    section 3.

    Examples
    --------
    >>> tokens = np.array([[0, 1], [0, 1.2], [5, 5], [5, 5.2], [3, 3]], dtype=np.float32)
    >>> texts = Ragged(tokens, np.array([0, 4, 5]))  # four tokens, and one
    >>> out = TokenClusterer(k=2).transform(texts)
    >>> out[0].round(2).tolist(), out[1].tolist()
    ([[0.0, 1.100000023841858], [5.0, 5.099999904632568]], [[3.0, 3.0]])
    """

    def __init__(
        self,
        *,
        k: int | None = None,
        ratio: float | None = None,
        n_iter: int = 8,
        init: Literal["spread", "farthest"] = "spread",
        normalize: bool = False,
    ) -> None:
        self.k = k
        self.ratio = ratio
        self.n_iter = n_iter
        self.init = init
        self.normalize = normalize

    def transform(self, X: Ragged) -> Ragged:
        """Return the cluster means of every text.

        Parameters
        ----------
        X : Ragged
            ``values`` of shape (T, d) and ``offsets`` of shape (n + 1,): the token vectors of n texts.

        Returns
        -------
        Ragged
            ``values`` of shape (sum of min(k, tokens), d), float32; texts in their order.

        Raises
        ------
        InputError
            NaN or infinity, offsets that do not cover the values in order, or settings out of range.
        """
        values, offsets, budgets = self._check(X)
        ends = np.concatenate([[0], np.cumsum(budgets)])
        found = self._assign(values, offsets, budgets)
        targets = found + np.repeat(ends[:-1], np.diff(offsets))
        if not len(values):
            return Ragged(values, ends)
        # No cluster is empty, so the sorted tokens of each are one run.
        order = np.argsort(targets, kind="stable")
        sizes = np.bincount(targets)
        out: FloatArray = np.add.reduceat(values[order], np.cumsum(sizes) - sizes, axis=0)
        out /= sizes[:, None].astype(np.float32)
        if self.normalize:
            out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)
        return Ragged(out, ends)

    def assign(self, X: Ragged) -> Counts:
        """Return the cluster of every token.

        Parameters
        ----------
        X : Ragged
            As for ``transform``.

        Returns
        -------
        ndarray of shape (T,), int64
            Numbers from 0 within each text.

        Raises
        ------
        InputError
            As for ``transform``.
        """
        return self._assign(*self._check(X))

    def _check(self, X: Ragged) -> tuple[FloatArray, Counts, Counts]:
        check_budget(self.k, self.ratio)
        check_count(self.n_iter, name="n_iter")
        check_choice(self.init, ("spread", "farthest"), name="init")
        if not hasattr(X, "values") or not hasattr(X, "offsets"):
            raise DtypeError(
                message(f"a {type(X).__name__}", "a Ragged of token vectors", "pass Ragged(values, offsets)")
            )
        values = as_vectors(X.values, name="token vectors")
        offsets = np.asarray(X.offsets)
        if offsets.ndim != 1 or offsets.dtype.kind not in "iu" or not len(offsets):
            raise DtypeError(
                message(f"offsets {offsets.dtype} of shape {offsets.shape}", "n + 1 integers", "check them")
            )
        if offsets[0] != 0 or offsets[-1] != len(values) or (np.diff(offsets) < 0).any():
            raise DimensionError(
                message(
                    f"offsets from {offsets[0]} to {offsets[-1]} for {len(values)} token vectors",
                    "ascending ones from 0 to their number",
                    "pass the offsets that belong to these values",
                )
            )
        offsets = offsets.astype(np.int64)
        return values, offsets, cluster_budget(np.diff(offsets), k=self.k, ratio=self.ratio)

    def _assign(self, values: FloatArray, offsets: Counts, budgets: Counts) -> Counts:
        counts = np.diff(offsets)
        out = np.zeros(len(values), dtype=np.int64)
        # Texts that keep all their tokens need no clusters.
        for rows in _blocks(np.flatnonzero(counts > budgets), counts, values.shape[1]):
            length = int(counts[rows].max())
            real = np.arange(length) < counts[rows, None]
            places = np.where(real, offsets[rows, None] + np.arange(length), 0)
            tokens = values[places] * real[..., None]
            starts = spread_positions(counts[rows], budgets[rows], int(budgets[rows].max()))
            found = _lloyd(tokens, real, budgets[rows], starts, rounds=self.n_iter, farthest=self.init == "farthest")
            out[places[real]] = found[real]
        keeping = np.flatnonzero(counts <= budgets)
        owner = np.repeat(np.arange(len(counts)), counts)
        own = np.arange(len(values)) - offsets[owner]
        kept = np.isin(owner, keeping)
        out[kept] = own[kept]
        return out


def _blocks(rows: Counts, counts: Counts, dim: int) -> Iterator[Counts]:
    """Split texts, the shortest first, into blocks that stay small once padded."""
    rows = rows[np.argsort(counts[rows], kind="stable")]
    while len(rows):
        size = 1
        while size < len(rows) and (size + 1) * counts[rows[size]] * dim <= _BLOCK_VALUES:
            size += 1
        yield rows[:size]
        rows = rows[size:]


def _lloyd(
    tokens: FloatArray,
    real: npt.NDArray[np.bool_],
    budgets: Counts,
    starts: Counts,
    *,
    rounds: int,
    farthest: bool,
) -> Counts:
    """Return the cluster of each token of padded texts, shape (B, T); nothing is said of padding."""
    lines = np.arange(len(tokens))[:, None]
    squares = (tokens * tokens).sum(axis=2)
    live = np.arange(starts.shape[1]) < budgets[:, None]
    if farthest:
        starts = _farthest_positions(tokens, squares, real, budgets, starts.shape[1])
    centres = tokens[lines, starts]
    found = np.full(real.shape, -1, dtype=np.int64)
    for _ in range(rounds):
        costs = (centres * centres).sum(axis=2)[:, None, :] - 2 * np.matmul(tokens, centres.transpose(0, 2, 1))
        costs = np.where(live[:, None, :], costs, np.inf)
        before, found = found, costs.argmin(axis=2)
        distances = np.take_along_axis(costs, found[..., None], axis=2)[..., 0] + squares
        member = (found[..., None] == np.arange(starts.shape[1])) & real[..., None]
        for row in np.flatnonzero(((member.sum(axis=1) == 0) & live).any(axis=1)):
            _fill_empty(found[row], distances[row], real[row], int(budgets[row]))
            member[row] = (found[row][:, None] == np.arange(starts.shape[1])) & real[row][:, None]
        if np.array_equal(found[real], before[real]):
            break
        sums = np.matmul(member.transpose(0, 2, 1).astype(np.float32), tokens)
        centres = sums / np.maximum(member.sum(axis=1), 1)[..., None].astype(np.float32)
    return found


def _farthest_positions(
    tokens: FloatArray, squares: FloatArray, real: npt.NDArray[np.bool_], budgets: Counts, width: int
) -> Counts:
    """Choose starts one by one: the first token, then the one farthest from all chosen."""
    lines = np.arange(len(tokens))
    starts = np.zeros((len(tokens), width), dtype=np.int64)
    nearest = np.where(real, np.float32(np.inf), np.float32(-np.inf))
    for j in range(1, width):
        last = tokens[lines, starts[:, j - 1]]
        distances = squares + (last * last).sum(axis=1)[:, None] - 2 * np.matmul(tokens, last[..., None])[..., 0]
        nearest = np.minimum(nearest, distances)
        # A chosen token is out, even where rounding leaves it a distance from itself.
        nearest[lines, starts[:, j - 1]] = -np.inf
        starts[:, j] = np.where(j < budgets, nearest.argmax(axis=1), 0)
    return starts


def _fill_empty(found: Counts, distances: FloatArray, real: npt.NDArray[np.bool_], budget: int) -> None:
    """Give each empty cluster of a text the farthest token that does not leave another empty."""
    sizes = np.bincount(found[real], minlength=budget)
    for cluster in np.flatnonzero(sizes[:budget] == 0):
        free = real & (sizes[found] > 1)
        token = int(np.where(free, distances, -np.inf).argmax())
        sizes[found[token]] -= 1
        sizes[cluster] += 1
        found[token] = cluster
        distances[token] = -np.inf
