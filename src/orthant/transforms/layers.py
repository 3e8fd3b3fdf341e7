"""Layers of small trained networks as plain arrays, computed by NumPy in float32.

A layer is data: its kind, its arrays, its settings. ``Network`` puts layers in a row; ``orthant.learn.export`` makes
them of torch modules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, InputError, message
from orthant.types import FloatArray

__all__ = ["LAYER_KINDS", "Layer", "apply_layers", "input_width", "layers_width"]


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer of a network: what it computes, and with which arrays.

    Parameters
    ----------
    kind : str
        One of ``LAYER_KINDS``; see the notes.
    arrays : mapping of str to ndarray, float32
        Learned arrays by name, shapes as in the notes; stored as float32.
    settings : mapping of str to float or bool, optional
        Numbers that belong to the kind; left out, those of torch.
    inner : sequence of Layer, optional
        The layers that a ``"residual"`` goes around.

    Raises
    ------
    InputError
        An unknown kind, array or setting, or one that is missing.
    DimensionError
        Arrays whose shapes do not fit each other.

    Notes
    -----
    For a row x of d values:

    - ``linear``: ``W x + b``; ``weight`` (out, d), ``bias`` (out,) optional
    - ``embedding``: row i of ``weight`` (rows, d), the input being ids; the first layer only
    - ``relu``, ``silu``, ``tanh``, ``sigmoid``, ``gelu`` (``approximate``: the form with tanh), ``elu`` (``alpha``),
      ``leaky_relu`` (``slope``), ``prelu`` (``weight`` (1,) or (d,))
    - ``layer_norm``: ``(x - mean(x)) / sqrt(var(x) + epsilon) * weight + bias``; both (d,) and optional
    - ``batch_norm``: ``(x - mean) / sqrt(variance + epsilon) * weight + bias``, with the statistics of training
    - ``normalize``: ``x / max(|x|, epsilon)``
    - ``residual``: ``f(x) + x``, or ``f(x) + P x`` with ``projection`` P (out, d), f being the inner layers
    - ``flatten``: all axes but the first in one

    References
    ----------
    D. Hendrycks, K. Gimpel: Gaussian Error Linear Units, arXiv:1606.08415, section 2.
    J. L. Ba et al.: Layer Normalization, arXiv:1607.06450, section 3.
    S. Ioffe, C. Szegedy: Batch Normalization, arXiv:1502.03167, section 3.1.

    Examples
    --------
    >>> layer = Layer("linear", {"weight": np.array([[1.0, -1.0]])})
    >>> apply_layers([layer], np.array([[3.0, 1.0]], dtype=np.float32))
    array([[2.]], dtype=float32)
    """

    kind: str
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    settings: Mapping[str, float | bool] = field(default_factory=dict)
    inner: Sequence[Layer] = ()

    def __post_init__(self) -> None:
        known = _KINDS.get(self.kind)
        if known is None:
            raise InputError(
                message(f"a layer of kind {self.kind!r}", f"one of {', '.join(LAYER_KINDS)}", "check the spelling")
            )
        arrays = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in self.arrays.items()}
        missing = set(known.needs) - set(arrays)
        extra = (set(arrays) - {*known.needs, *known.may}) | (set(self.settings) - set(known.settings))
        if missing or extra or (self.inner and self.kind != "residual"):
            given = f"a {self.kind} layer with {sorted([*arrays, *self.settings])}" + (" and layers" * bool(self.inner))
            expected = f"arrays {list(known.needs)}, optionally {list(known.may)}, settings {list(known.settings)}"
            raise InputError(message(given, expected, "pass these and no others"))
        _check_shapes(self.kind, arrays)
        object.__setattr__(self, "arrays", arrays)
        object.__setattr__(self, "settings", {**known.settings, **self.settings})
        object.__setattr__(self, "inner", tuple(self.inner))


