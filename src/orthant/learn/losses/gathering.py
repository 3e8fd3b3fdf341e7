"""The same batch on every process: rows gathered across processes, with gradients that flow back.

Without an initialised process group everything here hands back what it was given.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["gather_rows", "process_count", "process_rank"]


def process_count() -> int:
    """Number of processes that train together.

    Returns
    -------
    int
        1 without a process group.

    Examples
    --------
    >>> process_count()
    1
    """
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_rank() -> int:
    """Which of the processes this is.

    Returns
    -------
    int
        From 0; 0 without a process group.

    Examples
    --------
    >>> process_rank()
    0
    """
    return dist.get_rank() if process_count() > 1 else 0


class _Gather(torch.autograd.Function):
    """Concatenates equally shaped tensors of all processes; the backward pass sums what each of them found."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, tensor.contiguous())
        ctx.rows = len(tensor)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        begin = dist.get_rank() * ctx.rows
        return gradient[begin : begin + ctx.rows]


def gather_rows(tensor: Tensor) -> tuple[Tensor, int]:
    """Concatenate the rows of all processes, in the order of the processes.

    Every process must call this at the same point, with the same number of axes. Sizes may differ: the rows of each
    process are kept as they are, the other axes are padded with zeros to the largest.

    Parameters
    ----------
    tensor : Tensor of shape (n, ...)
        The rows of this process; n may differ between processes.

    Returns
    -------
    rows : Tensor of shape (sum of all n, ...)
        The rows of all processes. The gradient of each row is the sum over all processes, so that an average over
        processes, as `DistributedDataParallel` makes it, gives the gradient of the average loss.
    offset : int
        Where the rows of this process begin.

    Examples
    --------
    >>> import torch
    >>> rows, offset = gather_rows(torch.ones(2, 3))
    >>> tuple(rows.shape), offset
    ((2, 3), 0)
    """
    if process_count() == 1:
        return tensor, 0
    shape = torch.tensor(tensor.shape, dtype=torch.int64, device=tensor.device)
    shapes = [torch.empty_like(shape) for _ in range(process_count())]
    dist.all_gather(shapes, shape)
    sizes = torch.stack(shapes).tolist()
    largest = [max(column) for column in zip(*sizes, strict=True)]
    padding = [
        pad for size, top in zip(reversed(tensor.shape), reversed(largest), strict=True) for pad in (0, top - size)
    ]
    # Gloo has no collective for booleans on every backend; bytes travel everywhere.
    wire = tensor.to(torch.uint8) if tensor.dtype == torch.bool else tensor
    gathered = _Gather.apply(torch.nn.functional.pad(wire, padding))
    counts = [size[0] for size in sizes]
    if min(counts) < largest[0]:
        gathered = torch.cat([part[:n] for part, n in zip(gathered.split(largest[0]), counts, strict=True)])
    return gathered.to(tensor.dtype), sum(counts[: process_rank()])
