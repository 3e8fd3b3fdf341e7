"""Models that are smaller for real: without some attention heads, or without some layers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from orthant.errors import InputError, message
from orthant.learn.pruning.masks import unstructured_masks
from orthant.validate import check_count

__all__ = [
    "Attention",
    "find_attention",
    "head_masks",
    "head_scores",
    "lowest_heads",
    "remove_heads",
    "remove_layers",
]

# Paths of the four projections below one attention module, for the families whose forward pass takes its number of
# heads from the projections' widths.
_FAMILIES = (
    ("self.query", "self.key", "self.value", "output.dense"),
    ("q_lin", "k_lin", "v_lin", "out_lin"),
    ("q_proj", "k_proj", "v_proj", "o_proj"),
)
_HEAD_SIZES = ("attention_head_size", "head_dim")
_HEAD_COUNTS = ("num_attention_heads", "num_heads", "n_heads")
_LAYER_COUNTS = ("num_hidden_layers", "n_layers", "n_layer", "num_layers")
_STACK = re.compile(r"(^|\.)(layer|layers|h|block|blocks)$")


@dataclass(frozen=True)
class Attention:
    """One attention module and what belongs to each of its heads.

    Attributes
    ----------
    query, key, value, output : str
        Names of the four linear layers.
    heads : int
        Heads that can be removed; where several queries share a key, the groups of them.
    query_rows, key_rows : int
        Rows of the query layer (and columns of the output layer), and of the key and value layers, per head.
    """

    query: str
    key: str
    value: str
    output: str
    heads: int
    query_rows: int
    key_rows: int

    def rows(self, layer: str, heads: Sequence[int]) -> torch.Tensor:
        """Places of some heads in a layer.

        Parameters
        ----------
        layer : str
            One of the four names.
        heads : sequence of int
            Which heads.

        Returns
        -------
        torch.Tensor of shape (n,), int64
            Rows, or columns of the output layer, in order.
        """
        size = self.key_rows if layer in (self.key, self.value) else self.query_rows
        return torch.cat([torch.arange(head * size, (head + 1) * size) for head in sorted(heads)] or [torch.arange(0)])


def find_attention(model: nn.Module) -> dict[str, Attention]:
    """List the attention modules whose heads can be removed.

    Parameters
    ----------
    model : torch.nn.Module
        A transformer of the BERT, DistilBERT or Llama families (RoBERTa, Qwen, Mistral, ...), bare or inside another
        module.

    Returns
    -------
    dict of str to Attention
        By name of the module, in the order of the model.

    Raises
    ------
    InputError
        None was found.
    """
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    modules = dict(model.named_modules())
    found = {}
    for name in modules:
        for family in _FAMILIES:
            names = [f"{name}.{part}" if name else part for part in family]
            if all(each in linear for each in names):
                holder = modules[names[0].rpartition(".")[0]]
                size = next((int(getattr(holder, key)) for key in _HEAD_SIZES if hasattr(holder, key)), 0)
                if size:
                    found[name] = _attention(names, [linear[each].out_features for each in names[:2]], size)
    if not found:
        raise InputError(
            message(
                f"{type(model).__name__} without attention of a known layout",
                "separate query, key, value and output layers as in BERT, DistilBERT or Llama",
                "mask rows with structured_masks instead",
            )
        )
    return found


def _attention(names: list[str], widths: list[int], size: int) -> Attention:
    query, key, value, output = names
    heads = widths[1] // size
    return Attention(query, key, value, output, heads=heads, query_rows=widths[0] // heads, key_rows=size)


def _checked(model: nn.Module, heads: Mapping[str, Sequence[int]]) -> dict[str, Attention]:
    found = find_attention(model)
    unknown = [name for name in heads if name not in found]
    if unknown or not heads:
        raise InputError(
            message(
                f"attention modules {unknown[:3]}", f"names like {list(found)[:3]}", "take them from find_attention"
            )
        )
    for name, numbers in heads.items():
        count = found[name].heads
        if any(not 0 <= int(number) < count for number in numbers) or len(set(numbers)) != len(numbers):
            raise InputError(
                message(f"heads {list(numbers)} of {name}", f"distinct numbers below {count}", "check them")
            )
        if len(numbers) >= count:
            raise InputError(message(f"all {count} heads of {name}", "fewer", "remove the layer instead"))
    return {name: found[name] for name in heads}


def head_masks(model: nn.Module, heads: Mapping[str, Sequence[int]]) -> dict[str, torch.Tensor]:
    """Masks that silence attention heads and leave the model's shape: for trying out, or for retraining.

    Parameters
    ----------
    model : torch.nn.Module
        As for `find_attention`.
    heads : mapping of str to sequence of int
        Heads to remove, by name of the attention module.

    Returns
    -------
    dict of str to torch.Tensor
        Bool masks for weights and biases of queries, keys and values, and for the output's columns.

    Raises
    ------
    InputError
        Unknown modules or heads, or all heads of a module.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    masks = {}
    for name, attention in _checked(model, heads).items():
        for layer in (attention.query, attention.key, attention.value, attention.output):
            places = attention.rows(layer, heads[name])
            for kind in ("weight", "bias"):
                own = parameters.get(f"{layer}.{kind}")
                if own is None or (layer == attention.output and kind == "bias"):
                    continue
                mask = torch.ones(own.shape, dtype=torch.bool)
                mask.index_fill_(1 if layer == attention.output else 0, places, False)
                masks[f"{layer}.{kind}"] = mask
    return masks


