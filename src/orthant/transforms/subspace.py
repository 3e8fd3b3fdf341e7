"""Taking directions out of vectors: a subspace that is given, learned from rows, or learned from labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.artifact import read_artifact, write_artifact
from orthant.errors import DimensionError, InputError, message
from orthant.estimator import Estimator, check_is_fitted
from orthant.types import FloatArray
from orthant.validate import as_vectors, check_count, check_fraction

__all__ = ["SubspaceProjection", "attribute_directions"]

_KIND = "transform.subspace"
_TINY = 1e-6


class SubspaceProjection(Estimator):
    """Take a few directions out of vectors, wholly or in part.

    Use it against what should not count: the axis of a bias, the common direction of sentence vectors, a style. What
    is taken out linearly can still be told by other means; measure what remains.

    Parameters
    ----------
    rank : int, default 1
        Directions learned from the rows given to ``fit``, at most as many as they span.
    center : bool, default False
        Learn from the rows less their mean. Differences of pairs are directions as they are and need none.
    strength : float or sequence of float, default 1.0
        Share that is taken out: 0 changes nothing, 1 all of it, above 1 turns the part around; -1 doubles it. -2 to 2.
        A sequence has one share for each direction of ``basis_``, the strongest direction first.
    preserve_norm : bool, default False
        Bring every changed row back to the length that it had, where something is left of it: attention over token
        vectors depends on their lengths.

    Attributes
    ----------
    basis_ : ndarray of shape (rank, d), float32
        Orthonormal directions that are taken out.
    n_features_in_ : int
        Dimension d.

    Notes
    -----
    ``y = x - B^T diag(strength) B x``. Fitting takes the leading right singular vectors of the rows. Cost:
    O(n d min(n, d)) to fit, O(n d rank) to transform.

    References
    ----------
    Bolukbasi et al.: Man is to computer programmer as woman is to homemaker? NIPS 2016, section 5. Arora, Liang, Ma: A
    simple but tough-to-beat baseline for sentence embeddings. ICLR 2017. Jang et al.: DECOR: Decomposition and
    projection of text embeddings for text-to-image customization. arXiv:2412.09169, section 4.

    Examples
    --------
    >>> SubspaceProjection().fit([[2.0, 0.0], [3.0, 0.0]]).transform([[5.0, 7.0]]).tolist()
    [[0.0, 7.0]]
    """

    basis_: FloatArray
    n_features_in_: int

    def __init__(
        self,
        *,
        rank: int = 1,
        center: bool = False,
        strength: float | Sequence[float] = 1.0,
        preserve_norm: bool = False,
    ) -> None:
        self.rank = rank
        self.center = center
        self.strength = strength
        self.preserve_norm = preserve_norm

    def fit(self, X: npt.ArrayLike, y: Any = None) -> SubspaceProjection:
        """Learn the directions in which rows are longest.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Examples of what is to be taken out, such as differences of pairs; all vectors for the common direction.
        y : None
            Ignored, for pipelines.

        Returns
        -------
        SubspaceProjection
            Self. Rows that span fewer directions than ``rank`` give fewer, and equal ones none where ``center``.

        Raises
        ------
        InputError
            No rows, a setting out of range, another number of shares than directions, or directions that leave nothing.
        """
        rows = as_vectors(X).astype(np.float64)
        check_count(self.rank, name="rank")
        for share in np.atleast_1d(np.asarray(self.strength, dtype=object)):
            check_fraction(share, name="strength", low=-2.0, high=2.0)
        if not len(rows):
            raise InputError(message("0 rows to learn directions from", "at least one", "pass examples"))
        rows = rows - rows.mean(axis=0) if self.center else rows
        _, values, right = np.linalg.svd(rows, full_matrices=False)
        kept = right[: self.rank][values[: self.rank] > _TINY * max(float(values[0]), 1e-30)]
        self.basis_ = kept[: int((values[: len(kept)] > 0).sum())].astype(np.float32)
        self.n_features_in_ = rows.shape[1]
        if len(self.basis_) == rows.shape[1] and np.all(np.asarray(self.strength) == 1.0):
            given = f"{len(self.basis_)} directions, which span all {rows.shape[1]} dimensions"
            raise InputError(message(given, "fewer, since nothing would be left", "lower rank, or pass fewer"))
        if np.ndim(self.strength) and np.shape(self.strength) != (len(self.basis_),):
            given = f"{np.size(self.strength)} shares for {len(self.basis_)} direction(s)"
            raise InputError(message(given, "one for each direction, or one number", "change strength or rank"))
        return self

    @classmethod
    def from_directions(
        cls, directions: npt.ArrayLike, *, strength: float | Sequence[float] = 1.0, preserve_norm: bool = False
    ) -> SubspaceProjection:
        """Make one that takes out all that given directions span.

        Parameters
        ----------
        directions : array-like of shape (r, d)
            Any lengths and angles; those that the others span already add nothing.
        strength : float or sequence of float, default 1.0
            As for the class; with several, the directions of ``basis_`` are those in which the given ones are longest.
        preserve_norm : bool, default False
            As for the class.

        Returns
        -------
        SubspaceProjection
            A fitted one.

        Raises
        ------
        InputError
            No directions, or zeros only.
        """
        rows = as_vectors(directions, name="directions", single=True)
        if not rows.any():
            raise InputError(message(f"{len(rows)} directions, all zero", "one at least", "check what they come from"))
        return cls(rank=len(rows), strength=strength, preserve_norm=preserve_norm).fit(rows)

    def transform(self, X: npt.ArrayLike, *, mask: npt.ArrayLike | None = None) -> FloatArray:
        """Return rows without their part in the subspace.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors. They are not brought to length 1.
        mask : array-like of bool, shape (n,), optional
            Change only these rows.

        Returns
        -------
        ndarray of shape (n, d), float32
            Changed vectors.

        Raises
        ------
        DimensionError
            Another dimension, or a mask of another length.
        """
        check_is_fitted(self)
        return np.asarray(self._without(as_vectors(X, dim=self.n_features_in_), mask), dtype=np.float32)

    def project_tokens(self, E: Any, *, mask: Any | None = None) -> Any:
        """Return token vectors, of one sequence or a batch, without their part in the subspace.

        Parameters
        ----------
        E : array-like or torch tensor of shape (..., n, d)
            Vectors of tokens. A tensor keeps its type, device and gradients.
        mask : array-like or tensor of bool, shape (..., n), optional
            Change only these. Leave the token of the start out where a model has one: its length is apart.

        Returns
        -------
        ndarray, float32, or tensor of the shape of ``E``
            Changed vectors.

        Raises
        ------
        DimensionError
            Another dimension, or a mask of another shape.
        """
        check_is_fitted(self)
        rows = E if hasattr(E, "new_tensor") else np.asarray(E, dtype=np.float32)
        if rows.ndim < 2 or rows.shape[-1] != self.n_features_in_:
            given = f"token vectors of shape {tuple(rows.shape)}"
            raise DimensionError(message(given, f"(..., n, {self.n_features_in_})", "use the model of the directions"))
        return self._without(rows, mask)

    def _without(self, rows: Any, mask: Any | None) -> Any:
        """Take the part out of rows of an array or a tensor, of any number of axes."""
        tensor = hasattr(rows, "new_tensor")
        basis = rows.new_tensor(self.basis_) if tensor else self.basis_
        shares = np.broadcast_to(np.asarray(self.strength, dtype=np.float32), (len(self.basis_),))
        part = (rows @ (basis.T * (rows.new_tensor(shares) if tensor else shares))) @ basis
        if mask is not None:
            chosen = np.asarray(mask, dtype=bool)
            if chosen.shape != tuple(rows.shape[:-1]):
                given, wanted = f"a mask of shape {chosen.shape}", f"{tuple(rows.shape[:-1])}"
                raise DimensionError(message(given, wanted, "give one flag per row"))
            part = part * (rows.new_tensor(chosen) if tensor else chosen)[..., None]
        out = rows - part
        if not self.preserve_norm:
            return out
        before, after = ((x**2).sum(-1)[..., None] ** 0.5 for x in (rows, out))
        # What is left of a row inside the subspace is rounding, which must not be brought to its former length.
        scale = before / (after + (after <= _TINY * before))
        return out * (scale * (after > _TINY * before) + (after <= _TINY * before))

    def component(self, X: npt.ArrayLike) -> FloatArray:
        """Return the coordinates of rows within the subspace.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors.

        Returns
        -------
        ndarray of shape (n, rank), float32
            Dot products with ``basis_``.
        """
        check_is_fitted(self)
        return as_vectors(X, dim=self.n_features_in_) @ self.basis_.T

    def save(self, path: str | Path) -> None:
        """Write directions and settings to a folder.

        Parameters
        ----------
        path : str or Path
            Created if missing.
        """
        check_is_fitted(self)
        write_artifact(path, kind=_KIND, arrays={"basis": self.basis_}, config=self.get_params())

    @classmethod
    def load(cls, path: str | Path) -> SubspaceProjection:
        """Read a folder of ``save``.

        Parameters
        ----------
        path : str or Path
            The folder.

        Returns
        -------
        SubspaceProjection
            A fitted one.
        """
        arrays, config = read_artifact(path, kind=_KIND)
        made = cls(**{name: config[name] for name in cls._parameter_names()})
        made.basis_ = arrays["basis"]
        made.n_features_in_ = made.basis_.shape[1]
        return made


def attribute_directions(X: npt.ArrayLike, labels: npt.ArrayLike, *, rounds: int = 20, seed: int = 0) -> FloatArray:
    """Find the directions by which linear classifiers can tell an attribute, one classifier after the other.

    Each round fits a classifier to what the rounds before left, and adds its directions; give them to
    `SubspaceProjection.from_directions`. One round removes little: the next classifier finds the attribute elsewhere.
    Try the difference of the two means first: on images of digits that one direction hid an attribute from linear
    classifiers as well as many did, and left more of the rest: ``orthant reproduce word-to-multimodal-survey``.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Vectors.
    labels : array-like of shape (n,)
        The attribute, two values or more.
    rounds : int, default 20
        Classifiers at most. It ends early where none is better than always naming the most frequent label.
    seed : int, default 0
        Which quarter of the rows judges whether another round is worth it.

    Returns
    -------
    ndarray of shape (r, d), float32
        Orthonormal; no rows where the attribute cannot be told at all.

    Raises
    ------
    InputError
        One label only, or labels of another length.

    References
    ----------
    Ravfogel et al.: Null it out: guarding protected attributes by iterative nullspace projection. ACL 2020, section 4.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 6)); y = X[:, 2] > 0
    >>> found = attribute_directions(X, y, rounds=1)
    >>> int(np.abs(found[0]).argmax())
    2
    """
    from sklearn.linear_model import LogisticRegression

    rows, named = as_vectors(X), np.asarray(labels)
    if named.shape != (len(rows),) or len(np.unique(named)) < 2:
        given = f"labels of shape {named.shape} with {len(np.unique(named))} value(s) for {len(rows)} rows"
        raise InputError(message(given, "one label per row, two values or more", "check the labels"))
    held = np.zeros(len(rows), dtype=bool)
    held[np.random.default_rng(seed).permutation(len(rows))[: max(2, len(rows) // 4)]] = True
    majority = np.unique(named[held], return_counts=True)[1].max() / held.sum()
    basis = np.zeros((0, rows.shape[1]))
    left = rows.astype(np.float64)
    for _ in range(check_count(rounds, name="rounds")):
        probe = LogisticRegression(max_iter=500).fit(left[~held], named[~held])
        if len(basis) and probe.score(left[held], named[held]) <= majority:
            break
        _, values, right = np.linalg.svd(probe.coef_ - probe.coef_ @ basis.T @ basis, full_matrices=False)
        basis = np.concatenate([basis, right[values > _TINY * max(float(values.max()), 1e-30)]])
        if len(basis) >= rows.shape[1]:
            break
        left = rows - rows @ basis.T @ basis
    return basis[: rows.shape[1]].astype(np.float32)
