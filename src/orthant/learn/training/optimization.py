"""AdamW with its groups, the learning rate over the steps, and the scaling of gradients: one choice for both loops."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import torch
from torch.optim.lr_scheduler import LambdaLR

from orthant.errors import InputError, StoreCorruptedError, message
from orthant.learn.training.stage import Stage

__all__ = [
    "build_optimizer",
    "build_schedule",
    "frozen_names",
    "gradient_norm",
    "optimizer_tensors",
    "rate_multiplier",
    "restore_optimizer",
    "scale_gradients",
]

_NORMALISATIONS = (torch.nn.LayerNorm, torch.nn.GroupNorm, torch.nn.modules.batchnorm._BatchNorm)
_UNDECAYED = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)")


def rate_multiplier(step: int, *, steps: int, warmup: int, schedule: str) -> float:
    """Return the share of the peak learning rate at a step.

    Parameters
    ----------
    step : int
        Updates done, from 0.
    steps : int
        Updates in all.
    warmup : int
        Updates over which the rate rises from 0.
    schedule : {"linear", "cosine", "constant"}
        What follows.

    Returns
    -------
    float
        From 0 to 1; equal to transformers' schedules of these names.

    Notes
    -----
    With w warm-up steps of n and p = (s - w) / (n - w): ``s / w`` before w; then ``1 - p``, ``(1 + cos(pi p)) / 2`` or
    1.

    Examples
    --------
    >>> [rate_multiplier(s, steps=4, warmup=2, schedule="linear") for s in range(5)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if step < warmup:
        return step / max(1, warmup)
    if schedule == "constant":
        return 1.0
    if schedule == "linear":
        return max(0.0, (steps - step) / max(1, steps - warmup))
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * ((step - warmup) / max(1, steps - warmup)))))


def build_optimizer(named: Mapping[str, torch.nn.Parameter], owner: torch.nn.Module, stage: Stage) -> torch.optim.AdamW:
    """Return AdamW over parameters in two groups, of which only the first decays.

    Parameters
    ----------
    named : mapping of str to torch.nn.Parameter
        What is trained, of any shapes.
    owner : torch.nn.Module
        The modules that hold them: weights of normalisation layers are recognised there.
    stage : Stage
        Learning rate and decay.

    Returns
    -------
    torch.optim.AdamW
        With betas 0.9 and 0.999 and epsilon 1e-8.

    Raises
    ------
    InputError
        Nothing to train.

    References
    ----------
    Loshchilov and Hutter, Decoupled Weight Decay Regularization, arXiv 1711.05101, algorithm 2.
    """
    if not named:
        raise InputError(
            message(f"stage {stage.name!r} with nothing to train", "a parameter that is not frozen", "freeze less")
        )
    normal = {id(p) for m in owner.modules() if isinstance(m, _NORMALISATIONS) for p in m.parameters(recurse=False)}
    plain = {name for name, p in named.items() if id(p) in normal or _UNDECAYED.search(name.lower())}
    groups = [
        {"params": [p for name, p in named.items() if name not in plain], "weight_decay": stage.weight_decay},
        {"params": [p for name, p in named.items() if name in plain], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=stage.learning_rate)


def build_schedule(optimizer: torch.optim.Optimizer, stage: Stage, *, steps: int, done: int = 0) -> LambdaLR:
    """Return the schedule of a stage, at the step where it goes on.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Its groups get the rate.
    stage : Stage
        Schedule and warm-up; the warm-up is ``ceil(warmup * steps)`` steps.
    steps : int
        Updates in all.
    done : int, default 0
        Updates done.

    Returns
    -------
    LambdaLR
        To be stepped after each update.
    """
    for entry in optimizer.param_groups:
        entry.setdefault("initial_lr", stage.learning_rate)
    warmup = math.ceil(stage.warmup * steps)
    multiplier = partial(rate_multiplier, steps=steps, warmup=warmup, schedule=stage.schedule)
    return LambdaLR(optimizer, multiplier, last_epoch=done - 1)


def gradient_norm(parameters: Iterable[torch.nn.Parameter]) -> torch.Tensor:
    """Return the Euclidean norm of all gradients together.

    Parameters
    ----------
    parameters : iterable of torch.nn.Parameter
        Those without a gradient count as zero.

    Returns
    -------
    torch.Tensor of shape ()
        Not finite if a gradient is not.
    """
    norms = [torch.linalg.vector_norm(p.grad.detach().float()) for p in parameters if p.grad is not None]
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())


def scale_gradients(parameters: Iterable[torch.nn.Parameter], norm: float, *, maximum: float) -> None:
    """Scale all gradients by one factor if their norm is above a maximum.

    Parameters
    ----------
    parameters : iterable of torch.nn.Parameter
        Their gradients are changed in place.
    norm : float
        What ``gradient_norm`` returned.
    maximum : float
        Above 0; 0 leaves the gradients alone.
    """
    factor = maximum / (norm + 1e-6)
    if maximum and factor < 1.0:
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(factor)


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, named: Mapping[str, torch.nn.Parameter]
) -> dict[str, torch.Tensor]:
    """Return the moments by name of parameter.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        What ``build_optimizer`` returned, perhaps after some steps.
    named : mapping of str to torch.nn.Parameter
        The parameters that it was built of.

    Returns
    -------
    dict of str to torch.Tensor
        ``<parameter>.<moment>``, of the parameter's shape or scalar; empty before the first step.
    """
    return {
        f"{name}.{key}": value
        for name, parameter in named.items()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, torch.Tensor)
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer,
    named: Mapping[str, torch.nn.Parameter],
    tensors: Mapping[str, torch.Tensor],
) -> None:
    """Give the optimizer the moments that ``optimizer_tensors`` returned.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Fresh from ``build_optimizer``.
    named : mapping of str to torch.nn.Parameter
        The parameters that it was built of.
    tensors : mapping of str to torch.Tensor
        The moments, of the shapes they had.

    Raises
    ------
    StoreCorruptedError
        Moments of parameters that are not trained here.
    """
    for key, value in tensors.items():
        name, _, moment = key.rpartition(".")
        if name not in named:
            raise StoreCorruptedError(
                message(f"moments of {name!r}", "those of the parameters that this stage trains", "start again")
            )
        parameter = named[name]
        # The step count of AdamW stays on the CPU, the moments live beside their weights.
        device = value.device if value.ndim == 0 else parameter.device
        optimizer.state[parameter][moment] = value.to(device).clone()


def frozen_names(names: Sequence[str], patterns: Sequence[str]) -> set[str]:
    """Return the names that a pattern matches.

    Parameters
    ----------
    names : sequence of str
        Names of parameters.
    patterns : sequence of str
        With ``*`` and ``?``.

    Returns
    -------
    set of str
        May be all of them.

    Raises
    ------
    InputError
        A pattern that matches nothing.
    """
    from fnmatch import filter as matching

    found: set[str] = set()
    for pattern in patterns:
        hits = matching(names, pattern)
        if not hits:
            shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
            raise InputError(message(f"freeze={pattern!r}", f"a pattern of {shown}", "check the spelling"))
        found.update(hits)
    return found
