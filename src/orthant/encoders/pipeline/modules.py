"""The modules that sentence-transformers saves behind a transformer, read as layers of a network.

Understood are Dense, LayerNorm, Normalize and Dropout, on pooled vectors or on token states.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, InputError, NotFoundError, StoreCorruptedError, message
from orthant.transforms.layers import Layer

__all__ = [
    "HEAD_KINDS",
    "HeadModule",
    "class_name",
    "head_label",
    "head_layers",
    "head_tensors",
    "head_width",
    "read_head",
    "read_json",
    "read_module_list",
]

HEAD_KINDS = ("Dense", "LayerNorm", "Normalize", "Dropout")
"""Modules that change one vector at a time."""

# Kind of layer and settings by the class that a saved Dense names; it is made without arguments there.
_ACTIVATIONS: dict[str, str | None] = {
    "Identity": None,
    "Tanh": "tanh",
    "ReLU": "relu",
    "GELU": "gelu",
    "SiLU": "silu",
    "Sigmoid": "sigmoid",
    "ELU": "elu",
    "LeakyReLU": "leaky_relu",
    "PReLU": "prelu",
}
_LAYER_NORM_EPSILON = 1e-5


@dataclass(frozen=True)
class HeadModule:
    """A module behind the pooling, or one on token states.

    Attributes
    ----------
    name : str
        Its name in the pipeline, such as ``"2"``.
    kind : str
        One of ``HEAD_KINDS``.
    path : Path
        Folder of its files.
    config : dict
        Its ``config.json``.
    tensors : tuple of str
        Names of its arrays in a file that it shares with others; empty where the file is its own.
    """

    name: str
    kind: str
    path: Path
    config: dict[str, Any]
    tensors: tuple[str, ...] = ()

    @property
    def activation(self) -> str:
        """Return the class name of a Dense module's activation."""
        return str(self.config.get("activation_function", "torch.nn.modules.activation.Tanh")).rpartition(".")[2]


