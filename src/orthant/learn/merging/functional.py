"""Merging that is learned: the merged model is run without being built, and its coefficients take gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

import orthant
from orthant.errors import InputError, message
from orthant.learn.merging.arrays import inner_product
from orthant.learn.merging.coefficients import ArcPosition, LinearPosition, SimplexPosition
from orthant.learn.merging.compatibility import renamed
from orthant.learn.merging.model_folders import write_model_folder
from orthant.learn.merging.sources import (
    Weights,
    WeightSource,
    agreed_names,
    check_finite,
    layer_of,
    open_weights,
)
from orthant.validate import check_choice, check_count

__all__ = ["LearnedMerge"]

_GRANULARITIES = ("model", "layer", "block", "partition")
_PATHS = ("linear", "simplex", "slerp")


class LearnedMerge(nn.Module):
    """A model whose weights are an ancestor's plus learned shares of what several fine-tuned models learned.

    It is called like the model. Its only parameters are coefficients, so that any loss on the outputs trains the
    mixture in few steps on little data; the models' weights never change. One coefficient per model with
    ``path="slerp"`` or ``"simplex"`` is Self Positioning; one per model and tensor with ``path="linear"`` is aTLAS. Use
    it where the fixed rules of `orthant.learn.merging.merge_models` leave one task behind and each task has some data.

    Parameters
    ----------
    model : torch.nn.Module
        The ancestor, which all were fine-tuned from; left as it is.
    tuned : sequence of folders, state dicts or modules
        One or more fine-tuned models with the ancestor's names and shapes; two or more off the linear path.
    granularity : {"model", "layer", "block", "partition"}, default "model"
        What shares a coefficient: all weights of a model, those of a layer, of a tensor, or of a random part of a
        tensor. Finer fits better, and needs more data to hold on new texts.
    path : {"linear", "simplex", "slerp"}, default "linear"
        Free coefficients; shares that sum to one times a length; or a chain of arcs (place and length each).
    initial : float, optional
        Where linear coefficients begin; 0.0, the ancestor, when left out. Without effect elsewhere, so refused there.
    parts : int, optional
        Parts per tensor, 2 to 255; needed for ``"partition"``, refused elsewhere.
    exclude : sequence of str, default ()
        Patterns (``*``, ``?``) of parameters that stay the ancestor's, such as ``"*embeddings*"``, whose differences
        take much memory and say little.
    seed : int, default 0
        Fixes the random parts.

    Attributes
    ----------
    position : torch.nn.Module
        Its parameters are the coefficients.
    groups : tuple of str
        What a column of `coefficients` stands for.
    blocks : tuple of str
        Parameters that are merged: those that some fine-tuned model changed.

    Raises
    ------
    InputError
        No fine-tuned model, only one where a path needs two, mismatches (all listed), unmerged adapters, settings
        without effect, or nothing left to merge.
    NonFiniteError
        NaN or infinity in a model.

    Notes
    -----
    ``theta_b = theta0_b + sum_i a_{i,g(b)} (theta_i,b - theta0_b)`` for block b in group g(b), computed in float32 and
    run by ``torch.func.functional_call``. Held: one copy per fine-tuned model of the blocks that changed.

    References
    ----------
    Li et al., Improving General Text Embedding Model, arXiv 2410.15035. Zhang et al., Knowledge Composition using Task
    Vectors with Learned Anisotropic Scaling, arXiv 2407.02880, section 3.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> base, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    >>> merge = LearnedMerge(base, [other], granularity="block")
    >>> X = torch.ones(4, 3)
    >>> bool((merge(X) == base(X)).all()), sum(p.numel() for p in merge.parameters())
    (True, 2)
    >>> merge(X).square().mean().backward()
    >>> merge.position.values.grad.shape
    torch.Size([1, 2])
    """

    def __init__(
        self,
        model: nn.Module,
        tuned: Sequence[Weights],
        *,
        granularity: str = "model",
        path: str = "linear",
        initial: float | None = None,
        parts: int | None = None,
        exclude: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        super().__init__()
        _check_settings(len(tuned), granularity, path, initial, parts)
        # In a tuple, so that the ancestor's parameters do not become parameters of this module.
        self._model = (model,)
        self._differences = _differences(model, tuned, exclude)
        self.blocks = tuple(self._differences)
        self.models = len(tuned)
        self._settings = {
            "granularity": granularity,
            "path": path,
            "parts": parts,
            "exclude": list(exclude),
            "seed": seed,
        }
        self._assign_groups(granularity, parts, seed)
        count = len(self.groups)
        if path == "linear":
            self.position: nn.Module = LinearPosition(self.models, count, initial=0.0 if initial is None else initial)
        elif path == "simplex":
            self.position = SimplexPosition(self.models, count)
        else:
            self.position = ArcPosition(self._gram())

    def _assign_groups(self, granularity: str, parts: int | None, seed: int) -> None:
        labels = {"model": lambda name: "model", "layer": layer_of}.get(granularity, lambda name: name)
        found = list(dict.fromkeys(labels(name) for name in self.blocks))
        share = parts or 1
        self._group = {name: found.index(labels(name)) * share for name in self.blocks}
        self._part: dict[str, torch.Tensor] = {}
        self.groups = tuple(f"{label}#{part}" for label in found for part in range(share)) if parts else tuple(found)
        if parts:
            generator = torch.Generator().manual_seed(seed)
            for name in self.blocks:
                shape = self._differences[name].shape[1:]
                self._part[name] = torch.randint(parts, tuple(shape), generator=generator, dtype=torch.uint8)

    def _gram(self) -> torch.Tensor:
        gram = torch.zeros(len(self.groups), self.models, self.models, dtype=torch.float64)
        for name in self.blocks:
            first, part, different = self._group[name], self._part.get(name), self._differences[name]
            for place in range(1 if part is None else int(self._settings["parts"])):  # type: ignore[arg-type, call-overload]
                seen = different if part is None else different * (part == place)
                for i in range(self.models):
                    for j in range(i + 1):
                        gram[first + place, i, j] += inner_product(seen[i], seen[j])
        return gram + torch.tril(gram, -1).transpose(1, 2)

    @property
    def coefficients(self) -> torch.Tensor:
        """What each model adds to each group.

        Returns
        -------
        torch.Tensor of shape (models, groups), float64
            With gradient.
        """
        return self.position()

    def merged(self) -> dict[str, torch.Tensor]:
        """Weights of the merged model at the present coefficients.

        Returns
        -------
        dict of str to torch.Tensor
            The blocks only, in the ancestor's types, with gradient towards the coefficients.
        """
        coefficients = self.coefficients
        own = dict(self._model[0].named_parameters())
        return {name: self._block(name, own[name], coefficients) for name in self.blocks}

    def _block(self, name: str, own: torch.Tensor, coefficients: torch.Tensor) -> torch.Tensor:
        differences = self._differences[name].to(own.device)
        first = self._group[name]
        if name in self._part:
            place = self._part[name].to(own.device).long() + first
            shares = coefficients.to(differences).index_select(1, place.reshape(-1))
            change = (shares.reshape(differences.shape) * differences).sum(0)
        else:
            change = torch.tensordot(coefficients[:, first].to(differences), differences, dims=1)
        return (own.detach().to(differences.dtype) + change).to(own.dtype)

    def forward(self, *inputs: Any, named: Mapping[str, Any] | None = None) -> Any:
        """Run the merged model.

        Parameters
        ----------
        *inputs : object
            What the model takes by place.
        named : mapping, optional
            What the model takes by name, such as ``{"input_ids": ...}``.

        Returns
        -------
        object
            What the model returns; gradients reach the coefficients and nothing else.
        """
        model = self._model[0]
        weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
        weights.update(self.merged())
        return functional_call(model, weights, inputs, dict(named or {}))

    def penalty(self, *, order: float = 1.0) -> torch.Tensor:
        """Half the mean over groups of the coefficients' norm, to add to a loss so that few models are used.

        Parameters
        ----------
        order : float, default 1.0
            1 drives coefficients to zero, 2 keeps all of them small.

        Returns
        -------
        torch.Tensor of shape ()
            ``0.5 mean_g ||a_.g||_order``, with gradient.
        """
        return 0.5 * torch.linalg.vector_norm(self.coefficients, ord=order, dim=0).mean()

    def rows(self) -> list[dict[str, Any]]:
        """List the coefficients as a table.

        Returns
        -------
        list of dict
            ``group`` and ``model_0`` to ``model_n``, one row per group.
        """
        values = self.coefficients.detach().T.tolist()
        return [
            {"group": group, **{f"model_{i}": value for i, value in enumerate(row)}}
            for group, row in zip(self.groups, values, strict=True)
        ]

    def plot(self, path: str | Path) -> None:
        """Draw the coefficients as a heat map, groups by models.

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

        columns = [f"model {i}" for i in range(self.models)]
        values = self.coefficients.detach().T.cpu().numpy()
        draw_heat_map(path, values, rows=self.groups, columns=columns, title="share of what each model learned")

    @torch.no_grad()
    def load_into(self, model: nn.Module) -> nn.Module:
        """Write the merged weights into a module.

        Parameters
        ----------
        model : torch.nn.Module
            A copy of the ancestor; its parameters are overwritten. Passing the ancestor itself changes what the
            coefficients are relative to, so it is refused.

        Returns
        -------
        torch.nn.Module
            The same module.

        Raises
        ------
        InputError
            The ancestor itself, or a module with other names or shapes.
        """
        if model is self._model[0]:
            raise InputError(message("the ancestor itself", "a copy of it", "pass copy.deepcopy(model)"))
        agreed_names([open_weights(self._model[0]), open_weights(model)])
        state = {**self._model[0].state_dict(), **self.merged()}
        shared = open_weights(self._model[0]).tied
        # Of tied names only the first is merged; copying the others as well would undo it.
        model.load_state_dict({name: value for name, value in state.items() if name not in shared}, strict=False)
        return model

    @torch.no_grad()
    def write(self, folder: str | Path, *, like: Weights | None = None) -> dict[str, Any]:
        """Write the merged model as a folder.

        Parameters
        ----------
        folder : str or Path
            New or empty.
        like : folder, state dict or module, optional
            Whose files, names and types to follow: the folder that the ancestor was loaded from gives a complete model
            folder. Left out, one file with the module's own names is written.

        Returns
        -------
        dict
            What was written to ``merge.json``: settings, coefficients, digests.

        Raises
        ------
        InputError
            The folder has content, or ``like`` has other names or shapes than the ancestor.
        """
        own = open_weights(self._model[0])
        original = own if like is None else open_weights(like)
        source, outer = renamed(original, own.names)
        inner = {outer.get(name, name): name for name in agreed_names([source, own])}
        coefficients = self.coefficients

        def make(name: str) -> torch.Tensor:
            if inner[name] not in self._differences:
                return original.read(name)
            return self._block(inner[name], own.read(inner[name]), coefficients).to(original.dtype(name))

        return write_model_folder(
            original,
            folder,
            names=list(inner),
            make=make,
            dtypes={name: original.dtype(name) for name in inner},
            record=lambda: {
                "kind": "learned merge",
                "format": 1,
                "orthant": orthant.__version__,
                **self._settings,
                "ancestor": {"origin": original.origin, "sha256": original.digests()},
                "coefficients": self.rows(),
            },
        )


