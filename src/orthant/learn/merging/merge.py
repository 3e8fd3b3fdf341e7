"""Merge whole models, tensor by tensor: into a folder, or into memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import orthant
from orthant.artifact import check_new_folder
from orthant.errors import DtypeError, InputError, NonFiniteError, message, warn
from orthant.learn.merging.arrays import inner_product
from orthant.learn.merging.compatibility import folder_conflicts, renamed
from orthant.learn.merging.model_folders import write_model_folder
from orthant.learn.merging.rules import Linear, MergeRule
from orthant.learn.merging.sources import Weights, WeightSource, agreed_names, check_finite, open_weights

__all__ = ["GreedySoup", "greedy_soup", "merge_models", "merge_tensors", "merged_state"]

_FLOATS = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
# Fine-tuning leaves cosines near 1; unrelated models have cosines near 0.
_RELATED = 0.5
# Statistics of activations under the old weights; a mean of them describes no model (recompute them on data).
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass
class _Plan:
    """Models that agree, a rule that fits them, and what was done so far."""

    sources: list[WeightSource]
    ancestor: WeightSource | None
    rule: MergeRule
    names: list[str]
    dtypes: dict[str, torch.dtype]
    merged: int = 0
    copied: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    products: list[list[float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.products = [[0.0, 0.0, 0.0] for _ in self.sources]

    def make(self, name: str) -> torch.Tensor:
        if not self.dtypes[name].is_floating_point or name.rpartition(".")[2] in _STATISTICS:
            return self._copy(name)
        tensors, wide = self._inputs(name)
        merged = self.rule.combine(tensors, name=name)
        del tensors
        if self.ancestor is not None:
            merged = merged.add_(self.ancestor.read(name).to(wide))
        self.merged += 1
        return _narrow(merged, self.dtypes[name], name)

    def _inputs(self, name: str) -> tuple[list[torch.Tensor], torch.dtype]:
        stored = {source.dtype(name) for source in self.sources}
        wide = torch.float64 if torch.float64 in stored else torch.float32
        origin = None if self.ancestor is None else self.ancestor.read(name).to(wide)
        tensors = []
        reference = origin
        for source, sums in zip(self.sources, self.products, strict=True):
            tensor = check_finite(source.read(name).to(wide), name=name, origin=source.origin)
            reference = tensor if reference is None else reference
            if tensor.ndim >= 2:
                pairs = ((tensor, reference), (tensor, tensor), (reference, reference))
                sums[:] = [old + inner_product(*pair) for old, pair in zip(sums, pairs, strict=True)]
            tensors.append(tensor if origin is None else tensor - origin)
        return tensors, wide

    def _copy(self, name: str) -> torch.Tensor:
        value = self.sources[0].read(name)
        self.copied.append(name)
        if any(not torch.equal(value, source.read(name)) for source in self.sources[1:]):
            self.differing.append(name)
        return value.to(self.dtypes[name])

    def cosines(self) -> list[float]:
        """Cosine of each model's matrices with those of the ancestor, or of the first model."""
        found = [product / math.sqrt(own * other) if own * other else 1.0 for product, own, other in self.products]
        if min(found) < _RELATED:
            which = self.sources[found.index(min(found))].origin
            other = "the first model" if self.ancestor is None else "the ancestor"
            warn(
                f"The matrices of {which} have cosine {min(found):.2f} with those of {other}; "
                "fine-tuning leaves it far above 0.5. Weights of unrelated models do not add up; check their origin."
            )
        return [round(value, 6) for value in found]

    def record(self) -> dict[str, Any]:
        return {
            "kind": "merge",
            "format": 1,
            "orthant": orthant.__version__,
            "rule": self.rule.settings(),
            "models": [{"origin": source.origin, "sha256": source.digests()} for source in self.sources],
            "ancestor": self.ancestor and {"origin": self.ancestor.origin, "sha256": self.ancestor.digests()},
            "cosines": self.cosines(),
            "merged": self.merged,
            "copied_from_first": self.copied,
            "copied_though_different": self.differing,
            "tied": dict(self.sources[0].tied),
            "dtypes": sorted({str(dtype).removeprefix("torch.") for dtype in self.dtypes.values()}),
        }


def _narrow(tensor: torch.Tensor, dtype: torch.dtype, name: str) -> torch.Tensor:
    out = tensor.to(dtype)
    if dtype == torch.float16 and not bool(torch.isfinite(out).all()):
        raise NonFiniteError(
            message(f"merged values of {name!r} beyond float16", "at most 65504", "pass dtype='bfloat16' or 'float32'")
        )
    return out


