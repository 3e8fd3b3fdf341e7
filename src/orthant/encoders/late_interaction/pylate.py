"""Folders that PyLate and the first ColBERT code saved, read as the same rules for tokens."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from orthant.encoders.late_interaction.rules import LEVEL, ROLES, Expansion, TokenFolder, TokenRules
from orthant.encoders.pipeline.exported import Exported
from orthant.encoders.pipeline.modules import HeadModule, class_name, read_head, read_json
from orthant.encoders.transformer_folder import TransformerFolder, read_backbone
from orthant.errors import DimensionError, InputError, NotFoundError, StoreCorruptedError, message

__all__ = ["read_pylate_folder", "read_stanford_folder"]

# What holds where a setting is missing or null.
_PYLATE = {
    "query_prefix": "[Q] ",
    "document_prefix": "[D] ",
    "query_length": 32,
    "document_length": 180,
    "do_query_expansion": True,
    "attend_to_expansion_tokens": False,
    "skiplist_words": list(string.punctuation),
    "similarity_fn_name": "MaxSim",
}
_PYLATE_OTHER = {"model_type", "__version__", "prompts", "default_prompt_name"}
_PYLATE_DENSE = {"in_features", "out_features", "bias", "activation_function", "use_residual"}
_STANFORD = {
    "query_token_id": "[unused0]",
    "doc_token_id": "[unused1]",
    "query_maxlen": 32,
    "doc_maxlen": 220,
    "attend_to_mask_tokens": False,
    "mask_punctuation": True,
    "similarity": "cosine",
    "interaction": "colbert",
    "relu": False,
}
_DENSE = "pylate.models.Dense.Dense"
# The first token, a prefix and the last one.
_SHORTEST = 3


def read_pylate_folder(
    root: Path, modules: Sequence[Mapping[str, Any]], *, exported: Exported | None = None
) -> TokenFolder:
    """Read the folder of a model that PyLate saved.

    Parameters
    ----------
    root : Path
        The model's folder.
    modules : sequence of mapping
        Content of ``modules.json``: a Transformer, then one Dense or several.
    exported : Exported, optional
        Record of the export that the folder is.

    Returns
    -------
    TokenFolder
        Its settings; no weights are read.

    Raises
    ------
    NotFoundError
        A needed file is missing.
    InputError
        A module or a setting that is not computed here; the text names it.
    DimensionError
        Modules that do not fit each other.
    StoreCorruptedError
        A setting of another type than PyLate writes.

    Notes
    -----
    PyLate puts a prefix token behind the first token of a text, fills queries up with the mask token, leaves the
    skip list out of documents, and gives each token vector unit length. A word of the skip list that its tokenizer
    does not know takes the unknown token out.
    """
    given = read_json(root / "config_sentence_transformers.json") or {}
    unknown = [name for name, value in given.items() if name not in {*_PYLATE, *_PYLATE_OTHER} and value is not None]
    if unknown:
        expected = f"settings of PyLate: {', '.join(_PYLATE)}"
        raise InputError(message(f"the setting {unknown[0]!r} of a model of PyLate", expected, "remove it"))
    settings = _filled(given, _PYLATE, where=root / "config_sentence_transformers.json")
    if settings["similarity_fn_name"] != "MaxSim":
        given_text = f"similarity_fn_name {settings['similarity_fn_name']!r}"
        raise InputError(message(given_text, "'MaxSim'", "search with the library that trained it"))
    backbone = read_backbone(root, modules, exported=exported)
    # It saves empty prompts of both roles beside the one that holds where none is named.
    default = (given.get("prompts") or {}).get(given.get("default_prompt_name") or "", "")
    backbone = replace(backbone, prompts={role: text or default for role, text in backbone.prompts.items()})
    _check_sides(backbone)
    expansion = Expansion("fixed", settings["query_length"], attend=settings["attend_to_expansion_tokens"])
    rules = TokenRules(
        query_length=settings["query_length"],
        document_length=settings["document_length"],
        expansion=expansion if settings["do_query_expansion"] else None,
        skiplist=tuple(settings["skiplist_words"]),
        prefixes={role: token for role in ROLES if (token := settings[f"{role}_prefix"])},
        strip=True,
        unknown_skipped=bool(settings["skiplist_words"]),
    )
    _check_lengths(rules, backbone)
    return TokenFolder(backbone, (*_dense_modules(root, modules, backbone.width), _unit(root)), (), rules)


def _dense_modules(root: Path, modules: Sequence[Mapping[str, Any]], width: int) -> tuple[HeadModule, ...]:
    names = [str(module.get("type", "")) for module in modules]
    # A Dense of sentence-transformers works on tokens here as well.
    entries = [
        {**module, "type": "sentence_transformers.models.Dense"} if name == _DENSE else module
        for module, name in zip(modules, names, strict=True)
    ]
    kinds = [class_name(entry) for entry in entries]
    strange = [name for name, kind in zip(names[1:], kinds[1:], strict=True) if kind != "Dense"]
    if kinds[:1] != ["Transformer"] or strange:
        given = f"a model of PyLate with {strange[0] if strange else 'modules ' + str(names)}"
        raise InputError(message(given, "a Transformer, then Dense", "save the model again without it"))
    if len(kinds) == 1:
        given, remedy = "a model of PyLate without a Dense module", "load it with PyLate, train it and save it"
        raise InputError(message(given, "one Dense or several; PyLate would add random weights", remedy))
    found = read_head(root, entries[1:], level=LEVEL, width=width)
    for module in found:
        strange = sorted(set(module.config) - _PYLATE_DENSE - {"module_input_name", "module_output_name"})
        if strange:
            expected = f"settings {', '.join(sorted(_PYLATE_DENSE))}"
            raise InputError(message(f"the setting {strange[0]!r} of a Dense of PyLate", expected, "remove it"))
    return found


def read_stanford_folder(root: Path) -> TokenFolder:
    """Read a checkpoint of the first ColBERT code: one file of weights with the projection in it.

    Parameters
    ----------
    root : Path
        Holds ``config.json`` with the architecture ``HF_ColBERT``, ``artifact.metadata``, ``tokenizer.json`` and
        ``model.safetensors``.

    Returns
    -------
    TokenFolder
        Its settings; of the weights, the shape of the projection is read.

    Raises
    ------
    NotFoundError
        A needed file or the projection is missing.
    InputError
        A setting that is not computed here; the text names it.
    DimensionError
        A projection of another width than the metadata say.
    StoreCorruptedError
        Damaged files.
    """
    path = root / "artifact.metadata"
    given = read_json(path)
    if given is None:
        raise NotFoundError(message(f"no artifact.metadata in {root}", "lengths and marker tokens", "copy it too"))
    settings = _filled(given, _STANFORD, where=path)
    for name in ("similarity", "interaction", "relu"):
        if settings[name] != _STANFORD[name]:
            raise InputError(
                message(f"{name} {settings[name]!r} in {path}", repr(_STANFORD[name]), "use the code that trained it")
            )
    # A graph beside such weights may end behind the projection.
    backbone = replace(read_backbone(root, ()), onnx=None)
    _check_sides(backbone)
    rules = TokenRules(
        query_length=settings["query_maxlen"],
        document_length=settings["doc_maxlen"],
        expansion=Expansion("fixed", settings["query_maxlen"], attend=settings["attend_to_mask_tokens"]),
        skiplist=tuple(string.punctuation) if settings["mask_punctuation"] else (),
        prefixes={"query": settings["query_token_id"], "document": settings["doc_token_id"]},
        strip=True,
        unknown_skipped=bool(settings["mask_punctuation"]),
    )
    _check_lengths(rules, backbone)
    return TokenFolder(backbone, (_projection(backbone, given.get("dim")), _unit(root)), (), rules)


def _projection(backbone: TransformerFolder, dim: int | None) -> HeadModule:
    from safetensors import SafetensorError, safe_open

    path = backbone.path / "model.safetensors"
    remedy = "save the model as safetensors"
    if backbone.weights is None:
        raise NotFoundError(message(f"no model.safetensors in {backbone.path}", "the weights", remedy))
    try:
        with safe_open(path, framework="numpy") as handle:
            found = "linear.weight" in handle.keys()  # noqa: SIM118  (not a mapping)
            rows, width = handle.get_slice("linear.weight").get_shape() if found else (0, 0)
    except (SafetensorError, ValueError) as error:
        raise StoreCorruptedError(
            message(f"{path}, which is damaged ({error})", "a whole safetensors file", "copy it again")
        ) from error
    if not found:
        raise NotFoundError(message(f"no linear.weight in {path}", "the projection of ColBERT", remedy))
    if width != backbone.width or rows != (dim or rows):
        given = f"a projection from {width} to {rows} values"
        raise DimensionError(message(given, f"from {backbone.width} to {dim or rows}", "restore artifact.metadata"))
    config = {
        "in_features": width,
        "out_features": rows,
        "bias": False,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    return HeadModule("1", "Dense", backbone.path, config, tensors=("linear.weight",))


def _unit(root: Path) -> HeadModule:
    return HeadModule("unit", "Normalize", root, {})


def _filled(given: Any, defaults: Mapping[str, Any], *, where: Path) -> dict[str, Any]:
    """Settings with defaults put in, each of the type of its default."""
    if not isinstance(given, dict):
        raise StoreCorruptedError(message(f"{where} without settings", "a JSON object", "restore the file"))
    out: dict[str, Any] = {}
    for name, default in defaults.items():
        value = given.get(name)
        out[name] = default if value is None else value
        fitting = isinstance(out[name], type(default)) and isinstance(out[name], bool) == isinstance(default, bool)
        if not fitting or (isinstance(default, list) and not all(isinstance(one, str) for one in out[name])):
            text = f"{name} {out[name]!r} in {where}"
            raise StoreCorruptedError(message(text, f"a value such as {default!r}", "save the model again"))
    return out


def _check_sides(backbone: TransformerFolder) -> None:
    settings = read_json(backbone.path / "tokenizer_config.json") or {}
    for name in ("padding_side", "truncation_side"):
        if settings.get(name, "right") != "right":
            # The prefix would stand among what is filled up, at a place that depends on the batch.
            given = f"{name} {settings[name]!r} of the tokenizer"
            raise InputError(message(given, "'right'", "train and save the model with that side"))


def _check_lengths(rules: TokenRules, backbone: TransformerFolder) -> None:
    positions = int(backbone.config.get("max_position_embeddings") or 0)
    for role, length in (("query", rules.query_length), ("document", rules.document_length)):
        if (length or 0) < _SHORTEST:
            raise InputError(message(f"{role} length {length}", f"at least {_SHORTEST}", "save the model again"))
    if rules.expansion is not None and positions and rules.expansion.length > positions:
        given = f"queries filled up to {rules.expansion.length} tokens"
        raise InputError(message(given, f"at most the {positions} of the model", "lower the query length"))
