"""The adapter: frozen vectors plus a low-rank correction that is learned from pairs."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, InputError, message
from orthant.estimator import check_is_fitted
from orthant.transforms.adaptation.residuals import Residual
from orthant.transforms.adaptation.training import Course, split, train
from orthant.transforms.alignment.spaces import SpaceMap, as_pairs, unit_rows
from orthant.types import FloatArray, IdArray
from orthant.validate import as_vectors, check_choice, check_count, check_fraction

__all__ = ["ResidualAdapter"]

_RANKS = {"query": 32, "both": 128}
_RATES = {"query": 1e-3, "both": 3e-4}


class ResidualAdapter(SpaceMap):
    """Correct the vectors of a frozen encoder from pairs of a query and the item that it should have found.

    For an encoder that you cannot train, or will not: a few hundred to a few thousand pairs, seconds, no torch. It
    learns how your queries differ from your items, so it serves queries like those of the pairs. A few dozen pairs
    teach it little. Judge it on pairs that it has not seen; ``Collection.adapt`` does.

    Parameters
    ----------
    sides : {"query", "both", "auto"}, default "query"
        What is corrected. ``"query"`` leaves items, and indexes of them, as they are. ``"both"`` has a correction for
        either side, so every stored item must be transformed as well. ``"auto"`` learns the two and keeps the one whose
        validation pairs are better served, the first where they are equal.
    kind : {"linear", "memory"}, default "linear"
        ``x + U D x``, or ``x + U softmax(D x)``, where rows of D act as prototypes of queries.
    rank : int, optional
        Rows of D, 1 to d; default 32 for one side and 128 for both, or d. Too few cannot express the difference, too
        many fit the pairs by heart, which validation then stops earlier.
    tau : float, default 0.1
        Temperature of the loss. Smaller looks at the nearest wrong items only and is less steady.
    epochs : int, default 30
        Passes over the pairs at most. The best one by validation is kept, so more cost time only.
    batch_size : int, default 256
        Pairs per step; the other items of a batch are its wrong answers. Too few make the task too easy.
    learning_rate : float, optional
        Step size; default 0.001 for one side and 0.0003 for both. Too large overshoots, and nothing is learned.
    weight_decay : float, default 0.01
        Pull towards no correction. More is steadier and learns less.
    validation : float, default 0.15
        Share of the pairs that choose the epoch, by their mean reciprocal rank. Too small chooses by chance.
    patience : int, default 5
        Epochs without a better value before training stops.
    hard_negatives : int, default 16
        How many of the wrong items that the frozen vectors hold nearest to a query are tried on it, one at each step
        and in turn by chance. Few may be right answers that no pair names, many are easy; 0 draws from ``others``
        without looking.
    seed : int, default 0
        Of directions, batches and the choice of validation pairs.
    source, target : str, optional
        Fingerprints of what encoded queries and items.

    Attributes
    ----------
    down_, up_ : ndarray of shape (r, d), float32
        D and U, transposed, of queries; ``up_`` is zero where no correction was better.
    down_items_, up_items_ : ndarray of shape (r, d), float32
        Those of items; without rows where ``sides_`` is ``"query"``.
    best_epoch_ : int
        The epoch that was kept; 0 is no correction.
    history_ : list of float
        Mean reciprocal rank of the validation pairs, before training and after every epoch.
    sides_ : str
        ``"query"`` or ``"both"``: what ``transform_target`` is needed for.
    validated_ : dict of str to float
        Best mean reciprocal rank of the validation pairs for ``"none"`` and for what was learned.
    n_features_in_, n_features_out_ : int
        Dimension d.

    Notes
    -----
    All vectors are brought to length 1 before and after the correction. The loss is ``-log(exp(s_ii / tau) / sum_j
    exp(s_ij / tau))`` with cosines ``s``, over the items of the batch and one hard one for each of its queries, where
    other answers to a query are left out of its sum. U starts at zero, so training starts at the frozen encoder, which
    is kept unless an epoch is better.
    Cost: O(epochs n d (batch_size + r)) to fit, O(n d min(n + m, 4096)) once to find hard items, O(n d r) to transform;
    ``"auto"`` takes the time of both fits.

    References
    ----------
    Augmented Embeddings for Custom Retrievals. arXiv 2310.05380, 2023.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> items = rng.standard_normal((400, 16)).astype(np.float32)
    >>> turn = np.linalg.qr(rng.standard_normal((16, 16)))[0]
    >>> queries = (items + 3 * items @ turn).astype(np.float32)
    >>> adapter = ResidualAdapter(rank=16, learning_rate=0.01).fit(queries, items)
    >>> adapter.transform(queries).shape, adapter.best_epoch_ > 0, adapter.history_[0] < max(adapter.history_)
    ((400, 16), True, True)
    """

    _kind: ClassVar[str] = "transform.residual_adapter"
    _arrays: ClassVar[tuple[str, ...]] = ("down", "up", "down_items", "up_items")
    _figures: ClassVar[tuple[str, ...]] = ("best_epoch", "history", "validated")

    down_: FloatArray
    up_: FloatArray
    down_items_: FloatArray
    up_items_: FloatArray
    best_epoch_: int
    history_: list[float]
    validated_: dict[str, float]

    def __init__(
        self,
        *,
        sides: Literal["query", "both", "auto"] = "query",
        kind: Literal["linear", "memory"] = "linear",
        rank: int | None = None,
        tau: float = 0.1,
        epochs: int = 30,
        batch_size: int = 256,
        learning_rate: float | None = None,
        weight_decay: float = 0.01,
        validation: float = 0.15,
        patience: int = 5,
        hard_negatives: int = 16,
        seed: int = 0,
        source: str | None = None,
        target: str | None = None,
    ) -> None:
        super().__init__(source=source, target=target)
        self.sides = sides
        self.kind = kind
        self.rank = rank
        self.tau = tau
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.validation = validation
        self.patience = patience
        self.hard_negatives = hard_negatives
        self.seed = seed

    def fit(
        self,
        X: npt.ArrayLike,
        y: Any = None,
        *,
        groups: npt.ArrayLike | None = None,
        others: npt.ArrayLike | None = None,
    ) -> ResidualAdapter:
        """Learn the correction from pairs, forgetting what was fitted before.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Queries. Equal rows are one query with several answers.
        y : array-like of shape (n, d)
            For each of them an item that it should find. Equal rows are one item.
        groups : array-like of shape (n,), optional
            Pairs of one group are all trained on or all validated on, such as those of one module or customer; left
            out, those of one item.
        others : array-like of shape (m, d), optional
            Items that answer none of the queries, as further wrong answers, in training and in validation.

        Returns
        -------
        ResidualAdapter
            Self.

        Raises
        ------
        InputError
            Fewer than two different items or groups, a vector of zeros, NaN or infinity, a setting out of range.
        DimensionError
            Different widths or numbers of rows.
        """
        queries, items = as_pairs(X, y, name="ResidualAdapter")
        d = queries.shape[1]
        # Once more, for vectors of zeros, which have no direction.
        Q = unit_rows(as_vectors(queries, name="query vectors", nonzero=True))
        C = unit_rows(as_vectors(items, dim=d, name="item vectors", nonzero=True))
        more = np.zeros((0, d), dtype=np.float32)
        if others is not None:
            more = unit_rows(as_vectors(others, dim=d, name="other items", nonzero=True))
        courses = self._courses(d)
        q, c = _numbers(Q), _numbers(C)
        if int(c.max()) == 0:
            raise InputError(
                message("pairs with one and the same item", "at least two different items", "add pairs of other items")
            )
        numbers = _groups(groups, len(Q), c)
        found = []
        for course in courses:
            # From the same seed, so that the same pairs validate either.
            rng = np.random.default_rng(course.seed)
            parts = split(numbers, course.validation, rng)
            found.append(train(Q, C, more, q, c, parts, course, rng))
        values = [max(history) for _, history in found]
        self.validated_ = {"none": found[0][1][0], **dict(zip([one.sides for one in courses], values, strict=True))}
        learned, self.history_ = found[int(np.argmax(values))]
        self.best_epoch_ = int(np.argmax(self.history_))
        self.down_, self.up_ = learned[0].down, learned[0].up
        none = np.zeros((0, d), dtype=np.float32)
        self.down_items_, self.up_items_ = (learned[1].down, learned[1].up) if len(learned) > 1 else (none, none)
        self.n_features_in_ = self.n_features_out_ = d
        return self

    @property
    def sides_(self) -> str:
        """What was corrected: ``"query"``, or ``"both"`` where items have a correction of their own."""
        check_is_fitted(self)
        return "both" if len(self.up_items_) else "query"

    def transform(self, X: npt.ArrayLike) -> FloatArray:
        """Return queries as the items should be asked.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Queries.

        Returns
        -------
        ndarray of shape (n, d), float32
            At length 1; a row of zeros stays one.
        """
        check_is_fitted(self)
        return self._corrected(as_vectors(X, dim=self.n_features_in_), self.down_, self.up_)

    def transform_target(self, Y: npt.ArrayLike) -> FloatArray:
        """Return items as corrected queries find them.

        Parameters
        ----------
        Y : array-like of shape (n, d)
            Items.

        Returns
        -------
        ndarray of shape (n, d), float32
            At length 1; only brought to it where ``sides_`` is ``"query"``.
        """
        check_is_fitted(self)
        return self._corrected(as_vectors(Y, dim=self.n_features_in_), self.down_items_, self.up_items_)

    def _corrected(self, rows: FloatArray, down: FloatArray, up: FloatArray) -> FloatArray:
        unit = unit_rows(rows)
        if not up.any():
            return unit
        out = unit_rows(Residual(self.kind, down, up).forward(unit))
        # Nothing is known of a text without a known word; a memory would give it a direction.
        out[~unit.any(axis=1)] = 0
        return out

    def _courses(self, d: int) -> list[Course]:
        sides = check_choice(self.sides, ("query", "both", "auto"), name="sides")
        return [self._course(one, d) for one in (("query", "both") if sides == "auto" else (sides,))]

    def _course(self, sides: str, d: int) -> Course:
        """Check the settings."""
        rank = min(_RANKS[sides], d) if self.rank is None else check_count(self.rank, name="rank")
        if rank > d:
            raise InputError(message(f"rank={rank} for {d} dimensions", f"1 to {d}", "lower it"))
        rate = _RATES[sides] if self.learning_rate is None else self.learning_rate
        return Course(
            sides=sides,
            kind=check_choice(self.kind, ("linear", "memory"), name="kind"),
            rank=rank,
            tau=check_fraction(self.tau, name="tau", low=1e-3, high=10.0),
            epochs=check_count(self.epochs, name="epochs"),
            batch_size=check_count(self.batch_size, name="batch_size", minimum=2),
            rate=check_fraction(rate, name="learning_rate", low=1e-8, high=10.0),
            decay=check_fraction(self.weight_decay, name="weight_decay", low=0.0, high=10.0),
            validation=check_fraction(self.validation, name="validation", low=0.01, high=0.9),
            patience=check_count(self.patience, name="patience"),
            hard=check_count(self.hard_negatives, name="hard_negatives", minimum=0),
            seed=check_count(self.seed, name="seed", minimum=0),
        )


def _numbers(rows: FloatArray) -> IdArray:
    """Number different rows from 0."""
    return np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _groups(groups: npt.ArrayLike | None, n: int, items: IdArray) -> IdArray:
    if groups is None:
        return items
    given = np.asarray(groups)
    if given.shape != (n,):
        raise DimensionError(
            message(f"groups of shape {given.shape} for {n} pairs", f"shape ({n},)", "pass one group for each pair")
        )
    numbers = np.unique(given.astype(str), return_inverse=True)[1].reshape(-1).astype(np.int64)
    if int(numbers.max()) == 0:
        raise InputError(message("one group", "at least two, to validate on one of them", "leave groups out"))
    return numbers