def _plan(models: Sequence[Weights], rule: MergeRule, ancestor: Weights | None, dtype: str | None) -> _Plan:
    if isinstance(models, (str, Path)) or len(models) < 1 + (not rule.needs_ancestor):
        wanted = "one model or more, and their ancestor" if rule.needs_ancestor else "two models or more"
        raise InputError(message("one model only" if models else "no models", wanted, "pass a list of models"))
    if rule.needs_ancestor != (ancestor is not None):
        needed = "an ancestor" if rule.needs_ancestor else "no ancestor, for it has no effect"
        raise InputError(
            message(
                f"{type(rule).__name__} {'without' if ancestor is None else 'with'} an ancestor",
                needed,
                "pass ancestor= the model that all were fine-tuned from, or choose another rule",
            )
        )
    if dtype is not None and dtype not in _FLOATS:
        raise DtypeError(message(f"dtype={dtype!r}", f"one of {sorted(_FLOATS)}", "check the spelling"))
    rule.check(len(models))
    sources = [open_weights(model) for model in models]
    origin = None if ancestor is None else open_weights(ancestor)
    every = [*sources, *([origin] if origin else [])]
    conflicts = folder_conflicts(every)
    sources[1:] = [renamed(source, sources[0].names)[0] for source in sources[1:]]
    origin = origin and renamed(origin, sources[0].names)[0]
    every = [*sources, *([origin] if origin else [])]
    names = agreed_names(every, dtypes=dtype is None, conflicts=conflicts)
    dtypes = {name: sources[0].dtype(name) for name in names}
    if dtype is not None:
        dtypes.update({name: _FLOATS[dtype] for name, stored in dtypes.items() if stored.is_floating_point})
    return _Plan(sources, origin, rule, names, dtypes)


def merge_tensors(
    models: Sequence[Weights],
    *,
    rule: MergeRule | None = None,
    ancestor: Weights | None = None,
    dtype: str | None = None,
) -> Iterator[tuple[str, torch.Tensor]]:
    """Merge models and hand out one tensor after another.

    Parameters
    ----------
    models : sequence of folders, state dicts or modules
        Two or more with equal names and shapes (one or more where an ancestor is given).
    rule : MergeRule, default Linear()
        How: `Linear`, `Slerp`, `Karcher`, `TaskArithmetic`, `Ties`, `Dare`, `ModelStock`.
    ancestor : folder, state dict or module, optional
        The model that all were fine-tuned from; required by the last four rules.
    dtype : {"float64", "float32", "float16", "bfloat16"}, optional
        Type of the result. Left out, all models must have one type per tensor, and it is kept.

    Yields
    ------
    name : str
        In the order of the first model.
    tensor : torch.Tensor
        Merged where it is floating. Integers, booleans and running statistics are the first model's.

    Raises
    ------
    InputError
        One model only, names or shapes that differ (all listed), a rule that does not fit, unmerged adapters.
    DtypeError
        An unknown type.
    NonFiniteError
        NaN or infinity in a model, or a result that float16 cannot hold.

    Notes
    -----
    Half precision is computed in float32. Held at once: one tensor per model, plus three where an ancestor is given.

    Examples
    --------
    >>> models = [{"w": torch.tensor([0.0, 1.0])}, {"w": torch.tensor([1.0, 1.0])}]
    >>> dict(merge_tensors(models))["w"].tolist()
    [0.5, 1.0]
    """
    plan = _plan(models, rule or Linear(), ancestor, dtype)
    return ((name, plan.make(name)) for name in plan.names)


def merged_state(
    models: Sequence[Weights],
    *,
    rule: MergeRule | None = None,
    ancestor: Weights | None = None,
    dtype: str | None = None,
) -> dict[str, torch.Tensor]:
    """Merge models into a state dict.

    Parameters
    ----------
    models : sequence of folders, state dicts or modules
        As for `merge_tensors`.
    rule : MergeRule, default Linear()
        As for `merge_tensors`.
    ancestor : folder, state dict or module, optional
        As for `merge_tensors`.
    dtype : {"float64", "float32", "float16", "bfloat16"}, optional
        As for `merge_tensors`.

    Returns
    -------
    dict of str to torch.Tensor
        Under every name of the first model; names that are tied there share one tensor here too.

    Raises
    ------
    InputError, DtypeError, NonFiniteError
        As for `merge_tensors`.

    Examples
    --------
    >>> merged_state([{"w": torch.tensor([0.0, 1.0])}, {"w": torch.tensor([1.0, 1.0])}])["w"].tolist()
    [0.5, 1.0]
    """
    plan = _plan(models, rule or Linear(), ancestor, dtype)
    state = {name: plan.make(name).clone() for name in plan.names}
    state.update({name: state[kept] for name, kept in plan.sources[0].tied.items() if kept in state})
    plan.cosines()
    return state


