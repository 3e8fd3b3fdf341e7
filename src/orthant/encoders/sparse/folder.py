"""What the folder of a sparse model says: per role a masked language model with its pooling, or a table of weights.

Understood are folders of sentence-transformers' ``SparseEncoder``: a masked language model and SpladePooling, a
SparseStaticEmbedding, or a Router with one of them per role.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orthant.encoders.pipeline.modules import class_name, read_json, read_module_list
from orthant.encoders.transformer_folder import TransformerFolder, read_backbone
from orthant.errors import InputError, NotFoundError, StoreCorruptedError, message
from orthant.transforms.layers import Layer
from orthant.types import FloatArray

__all__ = ["MaskedModel", "SparseFolder", "WeightTable", "is_sparse_folder", "read_sparse_folder"]

ROLES = ("query", "document")
_KINDS = ("SpladePooling", "SparseStaticEmbedding")
_TRANSFORMERS = ("MLMTransformer", "Transformer")
_USE_OBJECT = "load it with sentence_transformers.SparseEncoder and pass the object"

# Names of the head by the type of the model: dense, norm, decoder, bias of the decoder, table of words.
_HEADS: dict[str, tuple[str, str, str, str, str]] = {
    "bert": (
        "cls.predictions.transform.dense",
        "cls.predictions.transform.LayerNorm",
        "cls.predictions.decoder.weight",
        "cls.predictions.bias",
        "bert.embeddings.word_embeddings.weight",
    ),
    "distilbert": (
        "vocab_transform",
        "vocab_layer_norm",
        "vocab_projector.weight",
        "vocab_projector.bias",
        "distilbert.embeddings.word_embeddings.weight",
    ),
}


@dataclass(frozen=True)
class MaskedModel:
    """A masked language model whose logits are pooled over the tokens.

    Attributes
    ----------
    backbone : TransformerFolder
        The transformer, its tokenizer and its window.
    pooling : {"max", "sum"}
        Over the tokens of a text.
    twice : bool
        The logarithm is applied twice.
    """

    backbone: TransformerFolder
    pooling: str
    twice: bool

    @property
    def label(self) -> str:
        """Return the pooling as it stands in a fingerprint."""
        return f"splade-{self.pooling}{'-twice' * self.twice}"

    def head(self) -> tuple[list[Layer], FloatArray, FloatArray]:
        """Read the head that maps token states to logits.

        Returns
        -------
        layers : list of Layer
            Up to the decoder.
        decoder : ndarray of shape (dim, width), float32
            One row per term.
        bias : ndarray of shape (dim,), float32
            Added to the logits.

        Raises
        ------
        InputError
            A model whose head is not computed here.
        StoreCorruptedError
            A head without its arrays.
        """
        kind = str(self.backbone.config.get("model_type"))
        activation = self.backbone.config.get("hidden_act" if kind == "bert" else "activation")
        if kind not in _HEADS or activation != "gelu" or self.backbone.weights is None:
            given = f"the head of a {kind} with {activation}"
            raise InputError(message(given, f"{' or '.join(_HEADS)} with gelu, in safetensors", _USE_OBJECT))
        dense, norm, decoder, bias, words = _HEADS[kind]
        arrays = _read_arrays(self.backbone.weights)
        try:
            # The first BERT called scale and shift gamma and beta.
            scale = arrays.get(f"{norm}.weight", arrays.get(f"{norm}.gamma"))
            shift = arrays.get(f"{norm}.bias", arrays.get(f"{norm}.beta"))
            layers = [
                Layer("linear", {"weight": arrays[f"{dense}.weight"], "bias": arrays[f"{dense}.bias"]}),
                Layer("gelu"),
                Layer("layer_norm", {"weight": scale, "bias": shift}, {"epsilon": self._epsilon(kind)}),  # type: ignore[dict-item]
            ]
            # A tied decoder is not stored a second time.
            return layers, arrays[decoder] if decoder in arrays else arrays[words], arrays[bias]
        except (KeyError, TypeError, ValueError) as error:
            given = f"{self.backbone.weights} without the head of a masked language model"
            raise StoreCorruptedError(message(given, f"{dense} and {bias}", "save the model again")) from error

    def _epsilon(self, kind: str) -> float:
        return float(self.backbone.config.get("layer_norm_eps", 1e-12)) if kind == "bert" else 1e-12


@dataclass(frozen=True)
class WeightTable:
    """One weight per term, given to the terms that a text has: no model runs.

    Attributes
    ----------
    tokenizer : Path
        The ``tokenizer.json``.
    weights : ndarray of shape (dim,), float32
        Negative ones count as 0.
    max_tokens : int or None
        Tokens beyond it are cut.
    """

    tokenizer: Path
    weights: FloatArray
    max_tokens: int | None


@dataclass(frozen=True)
class SparseFolder:
    """A sparse model.

    Attributes
    ----------
    path : Path
        Its folder.
    parts : dict of str to (MaskedModel or WeightTable)
        By role; one object for both where the model does not tell them apart.
    prompts : dict of str to str
        By role.
    """

    path: Path
    parts: Mapping[str, MaskedModel | WeightTable]
    prompts: Mapping[str, str]


def is_sparse_folder(path: Path) -> bool:
    """Return whether a folder holds a sparse model.

    Parameters
    ----------
    path : Path
        The folder.

    Returns
    -------
    bool
        By its list of modules, or that of its router.
    """
    names = {class_name(entry) for entry in read_module_list(path)}
    router = read_json(path / "router_config.json") if "Router" in names else None
    if isinstance(router, dict):
        names |= {class_name({"type": kind}) for kind in (router.get("types") or {}).values()}
    return bool(names & set(_KINDS))


def read_sparse_folder(path: str | Path) -> SparseFolder:
    """Read the settings of a saved sparse model.

    Parameters
    ----------
    path : str or Path
        Folder that ``SparseEncoder.save_pretrained`` wrote.

    Returns
    -------
    SparseFolder
        Its parts by role.

    Raises
    ------
    NotFoundError
        The folder or a needed file is missing.
    InputError
        A module that is not computed here.
    StoreCorruptedError
        A settings file that is not JSON.
    """
    root = Path(path)
    if not root.is_dir():
        raise NotFoundError(message(f"no folder {root}", "a saved sparse model", "check the path"))
    entries = read_module_list(root)
    names = [class_name(entry) for entry in entries]
    if names == ["Router"]:
        parts = _routed(root / str(entries[0].get("path", "")))
    else:
        part = _part(root, entries)
        parts = dict.fromkeys(ROLES, part)
    prompts = (read_json(root / "config_sentence_transformers.json") or {}).get("prompts") or {}
    document = next((prompts[name] for name in ("document", "passage", "corpus") if prompts.get(name)), "")
    return SparseFolder(root, parts, {"query": prompts.get("query") or "", "document": document})


def _routed(root: Path) -> dict[str, MaskedModel | WeightTable]:
    config = read_json(root / "router_config.json")
    structure = config.get("structure") if isinstance(config, dict) else None
    types = config.get("types") if isinstance(config, dict) else None
    if not isinstance(structure, dict) or not isinstance(types, dict) or set(structure) != set(ROLES):
        given = f"a router of the routes {sorted(structure) if isinstance(structure, dict) else structure}"
        raise InputError(message(given, "one for 'query' and one for 'document'", _USE_OBJECT))
    return {
        role: _part(root, [{"path": name, "type": types.get(name, "")} for name in structure[role]]) for role in ROLES
    }


def _part(root: Path, entries: Sequence[Mapping[str, Any]]) -> MaskedModel | WeightTable:
    names = [class_name(entry) for entry in entries]
    if names == ["SparseStaticEmbedding"]:
        return _table(root / str(entries[0].get("path", "")))
    if len(names) != 2 or names[0] not in _TRANSFORMERS or names[1] != "SpladePooling":
        expected = "a masked language model and SpladePooling, or SparseStaticEmbedding"
        raise InputError(message(f"a sparse model of modules {names}", expected, _USE_OBJECT))
    pooling = read_json(root / str(entries[1].get("path", "")) / "config.json") or {}
    kind, activation = pooling.get("pooling_strategy", "max"), pooling.get("activation_function", "relu")
    if kind not in ("max", "sum") or activation not in ("relu", "log1p_relu"):
        given = f"SpladePooling with {kind!r} and {activation!r}"
        raise InputError(message(given, "max or sum, relu or log1p_relu", _USE_OBJECT))
    return MaskedModel(read_backbone(root, entries), kind, activation == "log1p_relu")


def _table(folder: Path) -> WeightTable:
    tokenizer, weights = folder / "tokenizer.json", folder / "model.safetensors"
    for file in (tokenizer, weights):
        if not file.is_file():
            raise NotFoundError(message(f"no {file.name} in {folder}", "a saved table of weights", "save it again"))
    arrays = _read_arrays(weights)
    if set(arrays) != {"weight"} or arrays["weight"].ndim != 1:
        raise StoreCorruptedError(message(f"{weights} of {sorted(arrays)}", "one weight per term", "save it again"))
    window = (read_json(folder / "tokenizer_config.json") or {}).get("model_max_length")
    # Tokenizers without a window state an enormous one.
    limit = int(window) if isinstance(window, (int, float)) and window < 1e9 else None
    return WeightTable(tokenizer, arrays["weight"], limit)


def _read_arrays(path: Path) -> dict[str, FloatArray]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as handle:
            # The transformer's own arrays are read where it runs.
            wanted = [name for name in handle.keys() if ".layer." not in name]  # noqa: SIM118  (not a mapping)
            return {name: np.asarray(handle.get_tensor(name), dtype=np.float32) for name in wanted}
    except SafetensorError as error:
        given = f"{path}, which is damaged ({error})"
        raise StoreCorruptedError(message(given, "a whole safetensors file", "copy or download it again")) from error
