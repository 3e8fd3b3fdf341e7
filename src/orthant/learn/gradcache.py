"""Large contrastive batches in the memory of a small one: gradients are cached at the embeddings.

Any encoders, any loss over all embeddings. Every mini-batch is encoded twice; only one is in memory with its graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import get_device_states, set_device_states

from orthant.errors import InputError, message
from orthant.learn.losses.protocol import LossOutput
from orthant.validate import check_count

__all__ = ["GradCache", "count_rows", "join_rows", "take_rows"]


def count_rows(inputs: Any) -> int:
    """Number of items in what an encoder takes.

    Parameters
    ----------
    inputs : Tensor of shape (n, ...), list, or mapping of str to Tensor
        In a mapping, ``input_ids`` or ``attention_mask`` count, else the first tensor.

    Returns
    -------
    int
        n.

    Raises
    ------
    InputError
        Something without rows.
    """
    if isinstance(inputs, Mapping):
        tensors = [value for value in inputs.values() if isinstance(value, Tensor) and value.ndim]
        known = [inputs[key] for key in ("input_ids", "attention_mask") if isinstance(inputs.get(key), Tensor)]
        if known or tensors:
            return len((known or tensors)[0])
    elif isinstance(inputs, (Tensor, list, tuple)):
        return len(inputs)
    raise InputError(message(f"inputs of type {type(inputs).__name__}", "a tensor, list or mapping", "convert them"))


def take_rows(inputs: Any, begin: int, end: int) -> Any:
    """Return some items of what an encoder takes, without the padding that none of them needs.

    Parameters
    ----------
    inputs : Tensor of shape (n, ...), list, or mapping of str to Tensor
        In a mapping, tensors of n rows are cut; what is no tensor goes along whole.
    begin, end : int
        Which items.

    Returns
    -------
    Tensor, list or dict
        Of the same kind.

    Raises
    ------
    InputError
        A mapping with a tensor that has another number of rows, such as a flattened batch.

    Examples
    --------
    >>> import torch
    >>> ids, mask = torch.tensor([[7, 8, 9], [5, 0, 0]]), torch.tensor([[1, 1, 1], [1, 0, 0]])
    >>> take_rows({"input_ids": ids, "attention_mask": mask}, 1, 2)["input_ids"].tolist()
    [[5]]
    """
    if not isinstance(inputs, Mapping):
        return inputs[begin:end]
    rows, out = count_rows(inputs), {}
    mask = inputs.get("attention_mask")
    width = used = None
    if isinstance(mask, Tensor) and mask.ndim == 2:
        columns = mask[begin:end].bool().any(0).nonzero()
        # Padding on the left stays: positions are counted from there.
        width, used = mask.shape[1], int(columns.max()) + 1 if len(columns) else 1
    for name, value in inputs.items():
        # One number for the whole batch, such as the length of a prompt, is no row.
        if not isinstance(value, Tensor) or value.ndim == 0 or name == "prompt_length":
            out[name] = value
            continue
        if len(value) != rows:
            raise InputError(
                message(
                    f"{name} with {len(value)} rows beside {rows}",
                    "one row per item in every tensor",
                    "turn off flattened inputs, or mini-batches",
                )
            )
        part = value[begin:end]
        out[name] = part[:, :used] if width is not None and part.ndim > 1 and part.shape[1] == width else part
    return out


def join_rows(parts: list[Tensor]) -> Tensor:
    """Concatenate the outputs of mini-batches, padding further axes with zeros to the widest.

    Parameters
    ----------
    parts : list of Tensor of shape (n, ...)
        Outputs; n and, as with tokens, other sizes may differ.

    Returns
    -------
    Tensor of shape (sum of all n, ...)
        The rows in order.

    Examples
    --------
    >>> import torch
    >>> join_rows([torch.ones(1, 2), torch.ones(1, 3)]).tolist()
    [[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]
    """
    widest = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
    if all(list(part.shape[1:]) == widest for part in parts):
        return torch.cat(parts)
    padded = []
    for part in parts:
        missing = [wide - size for size, wide in zip(part.shape[1:], widest, strict=True)]
        padded.append(nn.functional.pad(part, [pad for short in reversed(missing) for pad in (0, short)]))
    return torch.cat(padded)


class _RandomState:
    """Random numbers and precision as they were when a mini-batch was first encoded."""

    def __init__(self, inputs: Any) -> None:
        values = inputs.values() if isinstance(inputs, Mapping) else [inputs]
        tensors = [value for value in values if isinstance(value, Tensor)]
        self.cpu = torch.get_rng_state()
        self.devices, self.states = get_device_states(*tensors)
        kinds = {"cpu", *(tensor.device.type for tensor in tensors)}
        self.autocast = [(kind, torch.get_autocast_dtype(kind)) for kind in kinds if torch.is_autocast_enabled(kind)]

    @contextmanager
    def replayed(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng(devices=self.devices))
            torch.set_rng_state(self.cpu)
            set_device_states(self.devices, self.states)
            for kind, dtype in self.autocast:
                stack.enter_context(torch.autocast(kind, dtype=dtype))
            yield


@dataclass
class _Step:
    """One mini-batch: how to encode it again, and what its outputs are to be multiplied with."""

    encode: Callable[[Any], Any]
    inputs: Any
    begin: int
    end: int
    random: _RandomState
    leaves: dict[str, Tensor] = field(default_factory=dict)
    gradients: dict[str, Tensor] = field(default_factory=dict)

    def outputs(self) -> dict[str, Tensor]:
        made = self.encode(take_rows(self.inputs, self.begin, self.end))
        return dict(made) if isinstance(made, Mapping) else {"": made}


class _Replay(torch.autograd.Function):
    """Hands the loss on; its backward pass encodes all mini-batches again."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, loss: Tensor, steps: list[_Step], gradients: list[Any], *_: Tensor) -> Tensor:
        ctx.steps, ctx.gradients = steps, gradients
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, factor: Tensor) -> tuple[Any, ...]:
        steps = [step for step in ctx.steps if step.gradients]
        for number, step in enumerate(steps, 1):
            # Processes exchange gradients once, with the last mini-batch.
            quiet = getattr(step.encode, "no_sync", nullcontext) if number < len(steps) else nullcontext
            with torch.enable_grad(), step.random.replayed(), quiet():
                outputs = step.outputs()
                learned = {n: g for n, g in step.gradients.items() if outputs[n].requires_grad}
                if learned:
                    chosen = [outputs[name] for name in learned]
                    torch.autograd.backward(chosen, [(g * factor).to(outputs[n].dtype) for n, g in learned.items()])
        own = tuple(None if gradient is None else gradient * factor for gradient in ctx.gradients)
        return (None, None, None, None, *own)


