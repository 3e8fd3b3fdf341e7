"""Ways of merging as small settings objects: which method, with which numbers, recorded beside the result."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch

from orthant.errors import InputError, message
from orthant.learn.merging import methods
from orthant.validate import check_fraction

__all__ = ["Dare", "Karcher", "Linear", "MergeRule", "ModelStock", "Slerp", "TaskArithmetic", "Ties"]


@dataclass(frozen=True, kw_only=True)
class MergeRule:
    """What `orthant.learn.merging.merge_models` does with the tensors of one name; write a subclass for another way.

    Attributes
    ----------
    needs_ancestor : bool
        Whether the rule works on differences from the model that all were fine-tuned from.
    """

    needs_ancestor: ClassVar[bool] = False

    def check(self, count: int) -> None:
        """Refuse a number of models that the settings do not fit, before anything is read.

        Parameters
        ----------
        count : int
            Models to merge, the ancestor not among them.

        Raises
        ------
        InputError
            Another number than the settings are for.
        """
        weights = getattr(self, "weights", None)
        if weights is not None and len(weights) != count:
            raise InputError(message(f"{len(weights)} weights for {count} models", "one per model", "pass as many"))

    def combine(self, tensors: Sequence[torch.Tensor], *, name: str) -> torch.Tensor:
        """Make one tensor of several.

        Parameters
        ----------
        tensors : sequence of torch.Tensor of one shape, float32 or float64
            One per model: differences from the ancestor when the rule needs one, else the weights themselves.
        name : str
            The tensor's name.

        Returns
        -------
        torch.Tensor of the same shape
            The merged difference, or the merged weights.
        """
        raise InputError(message(type(self).__name__, "a rule with a method", "use one of its subclasses"))

    def settings(self) -> dict[str, Any]:
        """The rule's name and numbers, for the record beside the result."""
        return {"name": type(self).__name__, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class Linear(MergeRule):
    """Average the weights: a uniform soup, or a weighted one.

    Attributes
    ----------
    weights : sequence of float, optional
        One per model, not negative; divided by their sum.
    """

    weights: Sequence[float] | None = None

    def combine(self, tensors: Sequence[torch.Tensor], *, name: str) -> torch.Tensor:
        """Average; see `orthant.learn.merging.methods.weighted_mean`.

        Parameters
        ----------
        tensors : sequence of torch.Tensor of one shape
            The weights.
        name : str
            Not used.

        Returns
        -------
        torch.Tensor of the same shape
            The mean.
        """
        return methods.weighted_mean(tensors, weights=self.weights)


@dataclass(frozen=True, kw_only=True)
class Slerp(MergeRule):
    """Go from one model to the other along arcs, tensor by tensor.

    Attributes
    ----------
    t : float, default 0.5
        0 is the first model, 1 the second.
    """

    t: float = 0.5

    def check(self, count: int) -> None:
        """Two models, and a place between them.

        Parameters
        ----------
        count : int
            Models to merge.

        Raises
        ------
        InputError
            Not two models, or ``t`` outside 0 to 1.
        """
        check_fraction(self.t, name="t")
        if count != 2:
            raise InputError(message(f"{count} models to slerp", "two", "use Karcher() for more"))

    def combine(self, tensors: Sequence[torch.Tensor], *, name: str) -> torch.Tensor:
        """Interpolate; see `orthant.learn.merging.methods.slerp`.

        Parameters
        ----------
        tensors : sequence of two torch.Tensor of one shape
            The weights.
        name : str
            Not used.

        Returns
        -------
        torch.Tensor of the same shape
            The point on the arc.
        """
        return methods.slerp(tensors[0], tensors[1], t=self.t)


@dataclass(frozen=True, kw_only=True)
class Karcher(MergeRule):
    """Average on the sphere: what slerp is for two models, for any number.

    Attributes
    ----------
    weights : sequence of float, optional
        One per model, not negative; divided by their sum.
    """

    weights: Sequence[float] | None = None

    def combine(self, tensors: Sequence[torch.Tensor], *, name: str) -> torch.Tensor:
        """Average directions; see `orthant.learn.merging.methods.karcher_mean`.

        Parameters
        ----------
        tensors : sequence of torch.Tensor of one shape
            The weights.
        name : str
            Not used.

        Returns
        -------
        torch.Tensor of the same shape
            The mean.
        """
        return methods.karcher_mean(tensors, weights=self.weights)


@dataclass(frozen=True, kw_only=True)
class TaskArithmetic(MergeRule):
    """Add what each model learned to the ancestor, or take it away.

    Attributes
    ----------
    weights : sequence of float, optional
        One per model, any sign; 1 each when left out.
    """

    needs_ancestor: ClassVar[bool] = True
    weights: Sequence[float] | None = None

    def combine(self, tensors: Sequence[torch.Tensor], *, name: str) -> torch.Tensor:
        """Add; see `orthant.learn.merging.methods.weighted_sum`.

        Parameters
        ----------
        tensors : sequence of torch.Tensor of one shape
            Differences from the ancestor.
        name : str
            Not used.

        Returns
        -------
        torch.Tensor of the same shape
            Their sum.
        """
        return methods.weighted_sum(tensors, weights=self.weights)


@dataclass(frozen=True, kw_only=True)
class Ties(MergeRule):
    """Keep the largest changes, vote on signs, average what agrees.

    Attributes
    ----------
    density : float, default 0.2
        Share of entries kept per model and tensor.
    weights : sequence of float, optional
        One per model, not negative.
    scale : float, default 1.0
        How far to go in the merged direction.
    """

    needs_ancestor: ClassVar[bool] = True
    density: float = 0.2
    weights: Sequence[float] | None = None
    scale: float = 1.0

    def combine(self, tensors: Sequence[torch.Tensor], *, name: str) -> torch.Tensor:
        """Trim, elect, average; see `orthant.learn.merging.methods.ties`.

        Parameters
        ----------
        tensors : sequence of torch.Tensor of one shape
            Differences from the ancestor.
        name : str
            Not used.

        Returns
        -------
        torch.Tensor of the same shape
            The merged difference.
        """
        return methods.ties(tensors, density=self.density, weights=self.weights).mul_(self.scale)


@dataclass(frozen=True, kw_only=True)
class Dare(MergeRule):
    """Thin each model's changes at random, then add them.

    Attributes
    ----------
    density : float, default 0.5
        Chance of each entry to stay.
    weights : sequence of float, optional
        One per model; not negative with ``elect``.
    elect : bool, default False
        Vote on signs and average instead of adding.
    seed : int, default 0
        Together with a tensor's name it fixes what is dropped there, whatever the order of reading.
    """

    needs_ancestor: ClassVar[bool] = True
    density: float = 0.5
    weights: Sequence[float] | None = None
    elect: bool = False
    seed: int = 0

    def combine(self, tensors: Sequence[torch.Tensor], *, name: str) -> torch.Tensor:
        """Thin and add; see `orthant.learn.merging.methods.dare`.

        Parameters
        ----------
        tensors : sequence of torch.Tensor of one shape
            Differences from the ancestor.
        name : str
            Seeds the choice, with ``seed``.

        Returns
        -------
        torch.Tensor of the same shape
            The merged difference.
        """
        digest = hashlib.sha256(f"{self.seed}:{name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
        return methods.dare(tensors, generator=generator, density=self.density, weights=self.weights, elect=self.elect)


@dataclass(frozen=True, kw_only=True)
class ModelStock(MergeRule):
    """Average, pulled towards the ancestor by how far the models disagree; nothing to set."""

    needs_ancestor: ClassVar[bool] = True

    def check(self, count: int) -> None:
        """Two models at least.

        Parameters
        ----------
        count : int
            Models to merge.

        Raises
        ------
        InputError
            Fewer.
        """
        if count < 2:
            raise InputError(message(f"{count} model(s)", "at least two", "pass more fine-tuned models"))

    def combine(self, tensors: Sequence[torch.Tensor], *, name: str) -> torch.Tensor:
        """Average and pull back; see `orthant.learn.merging.methods.model_stock`.

        Parameters
        ----------
        tensors : sequence of torch.Tensor of one shape
            Differences from the ancestor.
        name : str
            Not used.

        Returns
        -------
        torch.Tensor of the same shape
            The merged difference.
        """
        return methods.model_stock(tensors)