def merge_models(
    models: Sequence[Weights],
    folder: str | Path,
    *,
    rule: MergeRule | None = None,
    ancestor: Weights | None = None,
    dtype: str | None = None,
) -> dict[str, Any]:
    """Merge models into a complete model folder, without ever holding a whole model.

    Configuration, tokenizer and the layout of the files are the first model's. ``merge.json`` says what was merged:
    rule, numbers, SHA-256 of every file read and written, and what was copied rather than merged.

    Parameters
    ----------
    models : sequence of folders, state dicts or modules
        As for `merge_tensors`.
    folder : str or Path
        New or empty; appears when it is complete.
    rule : MergeRule, default Linear()
        As for `merge_tensors`.
    ancestor : folder, state dict or module, optional
        As for `merge_tensors`.
    dtype : {"float64", "float32", "float16", "bfloat16"}, optional
        As for `merge_tensors`. The configuration keeps the type that it names.

    Returns
    -------
    dict
        What was written to ``merge.json``.

    Raises
    ------
    InputError, DtypeError, NonFiniteError
        As for `merge_tensors`, or the folder has content. Nothing is left behind.

    Warns
    -----
    UserWarning
        The models' matrices have a cosine below 0.5: they hardly come from one ancestor.

    Examples
    --------
    >>> import tempfile
    >>> models = [{"w": torch.tensor([0.0, 1.0])}, {"w": torch.tensor([1.0, 1.0])}]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     record = merge_models(models, f"{folder}/soup")
    >>> record["merged"]
    1
    """
    check_new_folder(folder)
    plan = _plan(models, rule or Linear(), ancestor, dtype)
    return write_model_folder(
        plan.sources[0], folder, names=plan.names, make=plan.make, dtypes=plan.dtypes, record=plan.record
    )


@dataclass(frozen=True)
class GreedySoup:
    """What `greedy_soup` chose.

    Attributes
    ----------
    state : dict of str to torch.Tensor
        The average of the models that were kept.
    kept : tuple of int
        Their places in the list, in the order in which they were added.
    scores : tuple of float
        Score of each model alone, in the order of the list.
    score : float
        Score of the average.
    """

    state: dict[str, torch.Tensor]
    kept: tuple[int, ...]
    scores: tuple[float, ...]
    score: float


def greedy_soup(
    models: Sequence[Weights], score: Callable[[dict[str, torch.Tensor]], float], *, dtype: str | None = None
) -> GreedySoup:
    """Average only those models that help: from the best downwards, keep each that does not lower the score.

    Parameters
    ----------
    models : sequence of folders, state dicts or modules
        Two or more with equal names and shapes.
    score : callable of state dict to float
        Larger is better; measured on held-out data, which the result is then fitted to. Called about twice per model.
    dtype : {"float64", "float32", "float16", "bfloat16"}, optional
        As for `merge_tensors`.

    Returns
    -------
    GreedySoup
        The average, what is in it, and the scores. ``merge_models([models[i] for i in soup.kept], folder)`` writes it.

    Raises
    ------
    InputError, DtypeError, NonFiniteError
        As for `merge_tensors`, or a score that is not finite.

    References
    ----------
    Wortsman et al., Model Soups, arXiv 2203.05482, recipe 1.

    Examples
    --------
    >>> models = [{"w": torch.tensor([float(value)])} for value in (0.0, 4.0, 9.0)]
    >>> soup = greedy_soup(models, lambda state: -abs(float(state["w"]) - 2.0))
    >>> soup.kept, soup.state["w"].item()
    ((0, 1), 2.0)
    """
    _plan(models, Linear(), None, dtype)

    def judged(chosen: Sequence[int]) -> tuple[float, dict[str, torch.Tensor]]:
        # One model twice is that model: an average of one goes through the same code as any other.
        picked = [models[i] for i in chosen] * (2 if len(chosen) == 1 else 1)
        state = merged_state(picked, dtype=dtype)
        value = float(score(state))
        if value != value or abs(value) == float("inf"):
            raise NonFiniteError(message(f"a score of {value}", "a finite number", "check the score function"))
        return value, state

    scores = [judged([i])[0] for i in range(len(models))]
    order = sorted(range(len(models)), key=lambda i: (-scores[i], i))
    kept, best = [order[0]], scores[order[0]]
    for i in order[1:]:
        value = judged([*kept, i])[0]
        if value >= best:
            kept, best = [*kept, i], value
    return GreedySoup(judged(kept)[1], tuple(kept), tuple(scores), best)
