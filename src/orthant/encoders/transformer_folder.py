"""What a transformer's folder says about its encoder: modules, pooling, window, prompts and where the files lie.

Understood are sentence-transformers folders (``modules.json``: Transformer, Pooling, then Dense, LayerNorm and
Normalize), plain ones with ``config.json``, and what ``orthant.learn.export_encoder`` wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orthant.encoders.pipeline.compressed import COMPRESSED_FILE
from orthant.encoders.pipeline.exported import EXPORT_GRAPH, Exported, read_exported
from orthant.encoders.pipeline.layouts import token_layout
from orthant.encoders.pipeline.modules import (
    HEAD_KINDS,
    HeadModule,
    class_name,
    head_label,
    head_width,
    read_head,
    read_json,
    read_module_list,
)
from orthant.encoders.pipeline.pooling import POOLINGS
from orthant.errors import DimensionError, InputError, NotFoundError, message

__all__ = ["TransformerFolder", "architecture_name", "read_backbone", "read_transformer_folder"]

_USE_OBJECT = "load the folder with sentence_transformers.SentenceTransformer and pass that object to load_encoder"


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
        Modes of ``orthant.encoders.pipeline.pooling``, with ``"+"`` between several.
    normalized : bool
        The vectors are brought to unit length.
    max_tokens : int
        Window, special tokens included.
    lowercase : bool
        Texts are lowered before the tokenizer sees them.
    prompts : dict of str to str
        Prompts by role, ``"query"`` and ``"document"``.
    weights : Path or None
        ``model.safetensors``, or the file of codes that stands for it.
    onnx : Path or None
        ``model.onnx``, at the top or in ``onnx/``.
    tokenizer : Path
        ``tokenizer.json``.
    include_prompt : bool
        The tokens of a prompt take part in the pooling.
    head : tuple of HeadModule
        Modules between the pooling and the last normalisation.
    exported : Exported or None
        The record of an export; then ``onnx`` is the only thing that runs.
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
    include_prompt: bool = True
    head: tuple[HeadModule, ...] = ()
    exported: Exported | None = None

    @property
    def width(self) -> int:
        """Return the width of the token states."""
        return _width(self.config)

    @property
    def dim(self) -> int:
        """Return the width of the vectors."""
        if self.exported is not None and self.exported.pooled:
            return self.exported.dim
        return head_width(self.head, self.width * len(self.pooling.split("+")))

    @property
    def architecture(self) -> str:
        """Return a name that does not depend on where the folder lies, such as ``"bert-6x384"``."""
        parts = [(one.kind, one.activation, bool(one.config.get("use_residual", False))) for one in self.head]
        return architecture_name(self.config) + head_label(parts)

    @property
    def pooling_label(self) -> str:
        """Return the pooling as it stands in a fingerprint."""
        return self.pooling + ("" if self.include_prompt else "-without-prompt")

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

    @property
    def is_built(self) -> bool:
        """Return whether its weights are here and the graph can be built of them."""
        return self.weights is not None and self.is_plain_bert and self.exported is None

    @property
    def is_compressed(self) -> bool:
        """Return whether its weights are codes, which torch cannot load."""
        return self.weights is not None and self.weights.name == COMPRESSED_FILE


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
    layers = config.get("num_hidden_layers") or config.get("n_layers") or config.get("n_layer") or 0
    # The same weights give other vectors once a decoder looks both ways.
    direction = "-bidirectional" if config.get("is_causal") is False else ""
    return f"{config.get('model_type', 'model')}-{layers}x{_width(config)}{direction}"


def _width(config: Mapping[str, Any]) -> int:
    # DistilBERT and GPT-2 have their own words for it.
    return int(config.get("hidden_size") or config.get("dim") or config.get("n_embd") or 0)


def read_transformer_folder(path: str | Path) -> TransformerFolder:
    """Read a sentence-transformers, plain or exported transformer folder.

    Parameters
    ----------
    path : str or Path
        Holds ``config.json``, ``tokenizer.json`` and ``model.safetensors`` or ``model.onnx``.

    Returns
    -------
    TransformerFolder
        Its settings; no weights are read, except to verify an export.

    Raises
    ------
    NotFoundError
        A needed file is missing.
    InputError
        A module, pooling or prompt setting that this encoder does not compute.
    DimensionError
        Modules that do not fit each other.
    StoreCorruptedError
        A settings file that is not JSON, or an export that is not whole.
    """
    root = Path(path)
    exported = read_exported(root)
    modules = read_module_list(root)
    names = [class_name(module) for module in modules]
    if token_layout(root, modules) is not None:
        given = f"a model of one vector per token at {root}"
        raise InputError(message(given, "a model of one vector per text", "load it with load_token_encoder"))
    if exported is not None and exported.pooled:
        backbone = read_backbone(root, modules, exported=exported)
        return replace(backbone, pooling="in-graph", normalized=exported.normalized)
    known = names[1:2] in ([], ["Pooling"]) and set(names[2:]) <= set(HEAD_KINDS)
    if modules and (names[0] != "Transformer" or not known):
        expected = f"a Transformer, Pooling, then {', '.join(HEAD_KINDS)}"
        raise InputError(message(f"a model of modules {names}", expected, _USE_OBJECT))
    backbone = read_backbone(root, modules, exported=exported)
    pooling, include_prompt = "mean", True
    if "Pooling" in names:
        pooling, include_prompt = _pooling(root / str(modules[1].get("path", "")), backbone.width)
    head = read_head(root, modules[2:], level="sentence_embedding", width=backbone.width * len(pooling.split("+")))
    normalized = bool(head) and head[-1].kind == "Normalize"
    return replace(
        backbone,
        pooling=pooling,
        include_prompt=include_prompt,
        normalized=normalized,
        head=head[:-1] if normalized else head,
    )


def read_backbone(
    root: Path, modules: Sequence[Mapping[str, Any]], *, exported: Exported | None = None
) -> TransformerFolder:
    """Read the transformer of a folder, its tokenizer, window and prompts, whatever stands behind it.

    Parameters
    ----------
    root : Path
        The model's folder.
    modules : sequence of mapping
        Content of ``modules.json``; the transformer is the first. Empty for a plain folder.
    exported : Exported, optional
        Record of the export that the folder is.

    Returns
    -------
    TransformerFolder
        With mean pooling, no head and no normalisation.

    Raises
    ------
    NotFoundError
        A needed file is missing.
    """
    folder = root / str(modules[0].get("path", "")) if modules else root
    config = read_json(folder / "config.json")
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
    if not weights.is_file() and (folder / COMPRESSED_FILE).is_file():
        weights = folder / COMPRESSED_FILE
    graphs = [one for one in (folder / "model.onnx", folder / "onnx" / "model.onnx") if one.is_file()]
    if exported is not None:
        graphs = [root / EXPORT_GRAPH]
    if not weights.is_file() and not graphs:
        raise NotFoundError(
            message(f"no weights in {folder}", "model.safetensors or model.onnx", "save the model as safetensors")
        )
    transformer = read_json(folder / "sentence_bert_config.json") or {}
    return TransformerFolder(
        path=folder,
        config=config,
        pooling="mean",
        normalized=False,
        max_tokens=_window(folder, config, transformer),
        lowercase=bool(transformer.get("do_lower_case", False)),
        prompts=_prompts(root),
        weights=weights if weights.is_file() else None,
        onnx=graphs[0] if graphs else None,
        tokenizer=tokenizer,
        exported=exported,
    )


def _pooling(folder: Path, width: int) -> tuple[str, bool]:
    config = read_json(folder / "config.json") or {}
    chosen = config.get("pooling_mode")
    if chosen is None:
        # Earlier releases wrote one switch per mode, and joined the results in this order.
        switches = {mode: f"pooling_mode_{mode}{'_tokens' * (mode in ('max', 'mean'))}" for mode in POOLINGS}
        switches |= {"cls": "pooling_mode_cls_token", "weightedmean": "pooling_mode_weightedmean_tokens"}
        unknown = [key for key, on in config.items() if key.startswith("pooling_mode_") and on]
        chosen = [mode for mode, key in switches.items() if config.get(key)] + sorted(
            set(unknown) - set(switches.values())
        )
    modes = [chosen] if isinstance(chosen, str) else list(chosen)
    if not modes or not set(modes) <= set(POOLINGS):
        raise InputError(message(f"pooling {chosen!r}", f"some of {', '.join(POOLINGS)}", _USE_OBJECT))
    stated = config.get("embedding_dimension") or config.get("word_embedding_dimension") or width
    if stated != width:
        given = f"pooling of {stated} values behind a transformer of {width}"
        raise DimensionError(message(given, f"{width}", "check the order of modules"))
    return "+".join(modes), bool(config.get("include_prompt", True))


def _window(folder: Path, config: Mapping[str, Any], transformer: Mapping[str, Any]) -> int:
    positions = int(config.get("max_position_embeddings") or config.get("n_positions") or 512)
    stated = transformer.get("max_seq_length") or (read_json(folder / "tokenizer_config.json") or {}).get(
        "model_max_length", positions
    )
    return int(min(stated, positions))


def _prompts(root: Path) -> dict[str, str]:
    config = read_json(root / "config_sentence_transformers.json") or {}
    given = config.get("prompts") or {}
    default = given.get(config.get("default_prompt_name") or "", "")
    document = next((given[name] for name in ("document", "passage", "corpus") if name in given), default)
    return {"query": given.get("query", default), "document": document}