def read_json(path: Path) -> Any:
    """Read a JSON file; None when there is none.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    any
        Its content.

    Raises
    ------
    StoreCorruptedError
        Not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StoreCorruptedError(message(f"{path} that is not JSON", "JSON", "restore the file")) from error


def class_name(entry: Mapping[str, Any]) -> str:
    """Return the class of an entry of ``modules.json`` without its package.

    Parameters
    ----------
    entry : mapping
        The entry.

    Returns
    -------
    str
        Such as ``"Dense"``; with its package where that is neither sentence-transformers nor Orthant.
    """
    full = str(entry.get("type", ""))
    return full.rpartition(".")[2] if full.partition(".")[0] in ("sentence_transformers", "orthant") else full


def read_module_list(root: Path) -> list[dict[str, Any]]:
    """Read ``modules.json``; empty for a folder without one.

    Parameters
    ----------
    root : Path
        The model's folder.

    Returns
    -------
    list of dict
        Entries with ``name``, ``path`` and ``type``.

    Raises
    ------
    StoreCorruptedError
        Not a list of such entries.
    """
    found = read_json(root / "modules.json") or []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        path = root / "modules.json"
        raise StoreCorruptedError(message(f"{path} without a list of modules", "one entry per module", "restore it"))
    return found


def read_head(root: Path, entries: Sequence[Mapping[str, Any]], *, level: str, width: int) -> tuple[HeadModule, ...]:
    """Read the settings of modules that change one vector at a time; no weights are read.

    Parameters
    ----------
    root : Path
        The model's folder.
    entries : sequence of mapping
        Their entries in ``modules.json``.
    level : {"sentence_embedding", "token_embeddings"}
        What they must work on.
    width : int
        Values of a vector that enters.

    Returns
    -------
    tuple of HeadModule
        In order; Dropout is left out.

    Raises
    ------
    InputError
        A module or a setting that is not computed here; the text names it.
    DimensionError
        A module for vectors of another width.
    NotFoundError
        Weights that are not there as safetensors.
    """
    out = []
    for entry in entries:
        module = HeadModule(
            name=str(entry.get("name", entry.get("idx", ""))),
            kind=class_name(entry),
            path=root / str(entry.get("path", "")),
            config=read_json(root / str(entry.get("path", "")) / "config.json") or {},
        )
        if module.kind != "Dropout":
            _check_module(module, level, width)
            out.append(module)
            width = head_width(out[-1:], width)
    return tuple(out)


def _check_module(module: HeadModule, level: str, width: int) -> None:
    config, where = module.config, f"module {module.name!r} ({module.kind})"
    if module.kind not in HEAD_KINDS:
        expected = f"{', '.join(HEAD_KINDS)} behind the pooling"
        raise InputError(message(where, expected, "export the model with orthant.learn.export_encoder"))
    default = "token_embeddings" if level == "token_embeddings" and module.kind == "Dense" else "sentence_embedding"
    source = config.get("module_input_name") or default
    if {source, config.get("module_output_name") or source} != {level}:
        raise InputError(message(f"{where} on {source!r}", f"a module on {level!r}", "check the order of modules"))
    if module.kind == "Dense":
        full = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
        if not full.startswith("torch.nn.") or module.activation not in _ACTIVATIONS:
            raise InputError(message(f"{where} with activation {full}", f"one of {', '.join(_ACTIVATIONS)}", "use one"))
    expected_width = config.get("in_features") if module.kind == "Dense" else config.get("dimension", width)
    if expected_width != width:
        given = f"{where} for vectors of {expected_width} values after vectors of {width}"
        raise DimensionError(message(given, f"{width}", "check the order of modules"))
    if module.kind != "Normalize" and not (module.path / "model.safetensors").is_file():
        given = f"no model.safetensors in {module.path}"
        raise NotFoundError(message(given, f"the weights of {where}", "save the model with safe_serialization=True"))


def head_width(head: Sequence[HeadModule], width: int) -> int:
    """Return how many values the vectors have behind modules.

    Parameters
    ----------
    head : sequence of HeadModule
        The modules.
    width : int
        Values of a vector that enters.

    Returns
    -------
    int
        Values of a vector that leaves.
    """
    for module in head:
        width = int(module.config.get("out_features") or width) if module.kind == "Dense" else width
    return width


def head_label(parts: Sequence[tuple[str, str, bool]]) -> str:
    """Write modules as a part of an encoder's name, with what their weights do not tell.

    Parameters
    ----------
    parts : sequence of (str, str, bool)
        Class, class of the activation, and whether the input is added to the output.

    Returns
    -------
    str
        Such as ``"+dense-tanh+layernorm"``; empty for none.
    """
    words = []
    for kind, activation, residual in parts:
        ending = f"-{activation.lower()}" + "-residual" * residual if kind == "Dense" else ""
        words += [f"+{kind.lower()}{ending}"] if kind != "Dropout" else []
    return "".join(words)


def head_tensors(head: Sequence[HeadModule]) -> dict[str, npt.NDArray[Any]]:
    """Read the weights of modules, named as in the ``state_dict`` of the whole model.

    Parameters
    ----------
    head : sequence of HeadModule
        The modules.

    Returns
    -------
    dict of str to ndarray
        Arrays in the dtype of the file.

    Raises
    ------
    StoreCorruptedError
        A damaged file.
    """
    from safetensors import SafetensorError, safe_open

    out: dict[str, npt.NDArray[Any]] = {}
    for module in head:
        if module.kind == "Normalize":
            continue
        path = module.path / "model.safetensors"
        try:
            with safe_open(path, framework="numpy") as handle:
                found = {name: handle.get_tensor(name) for name in module.tensors or handle.keys()}
        except (SafetensorError, TypeError) as error:
            given = f"{path}, which is damaged or in a format NumPy cannot read ({error})"
            raise StoreCorruptedError(message(given, "safetensors in float32 or float16", "save it again")) from error
        out.update({f"{module.name}.{name}": array for name, array in found.items()})
    return out


def head_layers(head: Sequence[HeadModule]) -> list[Layer]:
    """Read modules with their weights as layers of a network.

    Parameters
    ----------
    head : sequence of HeadModule
        The modules.

    Returns
    -------
    list of Layer
        To be computed one after the other.

    Raises
    ------
    StoreCorruptedError
        Weights that are damaged or do not fit the settings.
    """
    tensors = head_tensors(head)
    layers: list[Layer] = []
    for module in head:
        own = {name.partition(".")[2]: a for name, a in tensors.items() if name.partition(".")[0] == module.name}
        try:
            layers += _LAYERS[module.kind](module, own)
        except (KeyError, InputError) as error:
            given = f"weights of module {module.name!r} ({module.kind}) that do not fit its settings ({error})"
            raise StoreCorruptedError(message(given, "those saved with it", "save the model again")) from error
    return layers


def _dense(module: HeadModule, own: Mapping[str, npt.NDArray[Any]]) -> list[Layer]:
    config = module.config
    shape = (int(config["out_features"]), int(config["in_features"]))
    if own["linear.weight"].shape != shape:
        raise DimensionError(message(f"weights of shape {own['linear.weight'].shape}", f"{shape}", "save it again"))
    arrays = {"weight": own["linear.weight"]}
    if config.get("bias", True):
        arrays["bias"] = own["linear.bias"]
    layers = [Layer("linear", arrays)]
    kind = _ACTIVATIONS[module.activation]
    if kind is not None:
        layers.append(Layer(kind, {"weight": own["activation_function.weight"]} if kind == "prelu" else {}))
    if not config.get("use_residual", False):
        return layers
    skip = {} if shape[0] == shape[1] else {"projection": own["residual.weight"]}
    return [Layer("residual", skip, inner=layers)]


def _layer_norm(module: HeadModule, own: Mapping[str, npt.NDArray[Any]]) -> list[Layer]:
    arrays = {"weight": np.asarray(own["norm.weight"]), "bias": np.asarray(own["norm.bias"])}
    return [Layer("layer_norm", arrays, {"epsilon": _LAYER_NORM_EPSILON})]


_LAYERS = {"Dense": _dense, "LayerNorm": _layer_norm, "Normalize": lambda module, own: [Layer("normalize")]}
