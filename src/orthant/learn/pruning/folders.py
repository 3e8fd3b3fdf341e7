"""A pruned copy of a model folder, tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import orthant
from orthant.artifact import check_new_folder
from orthant.errors import DimensionError, InputError, message
from orthant.learn.merging.compatibility import renamed
from orthant.learn.merging.model_folders import write_model_folder
from orthant.learn.merging.sources import Weights, open_weights
from orthant.learn.pruning.masks import sparsity_report

__all__ = ["prune_folder"]


def prune_folder(model: Weights, masks: Mapping[str, torch.Tensor], folder: str | Path) -> dict[str, Any]:
    """Write a model without the weights that masks remove, holding one tensor at a time.

    Parameters
    ----------
    model : folder, state dict or module
        As it was; configuration and tokenizer of a folder are copied.
    masks : mapping of str to torch.Tensor
        By names of tensors as in the folder, or as in a module loaded from it; in their shapes; 0 or false removes.
    folder : str or Path
        New or empty; appears when it is complete.

    Returns
    -------
    dict
        What was written to ``pruning.json``: the sparsity of each masked tensor and in all, and digests.

    Raises
    ------
    InputError, DimensionError
        No masks, names that the model lacks, other shapes, a folder with content. Nothing is left behind.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     record = prune_folder({"w": torch.ones(2)}, {"w": torch.tensor([True, False])}, f"{place}/pruned")
    >>> record["sparsity"][-1]["zeros"]
    1
    """
    check_new_folder(folder)
    source = open_weights(model)
    outer = renamed(source, list(masks))[1]
    masks = {outer.get(name, name): mask for name, mask in masks.items()}
    known = set(source.names)
    unknown = [name for name in masks if name not in known]
    if unknown or not masks:
        raise InputError(
            message(
                f"masks for {unknown[:5] or 'nothing'}",
                f"names like {list(source.names[:3])}",
                "use the folder's names",
            )
        )
    shapes = [name for name, mask in masks.items() if tuple(mask.shape) != source.shape(name)]
    if shapes:
        raise DimensionError(
            message(f"masks of another shape for {shapes[:5]}", "the tensor's shape", "make them anew")
        )

    rows: list[dict[str, Any]] = []

    def make(name: str) -> torch.Tensor:
        values = source.read(name)
        if name in masks:
            values = values.masked_fill(masks[name].to(values.device) == 0, 0.0)
            rows.extend(sparsity_report({name: values}, masks={name: masks[name]})[:-1])
        return values

    def record() -> dict[str, Any]:
        total: dict[str, Any] = {"name": "all", **{key: sum(row[key] for row in rows) for key in ("entries", "zeros")}}
        total["sparsity"] = total["zeros"] / total["entries"] if total["entries"] else 0.0
        return {
            "kind": "pruning",
            "format": 1,
            "orthant": orthant.__version__,
            "model": {"origin": source.origin, "sha256": source.digests()},
            "sparsity": [*rows, total],
        }

    return write_model_folder(
        source,
        folder,
        names=list(source.names),
        make=make,
        dtypes={name: source.dtype(name) for name in source.names},
        record=record,
        record_name="pruning.json",
    )