def _check_settings(models: int, granularity: str, path: str, initial: float | None, parts: int | None) -> None:
    check_choice(granularity, _GRANULARITIES, name="granularity")
    check_choice(path, _PATHS, name="path")
    least = 1 if path == "linear" else 2
    if models < least:
        raise InputError(message(f"{models} fine-tuned model(s)", f"at least {least}", f"pass more for path={path!r}"))
    if initial is not None and (path != "linear" or not math.isfinite(initial)):
        raise InputError(
            message(f"initial={initial} with path={path!r}", "a finite number, on the linear path only", "leave it out")
        )
    if (parts is not None) != (granularity == "partition"):
        raise InputError(
            message(
                f"parts={parts} with granularity={granularity!r}", "parts for 'partition' only", "set both or neither"
            )
        )
    if parts is not None:
        check_count(parts, name="parts", minimum=2, maximum=255)


def _differences(model: nn.Module, tuned: Sequence[Weights], exclude: Sequence[str]) -> dict[str, torch.Tensor]:
    """Stack the differences of each parameter that some model changed, as (models, *shape)."""
    own = open_weights(model)
    sources: list[WeightSource] = [renamed(open_weights(each), own.names)[0] for each in tuned]
    names = agreed_names([own, *sources])
    parameters = {name for name, _ in model.named_parameters()}
    out = {}
    for name in names:
        if name not in parameters or any(fnmatchcase(name, pattern) for pattern in exclude):
            continue
        wide = torch.float64 if own.dtype(name) == torch.float64 else torch.float32
        before = own.read(name).to(wide)
        changes = [check_finite(each.read(name).to(before), name=name, origin=each.origin) - before for each in sources]
        if any(bool(change.any()) for change in changes):
            out[name] = torch.stack(changes)
    if not out:
        raise InputError(
            message(
                "fine-tuned models equal to the ancestor in all that is merged",
                "at least one changed parameter",
                "check the models and the patterns in exclude",
            )
        )
    return out
