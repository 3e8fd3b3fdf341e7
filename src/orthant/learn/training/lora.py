"""Low-rank adaptation through peft, merged into plain weights when the stage ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch

from orthant.errors import InputError, MissingExtraError, message
from orthant.validate import check_count, check_fraction

__all__ = ["LoRA", "add_adapters", "adapted_layers", "merge_adapters"]


@dataclass(frozen=True)
class LoRA:
    """Trains two thin factors beside each chosen matrix instead of the matrix.

    Use it when the optimizer's memory or forgetting is the problem; a small model on few rows is better trained whole.

    Parameters
    ----------
    rank : int, default 16
        Width of the factors, at least 1. Too small cannot express the change; too large trains like the whole matrix.
    alpha : float, default 32.0
        The update is scaled by ``alpha / rank``; above 0.
    dropout : float, default 0.0
        Share of the inputs of the factors that are dropped in training, from 0 to below 1.
    targets : sequence of str, default ("query", "value")
        Layers by the end of their name, or ``["all-linear"]`` for every linear layer.
    also_train : sequence of str, default ()
        Patterns of parameters that are trained whole beside the factors, such as a new head.
    merge : bool, default True
        Fold the factors into the weights when the stage ends, so that everything after sees plain weights.

    Raises
    ------
    InputError
        A value out of range, or no targets.

    Notes
    -----
    ``W' = W + (alpha / rank) B A`` with A of shape (rank, in) random and B of shape (out, rank) zero at the start, so
    training starts at the given model.

    References
    ----------
    Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, arXiv 2106.09685, section 4.1.

    Examples
    --------
    >>> LoRA(rank=4, targets=["0"]).rank
    4
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: Sequence[str] = field(default=("query", "value"))
    also_train: Sequence[str] = ()
    merge: bool = True

    def __post_init__(self) -> None:
        check_count(self.rank, name="rank")
        if check_fraction(self.alpha, name="alpha", high=float("inf")) == 0.0:
            raise InputError(message("alpha=0", "a number above 0", "use alpha = 2 * rank"))
        if check_fraction(self.dropout, name="dropout") == 1.0:
            raise InputError(message("dropout=1.0", "a number from 0 to below 1", "use 0 to 0.3"))
        if isinstance(self.targets, str) or not list(self.targets):
            raise InputError(
                message(f"targets={self.targets!r}", "a list of layer names", "write targets=['query', 'value']")
            )

    def settings(self) -> dict[str, Any]:
        """Return the settings as JSON values.

        Returns
        -------
        dict
            One entry per parameter.
        """
        return {
            "rank": self.rank,
            "alpha": self.alpha,
            "dropout": self.dropout,
            "targets": list(self.targets),
            "also_train": list(self.also_train),
            "merge": self.merge,
        }


def add_adapters(model: torch.nn.Module, lora: LoRA) -> list[torch.nn.Parameter]:
    """Put factors beside the chosen layers, in place, and freeze everything else.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place; gives the same outputs as before until trained.
    lora : LoRA
        The settings.

    Returns
    -------
    list of torch.nn.Parameter
        The parameters of the model as it was that have been frozen; ``merge_adapters`` leaves that to the caller.

    Raises
    ------
    InputError
        Adapters are there already, or no layer or parameter has such a name.
    MissingExtraError
        peft is not installed.

    Examples
    --------
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> frozen = add_adapters(model, LoRA(rank=2, targets=["0"]))
    >>> len(frozen), merge_adapters(model)
    (4, 1)
    """
    peft = _peft()
    if adapted_layers(model):
        raise InputError(
            message("a model that has adapters", "plain weights", "merge them first (LoRA(merge=True) does)")
        )
    trained = [p for p in model.parameters() if p.requires_grad]
    whole = {n: p for n, p in model.named_parameters() if any(fnmatchcase(n, pattern) for pattern in lora.also_train)}
    for pattern in lora.also_train:
        if not any(fnmatchcase(name, pattern) for name in whole):
            raise InputError(
                message(f"also_train={pattern!r}", "a pattern of parameter names", "look at model.named_parameters()")
            )
    targets: Any = "all-linear" if list(lora.targets) == ["all-linear"] else list(lora.targets)
    config = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, bias="none"
    )
    try:
        peft.inject_adapter_in_model(config, model)
    except ValueError as error:
        linear = sorted({n.split(".")[-1] for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)})
        raise InputError(
            message(f"targets={list(lora.targets)}", f"names of layers, such as {linear}", "choose targets among them")
        ) from error
    for parameter in whole.values():
        parameter.requires_grad_(True)
    return [p for p in trained if not p.requires_grad]


def adapted_layers(model: torch.nn.Module) -> list[str]:
    """Return the names of the layers that have factors beside them.

    Parameters
    ----------
    model : torch.nn.Module
        Any model.

    Returns
    -------
    list of str
        Empty for plain weights.
    """
    return [name for name, _ in _layers(model)]


def merge_adapters(model: torch.nn.Module) -> int:
    """Add every product of factors to its matrix and take the factors out, in place.

    Parameters
    ----------
    model : torch.nn.Module
        A model with adapters.

    Returns
    -------
    int
        Layers merged.
    """
    layers = list(_layers(model))
    for name, layer in layers:
        layer.merge(safe_merge=True)
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, layer.get_base_layer())
    if layers and hasattr(model, "peft_config"):
        del model.peft_config
    return len(layers)


def _layers(model: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    # The class is recognised by its interface: importing peft costs seconds, and most models have no adapters.
    for name, module in model.named_modules():
        if hasattr(module, "get_base_layer") and hasattr(module, "lora_A"):
            yield name, module


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise MissingExtraError(
            message("LoRA without peft", "the extra 'learn'", "run: pip install 'orthant[learn]'")
        ) from error
    return peft
