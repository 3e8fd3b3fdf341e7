"""What a transformer's folder says about its encoder: modules, pooling, window, prompts and where the files lie.

Understood are sentence-transformers folders (``modules.json``: Transformer, Pooling, optionally Normalize) and plain
ones with ``config.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orthant.errors import InputError, NotFoundError, StoreCorruptedError, message

__all__ = ["TransformerFolder", "architecture_name", "read_transformer_folder"]

POOLINGS = ("mean", "cls", "max")
_USE_OBJECT = "load the folder with sentence_transformers.SentenceTransformer and pass that object to load_encoder"
_ALL = ["Transformer", "Pooling", "Normalize"]


@dataclass(frozen=True)
class TransformerFolder:
    """What a folder says about its encoder.

    Attributes
    ----------
    path : Path
        Folder of the transformer itself.
    config : dict
        Its ``config.json``.
    pooling : str
        ``"mean"``, ``"cls"`` or ``"max"``.
    normalized : bool
        The vectors are brought to unit length.
    max_tokens : int
        Window, special tokens included.
    lowercase : bool
        Texts are lowered before the tokenizer sees them.
    prompts : dict of str to str
        Prompts by role, ``"query"`` and ``"document"``.
    weights : Path or None
        ``model.safetensors``.
    onnx : Path or None
        ``model.onnx``, at the top or in ``onnx/``.
    tokenizer : Path
        ``tokenizer.json``.
    """

    path: Path
    config: dict[str, Any]
    pooling: str
    normalized: bool
    max_tokens: int
    lowercase: bool
    prompts: dict[str, str]
    weights: Path | None
    onnx: Path | None
    tokenizer: Path

    @property
    def dim(self) -> int:
        """Return the width of the token states."""
        return _width(self.config)

    @property
    def architecture(self) -> str:
        """Return a name that does not depend on where the folder lies, such as ``"bert-6x384"``."""
        return architecture_name(self.config)

    @property
    def is_plain_bert(self) -> bool:
        """Return whether the forward pass of this package covers the architecture."""
        config = self.config
        return (
            config.get("model_type") == "bert"
            and config.get("hidden_act") == "gelu"
            and config.get("position_embedding_type", "absolute") == "absolute"
            and not config.get("is_decoder", False)
        )


def architecture_name(config: Mapping[str, Any]) -> str:
    """Return model type, layers and width of a transformers configuration as one word, and a causal mask removed.

    Parameters
    ----------
    config : mapping
        As in ``config.json``.

    Returns
    -------
    str
        Such as ``"bert-6x384"``.
    """
    layers = config.get("num_hidden_layers") or config.get("n_layers") or 0
    # The same weights give other vectors once a decoder looks both ways.
    direction = "-bidirectional" if config.get("is_causal") is False else ""
    return f"{config.get('model_type', 'model')}-{layers}x{_width(config)}{direction}"


def _width(config: Mapping[str, Any]) -> int:
    # DistilBERT has its own word for it.
    return int(config.get("hidden_size") or config.get("dim") or 0)


def read_transformer_folder(path: str | Path) -> TransformerFolder:
    """Read a sentence-transformers or plain transformer folder.

    Parameters
    ----------
    path : str or Path
        Holds ``config.json``, ``tokenizer.json`` and ``model.safetensors`` or ``model.onnx``.

    Returns
    -------
    TransformerFolder
        Its settings; no weights are read.

    Raises
    ------
    NotFoundError
        A needed file is missing.
    InputError
        A module, pooling or prompt setting that this encoder does not compute.
    StoreCorruptedError
        A settings file that is not JSON.
    """
    root = Path(path)
    modules = _modules(root)
    folder = root / str(modules[0].get("path", "")) if modules else root
    config = _json(folder / "config.json")
    if config is None or "model_type" not in config or not _width(config):
        raise NotFoundError(
            message(
                f"no transformer at {root}",
                "a config.json with model_type and hidden_size",
                "check the path, or " + _USE_OBJECT,
            )
        )
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.is_file():
        raise NotFoundError(
            message(
                f"no tokenizer.json in {folder}", "the tokenizer beside the weights", "save it with save_pretrained"
            )
        )
    weights = folder / "model.safetensors"
    graphs = [one for one in (folder / "model.onnx", folder / "onnx" / "model.onnx") if one.is_file()]
    if not weights.is_file() and not graphs:
        raise NotFoundError(
            message(f"no weights in {folder}", "model.safetensors or model.onnx", "save the model as safetensors")
        )
    names = [_class_name(module) for module in modules]
    transformer = _json(folder / "sentence_bert_config.json") or {}
    return TransformerFolder(
        path=folder,
        config=config,
        pooling=_pooling(root / str(modules[names.index("Pooling")].get("path", ""))) if "Pooling" in names else "mean",
        normalized="Normalize" in names,
        max_tokens=_window(folder, config, transformer),
        lowercase=bool(transformer.get("do_lower_case", False)),
        prompts=_prompts(root),
        weights=weights if weights.is_file() else None,
        onnx=graphs[0] if graphs else None,
        tokenizer=tokenizer,
    )


def _json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StoreCorruptedError(message(f"{path} that is not JSON", "JSON", "restore the file")) from error
    return found


def _class_name(module: Mapping[str, Any]) -> str:
    return str(module.get("type", "")).rpartition(".")[2]


def _modules(root: Path) -> list[dict[str, Any]]:
    modules: Any = _json(root / "modules.json") or []
    names = [_class_name(module) for module in modules]
    if modules and (names[0] != "Transformer" or names not in (names[:1], ["Transformer", "Pooling"], _ALL)):
        raise InputError(message(f"a model of modules {names}", f"{_ALL}, or its beginning", _USE_OBJECT))
    return modules


def _pooling(folder: Path) -> str:
    config = _json(folder / "config.json") or {}
    chosen = config.get("pooling_mode")
    if chosen is None:
        chosen = [key for key, value in config.items() if key.startswith("pooling_mode_") and value]
        known = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_max_tokens": "max"}
        chosen = known.get(chosen[0], chosen[0]) if len(chosen) == 1 else chosen
    if isinstance(chosen, (list, tuple)) and len(chosen) == 1:
        chosen = chosen[0]
    if chosen not in POOLINGS:
        raise InputError(message(f"pooling {chosen!r}", f"one of {', '.join(POOLINGS)}", _USE_OBJECT))
    if not config.get("include_prompt", True):
        raise InputError(message("pooling that leaves the prompt out", "pooling over all tokens", _USE_OBJECT))
    return str(chosen)


def _window(folder: Path, config: Mapping[str, Any], transformer: Mapping[str, Any]) -> int:
    positions = int(config.get("max_position_embeddings", 512))
    stated = transformer.get("max_seq_length") or (_json(folder / "tokenizer_config.json") or {}).get(
        "model_max_length", positions
    )
    return int(min(stated, positions))


def _prompts(root: Path) -> dict[str, str]:
    config = _json(root / "config_sentence_transformers.json") or {}
    given = config.get("prompts") or {}
    default = given.get(config.get("default_prompt_name") or "", "")
    document = next((given[name] for name in ("document", "passage", "corpus") if name in given), default)
    return {"query": given.get("query", default), "document": document}
