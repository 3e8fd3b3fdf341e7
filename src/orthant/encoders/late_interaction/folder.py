"""What the folder of a late-interaction model says: the transformer, layers on token states, which tokens count.

Understood are folders of sentence-transformers' ``MultiVectorEncoder``: Transformer, then Dense, LayerNorm and
Normalize on token states, MultiVectorMask, and a reducer of the token vectors; those of PyLate; and those of the first
ColBERT code.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orthant.encoders.late_interaction.pylate import read_pylate_folder, read_stanford_folder
from orthant.encoders.late_interaction.rules import (
    LEVEL,
    ROLES,
    Expansion,
    ReducerSettings,
    TokenFolder,
    TokenRules,
)
from orthant.encoders.pipeline.exported import read_exported
from orthant.encoders.pipeline.layouts import token_layout
from orthant.encoders.pipeline.modules import (
    HEAD_KINDS,
    class_name,
    head_width,
    read_head,
    read_json,
    read_module_list,
)
from orthant.encoders.transformer_folder import read_backbone
from orthant.errors import InputError, NotFoundError, StoreCorruptedError, message

__all__ = ["is_token_folder", "read_token_folder"]

# The reducers of Orthant that are computed here, with their settings.
_REDUCERS = {"cluster": ("k", "ratio", "n_iter", "init", "normalize"), "head": ("k",), "tail": ("k",), "stride": ("k",)}
_SAVE_AGAIN = "load it with sentence_transformers.MultiVectorEncoder and save it again with save_pretrained"


def is_token_folder(root: Path) -> bool:
    """Return whether a folder holds a model of one vector per token.

    Parameters
    ----------
    root : Path
        The folder.

    Returns
    -------
    bool
        Its layout is one that ``read_token_folder`` knows.
    """
    return token_layout(root, read_module_list(root)) is not None


def read_token_folder(path: str | Path) -> TokenFolder:
    """Read the folder of a late-interaction model, as sentence-transformers, PyLate or ``export_encoder`` wrote it.

    Parameters
    ----------
    path : str or Path
        Holds ``modules.json`` and what it names, or a checkpoint of the first ColBERT code.

    Returns
    -------
    TokenFolder
        Its settings; no weights are read, except to verify an export.

    Raises
    ------
    NotFoundError
        A needed file is missing.
    InputError
        A model of another kind, or a module or setting that is not computed here; the text names it.
    DimensionError
        Modules that do not fit each other.
    StoreCorruptedError
        A settings file that is not JSON, or an export that is not whole.
    """
    root = Path(path)
    if not root.is_dir():
        raise NotFoundError(message(f"no folder {root}", "a saved late-interaction model", "check the path"))
    exported = read_exported(root)
    modules = read_module_list(root)
    names = [class_name(module) for module in modules]
    layout = token_layout(root, modules)
    if layout == "pylate":
        return read_pylate_folder(root, modules, exported=exported)
    if layout == "stanford":
        return read_stanford_folder(root)
    if "MultiVectorMask" not in names or names[0] != "Transformer":
        given = f"a folder of modules {names}"
        raise InputError(message(given, "a Transformer and a MultiVectorMask", "load it with load_encoder"))
    backbone = read_backbone(root, modules, exported=exported)
    # The mask decides which rows stay, so layers that change row by row may stand on either side of it.
    rest = [module for module in modules[1:] if class_name(module) != "MultiVectorMask"]
    reducers = [i for i, module in enumerate(rest) if class_name(module) not in HEAD_KINDS]
    if len(reducers) > 1:
        raise InputError(message(f"a folder of modules {names}", "one reducer of tokens at most", _SAVE_AGAIN))
    cut = reducers[0] if reducers else len(rest)
    found = _reducers(root, rest[cut]) if reducers else {}
    head = read_head(root, rest[:cut], level=LEVEL, width=backbone.width)
    behind = read_head(root, rest[cut + 1 :], level=LEVEL, width=head_width(head, backbone.width))
    rules = _rules(backbone.path, root / str(modules[names.index("MultiVectorMask")].get("path", "")), found)
    return TokenFolder(backbone, head, behind, rules)


def _rules(transformer: Path, mask: Path, reducers: Mapping[str, ReducerSettings]) -> TokenRules:
    settings = read_json(transformer / "sentence_bert_config.json") or {}
    masking = read_json(mask / "config.json") or {}
    given = settings.get("query_expansion")
    try:
        expansion = None
        if given is not None:
            expansion = Expansion(
                strategy=str(given["strategy"]),
                length=int(given["length"]),
                attend=bool(given.get("attend", False)),
                token=given.get("token"),
            )
        keep = masking.get("keep_only_token_ids")
        return TokenRules(
            query_length=settings.get("query_length"),
            document_length=settings.get("document_length"),
            expansion=expansion,
            skiplist=tuple(masking.get("skiplist_words") or ()),
            skiplist_roles=tuple(masking.get("skiplist_tasks") or ("document",)),
            keep_only=tuple(int(one) for one in keep) if keep else None,
            reducers=reducers,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        given_text = f"settings of tokens at {mask.parent} that cannot be read ({error})"
        raise StoreCorruptedError(message(given_text, "those that were saved", "save the model again")) from error


def _reducers(root: Path, entry: Mapping[str, Any]) -> dict[str, ReducerSettings]:
    name, config = class_name(entry), read_json(root / str(entry.get("path", "")) / "config.json") or {}
    if name == "HierarchicalTokenPooling":
        # Models that were saved before the switch existed were not normalised.
        defaults = {"pool_factor": 1.0, "num_protected_tokens": 1, "normalize_embeddings": False}
        own = ReducerSettings("hierarchical", {key: config.get(key, default) for key, default in defaults.items()})
        tasks = config.get("tasks") or ["document"]
        return {role: own for role in ROLES if role in ([tasks] if isinstance(tasks, str) else tasks)}
    ours = str(entry.get("type", "")).startswith("orthant.")
    given = {role: config.get(key) for role, key in (("query", "queries"), ("document", "documents"))}
    out, unknown = {}, "" if ours and any(given.values()) else name
    for role, settings in given.items() if ours else ():
        rest = dict(settings or {})
        kind = str(rest.pop("kind", ""))
        if settings and kind in _REDUCERS and set(rest) <= set(_REDUCERS[kind]):
            out[role] = ReducerSettings(kind, rest)
        elif settings:
            unknown = f"{name} of kind {kind!r}"
    if unknown:
        expected = f"HierarchicalTokenPooling, or a reducer of Orthant of kind {', '.join(_REDUCERS)}"
        where = f"module {entry.get('name', '')!r} ({unknown})"
        raise InputError(message(where, expected, "remove it, or reduce the vectors that are stored"))
    return out
