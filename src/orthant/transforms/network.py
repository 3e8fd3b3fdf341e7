"""Small trained networks - projections, adapters, encoders of tables - served by NumPy, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.artifact import read_artifact, write_artifact
from orthant.errors import DimensionError, DtypeError, InputError, StoreCorruptedError, message
from orthant.estimator import Estimator
from orthant.transforms.layers import Layer, apply_layers, input_width, layers_width
from orthant.types import FloatArray
from orthant.validate import as_vectors

__all__ = ["Network", "describe_layers", "rebuild_layers"]

_KIND = "transform.network"
_ROWS = 1 << 14


class Network(Estimator):
    """A feed-forward network of arrays: the way to use what torch trained where torch is not installed.

    Use it for projections, adapters, residual heads and lookup tables that a training made;
    ``orthant.learn.export_network`` turns a torch module into one and checks that both agree. Not for transformers:
    those are served as ONNX graphs.

    Parameters
    ----------
    layers : sequence of Layer
        In the order of computing; none at all is the identity. They must fit each other.

    Attributes
    ----------
    dim_in : int or None
        Values that a row must have; None for any number, and for ids.
    dim : int or None
        Values of a row of the result; None where it depends on the input.
    takes_ids : bool
        The first layer is an embedding, so ids enter instead of vectors.

    Raises
    ------
    DimensionError
        Layers that do not fit each other.
    InputError
        An embedding that is not the first layer.

    Notes
    -----
    The result is ``f_m(... f_2(f_1(x)))`` in float32, row by row; a row does not depend on its batch beyond rounding.

    Cost: the layers' multiplications; memory for the widest layer of 16,384 rows at a time.

    Examples
    --------
    >>> from orthant.transforms.layers import Layer
    >>> network = Network([Layer("linear", {"weight": np.eye(2) * 3, "bias": np.array([0.0, 1.0])}), Layer("relu")])
    >>> network.transform([[1.0, -2.0]])
    array([[3., 0.]], dtype=float32)
    >>> network
    Network(2 -> 2: linear, relu)
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = layers
        self.dim_in = input_width(layers)
        self.dim = layers_width(layers, self.dim_in)
        self.takes_ids = bool(layers) and layers[0].kind == "embedding"

    def fit(self, X: npt.ArrayLike, y: Any = None, *, queries: npt.ArrayLike | None = None) -> Network:
        """Check that vectors fit, and learn nothing: the layers are trained already.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors or ids.
        y : ignored
            Present for pipelines.
        queries : ignored
            Present for the protocol; of any shape.

        Returns
        -------
        Network
            Self.

        Raises
        ------
        DimensionError
            Another width than the first layer has.
        """
        self._checked(X)
        return self

    def transform(self, X: npt.ArrayLike) -> FloatArray:
        """Return what the network makes of each row.

        Parameters
        ----------
        X : array-like of shape (n, dim_in); or of ids, shape (n,) or (n, m), for a network that takes them
            Rows; ids are integers from 0 to the number of rows of the table.

        Returns
        -------
        ndarray of shape (n, dim), float32, C-contiguous
            The results; of shape (n, m, dim) for ids of two axes that nothing flattens.

        Raises
        ------
        DimensionError
            Another width.
        DtypeError
            Ids that are not integers.
        InputError
            An id that the table does not have.
        NonFiniteError
            NaN or infinity.
        """
        rows = self._checked(X)
        if len(rows) <= _ROWS:
            out = apply_layers(self.layers, rows)
        else:
            parts = (rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS))
            out = np.concatenate([apply_layers(self.layers, part) for part in parts])
        out = np.ascontiguousarray(out, dtype=np.float32)
        return out.copy() if np.may_share_memory(out, rows) else out

    def __sklearn_is_fitted__(self) -> bool:
        """Return True: the layers came trained."""
        return True

    def _checked(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        if not self.takes_ids:
            return as_vectors(X, dim=self.dim_in)
        ids, rows = np.asarray(X), len(self.layers[0].arrays["weight"])
        ids = ids.astype(np.int64) if ids.size == 0 else ids
        if ids.dtype.kind not in "iu":
            raise DtypeError(message(f"ids of dtype {ids.dtype}", "integers", "pass row numbers of the table"))
        if ids.ndim not in (1, 2):
            raise DimensionError(message(f"ids of shape {ids.shape}", "one or two axes", "reshape them"))
        if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < rows:
            given = f"ids from {ids.min()} to {ids.max()}"
            raise InputError(message(given, f"ids from 0 to {rows - 1}", "map unknown values to a row of their own"))
        return ids

    def save(self, path: str | Path) -> None:
        """Write the network to a folder: safetensors and JSON.

        Parameters
        ----------
        path : str or Path
            Created if missing.
        """
        arrays: dict[str, npt.NDArray[Any]] = {}
        write_artifact(path, kind=_KIND, config={"layers": describe_layers(self.layers, "", arrays)}, arrays=arrays)

    @classmethod
    def load(cls, path: str | Path) -> Network:
        """Read a network from a folder.

        Parameters
        ----------
        path : str or Path
            What ``save`` wrote.

        Returns
        -------
        Network
            Ready to use.

        Raises
        ------
        NotFoundError
            There is none.
        StoreCorruptedError
            A damaged one.
        """
        arrays, config = read_artifact(path, kind=_KIND)
        try:
            return cls(rebuild_layers(config["layers"], "", arrays))
        except (KeyError, TypeError, AttributeError, InputError) as error:
            given = f"a network at {path} whose layers and arrays do not belong together ({error})"
            raise StoreCorruptedError(message(given, "what save wrote", "restore the folder")) from error

    def __repr__(self) -> str:
        """Return the widths and the kinds of the layers."""
        first = f"{len(self.layers[0].arrays['weight'])} ids" if self.takes_ids else self.dim_in or "any"
        kinds = ", ".join(layer.kind for layer in self.layers) or "identity"
        return f"{type(self).__name__}({first} -> {self.dim or 'any'}: {kinds})"


def describe_layers(layers: Sequence[Layer], prefix: str, arrays: dict[str, npt.NDArray[Any]]) -> list[dict[str, Any]]:
    """Return layers as JSON values, and put their arrays into a mapping.

    Parameters
    ----------
    layers : sequence of Layer
        In the order of computing.
    prefix : str
        What the names of the arrays begin with.
    arrays : dict of str to ndarray
        Arrays of any shape are added to it.

    Returns
    -------
    list of dict
        What ``rebuild_layers`` takes.
    """
    out = []
    for position, layer in enumerate(layers):
        place = f"{prefix}{position}."
        arrays.update({place + name: array for name, array in layer.arrays.items()})
        inner = describe_layers(layer.inner, f"{place}inner.", arrays)
        out.append({"kind": layer.kind, "settings": dict(layer.settings), "arrays": list(layer.arrays), "inner": inner})
    return out


def rebuild_layers(described: Sequence[Any], prefix: str, arrays: Mapping[str, npt.NDArray[Any]]) -> list[Layer]:
    """Return the layers that ``describe_layers`` described.

    Parameters
    ----------
    described : sequence of dict
        What it returned.
    prefix : str
        What the names of the arrays begin with.
    arrays : mapping of str to ndarray
        Arrays of any shape, by name.

    Returns
    -------
    list of Layer
        In the order of computing.
    """
    out = []
    for position, one in enumerate(described):
        place = f"{prefix}{position}."
        own = {name: arrays[place + name] for name in one["arrays"]}
        out.append(Layer(one["kind"], own, one["settings"], rebuild_layers(one["inner"], f"{place}inner.", arrays)))
    return out
