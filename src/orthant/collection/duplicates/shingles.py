"""Texts as sets of word shingles, and the exact Jaccard similarity of such sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.collection.lexical.analysis import SEPARATOR, Analyzer
from orthant.types import IdArray

__all__ = ["ShingleSets", "jaccard", "jaccard_pairs", "shingle_sets"]

_PAIRS_AT_ONCE = 1 << 16
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class ShingleSets:
    """The shingles of some texts, numbered without collisions.

    Attributes
    ----------
    offsets : ndarray of shape (n + 1,), int64
        Where each text's shingles begin.
    values : ndarray of shape (total,), int64
        Ascending, distinct shingle numbers of each text. A text without a word has none.
    """

    offsets: IdArray
    values: IdArray

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.offsets) - 1

    @cached_property
    def sizes(self) -> IdArray:
        """Shingles of each text."""
        return np.diff(self.offsets)

    @cached_property
    def matrix(self) -> Any:
        """One sparse row of ones per text."""
        from scipy.sparse import csr_array

        width = int(self.values.max()) + 1 if len(self.values) else 1
        ones = np.ones(len(self.values), dtype=np.int32)
        return csr_array((ones, self.values, self.offsets), shape=(len(self), width))

    def take(self, chosen: IdArray) -> ShingleSets:
        """Return the sets of some texts.

        Parameters
        ----------
        chosen : ndarray of shape (m,), int64
            Positions.

        Returns
        -------
        ShingleSets
            In the order of ``chosen``.
        """
        spans = self.sizes[chosen]
        ends = np.cumsum(spans)
        source = np.repeat(self.offsets[chosen] - (ends - spans), spans) + np.arange(int(spans.sum()))
        return ShingleSets(np.concatenate([np.zeros(1, np.int64), ends]), self.values[source])

    def identity(self) -> IdArray:
        """Return a number for each text, equal where the sets are equal.

        Returns
        -------
        ndarray of shape (n,), int64
            Numbers in order of first occurrence.
        """
        known: dict[bytes, int] = {}
        parts = (self.values[a:b].tobytes() for a, b in zip(self.offsets[:-1], self.offsets[1:], strict=True))
        return np.fromiter((known.setdefault(part, len(known)) for part in parts), dtype=np.int64, count=len(self))


def shingle_sets(texts: Sequence[str], *, analyzer: Analyzer, width: int = 3) -> ShingleSets:
    """Return the distinct runs of words of each text.

    Parameters
    ----------
    texts : sequence of str, length n
        The texts. Case, punctuation and white space do not count: ``analyzer`` cuts them as search does.
    analyzer : Analyzer
        Says what a word is.
    width : int, default 3
        Words per shingle. 1 compares bags of words; more than 5 makes a single edit cost much similarity.

    Returns
    -------
    ShingleSets
        One set per text; a text of fewer words than ``width`` is one shorter shingle.

    Notes
    -----
    Cost: O(t log t) for t words. Shingles are numbered by sorting, not hashed, so two of them are never confused.

    Examples
    --------
    >>> from orthant.collection.lexical.analysis import Analyzer
    >>> sets = shingle_sets(["A red fox.", "a red  FOX", ""], analyzer=Analyzer(), width=2)
    >>> sets.sizes.tolist(), sets.identity().tolist()
    ([2, 2, 0], [0, 0, 1])
    """
    numbers: dict[str, int] = {SEPARATOR: 0}
    words = analyzer.split_batch(texts)
    tokens = np.fromiter((numbers.setdefault(word, len(numbers)) for word in words), dtype=np.int64, count=len(words))
    ends = np.flatnonzero(tokens == 0)
    begins = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1]) if len(ends) else ends
    lengths = ends - begins
    counts = np.where(lengths > 0, np.maximum(lengths - width + 1, 1), 0)
    owners = np.repeat(np.arange(len(texts)), counts)
    first = np.cumsum(counts) - counts
    at = begins[owners] + np.arange(len(owners)) - first[owners]
    codes = tokens[at]
    for step in range(1, width):
        # Beyond the end of a short text stands the separator's number, which no word has.
        following = np.where(at + step < ends[owners], tokens[np.minimum(at + step, len(tokens) - 1)], 0)
        codes = np.unique(codes * len(numbers) + following, return_inverse=True)[1].astype(np.int64)
    span = int(codes.max()) + 1 if len(codes) else 1
    distinct = np.unique(owners * span + codes)
    sizes = np.bincount(distinct // span, minlength=len(texts))
    return ShingleSets(np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]), distinct % span)


def jaccard(sets: ShingleSets, left: IdArray, right: IdArray) -> npt.NDArray[np.float64]:
    """Return the exact Jaccard similarity of given pairs.

    Parameters
    ----------
    sets : ShingleSets
        The sets.
    left, right : ndarray of shape (m,), int64
        Positions of the two texts of each pair.

    Returns
    -------
    ndarray of shape (m,), float64
        Common shingles over all shingles of the pair; 0 for two empty sets.
    """
    out = np.zeros(len(left))
    for begin in range(0, len(left), _PAIRS_AT_ONCE):
        a, b = left[begin : begin + _PAIRS_AT_ONCE], right[begin : begin + _PAIRS_AT_ONCE]
        common = np.asarray(sets.matrix[a].multiply(sets.matrix[b]).sum(axis=1)).ravel().astype(np.float64)
        joined = sets.sizes[a] + sets.sizes[b] - common
        out[begin : begin + len(a)] = common / np.maximum(joined, 1)
    return out


def jaccard_pairs(
    sets: ShingleSets, threshold: float, *, advance: Callable[[float], None] | None = None
) -> tuple[IdArray, IdArray]:
    """Return all pairs of texts that reach a similarity, by comparing every pair that shares a shingle.

    Parameters
    ----------
    sets : ShingleSets
        The sets.
    threshold : float
        Least Jaccard similarity, above 0.
    advance : callable of float, optional
        Told how many further texts are done.

    Returns
    -------
    left, right : ndarray of shape (m,), int64
        Positions, ``left < right``.

    Notes
    -----
    Cost: the squared document frequency of each shingle, so boilerplate that every text has is dear.
    """
    found: list[tuple[IdArray, IdArray]] = []
    other = sets.matrix.T.tocsr()
    for begin in range(0, len(sets), _ROWS_AT_ONCE):
        block = (sets.matrix[begin : begin + _ROWS_AT_ONCE] @ other).tocoo()
        left, right = block.row.astype(np.int64) + begin, block.col.astype(np.int64)
        joined = sets.sizes[left] + sets.sizes[right] - block.data
        chosen = (left < right) & (block.data / np.maximum(joined, 1) >= threshold)
        found.append((left[chosen], right[chosen]))
        if advance is not None:
            advance(min(_ROWS_AT_ONCE, len(sets) - begin))
    empty = np.zeros(0, np.int64)
    return np.concatenate([empty, *(a for a, _ in found)]), np.concatenate([empty, *(b for _, b in found)])
