"""A classifier whose class directions are given: scikit-learn's interface, trained by torch, served by NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from orthant.artifact import read_artifact, write_artifact
from orthant.errors import DimensionError, InputError, message
from orthant.estimator import Estimator, check_is_fitted
from orthant.kernels.distances import norms
from orthant.learn.continual.objective import TrainedPrototypeHead, make_backbone, train_prototypes
from orthant.learn.export.networks import export_network
from orthant.learn.training.history import History
from orthant.nn.heads import FixedPrototypeHead
from orthant.nn.prototypes import equiangular_prototypes, simplex_prototypes, welch_bound
from orthant.transforms.network import Network, describe_layers, rebuild_layers
from orthant.types import FloatArray
from orthant.validate import as_vectors, check_choice, check_count, check_fraction

__all__ = ["FixedPrototypeClassifier", "make_prototypes"]

Kind = Literal["auto", "simplex", "equiangular", "random"]

_KIND = "learn.prototype_classifier"
_SPARE = 1.4
_WIDER, _WIDEST = 1.15, 0.98
_STEPS = 200


def make_prototypes(kind: str, n: int, dim: int | None, max_cosine: float | None, *, seed: int) -> FloatArray:
    """Return class directions by the name of their kind.

    Parameters
    ----------
    kind : {"auto", "simplex", "equiangular", "random"}
        "auto" is the simplex where the dimension allows it or is left open, else equiangular.
    n : int
        Classes, at least 2.
    dim : int or None
        Dimensions; None for n - 1.
    max_cosine : float or None
        For "equiangular"; None for 1.4 times the Welch bound, or as little more as is found quickly.
    seed : int
        Of "equiangular" and "random".

    Returns
    -------
    ndarray of shape (n, dim), float32
        Unit rows.

    Examples
    --------
    >>> make_prototypes("auto", 5, None, None, seed=0).shape, make_prototypes("auto", 5, 3, None, seed=0).shape
    ((5, 4), (5, 3))
    """
    check_choice(kind, get_args(Kind), name="prototypes")
    dim = check_count(n - 1 if dim is None else dim, name="dim")
    if kind == "simplex" or (kind == "auto" and dim >= n - 1):
        return simplex_prototypes(n, dim)
    if kind == "random":
        rows = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
        return (rows / norms(rows)[:, None]).astype(np.float32)
    if max_cosine is not None:
        return equiangular_prototypes(n, dim, max_cosine, seed=seed)
    # The bound is far from what can be had where there are many more classes than dimensions squared.
    limit = _SPARE * welch_bound(n, dim)
    while limit < _WIDEST:
        try:
            return equiangular_prototypes(n, dim, limit, seed=seed, steps=_STEPS)
        except InputError:
            limit *= _WIDER
    return equiangular_prototypes(n, dim, _WIDEST, seed=seed)


class FixedPrototypeClassifier(Estimator):
    """Classify vectors by a small network that learns to point at class directions made beforehand.

    For very many classes, where a trained output layer would be the largest part of the model, and where features
    should mean the same in the next model: its directions are made from a seed. With few classes and no successor, a
    plain logistic regression is simpler and as good.

    Parameters
    ----------
    prototypes : {"auto", "simplex", "equiangular", "random"} or array-like of shape (n, dim), default "auto"
        The directions. "auto" is the simplex where the dimension allows it, else nearly equiangular rows.
    dim : int, optional
        Width of the features; default one less than the number of directions. Far below the number of classes, classes
        must lie close together.
    n_prototypes : int, optional
        Directions in all; default the number of classes. Spare ones wait for classes to come.
    max_cosine : float, optional
        Largest absolute cosine of two directions; default 1.4 times the Welch bound, or as little more as is found
        quickly.
    hidden : sequence of int, default (128,)
        Widths of the layers between; none trains one matrix.
    trained : bool, default False
        Train the directions too, from the same start: an ordinary cosine classifier, for comparison.
    scale : float, default 1 / 0.07
        Factor on the cosines. Too small cannot separate many classes, too large jumps.
    smoothing : float, default 0.1
        Share of the target spread over all classes.
    epochs : float, default 30
        Passes over the items.
    batch_size : int, default 128
        Items per step.
    learning_rate : float, default 2e-3
        Peak rate. Too large jumps, too small does not get there.
    weight_decay : float, default 1e-4
        Decay of matrices.
    seed : int, default 0
        Of directions, weights and order.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
        The classes, sorted; class i has direction i.
    prototypes_ : ndarray of shape (n, dim), float32
        The directions.
    network_ : Network
        Vectors to features of length 1, by NumPy.
    history_ : History or None
        One row per step of the training; None after ``load``.

    Raises
    ------
    InputError
        In ``fit``: fewer than two classes, more classes than directions, directions that cannot be made.

    Notes
    -----
    Cross-entropy of ``scale <z / |z|, w_k>``. Cost O(epochs n (weights + dim classes)).

    References
    ----------
    Shen et al.: Equiangular Basis Vectors. CVPR 2023, arXiv 2303.11637, section 3.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["ant", "bee", "cat"], 30)
    >>> X = rng.standard_normal((90, 4)) + 4 * np.eye(3, 4)[np.repeat([0, 1, 2], 30)]
    >>> model = FixedPrototypeClassifier(hidden=(16,), epochs=80).fit(X, y)
    >>> model.score(X, y) > 0.9, model.transform(X).shape
    (True, (90, 2))
    """

    _estimator_type = "classifier"

    classes_: npt.NDArray[Any]
    prototypes_: FloatArray
    network_: Network
    history_: History | None

    def __init__(
        self,
        *,
        prototypes: Any = "auto",
        dim: int | None = None,
        n_prototypes: int | None = None,
        max_cosine: float | None = None,
        hidden: Sequence[int] = (128,),
        trained: bool = False,
        scale: float = 1 / 0.07,
        smoothing: float = 0.1,
        epochs: float = 30,
        batch_size: int = 128,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-4,
        seed: int = 0,
    ) -> None:
        self.prototypes = prototypes
        self.dim = dim
        self.n_prototypes = n_prototypes
        self.max_cosine = max_cosine
        self.hidden = hidden
        self.trained = trained
        self.scale = scale
        self.smoothing = smoothing
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.seed = seed

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> FixedPrototypeClassifier:
        """Train the network on labelled vectors, forgetting what was trained before.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors.
        y : array-like of shape (n,)
            Classes, of any kind that can be sorted.

        Returns
        -------
        FixedPrototypeClassifier
            Self.

        Raises
        ------
        InputError
            Fewer than two classes, more classes than directions, NaN or infinity, settings out of range.
        DimensionError
            Unequal lengths.
        """
        rows, labels = as_vectors(X), np.asarray(y)
        if labels.shape != (len(rows),):
            raise DimensionError(message(f"y of shape {labels.shape} for {len(rows)} rows", "one each", "label them"))
        check_fraction(self.smoothing, name="smoothing")
        classes, numbers = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise InputError(message(f"{len(classes)} class in y", "two or more", "add items of another class"))
        table = self._table(len(classes))
        head = (TrainedPrototypeHead if self.trained else FixedPrototypeHead)(table, scale=self.scale)
        backbone = make_backbone(rows.shape[1], self.hidden, table.shape[1], seed=self.seed)
        self.history_ = train_prototypes(
            backbone,
            head,
            {"x": rows, "y": numbers.astype(np.int64)},
            name="prototypes",
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            seed=self.seed,
            smoothing=self.smoothing,
        )
        self.classes_, self.network_ = classes, served(backbone)
        learned = head.prototypes.detach().numpy()
        self.prototypes_ = (learned / norms(learned)[:, None]).astype(np.float32)
        return self

    def transform(self, X: npt.ArrayLike) -> FloatArray:
        """Return the features, for search among items of known and of new classes.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors.

        Returns
        -------
        ndarray of shape (n, dim), float32
            Rows of length 1.
        """
        check_is_fitted(self)
        return self.network_.transform(X)

    def predict_proba(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return class probabilities.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors.

        Returns
        -------
        ndarray of shape (n, K), float64
            Over ``classes_``; directions without a class take no part. Rows sum to 1.
        """
        logits = self.scale * (self.transform(X) @ self.prototypes_[: len(self.classes_)].T).astype(np.float64)
        out = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(out / out.sum(axis=1, keepdims=True))

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return the class whose direction is nearest.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors.

        Returns
        -------
        ndarray of shape (n,)
            Classes.
        """
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def score(self, X: npt.ArrayLike, y: npt.ArrayLike) -> float:
        """Return the share of items classified right.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors.
        y : array-like of shape (n,)
            Their classes.

        Returns
        -------
        float
            From 0 to 1.
        """
        return float((self.predict(X) == np.asarray(y)).mean())

    def save(self, folder: str | Path) -> None:
        """Write the trained classifier as safetensors and JSON.

        Parameters
        ----------
        folder : str or Path
            Created if missing.

        Raises
        ------
        InputError
            Classes that JSON cannot hold.
        """
        check_is_fitted(self)
        arrays: dict[str, npt.NDArray[Any]] = {"prototypes": self.prototypes_}
        config = {
            "layers": describe_layers(self.network_.layers, "network.", arrays),
            "classes": self.classes_.tolist(),
            "scale": self.scale,
        }
        write_artifact(folder, kind=_KIND, arrays=arrays, config=config)

    @classmethod
    def load(cls, folder: str | Path) -> FixedPrototypeClassifier:
        """Read what ``save`` wrote.

        Parameters
        ----------
        folder : str or Path
            The artefact.

        Returns
        -------
        FixedPrototypeClassifier
            Predicts as the saved one; its settings of training are the defaults.

        Raises
        ------
        NotFoundError
            None there.
        StoreCorruptedError
            Damaged files.
        """
        arrays, config = read_artifact(folder, kind=_KIND)
        out = cls(scale=config["scale"])
        out.prototypes_, out.classes_, out.history_ = arrays["prototypes"], np.asarray(config["classes"]), None
        out.network_ = Network(rebuild_layers(config["layers"], "network.", arrays))
        return out

    def _table(self, K: int) -> FloatArray:
        if isinstance(self.prototypes, str):
            n = K if self.n_prototypes is None else check_count(self.n_prototypes, name="n_prototypes", minimum=2)
            table = make_prototypes(self.prototypes, n, self.dim, self.max_cosine, seed=self.seed)
        else:
            table = as_vectors(self.prototypes, dim=self.dim, name="prototypes", nonzero=True)
        if len(table) < K:
            raise InputError(
                message(f"{K} classes for {len(table)} prototypes", "one each at least", "raise n_prototypes")
            )
        return table


def served(backbone: Any) -> Network:
    """Return a trained backbone as a network that NumPy computes, with features of length 1.

    Parameters
    ----------
    backbone : torch.nn.Module
        Of layers that ``export_network`` knows.

    Returns
    -------
    Network
        Checked against the module.
    """
    from orthant.transforms.layers import Layer

    return Network([*export_network(backbone).layers, Layer("normalize")])
