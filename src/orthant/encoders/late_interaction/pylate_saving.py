"""A late-interaction model written so that PyLate loads it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from orthant.artifact import check_new_folder, staged_folder
from orthant.encoders.late_interaction.rules import TokenFolder
from orthant.encoders.pipeline.modules import HeadModule, head_tensors, read_json
from orthant.encoders.pipeline.tokenizer import expansion_token
from orthant.errors import InputError, message
from orthant.types import Role

__all__ = ["write_pylate_folder"]

_IDENTITY = "torch.nn.modules.linear.Identity"
_DENSE = ("in_features", "out_features", "bias", "activation_function", "use_residual")
_TANH = "torch.nn.modules.activation.Tanh"
# Settings of the pipeline, which are written anew.
_OURS = {"modules.json", "config_sentence_transformers.json", "sentence_bert_config.json", "config.json"}


def write_pylate_folder(
    folder: TokenFolder, path: str | Path, *, windows: Mapping[Role, int], words: list[str]
) -> Path:
    """Write a model in PyLate's layout.

    Parameters
    ----------
    folder : TokenFolder
        What is known of it.
    path : str or Path
        New or empty.
    windows : mapping of str to int
        Tokens of a text by role, special ones and prefix included.
    words : list of str
        Skip list of documents, in the words of the tokenizer.

    Returns
    -------
    Path
        The folder written.

    Raises
    ------
    InputError
        A rule that PyLate does not have, by name, or a target that holds something.
    """
    target = check_new_folder(path)
    _check_rules(folder)
    backbone, rules = folder.backbone, folder.rules
    dense = folder.head[:-1]
    settings = {
        "model_type": "ColBERT",
        "prompts": dict(backbone.prompts),
        "default_prompt_name": None,
        "similarity_fn_name": "MaxSim",
        "query_prefix": rules.prefixes.get("query", ""),
        "document_prefix": rules.prefixes.get("document", ""),
        "query_length": windows["query"],
        "document_length": windows["document"],
        "do_query_expansion": rules.expansion is not None,
        "attend_to_expansion_tokens": rules.expansion is not None and rules.expansion.attend,
        "skiplist_words": words,
    }
    entries = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    with staged_folder(target) as staging:
        for i in range(1, max(len(dense), 1) + 1):
            place = f"{i}_Dense"
            entries.append({"idx": i, "name": str(i), "path": place, "type": "pylate.models.Dense.Dense"})
            (staging / place).mkdir()
            _write_dense(staging / place, dense[i - 1] if dense else None, width=backbone.width)
        _copy_transformer(folder, staging)
        _write_json(staging / "modules.json", entries)
        _write_json(staging / "config_sentence_transformers.json", settings)
        transformer = {"max_seq_length": windows["document"], "do_lower_case": backbone.lowercase}
        _write_json(staging / "sentence_bert_config.json", transformer)
    return target


def _check_rules(folder: TokenFolder) -> None:
    backbone, rules = folder.backbone, folder.rules
    found = next((one.kind for one in folder.head[:-1] if one.kind != "Dense"), None)
    expansion = rules.expansion
    filler = expansion and expansion.token
    reasons = {
        "weights in codes": backbone.is_compressed,
        "an export, which has no weights": backbone.exported is not None or backbone.weights is None,
        "a reducer of tokens": bool(rules.reducers or folder.behind),
        f"a layer {found}": found is not None,
        "token vectors that are not brought to unit length": not folder.normalized,
        "keep_only_token_ids": bool(rules.keep_only),
        "a skip list of queries": bool(rules.skiplist) and tuple(rules.skiplist_roles) != ("document",),
        "queries filled up to at least a length": expansion is not None and expansion.strategy != "fixed",
        f"queries filled up with {filler!r}": bool(filler) and filler != expansion_token(backbone.path),
    }
    for reason, holds in reasons.items():
        if holds:
            expected = "a transformer, Dense layers and unit length, with a skip list of documents"
            raise InputError(message(f"{reason} in a model for PyLate", expected, "leave it out, or keep this folder"))


def _write_dense(place: Path, module: HeadModule | None, *, width: int) -> None:
    from safetensors.numpy import save_file

    if module is None:
        # Without one PyLate would add a layer with random weights.
        config: dict[str, Any] = {"in_features": width, "out_features": width, "bias": False}
        config["activation_function"] = _IDENTITY
        tensors = {"linear.weight": np.eye(width, dtype=np.float32)}
    else:
        config = {"activation_function": _TANH, "bias": True, "use_residual": False}
        config |= {name: module.config[name] for name in _DENSE if module.config.get(name) is not None}
        tensors = {name.partition(".")[2]: np.array(one) for name, one in head_tensors([module]).items()}
    _write_json(place / "config.json", config)
    save_file(tensors, place / "model.safetensors", metadata={"format": "pt"})


def _copy_transformer(folder: TokenFolder, staging: Path) -> None:
    source = folder.backbone.path
    for pattern in ("*.json", "*.txt", "*.model", "model.safetensors"):
        for path in sorted(source.glob(pattern)):
            if path.name not in _OURS:
                shutil.copyfile(path, staging / path.name)
    config = read_json(source / "config.json")
    # The projection of such a checkpoint is a module from here on.
    if "HF_ColBERT" in (config.get("architectures") or ()):
        del config["architectures"]
    _write_json(staging / "config.json", config)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
