"""One phase of training: which rows, which loss, how long, how fast, and what stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch

from orthant.errors import InputError, message
from orthant.validate import check_choice, check_count, check_fraction

if TYPE_CHECKING:
    from orthant.learn.samplers.protocol import Mixture, Sampler
    from orthant.learn.training.lora import LoRA

__all__ = ["LossFactory", "Schedule", "Stage"]

Schedule = Literal["linear", "cosine", "constant"]
LossFactory = Callable[[Any], torch.nn.Module]

_INFINITE = float("inf")
_PLAIN = (
    "name steps epochs batch_size learning_rate warmup schedule weight_decay max_grad_norm average_last ema accumulate"
)


@dataclass(frozen=True)
class Stage:
    """One phase of a training: data, loss, length, learning rate, and what must not change.

    Use several in a ``Curriculum`` when data, loss or learning rate change on the way (weak pairs first, mined
    negatives next). Everything is checked when the stage is made, except what needs the model or the data.

    Parameters
    ----------
    name : str
        Shown in the history and in error texts.
    data : table or mapping of str to table
        For models of sentence-transformers: a list of dicts, a ``datasets.Dataset``, or a mapping of names to these.
        For other models: a mapping of arrays of shapes (n, ...) with equal n (NumPy's float64 becomes float32), a
        map-style torch ``Dataset`` of dicts, or a mapping of names to these.
    loss : callable or mapping of str to callable
        Called with the model when the stage begins; returns the loss, a ``torch.nn.Module``. A mapping has one for each
        data set. For sentence-transformers models the loss is called with (features, labels), for others with a batch,
        a mapping of tensors; it returns a scalar tensor or an object with ``loss`` and ``parts``.
    steps : int, optional
        Updates of the weights, at least 1. Exactly one of `steps` and `epochs` is given.
    epochs : float, optional
        Passes over the data, above 0.
    batch_size : int, default 32
        Rows of a batch, over all processes together. More give more in-batch negatives and a steadier gradient, and
        cost memory; fewer than about 8 leave a contrastive loss little to contrast.
    learning_rate : float, default 2e-5
        Peak rate of AdamW, above 0. 2e-5 suits whole pretrained transformers, 1e-4 to 1e-3 small or new networks. Too
        large: the loss jumps or becomes NaN; too small: nothing is learned within the steps.
    warmup : float, default 0.1
        Share of the steps over which the rate rises from 0, from 0 to 1.
    schedule : {"linear", "cosine", "constant"}, default "linear"
        How the rate goes on after the warm-up; the first two end at 0.
    weight_decay : float, default 0.0
        Decoupled decay of matrices, at least 0; biases and normalisation weights are exempt.
    max_grad_norm : float, default 1.0
        Gradients are scaled down to this norm, at least 0; 0 leaves them alone.
    sampler : str or Sampler, default "shuffled"
        What makes up a batch within one data set: an object, or the name of a class of ``orthant.learn.samplers`` in
        lower case with hyphens, made with its defaults.
    mixture : str or Mixture, default "proportional"
        How several data sets take turns; without effect on one.
    freeze : sequence of str
        Patterns (``*``, ``?``) of names of parameters that stay as they are.
    masks : mapping of str to tensor, optional
        By name of parameter, a tensor of its shape: entries that are 0 or False become 0 and stay 0.
    lora : LoRA, optional
        Trains low-rank factors instead of the weights.
    average_last : int, default 0
        Ends with the mean of the weights of the last so many checkpoints, at least 2; 0 keeps the last weights.
    ema : float, optional
        Ends with the exponential moving average of the weights, with this momentum, from 0 to below 1.
    accumulate : int, default 1
        Batches per update, at least 1; their gradients are averaged. Saves memory; does not add in-batch negatives.
    prompts : str or mapping of str to str, optional
        For sentence-transformers models: text put before every input, or before those of a column.
    routes : mapping of str to str, optional
        For sentence-transformers models with a ``Router``: column to route, such as ``{"question": "query"}``.

    Raises
    ------
    InputError
        A value out of range, both or neither of `steps` and `epochs`, or settings that contradict each other.

    Examples
    --------
    >>> import numpy as np, torch
    >>> stage = Stage("fit", {"x": np.zeros((8, 2))}, lambda model: torch.nn.MSELoss(), steps=10)
    >>> stage.batch_size
    32
    """

    name: str
    data: Any
    loss: LossFactory | Mapping[str, LossFactory]
    steps: int | None = None
    epochs: float | None = None
    batch_size: int = 32
    learning_rate: float = 2e-5
    warmup: float = 0.1
    schedule: Schedule = "linear"
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    sampler: str | Sampler = "shuffled"
    mixture: str | Mixture = "proportional"
    freeze: Sequence[str] = ()
    masks: Mapping[str, torch.Tensor] | None = None
    lora: LoRA | None = None
    average_last: int = 0
    ema: float | None = None
    accumulate: int = 1
    prompts: str | Mapping[str, str] | None = None
    routes: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InputError(message(f"name={self.name!r}", "a text that is not empty", "name the stage"))
        self._check_length()
        self._check_numbers()
        self._check_loss()
        self._check_together()

    def _check_length(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            given = "neither steps nor epochs" if self.steps is None else "both steps and epochs"
            raise InputError(message(f"{given} for stage {self.name!r}", "exactly one", "give steps or epochs"))
        if self.steps is not None:
            check_count(self.steps, name="steps")
        else:
            _check_positive(self.epochs, name="epochs")

    def _check_numbers(self) -> None:
        check_count(self.batch_size, name="batch_size")
        check_count(self.accumulate, name="accumulate")
        check_count(self.average_last, name="average_last", minimum=0)
        _check_positive(self.learning_rate, name="learning_rate")
        check_fraction(self.warmup, name="warmup")
        check_choice(self.schedule, get_args(Schedule), name="schedule")
        check_fraction(self.weight_decay, name="weight_decay", high=_INFINITE)
        check_fraction(self.max_grad_norm, name="max_grad_norm", high=_INFINITE)
        if self.ema is not None and check_fraction(self.ema, name="ema") == 1.0:
            raise InputError(message("ema=1.0", "a number from 0 to below 1", "use 0.99 to 0.9999"))
        if self.average_last == 1:
            raise InputError(
                message("average_last=1", "0, or at least 2 checkpoints to average", "use 0 to keep the last weights")
            )
        if isinstance(self.freeze, str):
            raise InputError(message(f"freeze={self.freeze!r}", "a list of patterns", f"write [{self.freeze!r}]"))

    def _check_loss(self) -> None:
        factories = self.loss.values() if isinstance(self.loss, Mapping) else [self.loss]
        for factory in factories:
            if isinstance(factory, torch.nn.Module) or not callable(factory):
                raise InputError(
                    message(
                        f"loss of type {type(factory).__name__} in stage {self.name!r}",
                        "a function from the model to the loss",
                        "write lambda model: YourLoss(model)",
                    )
                )

    def _check_together(self) -> None:
        if self.average_last and self.ema is not None:
            raise InputError(message("average_last and ema", "one kind of average", "drop one of them"))
        if self.lora is not None and (self.average_last or self.ema is not None):
            raise InputError(
                message(
                    "lora with an average of weights",
                    "one of them: the mean of factors is not the factor of the mean",
                    "train with lora, then average in a stage without it",
                )
            )
        if self.lora is not None and self.masks:
            raise InputError(
                message(
                    "lora with masks",
                    "one of them: merging the factors fills entries that the masks keep at zero",
                    "retrain masked weights without lora",
                )
            )

    def settings(self) -> dict[str, Any]:
        """Return what tells this stage from another, without data, loss and tensors.

        Returns
        -------
        dict
            JSON values; kept in checkpoints and compared when a run is resumed.

        Examples
        --------
        >>> Stage("a", {}, lambda model: model, steps=3).settings()["steps"]
        3
        """
        out: dict[str, Any] = {key: getattr(self, key) for key in _PLAIN.split()}
        out["sampler"] = _named(self.sampler)
        out["mixture"] = _named(self.mixture)
        out["freeze"] = list(self.freeze)
        out["masks"] = {name: int(torch.count_nonzero(mask)) for name, mask in sorted((self.masks or {}).items())}
        out["lora"] = None if self.lora is None else self.lora.settings()
        out["prompts"] = dict(self.prompts) if isinstance(self.prompts, Mapping) else self.prompts
        return out


def _named(value: Any) -> str:
    return value if isinstance(value, str) else type(value).__name__


def _check_positive(value: Any, *, name: str) -> None:
    number = check_fraction(value, name=name, high=_INFINITE)
    if number == 0.0 or number == _INFINITE:
        raise InputError(message(f"{name}={value!r}", "a finite number above 0", f"choose {name} in that range"))