class GradCache:
    """Compute a loss over a batch that is too large to be encoded with its graph.

    The gradient is exact. Use it where in-batch negatives want thousands of rows; it costs a second forward pass. Not
    for encoders whose outputs depend on the other rows of a batch, as with batch normalisation
    in training.

    Parameters
    ----------
    encoders : callable, or mapping of str to callable
        What turns a mini-batch of inputs into a tensor (n, ...), or a mapping of such tensors. With a mapping of
        encoders, each input has its own, by name; one callable serves all.
    loss : callable
        Takes a dict of all embeddings by the names of the inputs (a nested dict where the encoder returns one) and
        returns a scalar or a `LossOutput`. It may also have called ``backward`` on the embeddings itself.
    mini_batch_size : int
        Rows that are encoded at once. Small: less memory; large: faster.
    parameters : iterable of Tensor, optional
        What the loss itself learns, such as a temperature. Left out: the parameters of the loss, if it is a module.

    Raises
    ------
    InputError
        A mini-batch of less than one row, or an input without encoder.

    Notes
    -----
    Encode without gradients; u = dL / d embeddings; encode each mini-batch again with the same random numbers and
    back-propagate <embeddings, u>. Memory: the graph of one mini-batch, and all embeddings twice. The generators of
    torch are replayed, those of Python and NumPy are not. Processes that train together must scale the loss alike.

    References
    ----------
    Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", arXiv 2101.06983,
    section 3.

    Examples
    --------
    >>> import torch
    >>> from orthant.learn.losses import ContrastiveLoss
    >>> tower = torch.nn.Linear(4, 2)
    >>> cache = GradCache(tower, ContrastiveLoss(), mini_batch_size=2)
    >>> output = cache({"queries": torch.randn(6, 4), "positives": torch.randn(6, 4)})
    >>> output.loss.backward()
    >>> tuple(tower.weight.grad.shape)
    (2, 4)
    """

    def __init__(
        self,
        encoders: Callable[[Any], Any] | Mapping[str, Callable[[Any], Any]],
        loss: Callable[[dict[str, Any]], Tensor | LossOutput],
        *,
        mini_batch_size: int,
        parameters: Iterable[Tensor] | None = None,
    ) -> None:
        self.encoders = encoders
        self.loss = loss
        self.mini_batch_size = check_count(mini_batch_size, name="mini_batch_size")
        if parameters is None:
            parameters = loss.parameters() if isinstance(loss, nn.Module) else ()
        self.parameters = list(parameters)

    def __call__(self, inputs: Mapping[str, Any], *, fields: Mapping[str, Any] | None = None) -> Any:
        """Compute the loss; ``backward`` on it reaches the encoders.

        Parameters
        ----------
        inputs : mapping of str to inputs
            What the encoders take: tensors of shape (n, ...), lists, or mappings of tensors with n rows. Numbers of
            rows may differ between names.
        fields : mapping, optional
            What else the loss takes, handed on as it is; names must differ from those of the inputs.

        Returns
        -------
        Tensor of shape () or LossOutput
            Whatever the loss returns. Under ``torch.no_grad`` it is only computed.

        Raises
        ------
        InputError
            An input without encoder or rows, or a field with the name of an input.
        """
        extra = dict(fields or {})
        if clash := sorted(set(extra) & set(inputs)):
            raise InputError(message(f"{clash} both as inputs and as fields", "different names", "rename one of them"))
        learning = torch.is_grad_enabled()
        steps = {name: self._steps(name, value) for name, value in inputs.items()}
        embeddings = {name: _joined(parts, learning) for name, parts in steps.items()}
        with torch.set_grad_enabled(learning):
            output = self.loss({**embeddings, **extra})
        value = output.loss if isinstance(output, LossOutput) else output
        if learning:
            flat = [step for parts in steps.values() for step in parts]
            value = self._cached(value, flat)
        return replace(output, loss=value) if isinstance(output, LossOutput) else value

    def _steps(self, name: str, inputs: Any) -> list[_Step]:
        encode = self.encoders.get(name) if isinstance(self.encoders, Mapping) else self.encoders
        if encode is None:
            raise InputError(message(f"an input {name!r} without encoder", "one of each name", "add the encoder"))
        rows, size = count_rows(inputs), self.mini_batch_size
        if rows == 0:
            raise InputError(message(f"no rows in {name!r}", "at least one", "leave the input out"))
        steps = []
        for begin in range(0, rows, size):
            step = _Step(encode, inputs, begin, min(begin + size, rows), _RandomState(inputs))
            with torch.no_grad():
                step.leaves = {key: value.detach() for key, value in step.outputs().items()}
            for value in step.leaves.values():
                value.requires_grad_(value.is_floating_point() and torch.is_grad_enabled())
            steps.append(step)
        return steps

    def _cached(self, value: Tensor, steps: list[_Step]) -> Tensor:
        leaves = [(step, key) for step in steps for key, leaf in step.leaves.items() if leaf.requires_grad]
        learned = [parameter for parameter in self.parameters if parameter.requires_grad]
        wanted = [step.leaves[key] for step, key in leaves] + learned
        found: tuple[Tensor | None, ...] = (None,) * len(wanted)
        if value.requires_grad:
            found = torch.autograd.grad(value, wanted, allow_unused=True)
        for (step, key), gradient in zip(leaves, found, strict=False):
            parts = [part for part in (gradient, step.leaves[key].grad) if part is not None]
            if parts:
                step.gradients[key] = sum(parts[1:], parts[0])
        for step in steps:
            step.leaves = {}
        anchor = torch.zeros((), requires_grad=True)
        return _Replay.apply(anchor, value.detach(), steps, list(found[len(leaves) :]), *learned)


def _joined(steps: list[_Step], learning: bool) -> Any:
    keys = steps[0].leaves
    out = {key: join_rows([step.leaves[key] for step in steps]) for key in keys}
    return out[""] if set(out) == {""} else out
