"""Several processes that train as one: who they are, the same weights at the start, the mean of their gradients."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as group

from orthant.errors import InputError, message

__all__ = ["Processes", "joined_processes"]

_BUCKET = 1 << 22


@dataclass(frozen=True)
class Processes:
    """The processes of a training and this one's place among them.

    Parameters
    ----------
    rank : int, default 0
        Number of this process.
    world : int, default 1
        How many there are.

    Notes
    -----
    All methods do nothing with one process. With several, each must be called by all of them in the same order. A batch
    is split by rows; the mean of the gradients of the parts is the gradient of the whole when parts are equal and the
    loss is a mean over rows.

    Examples
    --------
    >>> Processes().mean(2.5)
    2.5
    """

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def mean(self, value: float, *, device: torch.device | None = None) -> float:
        """Return the mean of a number over the processes.

        Parameters
        ----------
        value : float
            This process's number.
        device : torch.device, optional
            Where the exchange happens; None for the CPU.

        Returns
        -------
        float
            The same in every process.
        """
        if self.world == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=device)
        group.all_reduce(total)
        return float(total) / self.world

    def share(self, tensors: Iterable[torch.Tensor]) -> None:
        """Give every process the first one's values, in place.

        Parameters
        ----------
        tensors : iterable of torch.Tensor
            Weights and buffers of any shapes, in the same order everywhere.
        """
        if self.world > 1:
            for tensor in tensors:
                group.broadcast(tensor.detach(), src=0)

    def average_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes.

        Parameters
        ----------
        parameters : sequence of torch.nn.Parameter
            In the same order everywhere; one without a gradient counts as zero, since another process may have one.
        """
        if self.world == 1:
            return
        for bucket in _buckets(self._with_gradient(parameters)):
            for parameter in bucket:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            flat = torch.cat([p.grad.reshape(-1) for p in bucket if p.grad is not None])
            group.all_reduce(flat)
            flat /= self.world
            start = 0
            for parameter in bucket:
                if parameter.grad is not None:
                    parameter.grad.copy_(flat[start : start + parameter.numel()].view_as(parameter))
                start += parameter.numel()

    def _with_gradient(self, parameters: Sequence[torch.nn.Parameter]) -> list[torch.nn.Parameter]:
        """Those that have a gradient in some process; a zero for the others would make the optimizer decay them."""
        if not parameters:
            return []
        flags = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32, device=parameters[0].device)
        group.all_reduce(flags)
        return [p for p, flag in zip(parameters, flags.tolist(), strict=True) if flag]

    def gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """Return every process's tensor, without gradient.

        Parameters
        ----------
        tensor : torch.Tensor
            Of the same shape and dtype in every process.

        Returns
        -------
        list of torch.Tensor
            In order of rank.
        """
        if self.world == 1:
            return [tensor]
        parts = [torch.empty_like(tensor) for _ in range(self.world)]
        group.all_gather(parts, tensor.contiguous())
        return parts

    def wait(self) -> None:
        """Return once every process has come here."""
        if self.world > 1:
            group.barrier()


@contextmanager
def joined_processes(device: torch.device) -> Iterator[Processes]:
    """Join the group that ``torchrun`` announces in the environment, and leave it afterwards.

    Parameters
    ----------
    device : torch.device
        Where the model is: gloo connects CPUs, nccl connects GPUs.

    Yields
    ------
    Processes
        One process when nothing is announced.

    Raises
    ------
    InputError
        An incomplete announcement.

    Examples
    --------
    >>> with joined_processes(torch.device("cpu")) as processes:
    ...     processes.world
    1
    """
    if group.is_available() and group.is_initialized():
        yield Processes(group.get_rank(), group.get_world_size())
        return
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise InputError(
            message(f"WORLD_SIZE without {', '.join(missing)}", "all that torchrun sets", "start with torchrun")
        )
    group.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(group.get_rank(), group.get_world_size())
    finally:
        group.destroy_process_group()


def _buckets(parameters: Sequence[torch.nn.Parameter]) -> Iterator[list[torch.nn.Parameter]]:
    """Groups of one dtype and about 16 MB: one exchange each instead of one per tensor."""
    bucket: list[torch.nn.Parameter] = []
    size = 0
    for parameter in parameters:
        if bucket and (parameter.dtype != bucket[0].dtype or size + parameter.numel() > _BUCKET):
            yield bucket
            bucket, size = [], 0
        bucket.append(parameter)
        size += parameter.numel()
    if bucket:
        yield bucket
