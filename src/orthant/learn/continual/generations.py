"""What a task leaves: a model to encode with, the classes it knows, and what later models must do to meet it."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.artifact import read_artifact, write_artifact
from orthant.errors import DimensionError, EncoderMismatchError, InputError, message
from orthant.kernels.distances import norms
from orthant.transforms.network import Network, describe_layers, rebuild_layers
from orthant.types import FloatArray

__all__ = ["CompatibilityReport", "Generation", "network_fingerprint", "template_accuracy"]

_KIND = "learn.generation"


@dataclass(frozen=True)
class CompatibilityReport:
    """How well queries of every model search the galleries of it and of all before it.

    Attributes
    ----------
    matrix : ndarray of shape (T, T), float64
        Row: model of the queries; column: of the gallery; NaN above the diagonal.
    average_compatibility : float
        Share of pairs in which a newer model searches an older gallery better than that gallery's own model, 0 to 1.
    average_accuracy : float
        Mean of all figures on and below the diagonal.
    newest_alone : float
        The newest model on its own gallery: what compatibility was paid for with.
    """

    matrix: npt.NDArray[np.float64]
    average_compatibility: float
    average_accuracy: float
    newest_alone: float


@dataclass(frozen=True)
class Generation:
    """A model as it was after one task.

    Attributes
    ----------
    number : int
        Of the task, from 0.
    network : Network
        Rows to features of length 1, by NumPy.
    fingerprint : str
        Of its weights; keep it with every gallery that the network encoded.
    classes : tuple
        Classes known by then; class i has vertex ``first_vertex`` + i.
    first_vertex : int
        Vertices before it are not used.
    prototypes : ndarray of shape (n, dim), float32
        All directions as they were then.
    drift : ndarray of shape (dim,), float32, or None
        Mean movement of this task's items since the generation before; None for the first.
    """

    number: int
    network: Network
    fingerprint: str
    classes: tuple[Hashable, ...]
    first_vertex: int
    prototypes: FloatArray
    drift: FloatArray | None

    def encode(self, X: npt.ArrayLike) -> FloatArray:
        """Return the features of items.

        Parameters
        ----------
        X : array-like of shape (n, d)
            What the network takes.

        Returns
        -------
        ndarray of shape (n, dim), float32
            Rows of length 1.
        """
        return self.network.transform(X)

    def predict(self, X: npt.ArrayLike) -> list[Any]:
        """Return the known class whose direction is nearest to each item.

        Parameters
        ----------
        X : array-like of shape (n, d)
            What the network takes.

        Returns
        -------
        list
            Classes.
        """
        own = self.prototypes[self.first_vertex : self.first_vertex + len(self.classes)]
        return [self.classes[i] for i in (self.encode(X) @ own.T).argmax(axis=1)]

    def check_follows(self, older: Generation) -> None:
        """Raise unless features of this generation may be compared with those of an older one.

        Parameters
        ----------
        older : Generation
            What encoded a gallery.

        Raises
        ------
        EncoderMismatchError
            Another width, or a class that was given another direction since.
        """
        if self.prototypes.shape[1] != older.prototypes.shape[1]:
            raise EncoderMismatchError(
                message(
                    f"features of {self.prototypes.shape[1]} dimensions over {older.prototypes.shape[1]}",
                    "one table of directions",
                    "train every model with the same prototypes",
                )
            )
        moved = self.classes[: len(older.classes)] != older.classes or self.first_vertex != older.first_vertex
        if moved:
            raise EncoderMismatchError(
                message(
                    "classes that have other directions than in the older generation",
                    "old classes in their old places, new ones behind them",
                    "keep one map of classes for all tasks",
                )
            )

    def save(self, folder: str | Path) -> None:
        """Write the generation as safetensors and JSON.

        Parameters
        ----------
        folder : str or Path
            Created if missing.

        Raises
        ------
        InputError
            Classes that JSON cannot hold.
        """
        arrays: dict[str, npt.NDArray[Any]] = {"prototypes": self.prototypes}
        if self.drift is not None:
            arrays["drift"] = self.drift
        config = {
            "layers": describe_layers(self.network.layers, "network.", arrays),
            "number": self.number,
            "fingerprint": self.fingerprint,
            "classes": list(self.classes),
            "first_vertex": self.first_vertex,
        }
        write_artifact(folder, kind=_KIND, arrays=arrays, config=config)

    @classmethod
    def load(cls, folder: str | Path) -> Generation:
        """Read what ``save`` wrote.

        Parameters
        ----------
        folder : str or Path
            The artefact.

        Returns
        -------
        Generation
            Equal to the saved one.

        Raises
        ------
        NotFoundError
            None there.
        StoreCorruptedError
            Damaged files.
        EncoderMismatchError
            Weights that are not those of the fingerprint.
        """
        arrays, config = read_artifact(folder, kind=_KIND)
        network = Network(rebuild_layers(config["layers"], "network.", arrays))
        if network_fingerprint(network) != config["fingerprint"]:
            raise EncoderMismatchError(
                message(f"weights in {folder} that do not fit their fingerprint", "those saved", "restore the folder")
            )
        return cls(
            config["number"],
            network,
            config["fingerprint"],
            tuple(config["classes"]),
            config["first_vertex"],
            arrays["prototypes"],
            arrays.get("drift"),
        )


def network_fingerprint(network: Network) -> str:
    """Return a name for the weights of a network: equal weights, equal name.

    Parameters
    ----------
    network : Network
        Of any layers.

    Returns
    -------
    str
        16 hexadecimal digits.

    Examples
    --------
    >>> network_fingerprint(Network([])) == network_fingerprint(Network([]))
    True
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    described = describe_layers(network.layers, "", arrays)
    state = hashlib.sha256(repr(described).encode())
    for name in sorted(arrays):
        state.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return state.hexdigest()[:16]


def template_accuracy(
    queries: FloatArray, labels: npt.ArrayLike, gallery: FloatArray, gallery_labels: npt.ArrayLike
) -> float:
    """Return how many queries are nearest to the mean of their own class in a gallery.

    Parameters
    ----------
    queries : ndarray of shape (n, d)
        Features of the queries.
    labels : array-like of shape (n,)
        Their classes.
    gallery : ndarray of shape (m, d)
        Features of the gallery, by whatever model encoded it.
    gallery_labels : array-like of shape (m,)
        Their classes.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    DimensionError
        Widths or lengths that do not fit.
    InputError
        No queries, or an empty gallery.

    Examples
    --------
    >>> template_accuracy(np.eye(2), [0, 1], np.array([[2.0, 0.1], [0.0, 1.0]]), [0, 1])
    1.0
    """
    truth, names = np.asarray(labels), np.asarray(gallery_labels)
    if len(truth) != len(queries) or len(names) != len(gallery) or queries.shape[1:] != gallery.shape[1:]:
        raise DimensionError(
            message(
                f"queries of shape {queries.shape} and a gallery of shape {gallery.shape} with {len(truth)} and "
                f"{len(names)} labels",
                "one width, and one label per row",
                "encode both with models of one table of directions",
            )
        )
    if not len(truth) or not len(names):
        raise InputError(message("no queries or no gallery", "some of each", "pass them"))
    known, place = np.unique(names, return_inverse=True)
    means = np.zeros((len(known), gallery.shape[1]))
    np.add.at(means, place, gallery / np.maximum(norms(gallery.astype(np.float32)), 1e-12)[:, None])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    return float((known[(queries @ means.T).argmax(axis=1)] == truth).mean())
