"""Whether tasks pull the weights they share in opposite directions."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from orthant.errors import InputError, message
from orthant.learn.analysis.gradients import collect_gradients
from orthant.learn.merging.arrays import inner_product
from orthant.learn.merging.sources import layer_of

__all__ = ["GradientConflict", "gradient_conflict"]


@dataclass(frozen=True)
class GradientConflict:
    """Cosines of tasks' mean gradients.

    Attributes
    ----------
    tasks : tuple of str
        Names, in the order of the matrices.
    cosine : ndarray of shape (tasks, tasks), float64
        Over all weights; 1 on the diagonal, 0 where a gradient is zero, negative where two tasks conflict.
    layers : dict of str to ndarray of shape (tasks, tasks)
        The same within each layer.
    norms : tuple of float
        Length of each task's gradient: a short one is drowned by a long one in joint training.
    """

    tasks: tuple[str, ...]
    cosine: npt.NDArray[np.float64]
    layers: dict[str, npt.NDArray[np.float64]]
    norms: tuple[float, ...]

    def rows(self) -> list[dict[str, Any]]:
        """List pairs of tasks as a table.

        Returns
        -------
        list of dict
            ``layer`` (``"all"`` first), the two tasks, their ``cosine`` and whether it is a ``conflict``.
        """
        return [
            {"layer": layer, "task": a, "other": b, "cosine": float(matrix[i, j]), "conflict": bool(matrix[i, j] < 0)}
            for layer, matrix in {"all": self.cosine, **self.layers}.items()
            for (i, a), (j, b) in itertools.combinations(enumerate(self.tasks), 2)
        ]

    def plot(self, path: str | Path) -> None:
        """Draw the matrix over all weights.

        Parameters
        ----------
        path : str or Path
            A picture file; the ending decides the format.

        Raises
        ------
        MissingExtraError
            matplotlib is not installed.
        """
        from orthant.learn.analysis.pictures import draw_heat_map

        draw_heat_map(path, self.cosine, rows=self.tasks, columns=self.tasks, title="cosine of the tasks' gradients")


def gradient_conflict(
    model: nn.Module,
    tasks: Mapping[str, Iterable[Any]],
    loss: Callable[[Any], Any] | Mapping[str, Callable[[Any], Any]],
    *,
    scope: Sequence[str] = ("*",),
) -> GradientConflict:
    """Compare the directions in which tasks would move a model.

    Use it before joint training: pairs with a negative cosine are candidates for separate models that are merged.

    Parameters
    ----------
    model : torch.nn.Module
        Left as it was.
    tasks : mapping of str to iterable of batches
        Two or more.
    loss : callable of batch to torch.Tensor of shape (), or a mapping of task to one
        As for `orthant.learn.analysis.collect_gradients`.
    scope : sequence of str, default ("*",)
        Patterns of names of parameters to look at.

    Returns
    -------
    GradientConflict
        Cosines over all weights and by layer.

    Raises
    ------
    InputError
        One task only, a task without loss or data, or a scope that matches nothing.
    NonFiniteError
        NaN or infinity in a gradient.

    Notes
    -----
    Held: one mean gradient per task, and one squared gradient while it is collected.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> up, down = (lambda x: model(x).mean()), (lambda x: -model(x).mean())
    >>> data = [torch.ones(2, 1)]
    >>> gradient_conflict(model, {"up": data, "down": data}, {"up": up, "down": down}).cosine[0, 1].item()
    -1.0
    """
    if len(tasks) < 2:
        raise InputError(message(f"{len(tasks)} task(s)", "at least two", "pass a mapping of task to batches"))
    missing = [task for task in tasks if isinstance(loss, Mapping) and task not in loss]
    if missing:
        raise InputError(message(f"tasks without a loss: {missing}", "one for each", "add them to loss"))
    means = [
        collect_gradients(model, batches, loss[task] if isinstance(loss, Mapping) else loss, scope=scope).mean
        for task, batches in tasks.items()
    ]
    count = len(means)
    products: dict[str, npt.NDArray[np.float64]] = defaultdict(lambda: np.zeros((count, count)))
    for name in means[0]:
        for i, j in itertools.combinations_with_replacement(range(count), 2):
            products[layer_of(name)][i, j] += inner_product(means[i][name], means[j][name])
    layers = {layer: upper + np.triu(upper, 1).T for layer, upper in products.items()}
    total = np.sum(list(layers.values()), axis=0)
    return GradientConflict(
        tasks=tuple(tasks),
        cosine=_cosines(total),
        layers={layer: _cosines(matrix) for layer, matrix in layers.items()},
        norms=tuple(math.sqrt(total[i, i]) for i in range(count)),
    )


def _cosines(products: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    lengths = np.sqrt(np.diag(products))
    scale = np.outer(lengths, lengths)
    return np.clip(np.divide(products, scale, out=np.zeros_like(products), where=scale > 0), -1.0, 1.0)
