"""Small torch modules as NumPy networks, layer by layer, with a check that both compute the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from orthant.errors import InputError, message
from orthant.nn.residual import Residual
from orthant.transforms.layers import Layer
from orthant.transforms.network import Network
from orthant.types import FloatArray

__all__ = ["export_network", "module_layers"]

_TOLERANCE = 1e-5
_ROWS = 16
_WIDTH = 8


def export_network(module: nn.Module, *, seed: int = 0) -> Network:
    """Turn a trained torch module into a network that needs NumPy only, and check that both agree.

    Use it for projections, adapters, heads, small multi-layer networks and lookup tables. Transformers are exported by
    ``export_encoder``.

    Parameters
    ----------
    module : torch.nn.Module
        ``Sequential``, nested at will, of the layers below; it is not changed. A module of your own takes part when it
        has a method ``network_layers()`` that returns a list of ``orthant.transforms.layers.Layer``.
    seed : int, default 0
        Of the random rows on which both are compared.

    Returns
    -------
    Network
        With ``transform``, ``save`` and ``load``. Dropout is left out and batch normalisation uses the statistics of
        training, as in torch's evaluation mode.

    Raises
    ------
    InputError
        A layer that is not known here, or one with a setting that is not computed; the text names it and its place.
        Also when the results differ.

    Notes
    -----
    Known: Linear, Embedding, ReLU, GELU (both forms), SiLU, Tanh, Sigmoid, PReLU, LeakyReLU, ELU, LayerNorm,
    BatchNorm1d, Dropout, Identity, Flatten, ``orthant.nn.residual.Residual``, and the modules Dense, LayerNorm and
    Normalize of sentence-transformers. The difference on 16 random rows must stay below 1e-5 of the largest value.

    Examples
    --------
    >>> module = nn.Sequential(nn.Linear(4, 3), nn.Tanh())
    >>> network = export_network(module)
    >>> X = np.ones((2, 4), dtype=np.float32)
    >>> bool(np.allclose(network.transform(X), module(torch.from_numpy(X)).detach().numpy(), atol=1e-6))
    True
    """
    if not isinstance(module, nn.Module):
        raise InputError(message(f"a {type(module).__name__}", "a torch module", "pass the trained module"))
    network = Network(module_layers(module))
    _verify(module, network, seed)
    return network


def module_layers(module: nn.Module, *, place: str = "") -> list[Layer]:
    """Return the layers of a module in the order of computing, without checking them against it.

    Parameters
    ----------
    module : torch.nn.Module
        As for ``export_network``.
    place : str, default ""
        Where it stands in an enclosing module, for an error.

    Returns
    -------
    list of Layer
        Empty for what does nothing at serving, such as dropout.

    Raises
    ------
    InputError
        A layer that is not known here.
    """
    own = getattr(module, "network_layers", None)
    if callable(own):
        return list(own())
    if type(module).forward is nn.Sequential.forward:
        children = module.named_children()
        return [layer for name, one in children for layer in module_layers(one, place=f"{place}.{name}".lstrip("."))]
    if type(module).forward is Residual.forward:
        inner: Any = module.inner
        return [Layer("residual", inner=module_layers(inner, place=f"{place}.inner".lstrip(".")))]
    if type(module).__module__.startswith("sentence_transformers."):
        found = _sentence_transformers_layers(module, place)
        if found is not None:
            return found
    for known, convert in _CONVERTERS.items():
        # A subclass with a forward of its own computes something else.
        if isinstance(module, known) and type(module).forward is known.forward:
            return convert(module, place)
    given = f"a {type(module).__name__}" + (f" at {place!r}" if place else "")
    names = sorted({known.__name__ for known in _CONVERTERS} | {"Sequential", "Residual"})
    raise InputError(message(given, f"layers of {', '.join(names)}", "give it a method network_layers()"))


def _array(tensor: torch.Tensor) -> FloatArray:
    return tensor.detach().to("cpu", torch.float32).numpy().copy()


def _affine(module: Any) -> dict[str, FloatArray]:
    found = {name: getattr(module, name, None) for name in ("weight", "bias")}
    return {name: _array(tensor) for name, tensor in found.items() if tensor is not None}


def _refuse(module: nn.Module, place: str, why: str, expected: str) -> InputError:
    where = f" at {place!r}" if place else ""
    return InputError(message(f"{type(module).__name__}{where} with {why}", expected, "change the module"))


def _nothing(module: Any, place: str) -> list[Layer]:
    return []


def _plain(kind: str, **settings: str) -> Callable[[Any, str], list[Layer]]:
    """Return a converter for a layer without arrays, whose settings are attributes of the module."""
    return lambda module, place: [Layer(kind, settings={key: getattr(module, own) for key, own in settings.items()})]


def _gelu(module: Any, place: str) -> list[Layer]:
    return [Layer("gelu", settings={"approximate": module.approximate == "tanh"})]


def _layer_norm(module: Any, place: str) -> list[Layer]:
    if len(module.normalized_shape) != 1:
        raise _refuse(module, place, f"normalized_shape={tuple(module.normalized_shape)}", "the last axis only")
    # Without learned arrays nothing else would tell how many values a row has.
    arrays = _affine(module) or {"weight": np.ones(module.normalized_shape, dtype=np.float32)}
    return [Layer("layer_norm", arrays, {"epsilon": module.eps})]


def _batch_norm(module: Any, place: str) -> list[Layer]:
    if module.running_mean is None:
        raise _refuse(module, place, "track_running_stats=False", "the statistics of training")
    moments = {"mean": _array(module.running_mean), "variance": _array(module.running_var)}
    return [Layer("batch_norm", {**moments, **_affine(module)}, {"epsilon": module.eps})]


def _embedding(module: Any, place: str) -> list[Layer]:
    if module.max_norm is not None:
        raise _refuse(module, place, f"max_norm={module.max_norm}", "rows that are used as they are")
    return [Layer("embedding", {"weight": _array(module.weight)})]


def _flatten(module: Any, place: str) -> list[Layer]:
    if (module.start_dim, module.end_dim) != (1, -1):
        raise _refuse(module, place, f"start_dim={module.start_dim}, end_dim={module.end_dim}", "1 and -1")
    return [Layer("flatten")]


_CONVERTERS: dict[type[nn.Module], Callable[[Any, str], list[Layer]]] = {
    nn.BatchNorm1d: _batch_norm,
    nn.Dropout: _nothing,
    nn.ELU: _plain("elu", alpha="alpha"),
    nn.Embedding: _embedding,
    nn.Flatten: _flatten,
    nn.GELU: _gelu,
    nn.Identity: _nothing,
    nn.LayerNorm: _layer_norm,
    nn.LeakyReLU: _plain("leaky_relu", slope="negative_slope"),
    nn.Linear: lambda module, place: [Layer("linear", _affine(module))],
    nn.PReLU: lambda module, place: [Layer("prelu", {"weight": _array(module.weight)})],
    nn.ReLU: _plain("relu"),
    nn.SiLU: _plain("silu"),
    nn.Sigmoid: _plain("sigmoid"),
    nn.Tanh: _plain("tanh"),
}


def _sentence_transformers_layers(module: Any, place: str) -> list[Layer] | None:
    """Layers of the modules that change one vector at a time; recognised by name, since importing them is slow."""
    name = type(module).__name__
    if name == "Normalize":
        return [Layer("normalize")]
    if name == "LayerNorm":
        return module_layers(module.norm, place=place)
    if name != "Dense":
        return None
    inner = [
        *module_layers(module.linear, place=f"{place}.linear".lstrip(".")),
        *module_layers(module.activation_function, place=f"{place}.activation_function".lstrip(".")),
    ]
    if not getattr(module, "use_residual", False):
        return inner
    own = {"projection": _array(module.residual.weight)} if hasattr(module, "residual") else {}
    return [Layer("residual", own, inner=inner)]


def _verify(module: nn.Module, network: Network, seed: int) -> None:
    rng = np.random.default_rng(seed)
    if network.takes_ids:
        # A table alone takes ids of any number of axes; what flattens or projects them takes what it was trained on.
        shape = (_ROWS, 1) if any(layer.kind == "flatten" for layer in network.layers) else (_ROWS,)
        rows = rng.integers(0, len(network.layers[0].arrays["weight"]), shape)
    else:
        rows = rng.standard_normal((_ROWS, network.dim_in or _WIDTH)).astype(np.float32)
    first = next(iter(module.parameters()), None)
    training = {one: one.training for one in module.modules()}
    module.eval()
    try:
        given = torch.from_numpy(rows) if first is None else torch.from_numpy(rows).to(first.device)
        if first is not None and not network.takes_ids:
            given = given.to(first.dtype)
        with torch.inference_mode():
            wanted = _array(_run(module, given))
    finally:
        for one, was in training.items():
            one.training = was
    found = network.transform(rows)
    scale = max(1.0, float(np.abs(wanted).max(initial=0.0)))
    if found.shape != wanted.shape or not np.abs(found - wanted).max(initial=0.0) <= _TOLERANCE * scale:
        worst = np.abs(found - wanted).max() if found.shape == wanted.shape else f"{found.shape} for {wanted.shape}"
        given_text = f"a {type(module).__name__} whose network differs from it ({worst})"
        raise InputError(message(given_text, f"a difference below {_TOLERANCE:g}", "train and export it in float32"))


def _run(module: nn.Module, rows: torch.Tensor) -> torch.Tensor:
    if not type(module).__module__.startswith("sentence_transformers."):
        return module(rows)
    key = getattr(module, "module_input_name", "sentence_embedding")
    return module({key: rows})[getattr(module, "module_output_name", key)]