def _check_shapes(kind: str, arrays: Mapping[str, FloatArray]) -> None:
    for name, array in arrays.items():
        axes = 2 if name == "projection" or (name == "weight" and kind in ("linear", "embedding")) else 1
        if array.ndim != axes or 0 in array.shape:
            given = f"{name} of shape {array.shape} in a {kind} layer"
            raise DimensionError(message(given, f"{axes} axes with values", "pass the array as torch keeps it"))
    lengths = {name: len(array) for name, array in arrays.items() if kind != "embedding"}
    if len(set(lengths.values())) > 1:
        raise DimensionError(message(f"a {kind} layer of {lengths} values", "equal lengths", "check the arrays"))


def layers_width(layers: Sequence[Layer], incoming: int | None, *, at: str = "layer") -> int | None:
    """Return the width of what layers give, checking that each fits the one before it.

    Parameters
    ----------
    layers : sequence of Layer
        In the order of computing.
    incoming : int or None
        Width of the input; None where it is not known.
    at : str, default "layer"
        How a layer is called in an error; its position is added.

    Returns
    -------
    int or None
        Width of the output; None where nothing tells it.

    Raises
    ------
    DimensionError
        Two layers that do not fit; the text names the second.
    InputError
        An embedding or a flattening in a place where it cannot be.
    """
    width = incoming
    for position, layer in enumerate(layers):
        label = f"{at} {position} ({layer.kind})"
        if layer.kind == "embedding" and (position > 0 or at != "layer"):
            raise InputError(message(f"{label} behind other layers", "ids, which only enter", "put it first"))
        if layer.kind == "flatten":
            width = None
            continue
        wanted, leaving = _widths(layer)
        if width is not None and wanted is not None and wanted != width:
            given = f"{label} for rows of {wanted} values after rows of {width}"
            raise DimensionError(message(given, "layers that fit each other", "check their order"))
        width = width if wanted is None else wanted
        if layer.kind == "residual":
            inside = layers_width(layer.inner, width, at=f"{label}, inner layer")
            skip = leaving if "projection" in layer.arrays else width
            if None not in (inside, skip) and inside != skip:
                given = f"{label} of {inside} values around rows of {skip}"
                raise DimensionError(message(given, "the same width on both ways", "pass a projection"))
            leaving = inside if inside is not None else skip
        width = leaving if leaving is not None else width
    return width


def input_width(layers: Sequence[Layer]) -> int | None:
    """Return how many values a row must have; None where nothing tells it.

    Parameters
    ----------
    layers : sequence of Layer
        In the order of computing.

    Returns
    -------
    int or None
        Width that the first layer which knows one expects.
    """
    for layer in layers:
        if layer.kind in ("flatten", "embedding"):
            return None
        found = _widths(layer)[0]
        found = input_width(layer.inner) if found is None else found
        if found is not None:
            return found
    return None


def _widths(layer: Layer) -> tuple[int | None, int | None]:
    """Width that a layer expects and the one it gives, as far as its own arrays tell."""
    if layer.kind == "embedding":
        return None, layer.arrays["weight"].shape[1]
    matrix = layer.arrays.get("projection") if layer.kind == "residual" else layer.arrays.get("weight")
    if layer.kind in ("linear", "residual"):
        return (None, None) if matrix is None else (matrix.shape[1], matrix.shape[0])
    lengths = [len(array) for array in layer.arrays.values()]
    # One slope for all dimensions says nothing about their number.
    width = lengths[0] if lengths and not (layer.kind == "prelu" and lengths[0] == 1) else None
    return width, width


