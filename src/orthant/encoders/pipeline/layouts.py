"""Which library's layout the folder of a model of one vector per token has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from orthant.encoders.pipeline.modules import class_name, read_json

__all__ = ["TokenLayout", "token_layout"]

TokenLayout = Literal["sentence-transformers", "pylate", "stanford"]


def token_layout(root: Path, modules: Sequence[Mapping[str, Any]]) -> TokenLayout | None:
    """Return who saved a model of one vector per token; None for a model of another kind.

    Parameters
    ----------
    root : Path
        The model's folder.
    modules : sequence of mapping
        Content of its ``modules.json``; empty where there is none.

    Returns
    -------
    {"sentence-transformers", "pylate", "stanford"} or None
        By a MultiVectorMask among the modules; by settings or modules of PyLate; by the architecture ``HF_ColBERT``.

    Raises
    ------
    StoreCorruptedError
        A settings file that is not JSON.
    """
    settings = read_json(root / "config_sentence_transformers.json") or {}
    types = [str(module.get("type", "")).partition(".")[0] for module in modules]
    if settings.get("model_type") == "ColBERT" or "query_prefix" in settings or "pylate" in types:
        return "pylate"
    if any(class_name(module) == "MultiVectorMask" for module in modules):
        return "sentence-transformers"
    config = {} if modules else read_json(root / "config.json") or {}
    return "stanford" if "HF_ColBERT" in (config.get("architectures") or ()) else None
