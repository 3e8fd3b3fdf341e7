"""Regression from old vectors and the words of their texts to another space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, InputError, message
from orthant.estimator import check_is_fitted
from orthant.transforms.alignment.spaces import SpaceMap, as_pairs, unit_rows
from orthant.types import FloatArray
from orthant.validate import as_vectors, check_fraction

__all__ = ["WordedMap"]

_RIDGES = (0.1, 0.3, 1.0, 3.0)
_HELD_OUT = 0.2
# The ridge hardly depends on how many pairs choose it, and their products are a square.
_CHOOSING = 2_000
_LEAST = 20


class WordedMap(SpaceMap):
    """Map old vectors to another space with the help of the words of their texts, without encoding the texts.

    An old vector has lost what its model does not tell apart, and no map from it alone brings that back. The words are
    still there: each is encoded by the new model by itself, once, and a text is described by its old vector, by the sum
    of its words' new vectors, and by which words it has. Use it where texts are stored; a word is much cheaper to
    encode than a text. Where there are no texts, `LowRankMap` is what can be had.

    Parameters
    ----------
    ridge : float, optional
        Penalty on the coefficients. Too small follows the pairs by heart, too large maps everything to the mean. Left
        out, chosen on held-out pairs from 0.1 to 3.
    seed : int, default 0
        Of the draw of held-out pairs.
    source, target : str, optional
        Fingerprints of the encoders of either side.

    Attributes
    ----------
    vectors_ : ndarray of shape (V, d_target), float32
        What a word of weight 1 adds to the sum of words: its new vector less the mean, by rarity.
    rarity_ : ndarray of shape (V,), float32
        Weight of each word among those that a text has.
    from_source_ : ndarray of shape (d_source, d_target), float32
    from_sum_ : ndarray of shape (d_target, d_target), float32
    from_words_ : ndarray of shape (V, d_target), float32
        Coefficients of the three descriptions, each of which has length 1.
    target_mean_ : ndarray of shape (d_target,), float32
        What is added.
    vocabulary_ : list of str
        The words, in the order of the columns; empty where they were not given.
    ridge_ : float
        Penalty used.
    held_out_cosine_ : float
        Mean cosine of mapped and true rows on the held-out pairs; -1 where nothing had to be chosen.
    n_features_in_, n_features_out_ : int
        The two dimensions.

    Notes
    -----
    ``y = a F + b G + c H + m`` with ``a = x / |x|``, ``b`` the unit sum of ``count_w rarity_w v_w`` over the words w of
    the text, ``c`` the unit vector of ``(1 + log count_w) rarity_w``, and rarity ``1 + log((1 + n) / (1 + n_w))``.
    Solved in the pairs: ``(K + r I) A = Y - m`` with ``K = a a^T + b b^T + c c^T``.
    Cost: O(n^2 (d + words) + n^3 / 3) to fit on n pairs, O(d^2 + words d) a row to transform.

    References
    ----------
    Saunders, Gammerman, Vovk: Ridge regression learning algorithm in dual variables. ICML 1998.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import csr_matrix
    >>> rng = np.random.default_rng(0)
    >>> words = csr_matrix((rng.random((200, 12)) < 0.3).astype(np.float32))
    >>> meanings = rng.standard_normal((12, 8)).astype(np.float32)
    >>> new = words @ meanings + 0.01
    >>> old = new[:, :3]
    >>> fitted = WordedMap().fit(old[:150], new[:150], words=words[:150], word_vectors=meanings)
    >>> fitted.transform(old[150:], words=words[150:]).shape, fitted.held_out_cosine_ > 0.9
    ((50, 8), True)
    """

    _kind: ClassVar[str] = "transform.worded_map"
    _arrays: ClassVar[tuple[str, ...]] = ("vectors", "rarity", "from_source", "from_sum", "from_words", "target_mean")
    _figures: ClassVar[tuple[str, ...]] = ("vocabulary", "ridge", "held_out_cosine")

    vectors_: FloatArray
    rarity_: FloatArray
    from_source_: FloatArray
    from_sum_: FloatArray
    from_words_: FloatArray
    target_mean_: FloatArray
    vocabulary_: list[str]
    ridge_: float
    held_out_cosine_: float

    def __init__(
        self, *, ridge: float | None = None, seed: int = 0, source: str | None = None, target: str | None = None
    ) -> None:
        super().__init__(source=source, target=target)
        self.ridge = ridge
        self.seed = seed

    def fit(
        self,
        X: npt.ArrayLike,
        y: Any = None,
        *,
        words: Any = None,
        word_vectors: Any = None,
        vocabulary: Sequence[str] = (),
    ) -> WordedMap:
        """Learn the map from pairs, forgetting what was fitted before.

        Parameters
        ----------
        X : array-like of shape (n, d_source)
            Rows of the source space.
        y : array-like of shape (n, d_target)
            The same items in the target space, in the same order.
        words : sparse matrix of shape (n, V)
            Which words each item has, and how often.
        word_vectors : array-like of shape (V, d_target)
            Each word by itself in the target space.
        vocabulary : sequence of str, length V, optional
            Names of the words, kept with the map.

        Returns
        -------
        WordedMap
            Self.

        Raises
        ------
        InputError
            Fewer than two pairs, no words, NaN or infinity, or a ridge out of range.
        DimensionError
            Words that do not fit the items or the vectors of words.
        """
        source, target = as_pairs(X, y, name="WordedMap")
        if words is None or word_vectors is None:
            given = "no words, or no vectors of words"
            raise InputError(message(given, "both", "pass words= and word_vectors=, or fit a LowRankMap"))
        known = as_vectors(word_vectors, dim=target.shape[1], name="word vectors")
        counts = _checked(words, len(source), len(known))
        if len(vocabulary) not in (0, len(known)):
            given = f"{len(vocabulary)} names of {len(known)} words"
            raise DimensionError(message(given, "one for each", "pass the words whose vectors these are"))
        self.vocabulary_ = list(vocabulary)
        held = np.bincount(counts.indices, minlength=len(known))
        rarity = 1.0 + np.log((1.0 + len(source)) / (1.0 + held))
        # The mean of all texts says nothing about one of them.
        middle = np.average(known, axis=0, weights=held if held.any() else None)
        self.vectors_ = np.ascontiguousarray((known - middle) * rarity[:, None], dtype=np.float32)
        self.rarity_ = rarity.astype(np.float32)
        self.n_features_in_, self.n_features_out_ = source.shape[1], target.shape[1]
        self.target_mean_ = target.mean(axis=0).astype(np.float32)
        described = self._described(source, counts)
        goal = (target - self.target_mean_).astype(np.float64)
        self.ridge_, self.held_out_cosine_ = self._chosen(described, goal)
        dual = _solved(_products(described, described), goal, self.ridge_)
        self.from_source_, self.from_sum_, self.from_words_ = (
            np.ascontiguousarray(part.T @ dual, dtype=np.float32) for part in described
        )
        return self

    def transform(self, X: npt.ArrayLike, *, words: Any = None) -> FloatArray:
        """Return rows of the source space as rows of the target space.

        Parameters
        ----------
        X : array-like of shape (n, d_source)
            Vectors.
        words : sparse matrix of shape (n, V), optional
            Words of each item; a row without any, and all where it is left out, is mapped by its vector alone.

        Returns
        -------
        ndarray of shape (n, d_target), float32
            Rows of length 1.
        """
        from scipy.sparse import csr_matrix

        check_is_fitted(self)
        rows = as_vectors(X, dim=self.n_features_in_)
        nothing = csr_matrix((len(rows), len(self.vectors_)), dtype=np.float32)
        counts = nothing if words is None else _checked(words, len(rows), len(self.vectors_))
        near, summed, has = self._described(rows, counts)
        out = near @ self.from_source_ + summed @ self.from_sum_ + has @ self.from_words_ + self.target_mean_
        return unit_rows(np.asarray(out, dtype=np.float32))

    def _described(self, source: FloatArray, counts: Any) -> tuple[FloatArray, FloatArray, Any]:
        from scipy.sparse import diags

        summed = unit_rows(np.asarray(counts @ self.vectors_, dtype=np.float32))
        has = counts.copy()
        has.data = ((1.0 + np.log(has.data)) * self.rarity_[has.indices]).astype(np.float32)
        lengths = np.sqrt(np.asarray(has.multiply(has).sum(axis=1)).ravel())
        return unit_rows(source), summed, (diags(1.0 / np.where(lengths > 0, lengths, 1.0)) @ has).tocsr()

    def _chosen(self, described: tuple[Any, ...], goal: npt.NDArray[np.float64]) -> tuple[float, float]:
        if self.ridge is not None:
            return check_fraction(self.ridge, name="ridge", low=1e-9, high=1e6), -1.0
        if len(goal) < _LEAST:
            return _RIDGES[1], -1.0
        drawn = np.random.default_rng(self.seed).permutation(len(goal))[:_CHOOSING]
        judged, taught = np.split(drawn, [int(len(drawn) * _HELD_OUT)])
        learned, asked = (tuple(part[rows] for part in described) for rows in (taught, judged))
        square, across = _products(learned, learned), _products(asked, learned)
        truth = unit_rows((goal[judged] + self.target_mean_).astype(np.float32))
        found = []
        for ridge in _RIDGES:
            mapped = across @ _solved(square, goal[taught], ridge) + self.target_mean_
            found.append(float(np.einsum("ij,ij->i", unit_rows(mapped.astype(np.float32)), truth).mean()))
        best = int(np.argmax(found))
        return _RIDGES[best], found[best]


def _products(left: tuple[Any, ...], right: tuple[Any, ...]) -> npt.NDArray[np.float64]:
    """Sums over the descriptions of the products of all pairs of items."""
    near, summed, has = (a @ b.T for a, b in zip(left, right, strict=True))
    return np.asarray(near, dtype=np.float64) + summed + has.toarray()


def _solved(square: npt.NDArray[np.float64], goal: npt.NDArray[np.float64], ridge: float) -> npt.NDArray[np.float64]:
    from scipy.linalg import solve

    system = square.copy()
    system[np.diag_indices_from(system)] += ridge
    out: npt.NDArray[np.float64] = solve(system, goal, assume_a="pos", overwrite_a=True, check_finite=False)
    return out


def _checked(words: Any, count: int, size: int) -> Any:
    from scipy.sparse import csr_matrix

    counts = csr_matrix(words, dtype=np.float32, copy=True)
    counts.eliminate_zeros()
    if counts.shape != (count, size):
        given = f"words of shape {counts.shape}"
        raise DimensionError(message(given, f"{(count, size)}", "pass one row for each item, one column for each word"))
    if not np.isfinite(counts.data).all() or (counts.data < 1).any():
        raise InputError(message("counts of words below 1 or not finite", "how often each occurs", "mend the counts"))
    return counts
