"""The contrastive loss over a batch of pairs, its gradients in closed form, and Adam, in NumPy."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from orthant.types import FloatArray, IdArray

__all__ = ["Adam", "Positives", "info_nce"]

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


class Positives:
    """Which item answers which query, so that a second answer in a batch is not held for a wrong one.

    Parameters
    ----------
    queries, items : ndarray of shape (n,), int64
        Numbers from 0 of the query and of the item of every pair; equal numbers are one query or one item.
    """

    def __init__(self, queries: IdArray, items: IdArray) -> None:
        self._queries, self._items = queries, items
        self._known = np.unique(np.stack([queries, items], axis=1), axis=0)

    def of_batch(self, rows: IdArray) -> npt.NDArray[np.bool_]:
        """Return which items of a batch answer which of its queries.

        Parameters
        ----------
        rows : ndarray of shape (b,), int64
            Pairs of the batch.

        Returns
        -------
        ndarray of shape (b, b), bool
            True on the diagonal.
        """
        return self.between(self._queries[rows], self._items[rows])

    def between(self, queries: IdArray, items: IdArray) -> npt.NDArray[np.bool_]:
        """Return which of given items answer which of given queries.

        Parameters
        ----------
        queries, items : ndarray of shape (q,) and (m,), int64
            Their numbers.

        Returns
        -------
        ndarray of shape (q, m), bool
            True where a pair says so.
        """
        if not len(queries) or not len(items):
            return np.zeros((len(queries), len(items)), dtype=bool)
        asked, of_query = np.unique(queries, return_inverse=True)
        offered, of_item = np.unique(items, return_inverse=True)
        # Through the pairs, which are few, and not through all of q x m.
        q, c = np.searchsorted(asked, self._known[:, 0]), np.searchsorted(offered, self._known[:, 1])
        q[q == len(asked)], c[c == len(offered)] = 0, 0
        here = (asked[q] == self._known[:, 0]) & (offered[c] == self._known[:, 1])
        out = np.zeros((len(asked), len(offered)), dtype=bool)
        out[q[here], c[here]] = True
        return out[of_query.reshape(-1)][:, of_item.reshape(-1)]


def info_nce(
    Q: FloatArray, C: FloatArray, masked: npt.NDArray[np.bool_], tau: float
) -> tuple[float, FloatArray, FloatArray]:
    """Return the mean of ``-log(exp(s_ii / tau) / sum_j exp(s_ij / tau))`` with its gradients.

    Parameters
    ----------
    Q : ndarray of shape (b, d), float32
        Queries at length 1.
    C : ndarray of shape (m, d), float32
        Items at length 1; item i answers query i, those from b on answer none.
    masked : ndarray of shape (b, m), bool
        Items that are left out of a query's sum: its other answers. False on the diagonal.
    tau : float
        Temperature; smaller looks at the nearest wrong items only.

    Returns
    -------
    loss : float
        Mean over the queries.
    by_queries : ndarray of shape (b, d), float32
        Gradient by Q.
    by_items : ndarray of shape (m, d), float32
        Gradient by C.

    Notes
    -----
    Cost: three products of O(b m d).
    """
    own = np.arange(len(Q))
    scores = (Q @ C.T) / np.float32(tau)
    scores[masked] = -np.inf
    scores -= scores.max(axis=1, keepdims=True)
    shares = np.exp(scores)
    sums = shares.sum(axis=1, keepdims=True)
    loss = float((np.log(sums[:, 0]) - scores[own, own]).mean())
    shares /= sums
    shares[own, own] -= 1
    shares /= np.float32(tau * len(Q))
    return loss, shares @ C, shares.T @ Q


@dataclass
class Adam:
    """Adam with decoupled weight decay, in place.

    Attributes
    ----------
    parameters : list of ndarray
        What is changed.
    rate : float
        Step size.
    decay : float
        Share of ``rate`` by which parameters shrink at each step.
    """

    parameters: list[FloatArray]
    rate: float
    decay: float
    _step: int = 0
    _means: list[FloatArray] = field(default_factory=list)
    _squares: list[FloatArray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._means = [np.zeros_like(p) for p in self.parameters]
        self._squares = [np.zeros_like(p) for p in self.parameters]

    def step(self, gradients: list[FloatArray]) -> None:
        """Move all parameters once.

        Parameters
        ----------
        gradients : list of ndarray
            One for each parameter, of its shape.
        """
        self._step += 1
        first, second = (1 - beta**self._step for beta in _BETAS)
        for p, g, mean, square in zip(self.parameters, gradients, self._means, self._squares, strict=True):
            mean += (1 - _BETAS[0]) * (g - mean)
            square += (1 - _BETAS[1]) * (g * g - square)
            p *= 1 - self.rate * self.decay
            p -= self.rate * (mean / first) / (np.sqrt(square / second) + _EPSILON)
