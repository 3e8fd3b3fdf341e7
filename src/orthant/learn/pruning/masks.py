"""From scores to masks: exactly as many weights, rows or columns as asked for, over all tensors or within each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from orthant.errors import DimensionError, InputError, NonFiniteError, message
from orthant.learn.merging.arrays import keep_largest
from orthant.learn.merging.sources import Weights, layer_of, open_weights
from orthant.validate import check_choice

__all__ = ["apply_masks", "sparsity_report", "structured_masks", "unstructured_masks"]


def _check_scores(scores: Mapping[str, torch.Tensor], sparsity: float) -> None:
    if not isinstance(sparsity, (int, float)) or isinstance(sparsity, bool) or not 0.0 <= sparsity < 1.0:
        raise InputError(message(f"sparsity={sparsity!r}", "a number from 0 to below 1", "pass the share to remove"))
    if not scores or not any(tensor.numel() for tensor in scores.values()):
        raise InputError(message("scores of no weight", "at least one tensor", "widen the scope"))
    broken = [name for name, tensor in scores.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise NonFiniteError(message(f"scores with NaN or infinity for {broken[:5]}", "finite ones", "check the data"))


def unstructured_masks(
    scores: Mapping[str, torch.Tensor],
    *,
    sparsity: float,
    budget: str = "global",
    bounds: tuple[float, float] | None = None,
) -> dict[str, torch.Tensor]:
    """Mask the weights with the lowest scores, one by one.

    The model gets no faster on a CPU, for zeros are multiplied like any other number; it compresses better, and it
    shows what can go. For speed see `orthant.learn.pruning.remove_heads` and `remove_layers`.

    Parameters
    ----------
    scores : mapping of str to torch.Tensor
        By name of parameter; larger is kept.
    sparsity : float
        Share of the scored weights to remove, from 0 to below 1; exactly ``round(sparsity * n)`` are.
    budget : {"global", "uniform"}, default "global"
        One threshold over all tensors, or the same share in each.
    bounds : (float, float), optional
        Least and greatest share to remove from any one tensor, such as ``(0.05, 0.95)``; what a bound holds back is
        taken elsewhere. For the global budget only.

    Returns
    -------
    dict of str to torch.Tensor
        Bool in the tensors' shapes; false is removed. As a `Stage` takes it.

    Raises
    ------
    InputError
        A sparsity outside 0 to 1, no scores, bounds that cannot be kept or have no effect.
    NonFiniteError
        NaN or infinity among the scores.

    Notes
    -----
    The global threshold is found from two histograms of the scores' bits, so no copy of all scores is made or sorted.
    Of equal scores those that come first are removed.

    Examples
    --------
    >>> masks = unstructured_masks({"a": torch.tensor([1.0, 9.0]), "b": torch.tensor([2.0, 3.0])}, sparsity=0.5)
    >>> masks["a"].tolist(), masks["b"].tolist()
    ([False, True], [False, True])
    """
    _check_scores(scores, sparsity)
    check_choice(budget, ("global", "uniform"), name="budget")
    sizes = {name: tensor.numel() for name, tensor in scores.items()}
    if budget == "uniform":
        if bounds is not None:
            raise InputError(message("bounds with a uniform budget", "bounds with 'global' only", "leave them out"))
        return {
            name: keep_largest(s.float(), sizes[name] - round(sparsity * sizes[name])) for name, s in scores.items()
        }
    total = round(sparsity * sum(sizes.values()))
    if bounds is None:
        return _lowest_removed(scores, total)
    return _within_bounds(scores, total, bounds)


def _within_bounds(
    scores: Mapping[str, torch.Tensor], total: int, bounds: tuple[float, float]
) -> dict[str, torch.Tensor]:
    low, high = bounds
    if not 0.0 <= low <= high <= 1.0:
        raise InputError(message(f"bounds={bounds}", "two shares, the lower one first", "pass such as (0.05, 0.95)"))
    limits = {name: (math.floor(low * t.numel()), math.ceil(high * t.numel())) for name, t in scores.items()}
    least, most = (sum(limit[i] for limit in limits.values()) for i in (0, 1))
    if not least <= total <= most:
        raise InputError(
            message(f"{total} weights to remove", f"{least} to {most} within the bounds", "widen the bounds")
        )
    fixed: dict[str, int] = {}
    while True:
        free = {name: tensor for name, tensor in scores.items() if name not in fixed}
        rest = total - sum(fixed.values())
        masks = _lowest_removed(free, rest) if free else {}
        removed = {name: int((~mask).sum()) for name, mask in masks.items()}
        excess = {name: max(0, n - limits[name][1]) for name, n in removed.items()}
        lack = {name: max(0, limits[name][0] - n) for name, n in removed.items()}
        if not any(excess.values()) and not any(lack.values()):
            break
        # Fix the side that is further out; fixing it moves the others towards the other bound, so each is fixed once.
        side = 1 if sum(excess.values()) >= sum(lack.values()) else 0
        fixed.update({name: limits[name][side] for name, n in (excess if side else lack).items() if n})
    masks.update({name: keep_largest(scores[name].float(), scores[name].numel() - n) for name, n in fixed.items()})
    return {name: masks[name] for name in scores}


def _order_keys(tensor: torch.Tensor) -> npt.NDArray[np.uint32]:
    """Bits of float32 values as integers in the same order; minus zero counts as zero."""
    values = np.ascontiguousarray(tensor.detach().to("cpu", torch.float32).reshape(-1).numpy()) + np.float32(0)
    bits = values.view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))


def _lowest_removed(scores: Mapping[str, torch.Tensor], count: int) -> dict[str, torch.Tensor]:
    if count <= 0:
        return {name: torch.ones(tensor.shape, dtype=torch.bool) for name, tensor in scores.items()}
    upper = _histogram(scores.values(), None)
    before = np.cumsum(upper)
    bucket = int(np.searchsorted(before, count))
    rest = count - (int(before[bucket - 1]) if bucket else 0)
    inside = np.cumsum(_histogram(scores.values(), bucket))
    lower = int(np.searchsorted(inside, rest))
    threshold = np.uint32((bucket << 16) | lower)
    level = rest - (int(inside[lower - 1]) if lower else 0)
    masks = {}
    for name, tensor in scores.items():
        keys = _order_keys(tensor)
        kept = keys > threshold
        ties = np.flatnonzero(keys == threshold)
        kept[ties[level:]] = True
        level = max(0, level - len(ties))
        masks[name] = torch.from_numpy(kept).reshape(tensor.shape)
    return masks


def _histogram(tensors: Iterable[torch.Tensor], bucket: int | None) -> npt.NDArray[np.int64]:
    counts = np.zeros(1 << 16, dtype=np.int64)
    for tensor in tensors:
        keys = _order_keys(tensor)
        high = keys >> 16
        found = high if bucket is None else keys[high == bucket] & np.uint32(0xFFFF)
        counts += np.bincount(found, minlength=1 << 16)
    return counts


def structured_masks(
    scores: Mapping[str, torch.Tensor], *, sparsity: float, unit: str = "row", budget: str = "global"
) -> dict[str, torch.Tensor]:
    """Mask whole rows or columns of matrices, by the mean score of their entries.

    Parameters
    ----------
    scores : mapping of str to torch.Tensor
        By name of parameter, matrices only; larger is kept.
    sparsity : float
        Share of rows or columns to remove, from 0 to below 1.
    unit : {"row", "column"}, default "row"
        A row of a linear layer's weight makes one output, a column takes one input.
    budget : {"global", "uniform"}, default "global"
        Over all rows of all matrices, or the same share in each. Globally, a matrix can lose all of its rows.

    Returns
    -------
    dict of str to torch.Tensor
        Bool in the tensors' shapes; false is removed. Biases are not touched.

    Raises
    ------
    InputError, NonFiniteError
        As for `unstructured_masks`.
    DimensionError
        A tensor that is not a matrix.

    Examples
    --------
    >>> structured_masks({"a": torch.tensor([[1.0, 1.0], [0.0, 1.5]])}, sparsity=0.5)["a"].tolist()
    [[True, True], [False, False]]
    """
    _check_scores(scores, sparsity)
    check_choice(unit, ("row", "column"), name="unit")
    flat = [name for name, tensor in scores.items() if tensor.ndim != 2]
    if flat:
        raise DimensionError(message(f"tensors that are no matrices: {flat[:5]}", "matrices", "narrow the scope"))
    axis = 1 if unit == "row" else 0
    means = {name: tensor.to(torch.float32).mean(dim=axis) for name, tensor in scores.items()}
    kept = unstructured_masks(means, sparsity=sparsity, budget=budget)
    return {name: kept[name].unsqueeze(axis).expand(tensor.shape).clone() for name, tensor in scores.items()}


def _checked(model: nn.Module, masks: Mapping[str, torch.Tensor]) -> dict[str, nn.Parameter]:
    if not masks:
        raise InputError(message("no masks", "at least one", "make them from scores"))
    parameters = dict(model.named_parameters(remove_duplicate=False))
    unknown = [name for name in masks if name not in parameters]
    if unknown:
        raise InputError(
            message(
                f"masks for {unknown[:5]}, which the model lacks", "names of its parameters", "use one model's names"
            )
        )
    shapes = [name for name, mask in masks.items() if mask.shape != parameters[name].shape]
    if shapes:
        raise DimensionError(
            message(f"masks of another shape for {shapes[:5]}", "the parameter's shape", "make them anew")
        )
    return parameters


@torch.no_grad()
def apply_masks(model: nn.Module, masks: Mapping[str, torch.Tensor]) -> nn.Module:
    """Set the weights that masks remove to zero, in place.

    Parameters
    ----------
    model : torch.nn.Module
        Changed.
    masks : mapping of str to torch.Tensor
        By name of parameter, in its shape; 0 or false removes.

    Returns
    -------
    torch.nn.Module
        The same module.

    Raises
    ------
    InputError, DimensionError
        No masks, names that the model lacks, other shapes; nothing has been changed.

    Examples
    --------
    >>> layer = torch.nn.Linear(2, 1)
    >>> _ = apply_masks(layer, {"weight": torch.tensor([[True, False]])})
    >>> layer.weight[0, 1].item()
    0.0
    """
    parameters = _checked(model, masks)
    for name, mask in masks.items():
        # Not a product: zero times infinity or minus one would not be plain zero.
        parameters[name].masked_fill_(mask.to(parameters[name].device) == 0, 0.0)
    return model


def sparsity_report(model: Weights, *, masks: Mapping[str, torch.Tensor] | None = None) -> list[dict[str, Any]]:
    """Count the zeros of a model, tensor by tensor and in all.

    Parameters
    ----------
    model : folder, state dict or module
        Read one tensor at a time.
    masks : mapping of str to torch.Tensor, optional
        Look at these tensors only, and say how many of the entries that they remove are zero.

    Returns
    -------
    list of dict
        ``name``, ``layer``, ``entries``, ``zeros``, ``sparsity``, with masks also ``masked`` and ``violations``
        (removed entries that are not zero). The last row is ``"all"``.

    Raises
    ------
    InputError
        Masks for tensors that the model lacks.

    Examples
    --------
    >>> sparsity_report({"w": torch.tensor([0.0, 1.0])})[-1]["sparsity"]
    0.5
    """
    source = open_weights(model)
    names = [name for name in source.names if source.dtype(name).is_floating_point]
    if masks is not None:
        unknown = [name for name in masks if name not in names]
        if unknown:
            raise InputError(
                message(f"masks for {unknown[:5]}, which the model lacks", "its names", "use one model's names")
            )
        names = [name for name in names if name in masks]
    rows: list[dict[str, Any]] = []
    for name in names:
        values = source.read(name)
        row: dict[str, Any] = {"name": name, "layer": layer_of(name), "entries": values.numel()}
        row["zeros"] = values.numel() - int(torch.count_nonzero(values))
        if masks is not None:
            removed = masks[name] == 0
            row |= {"masked": int(removed.sum()), "violations": int(torch.count_nonzero(values.cpu()[removed.cpu()]))}
        rows.append(row)
    counts = [key for key in ("entries", "zeros", "masked", "violations") if rows and key in rows[0]]
    rows.append({"name": "all", "layer": "all", **{key: sum(row[key] for row in rows) for key in counts}})
    for row in rows:
        row["sparsity"] = row["zeros"] / row["entries"] if row.get("entries") else 0.0
    return rows