def head_scores(model: nn.Module, scores: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Add scores of weights up to scores of attention heads.

    Parameters
    ----------
    model : torch.nn.Module
        As for `find_attention`.
    scores : mapping of str to torch.Tensor
        Of weights, with at least one weight of a query, key, value or output layer; others are passed over.

    Returns
    -------
    dict of str to torch.Tensor of shape (heads,), float32
        Mean score of each head's weights, by name of the attention module.

    Raises
    ------
    InputError
        No scores for any attention module.
    """
    out = {}
    for name, attention in find_attention(model).items():
        sums, count = torch.zeros(attention.heads), 0
        for layer in (attention.query, attention.key, attention.value, attention.output):
            values = scores.get(f"{layer}.weight")
            if values is not None:
                by_row = values.to(torch.float32).sum(dim=0 if layer == attention.output else 1)
                sums += by_row.reshape(attention.heads, -1).sum(dim=1).cpu()
                count += values.numel() // attention.heads
        if count:
            out[name] = sums / count
    if not out:
        raise InputError(
            message("scores of no attention weight", "scores of queries, keys, values or outputs", "widen it")
        )
    return out


def lowest_heads(scores: Mapping[str, torch.Tensor], *, sparsity: float) -> dict[str, list[int]]:
    """Choose the heads to remove: those with the lowest scores, but never all of a module.

    Parameters
    ----------
    scores : mapping of str to torch.Tensor of shape (heads,)
        From `head_scores`.
    sparsity : float
        Share of all heads to remove, from 0 to below 1; the best head of each module stays whatever the share.

    Returns
    -------
    dict of str to list of int
        Heads by name of the attention module; modules that keep all are left out.

    Raises
    ------
    InputError, NonFiniteError
        As for `orthant.learn.pruning.unstructured_masks`.

    Examples
    --------
    >>> lowest_heads({"a": torch.tensor([3.0, 1.0]), "b": torch.tensor([4.0, 5.0])}, sparsity=0.25)
    {'a': [1]}
    """
    kept = unstructured_masks(scores, sparsity=sparsity)
    out = {}
    for name, mask in kept.items():
        mask[int(torch.argmax(scores[name]))] = True
        if not bool(mask.all()):
            out[name] = torch.nonzero(~mask).reshape(-1).tolist()
    return out


@torch.no_grad()
def remove_heads(model: nn.Module, heads: Mapping[str, Sequence[int]]) -> nn.Module:
    """Take attention heads out of a model, in place: smaller matrices, and the outputs that masking gives.

    Parameters
    ----------
    model : torch.nn.Module
        As for `find_attention`; changed.
    heads : mapping of str to sequence of int
        Heads to remove, by name of the attention module.

    Returns
    -------
    torch.nn.Module
        The same module.

    Raises
    ------
    InputError
        Unknown modules or heads, or all heads of a module; nothing has been changed.

    Notes
    -----
    A configuration of transformers has one number of heads for all layers, so it cannot describe the result. To load
    saved weights, remove the same heads from a fresh model first, then load the state dict.
    """
    for name, attention in _checked(model, heads).items():
        kept = [head for head in range(attention.heads) if head not in set(heads[name])]
        for layer in (attention.query, attention.key, attention.value, attention.output):
            _shrink(model.get_submodule(layer), attention.rows(layer, kept), columns=layer == attention.output)
        holder: Any = model.get_submodule(attention.query.rpartition(".")[0])
        for key in _HEAD_COUNTS:
            if hasattr(holder, key):
                setattr(holder, key, getattr(holder, key) * len(kept) // attention.heads)
        if hasattr(holder, "all_head_size"):
            holder.all_head_size = attention.query_rows * len(kept)
    return model


def _shrink(layer: nn.Module, kept: torch.Tensor, *, columns: bool) -> None:
    weight: nn.Parameter = layer.weight  # type: ignore[assignment]
    kept = kept.to(weight.device)
    needs = weight.requires_grad
    layer.weight = nn.Parameter(weight.index_select(1 if columns else 0, kept).clone(), requires_grad=needs)
    if columns:
        layer.in_features = len(kept)  # type: ignore[assignment]
        return
    layer.out_features = len(kept)  # type: ignore[assignment]
    bias = layer.bias
    if isinstance(bias, nn.Parameter):
        layer.bias = nn.Parameter(bias.index_select(0, kept).clone(), requires_grad=bias.requires_grad)


def remove_layers(model: nn.Module, layers: Sequence[int], *, stack: str | None = None) -> nn.Module:
    """Take layers out of a transformer, in place; its configuration follows, so that it saves and loads as usual.

    Parameters
    ----------
    model : torch.nn.Module
        With one stack of layers, bare or inside another module; changed.
    layers : sequence of int
        Numbers of the layers to remove, not all of them.
    stack : str, optional
        Name of the ``ModuleList`` to take them from, where the model has several.

    Returns
    -------
    torch.nn.Module
        The same module.

    Raises
    ------
    InputError
        No stack or several, or numbers that it does not have; nothing has been changed.

    Notes
    -----
    In models that normalise before each part (Llama, Qwen, Mistral) a removed layer equals one whose two output
    matrices are zero. Models that normalise after it (BERT) would still apply the norms of such a layer.
    """
    name, modules = _stack(model, stack)
    count = len(modules)
    gone = {check_count(layer, name="layer", minimum=0, maximum=count - 1) for layer in layers}
    if not gone or len(gone) == count:
        raise InputError(message(f"layers {sorted(gone)} of {count}", "at least one, and not all", "choose others"))
    kept = [i for i in range(count) if i not in gone]
    parent = model.get_submodule(name.rpartition(".")[0])
    setattr(parent, name.rpartition(".")[2], nn.ModuleList([modules[i] for i in kept]))
    for place, old in enumerate(kept):
        for module in modules[old].modules():
            if getattr(module, "layer_idx", None) == old:
                module.layer_idx = place  # type: ignore[assignment]
    held = (getattr(module, "config", None) for module in model.modules())
    for config in {id(config): config for config in held if config is not None}.values():
        _follow(config, count, kept)
    return model


def _stack(model: nn.Module, stack: str | None) -> tuple[str, nn.ModuleList]:
    lists = {name: module for name, module in model.named_modules() if isinstance(module, nn.ModuleList)}
    if stack is not None:
        if stack not in lists:
            raise InputError(message(f"stack={stack!r}", f"one of {sorted(lists)}", "pass a ModuleList's name"))
        return stack, lists[stack]
    found = [name for name, module in lists.items() if _STACK.search(name) and len(module) > 1]
    outer = [name for name in found if not any(name.startswith(f"{other}.") for other in found)]
    if len(outer) != 1:
        raise InputError(message(f"{len(outer)} stacks of layers: {outer}", "one", "name it with stack="))
    return outer[0], lists[outer[0]]


def _follow(config: Any, count: int, kept: list[int]) -> None:
    for key in _LAYER_COUNTS:
        if getattr(config, key, None) == count:
            setattr(config, key, len(kept))
            break
    else:
        return
    kinds = getattr(config, "layer_types", None)
    if isinstance(kinds, list) and len(kinds) == count:
        config.layer_types = [kinds[i] for i in kept]