def apply_layers(layers: Sequence[Layer], X: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Compute layers one after the other on checked input.

    Parameters
    ----------
    layers : sequence of Layer
        In the order of computing.
    X : ndarray of shape (..., d), float32; or of ids, int64, for an embedding
        Rows.

    Returns
    -------
    ndarray of shape (..., out), float32
        The result; X itself where there is no layer.

    Notes
    -----
    Cost: one matrix product per linear layer, one pass over the rows per other layer.
    """
    for layer in layers:
        X = _KINDS[layer.kind].apply(layer, X)
    return X


def _linear(layer: Layer, x: FloatArray) -> FloatArray:
    out = np.matmul(x, layer.arrays["weight"].T)
    return out + layer.arrays["bias"] if "bias" in layer.arrays else out


def _embedding(layer: Layer, ids: npt.NDArray[Any]) -> FloatArray:
    return layer.arrays["weight"][ids]


def _gelu(layer: Layer, x: FloatArray) -> FloatArray:
    if layer.settings["approximate"]:
        inside = np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x * x * x)
        return np.float32(0.5) * x * (1 + np.tanh(inside))
    from scipy.special import erf

    return x * np.float32(0.5) * (1 + erf(x * np.float32(np.sqrt(0.5))))


def _sigmoid(layer: Layer, x: FloatArray) -> FloatArray:
    from scipy.special import expit

    return expit(x)


def _silu(layer: Layer, x: FloatArray) -> FloatArray:
    return x * _sigmoid(layer, x)


def _elu(layer: Layer, x: FloatArray) -> FloatArray:
    return np.where(x > 0, x, np.float32(layer.settings["alpha"]) * np.expm1(np.minimum(x, np.float32(0))))


def _leaky_relu(layer: Layer, x: FloatArray) -> FloatArray:
    return np.where(x >= 0, x, np.float32(layer.settings["slope"]) * x)


def _prelu(layer: Layer, x: FloatArray) -> FloatArray:
    return np.where(x >= 0, x, layer.arrays["weight"] * x)


def _scaled(layer: Layer, x: FloatArray) -> FloatArray:
    x = x * layer.arrays["weight"] if "weight" in layer.arrays else x
    return x + layer.arrays["bias"] if "bias" in layer.arrays else x


def _layer_norm(layer: Layer, x: FloatArray) -> FloatArray:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.mean(centred * centred, axis=-1, keepdims=True)
    return _scaled(layer, centred / np.sqrt(variance + np.float32(layer.settings["epsilon"])))


def _batch_norm(layer: Layer, x: FloatArray) -> FloatArray:
    variance = layer.arrays["variance"].astype(np.float64) + layer.settings["epsilon"]
    return _scaled(layer, (x - layer.arrays["mean"]) * (1 / np.sqrt(variance)).astype(np.float32))


def _normalize(layer: Layer, x: FloatArray) -> FloatArray:
    norms = np.sqrt(np.einsum("...i,...i->...", x, x))[..., None]
    return x / np.maximum(norms, np.float32(layer.settings["epsilon"]))


def _residual(layer: Layer, x: FloatArray) -> FloatArray:
    skip = np.matmul(x, layer.arrays["projection"].T) if "projection" in layer.arrays else x
    return apply_layers(layer.inner, x) + skip


@dataclass(frozen=True)
class _Kind:
    apply: Callable[[Layer, Any], Any]
    needs: Sequence[str] = ()
    may: Sequence[str] = ()
    settings: Mapping[str, float | bool] = field(default_factory=dict)


_KINDS = {
    "batch_norm": _Kind(_batch_norm, ("mean", "variance"), ("weight", "bias"), {"epsilon": 1e-5}),
    "elu": _Kind(_elu, settings={"alpha": 1.0}),
    "embedding": _Kind(_embedding, ("weight",)),
    "flatten": _Kind(lambda layer, x: x.reshape(len(x), -1)),
    "gelu": _Kind(_gelu, settings={"approximate": False}),
    "layer_norm": _Kind(_layer_norm, (), ("weight", "bias"), {"epsilon": 1e-5}),
    "leaky_relu": _Kind(_leaky_relu, settings={"slope": 0.01}),
    "linear": _Kind(_linear, ("weight",), ("bias",)),
    "normalize": _Kind(_normalize, settings={"epsilon": 1e-12}),
    "prelu": _Kind(_prelu, ("weight",)),
    "relu": _Kind(lambda layer, x: np.maximum(x, np.float32(0))),
    "residual": _Kind(_residual, (), ("projection",)),
    "sigmoid": _Kind(_sigmoid),
    "silu": _Kind(_silu),
    "tanh": _Kind(lambda layer, x: np.tanh(x)),
}

LAYER_KINDS: tuple[str, ...] = tuple(_KINDS)
"""What a layer may be."""
