"""What a model learned, as the difference from the model it started from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch

from orthant.errors import DtypeError, InputError, NonFiniteError, message
from orthant.learn.merging.arrays import inner_product
from orthant.learn.merging.compatibility import renamed
from orthant.learn.merging.files import TensorFileWriter
from orthant.learn.merging.sources import (
    FolderWeights,
    StateWeights,
    Weights,
    agreed_names,
    check_finite,
    open_weights,
)

__all__ = ["TaskVector"]

_KIND = "task_vector"
_STORED = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class TaskVector:
    """The difference between a fine-tuned model and its ancestor; can be added, scaled and compared.

    Use it to look at what fine-tuning did, or to compute with a few models that fit into memory. To merge models that
    do not, use `orthant.learn.merging.merge_models`.

    Parameters
    ----------
    differences : mapping of str to torch.Tensor
        Floating tensors by name; held in float32.

    Examples
    --------
    >>> base, tuned = {"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([2.0, 2.0])}
    >>> learned = TaskVector.between(base, tuned)
    >>> (-learned).apply(base)["w"].tolist(), (2 * learned).norm()
    ([0.0, 2.0], 2.0)
    """

    def __init__(self, differences: Mapping[str, torch.Tensor]) -> None:
        source = StateWeights(differences, origin="task vector")
        # Equal zero tensors of one storage would otherwise be taken for tied weights and vanish.
        self.differences = {name: tensor.detach().to(torch.float32) for name, tensor in differences.items()}
        if not source.names:
            raise InputError(message("a task vector without tensors", "at least one", "check the names"))

    @classmethod
    def between(cls, ancestor: Weights, tuned: Weights) -> TaskVector:
        """Subtract the ancestor from a fine-tuned model, in float32.

        Parameters
        ----------
        ancestor, tuned : folder, state dict or module
            Two models with equal names and shapes.

        Returns
        -------
        TaskVector
            Floating tensors only; integers and booleans are no weights.

        Raises
        ------
        InputError
            The models do not agree (all mismatches listed), or have an unmerged adapter.
        NonFiniteError
            NaN or infinity in one of them.
        """
        before = open_weights(ancestor)
        after = renamed(open_weights(tuned), before.names)[0]
        out = {}
        for name in agreed_names([before, after]):
            if before.dtype(name).is_floating_point:
                new = check_finite(after.read(name).to(torch.float32), name=name, origin=after.origin)
                old = check_finite(before.read(name).to(torch.float32), name=name, origin=before.origin)
                out[name] = new - old
        return cls(out)

    def _paired(self, other: TaskVector) -> None:
        agreed_names([StateWeights(self.differences), StateWeights(other.differences)])

    def __add__(self, other: TaskVector) -> TaskVector:
        """Both differences, one after the other."""
        if not isinstance(other, TaskVector):
            return NotImplemented
        self._paired(other)
        return TaskVector({name: own + other.differences[name] for name, own in self.differences.items()})

    def __mul__(self, factor: float) -> TaskVector:
        """The difference, stretched by a number."""
        if not isinstance(factor, (int, float)):
            return NotImplemented
        if not math.isfinite(factor):
            raise NonFiniteError(message(f"a factor of {factor}", "a finite number", "check where it comes from"))
        return TaskVector({name: own * factor for name, own in self.differences.items()})

    __rmul__ = __mul__

    def __neg__(self) -> TaskVector:
        """The difference that takes away what was learned."""
        return self * -1.0

    def __sub__(self, other: TaskVector) -> TaskVector:
        """What this model learned and the other did not."""
        if not isinstance(other, TaskVector):
            return NotImplemented
        self._paired(other)
        return TaskVector({name: own - other.differences[name] for name, own in self.differences.items()})

    def dot(self, other: TaskVector) -> float:
        """Inner product with another difference, over all weights.

        Parameters
        ----------
        other : TaskVector
            With the same names and shapes.

        Returns
        -------
        float
            Summed in float64.

        Raises
        ------
        InputError
            Other names or shapes.
        """
        self._paired(other)
        return sum(inner_product(own, other.differences[name]) for name, own in self.differences.items())

    def norm(self) -> float:
        """How far the model moved: the Euclidean length over all weights."""
        return math.sqrt(self.dot(self))

    def cosine(self, other: TaskVector) -> float:
        """Whether two models learned in the same direction.

        Parameters
        ----------
        other : TaskVector
            With the same names and shapes.

        Returns
        -------
        float
            From -1 to 1; near 0 for unrelated tasks; 0.0 when one of them is zero.

        Raises
        ------
        InputError
            Other names or shapes.
        """
        lengths = self.norm() * other.norm()
        return max(-1.0, min(1.0, self.dot(other) / lengths)) if lengths else 0.0

    def apply(self, ancestor: Weights, *, scale: float = 1.0) -> dict[str, torch.Tensor]:
        """Add the difference to a model.

        Parameters
        ----------
        ancestor : folder, state dict or module
            The model that the difference was taken from, or another one of the same shapes.
        scale : float, default 1.0
            How far to go; negative forgets.

        Returns
        -------
        dict of str to torch.Tensor
            A state dict in the model's own types; tensors without a difference are copies.

        Raises
        ------
        InputError
            The model lacks a tensor, or has one of another shape.
        NonFiniteError
            A scale that is not finite.
        """
        if not math.isfinite(scale):
            raise NonFiniteError(message(f"scale={scale}", "a finite number", "check where it comes from"))
        source = open_weights(ancestor)
        agreed_names([StateWeights(self.differences), _Only(source, set(self.differences))])
        state = {}
        for name in source.names:
            value = source.read(name)
            if name in self.differences:
                value = torch.add(value.to(torch.float32), self.differences[name], alpha=scale).to(value.dtype)
            state[name] = value.clone()
        state.update({name: state[kept] for name, kept in source.tied.items()})
        return state

    def save(self, path: str | Path, *, dtype: str = "float32") -> None:
        """Write the differences to one safetensors file.

        Parameters
        ----------
        path : str or Path
            The file; replaced when it is complete.
        dtype : {"float32", "bfloat16", "float16"}, default "float32"
            Half the bytes with the other two. Small differences vanish in float16 below about 6e-8.

        Raises
        ------
        DtypeError
            Another type.
        """
        if dtype not in _STORED:
            raise DtypeError(message(f"dtype={dtype!r}", f"one of {sorted(_STORED)}", "check the spelling"))
        layout = {name: (_STORED[dtype], tuple(own.shape)) for name, own in self.differences.items()}
        with TensorFileWriter(path, layout, metadata={"format": "pt", "kind": _KIND}) as file:
            for name, own in self.differences.items():
                file.write(name, own.to(_STORED[dtype]))

    @classmethod
    def load(cls, path: str | Path) -> TaskVector:
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        TaskVector
            In float32.

        Raises
        ------
        NotFoundError, StoreCorruptedError
            No such file, or a damaged one.
        InputError
            A file of weights rather than of differences.
        """
        source = FolderWeights(path)
        if next(iter(source.metadata.values())).get("kind") != _KIND:
            raise InputError(
                message(f"{path}, which holds no task vector", "a file that save() wrote", "use TaskVector.between")
            )
        return cls({name: source.read(name).to(torch.float32, copy=True) for name in source.names})


class _Only(StateWeights):
    """Part of a source, so that tensors without a difference do not count as mismatches."""

    def __init__(self, source: object, names: set[str]) -> None:
        opened = open_weights(source)  # type: ignore[arg-type]
        super().__init__({name: opened.read(name) for name in opened.names if name in names}, origin=opened.origin)
