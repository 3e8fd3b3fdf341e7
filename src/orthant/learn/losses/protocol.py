"""What a loss hands back, and the checks that every loss makes of its tensors, once, at its border."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from orthant.errors import DimensionError, DtypeError, InputError, NonFiniteError, message

__all__ = ["LossOutput", "check_finite", "check_positive", "check_shape"]


@dataclass(frozen=True)
class LossOutput:
    """A loss and what it is made of.

    Attributes
    ----------
    loss : Tensor of shape ()
        What is minimised.
    parts : dict of str to float
        Named figures for the history, such as ``accuracy``; no gradient flows through them.

    Examples
    --------
    >>> import torch
    >>> LossOutput(torch.tensor(0.5), {"accuracy": 1.0}).parts["accuracy"]
    1.0
    """

    loss: Tensor
    parts: dict[str, float] = field(default_factory=dict)


def check_shape(tensor: Tensor, shape: tuple[int | None, ...], *, name: str, like: Tensor | None = None) -> Tensor:
    """Return the tensor if it has the shape, and lies on the device of another one.

    Parameters
    ----------
    tensor : Tensor of any shape
        What was passed.
    shape : tuple of int or None
        Sizes required; None accepts any.
    name : str
        How the tensor is called in an error.
    like : Tensor of any shape, optional
        A tensor on the device that is required.

    Returns
    -------
    Tensor
        The same tensor.

    Raises
    ------
    DtypeError
        Not a tensor.
    DimensionError
        Another shape.
    InputError
        Another device.
    """
    if not isinstance(tensor, Tensor):
        raise DtypeError(
            message(f"{name} of type {type(tensor).__name__}", "a torch tensor", "convert it with torch.as_tensor")
        )
    fits = tensor.ndim == len(shape) and all(w is None or w == g for w, g in zip(shape, tensor.shape, strict=True))
    if not fits:
        wanted = "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
        raise DimensionError(
            message(f"{name} of shape {tuple(tensor.shape)}", f"shape {wanted}", "pass one entry per row of the batch")
        )
    if like is not None and tensor.device != like.device:
        raise InputError(
            message(f"{name} on {tensor.device}", f"the device of the others, {like.device}", "move it with .to()")
        )
    return tensor


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Refuse NaN and infinity in floating point tensors.

    Parameters
    ----------
    tensors : mapping of str to Tensor of any shape
        By the names that an error uses.

    Raises
    ------
    NonFiniteError
        A tensor with NaN or infinity; the error names it and the first rows concerned.
    """
    floating = {name: tensor.detach() for name, tensor in tensors.items() if tensor.is_floating_point()}
    for name, tensor in floating.items():
        if torch.isfinite(tensor).all():
            continue
        bad = (~torch.isfinite(tensor)).flatten(1).any(1) if tensor.ndim > 1 else ~torch.isfinite(tensor)
        rows = bad.nonzero().flatten().tolist()
        shown = ", ".join(map(str, rows[:5])) + (" ..." if len(rows) > 5 else "")
        raise NonFiniteError(
            message(
                f"{name} with NaN or infinity in {len(rows)} row(s): {shown}",
                "finite values",
                "lower the learning rate or clip gradients, and look at the inputs of these rows",
            )
        )


def check_positive(value: float, *, name: str) -> float:
    """Return value if it is a finite number above zero.

    Parameters
    ----------
    value : float
        The number.
    name : str
        How the argument is called in an error.

    Returns
    -------
    float
        The value.

    Raises
    ------
    InputError
        Zero, negative, infinite, or no number.
    """
    valid = isinstance(value, (int, float)) and not isinstance(value, bool) and 0.0 < value < float("inf")
    if not valid:
        raise InputError(message(f"{name}={value!r}", "a finite number above 0", f"choose {name} in that range"))
    return float(value)
