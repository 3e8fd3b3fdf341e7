"""Training of an adapter: who is held out, the steps, and the epoch that is kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orthant.transforms.adaptation.contrast import Adam, Positives, info_nce
from orthant.transforms.adaptation.residuals import Residual, unit_backward
from orthant.transforms.alignment.spaces import unit_rows
from orthant.types import FloatArray, IdArray

__all__ = ["Course", "reciprocal_ranks", "split", "train"]

_MOST_CANDIDATES = 4096
_ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class Course:
    """Checked settings of one training; see ``ResidualAdapter`` for what each of them means."""

    sides: str
    kind: str
    rank: int
    tau: float
    epochs: int
    batch_size: int
    rate: float
    decay: float
    validation: float
    patience: int
    hard: int
    seed: int


def split(groups: IdArray, share: float, rng: np.random.Generator) -> tuple[IdArray, IdArray]:
    """Hold whole groups out.

    Parameters
    ----------
    groups : ndarray of shape (n,), int64
        Number of each row's group; at least two different ones.
    share : float
        Of the rows to hold out, about; at least one group is, and one is not.
    rng : Generator
        Of the choice.

    Returns
    -------
    tuple of ndarray, int64
        Rows that are kept and rows that are held out, ascending.

    Examples
    --------
    >>> kept, out = split(np.array([0, 0, 1, 1, 2]), 0.3, np.random.default_rng(0))
    >>> len(kept) + len(out), bool(set(kept.tolist()) & set(out.tolist()))
    (5, False)
    """
    names, sizes = np.unique(groups, return_counts=True)
    order = rng.permutation(len(names))
    # The group that reaches the share is still taken, unless it is the last one.
    count = int(np.searchsorted(np.cumsum(sizes[order]), share * len(groups) - 1e-9)) + 1
    out = np.isin(groups, names[order[: min(count, len(names) - 1)]])
    return np.flatnonzero(~out), np.flatnonzero(out)


def reciprocal_ranks(
    Q: FloatArray,
    queries: IdArray,
    C: FloatArray,
    items: IdArray,
    positives: Positives,
    *,
    added: FloatArray | None = None,
) -> FloatArray:
    """Return for each query one over the rank of its best answer.

    Parameters
    ----------
    Q : ndarray of shape (q, d), float32
        Queries at length 1.
    queries : ndarray of shape (q,), int64
        Their numbers.
    C : ndarray of shape (m, d), float32
        Candidates at length 1, with an answer to each query among them.
    items : ndarray of shape (m,), int64
        Their numbers.
    positives : Positives
        Who answers whom.
    added : ndarray of shape (q, m), float32, optional
        Scores of another kind that are added to the cosines.

    Returns
    -------
    ndarray of shape (q,), float32
        Between 0 and 1; equal scores count half a rank.
    """
    out = np.empty(len(Q), dtype=np.float32)
    step = max(1, 4_000_000 // max(len(C), 1))
    for start in range(0, len(Q), step):
        part = slice(start, start + step)
        scores = Q[part] @ C.T if added is None else Q[part] @ C.T + added[part]
        right = positives.between(queries[part], items)
        best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
        wrong = np.where(right, -np.inf, scores)
        out[part] = 1 / (1 + (wrong > best).sum(axis=1) + 0.5 * (wrong == best).sum(axis=1))
    return out


class _Validation:
    """The value of an epoch: mean reciprocal rank of queries that are not trained on, among all items."""

    def __init__(
        self, Q: FloatArray, C: FloatArray, others: FloatArray, q: IdArray, c: IdArray, rows: IdArray, seed: int
    ) -> None:
        held, first = np.unique(q[rows], return_index=True)
        self._queries, self._Q = held, Q[rows[first]]
        numbers, places = np.unique(c, return_index=True)
        needed = np.isin(numbers, c[rows])
        # Enough to rank among; answers of the held-out queries always take part.
        spare = np.flatnonzero(~needed)
        room = max(0, _MOST_CANDIDATES - int(needed.sum()))
        spare = np.random.default_rng(seed).permutation(spare)[:room]
        chosen = np.concatenate([np.flatnonzero(needed), spare])
        more = others[: max(0, room - len(spare))]
        self._C = np.concatenate([C[places[chosen]], more])
        # A number that no pair has: the others answer nobody.
        self._items = np.concatenate([numbers[chosen], np.full(len(more), int(c.max()) + 1)])
        self._positives = Positives(q, c)

    def value(self, sides: list[Residual]) -> float:
        Q = unit_rows(sides[0].forward(self._Q))
        C = unit_rows(sides[1].forward(self._C)) if len(sides) > 1 else self._C
        return float(reciprocal_ranks(Q, self._queries, C, self._items, self._positives).mean())


class _WrongAnswers:
    """Further wrong answers of a batch: one for each query of those that the frozen vectors hold nearest, or any."""

    def __init__(
        self,
        Q: FloatArray,
        C: FloatArray,
        others: FloatArray,
        q: IdArray,
        c: IdArray,
        rows: IdArray,
        positives: Positives,
        course: Course,
        rng: np.random.Generator,
    ) -> None:
        self._rng = rng
        nobody = np.full(len(others), int(c.max()) + 1)
        if not course.hard:
            self._near, self._pool, self._numbers = None, others, nobody
            return
        numbers, first = np.unique(c[rows], return_index=True)
        pool, known = np.concatenate([C[rows[first]], others]), np.concatenate([numbers, nobody])
        # Enough to find near ones among, so that the cost grows with the pairs and not with their square.
        kept = rng.permutation(len(pool))[:_MOST_CANDIDATES]
        self._pool, self._numbers = pool[kept], known[kept]
        count = min(course.hard, len(kept))
        self._near = np.zeros((len(Q), count), dtype=np.int64)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = rows[start : start + _ROWS_AT_ONCE]
            scores = Q[part] @ self._pool.T
            scores[positives.between(q[part], self._numbers)] = -np.inf
            self._near[part] = np.argpartition(-scores, count - 1, axis=1)[:, :count]

    def of_batch(self, batch: IdArray) -> tuple[FloatArray, IdArray]:
        """Vectors and numbers."""
        if self._near is None:
            chosen = self._rng.choice(len(self._pool), min(len(self._pool), len(batch)), replace=False)
        else:
            chosen = self._near[batch, self._rng.integers(0, self._near.shape[1], len(batch))]
        return self._pool[chosen], self._numbers[chosen]


def train(
    Q: FloatArray,
    C: FloatArray,
    others: FloatArray,
    q: IdArray,
    c: IdArray,
    parts: tuple[IdArray, IdArray],
    course: Course,
    rng: np.random.Generator,
) -> tuple[list[Residual], list[float]]:
    """Return the corrections of the best epoch, no training at all being one of them.

    Parameters
    ----------
    Q, C : ndarray of shape (n, d), float32
        Queries and the items that answer them, at length 1.
    others : ndarray of shape (m, d), float32
        Items that answer nobody.
    q, c : ndarray of shape (n,), int64
        Numbers of the queries and items.
    parts : tuple of ndarray of shape (t,) and (v,), int64
        Rows to train and to validate on.
    course : Course
        The settings.
    rng : Generator
        Of directions and batches.

    Returns
    -------
    sides : list of Residual
        For queries, and for items where both sides are trained.
    history : list of float
        Values before training and after each epoch.
    """
    rows, held = parts
    sides = [Residual.identity(course.kind, Q[rows], course.rank, rng)]
    if course.sides == "both":
        sides.append(Residual.identity(course.kind, C[rows], course.rank, rng))
    optimiser = Adam([p for side in sides for p in (side.down, side.up)], course.rate, course.decay)
    positives, validation = Positives(q, c), _Validation(Q, C, others, q, c, held, course.seed)
    wrong = _WrongAnswers(Q, C, others, q, c, rows, positives, course, rng)
    best, history = [side.copy() for side in sides], [validation.value(sides)]
    for _ in range(course.epochs):
        order = rng.permutation(rows)
        for start in range(0, len(order), course.batch_size):
            batch = order[start : start + course.batch_size]
            drawn, numbers = wrong.of_batch(batch)
            masked = positives.of_batch(batch) & ~np.eye(len(batch), dtype=bool)
            # What is wrong for one query may be right for another one of the batch.
            masked = np.concatenate([masked, positives.between(q[batch], numbers)], axis=1)
            optimiser.step(_gradients(sides, Q[batch], np.concatenate([C[batch], drawn]), masked, course.tau))
        history.append(validation.value(sides))
        if history[-1] > max(history[:-1]):
            best = [side.copy() for side in sides]
        elif len(history) - 1 - int(np.argmax(history)) >= course.patience:
            break
    return best, history


def _gradients(
    sides: list[Residual], Q: FloatArray, items: FloatArray, masked: npt.NDArray[np.bool_], tau: float
) -> list[FloatArray]:
    raw_queries = sides[0].forward(Q)
    raw_items = sides[1].forward(items) if len(sides) > 1 else items
    seen = unit_rows(raw_items) if len(sides) > 1 else items
    _, by_queries, by_items = info_nce(unit_rows(raw_queries), seen, masked, tau)
    out = sides[0].backward(Q, unit_backward(raw_queries, by_queries))
    if len(sides) > 1:
        out += sides[1].backward(items, unit_backward(raw_items, by_items))
    return out
