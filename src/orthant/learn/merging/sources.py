"""One way to read weights, whether they lie in a folder, in a state dict or in a module; and whether they agree."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

import torch

from orthant.errors import InputError, NonFiniteError, message
from orthant.learn.merging.files import TensorEntry, file_sha256, read_header, read_tensor, weight_files

__all__ = [
    "FolderWeights",
    "StateWeights",
    "WeightSource",
    "Weights",
    "agreed_names",
    "check_finite",
    "layer_of",
    "mismatches",
    "open_weights",
]

_ADAPTER = re.compile(r"(^|\.)(lora_(A|B|embedding_A|embedding_B|magnitude_vector)|base_layer)(\.|$)")
# Computed from the configuration when a model is built: some versions of transformers save them, others do not.
_DERIVED = re.compile(r"(^|\.)(position_ids|token_type_ids|inv_freq)$")
_MAX_LISTED = 40


@runtime_checkable
class WeightSource(Protocol):
    """Named tensors that are read one at a time.

    Attributes
    ----------
    origin : str
        How the source is called in errors and records: a folder's name, or what kind of object it was.
    tied : dict of str to str
        Names that stand for the same tensor as another name; the value is the one in ``names``.
    """

    origin: str
    tied: dict[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tensors, each tensor once."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        ...

    def dtype(self, name: str) -> torch.dtype:
        """Type of a tensor."""
        ...

    def read(self, name: str) -> torch.Tensor:
        """Values of a tensor."""
        ...

    def digests(self) -> dict[str, str]:
        """SHA-256 of what was read, by file."""
        ...


Weights: TypeAlias = "str | Path | Mapping[str, torch.Tensor] | torch.nn.Module | WeightSource"


class FolderWeights:
    """The weights in a model folder, memory-mapped tensor by tensor.

    A tensor in a module's own folder is called by folder and name, such as ``"2_Dense/linear.weight"``.

    Parameters
    ----------
    folder : str or Path
        As `orthant.learn.merging.files.weight_files` takes it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.origin = self.folder.resolve().name
        root = self.folder.parent if self.folder.is_file() else self.folder
        self.files: dict[str, list[str]] = {}
        self.metadata: dict[str, dict[str, str]] = {}
        self.entries: dict[str, TensorEntry] = {}
        self.tied: dict[str, str] = {}
        for path in weight_files(self.folder):
            place = path.relative_to(root)
            prefix = "" if place.parent == Path() else f"{place.parent.as_posix()}/"
            entries, notes = read_header(path)
            self.files[place.as_posix()] = [prefix + name for name in entries]
            self.metadata[place.as_posix()] = notes
            self.entries.update({prefix + name: entry for name, entry in entries.items()})
            # safetensors.torch.save_model notes in the header which names it left out, and for which others.
            self.tied.update({prefix + k: prefix + v for k, v in notes.items() if v in entries and k not in entries})
        self._root = root

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tensors, file by file."""
        return tuple(self.entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor.

        Parameters
        ----------
        name : str
            One of ``names``, or a name that is tied to one.

        Returns
        -------
        tuple of int
            The shape.
        """
        return self.entries[self.tied.get(name, name)].shape

    def dtype(self, name: str) -> torch.dtype:
        """Type of a tensor as stored.

        Parameters
        ----------
        name : str
            One of ``names``, or a name that is tied to one.

        Returns
        -------
        torch.dtype
            The type.
        """
        return self.entries[self.tied.get(name, name)].dtype

    def read(self, name: str) -> torch.Tensor:
        """Map one tensor.

        Parameters
        ----------
        name : str
            One of ``names``, or a name that is tied to one.

        Returns
        -------
        torch.Tensor of shape (as stored)
            Gone from memory when it is let go.
        """
        return read_tensor(self.entries[self.tied.get(name, name)])

    def digests(self) -> dict[str, str]:
        """SHA-256 of every weight file, by its path in the folder."""
        return {place: file_sha256(self._root / place) for place in self.files}


class StateWeights:
    """The weights of a state dict or a module, with names that share one tensor listed once.

    Parameters
    ----------
    state : mapping of str to torch.Tensor
        Such as ``module.state_dict()``.
    origin : str, default "state dict"
        How it is called in errors and records.
    """

    def __init__(self, state: Mapping[str, torch.Tensor], *, origin: str = "state dict") -> None:
        self.origin = origin
        self.tied: dict[str, str] = {}
        self._tensors: dict[str, torch.Tensor] = {}
        first: dict[tuple[object, ...], str] = {}
        for name, tensor in state.items():
            if not isinstance(tensor, torch.Tensor):
                raise InputError(
                    message(f"{name!r} of type {type(tensor).__name__}", "a torch.Tensor", "pass model.state_dict()")
                )
            place = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
            if tensor.numel() and place in first:
                self.tied[name] = first[place]
            else:
                first[place] = name
                self._tensors[name] = tensor.detach()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tensors, each tensor once."""
        return tuple(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor.

        Parameters
        ----------
        name : str
            One of ``names``, or a name that is tied to one.

        Returns
        -------
        tuple of int
            The shape.
        """
        return tuple(self._tensors[self.tied.get(name, name)].shape)

    def dtype(self, name: str) -> torch.dtype:
        """Type of a tensor.

        Parameters
        ----------
        name : str
            One of ``names``, or a name that is tied to one.

        Returns
        -------
        torch.dtype
            The type.
        """
        return self._tensors[self.tied.get(name, name)].dtype

    def read(self, name: str) -> torch.Tensor:
        """Look a tensor up.

        Parameters
        ----------
        name : str
            One of ``names``, or a name that is tied to one.

        Returns
        -------
        torch.Tensor of shape (as held)
            The very tensor, without its history; not to be written to.
        """
        return self._tensors[self.tied.get(name, name)]

    def digests(self) -> dict[str, str]:
        """SHA-256 over names, shapes, types and bytes, under one key."""
        total = hashlib.sha256()
        for name, tensor in self._tensors.items():
            total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            if tensor.numel():
                total.update(tensor.to("cpu").contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return {"tensors": total.hexdigest()}


def open_weights(model: Weights) -> WeightSource:
    """Open a model's weights for reading.

    Parameters
    ----------
    model : str, Path, mapping of str to torch.Tensor, torch.nn.Module or WeightSource
        A model folder (transformers or sentence-transformers, single file or shards), one safetensors file, a state
        dict or a module.

    Returns
    -------
    WeightSource
        The tensors by name; nothing of a folder has been read yet.

    Raises
    ------
    InputError
        Another kind of object, no tensors, or a LoRA adapter that is not merged into the weights.
    NotFoundError, StoreCorruptedError
        No weights in the folder, or damaged ones.

    Examples
    --------
    >>> open_weights(torch.nn.Linear(3, 2)).names
    ('weight', 'bias')
    """
    source: WeightSource
    if isinstance(model, (str, os.PathLike)):
        source = FolderWeights(Path(model))
    elif isinstance(model, torch.nn.Module):
        source = StateWeights(model.state_dict(), origin=type(model).__name__)
    elif isinstance(model, Mapping):
        source = StateWeights(model)
    elif isinstance(model, WeightSource):
        source = model
    else:
        raise InputError(
            message(
                f"a model of type {type(model).__name__}", "a folder, a state dict or a module", "pass one of these"
            )
        )
    if not source.names:
        raise InputError(message(f"{source.origin} without tensors", "a model with weights", "check what was passed"))
    adapters = [name for name in source.names if _ADAPTER.search(name)]
    if adapters:
        raise InputError(
            message(
                f"{source.origin} with an unmerged LoRA adapter ({len(adapters)} tensors such as {adapters[0]!r})",
                "plain weights",
                "call merge_and_unload() on the peft model first",
            )
        )
    return source


def layer_of(name: str) -> str:
    """Name the layer that a tensor belongs to: its path up to the layer's number, else its first part.

    Parameters
    ----------
    name : str
        A tensor's name.

    Returns
    -------
    str
        Such as ``"encoder.layer.3"`` or ``"embeddings"``.

    Examples
    --------
    >>> layer_of("encoder.layer.3.attention.self.query.weight"), layer_of("embeddings.LayerNorm.bias")
    ('encoder.layer.3', 'embeddings')
    """
    folder, slash, rest = name.rpartition("/")
    if slash:
        return f"{folder}/{layer_of(rest)}"
    parts = rest.split(".")
    numbered = [i for i, part in enumerate(parts[:-1]) if part.isdigit() and (i or len(parts) == 2)]
    if numbered:
        return ".".join(parts[: numbered[0] + 1])
    start = 1 if parts[0].isdigit() and len(parts) > 2 else 0
    return ".".join(parts[: start + 1]) if len(parts) > start + 1 else parts[0]


def _family(dtype: torch.dtype) -> str:
    if dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        return "floating"
    return "quantised" if dtype.is_floating_point else "integer"


def mismatches(models: Sequence[Weights], *, dtypes: bool = False) -> list[str]:
    """List everything that keeps models from being computed with entry by entry.

    Parameters
    ----------
    models : sequence of folders, state dicts or modules
        Two or more; all are compared with the first.
    dtypes : bool, default False
        Count different floating types as well; without it only floating against integer counts.

    Returns
    -------
    list of str
        One line per tensor that is missing, extra, or of another shape or type; empty when all agree.

    Examples
    --------
    >>> mismatches([torch.nn.Linear(3, 2), torch.nn.Linear(4, 2)])
    ['weight: (2, 3) in Linear, (2, 4) in Linear (model 1)']
    """
    sources = [open_weights(model) for model in models]
    return _compare(sources, dtypes=dtypes)[1]


def _compare(sources: Sequence[WeightSource], *, dtypes: bool) -> tuple[list[str], list[str]]:
    first = sources[0]
    dropped: set[str] = set()
    lines: list[str] = []
    for number, other in enumerate(sources[1:], 1):
        label = f"{other.origin} (model {number})"
        mine, theirs = set(first.names), {*other.names, *other.tied}
        for name in first.names:
            if name not in theirs:
                if _DERIVED.search(name) or _is_copy(first, name, mine & theirs):
                    dropped.add(name)
                else:
                    lines.append(f"{name}: missing in {label}")
            else:
                lines += _difference(first, other, name, label, dtypes=dtypes)
        extra = [name for name in other.names if name not in mine and not _DERIVED.search(name)]
        lines += [f"{name}: only in {label}" for name in extra if not _is_copy(other, name, mine & theirs)]
    return [name for name in first.names if name not in dropped], lines


def _difference(first: WeightSource, other: WeightSource, name: str, label: str, *, dtypes: bool) -> list[str]:
    out = []
    if first.shape(name) != other.shape(name):
        out.append(f"{name}: {first.shape(name)} in {first.origin}, {other.shape(name)} in {label}")
    a, b = first.dtype(name), other.dtype(name)
    kinds = {_family(a), _family(b)}
    if len(kinds) > 1 or (dtypes and a != b) or "quantised" in kinds:
        out.append(f"{name}: {a} in {first.origin}, {b} in {label}")
    return out


def _is_copy(source: WeightSource, name: str, common: Iterable[str]) -> bool:
    """Whether a tensor that others lack is a second copy of one that they have, as tied weights saved twice are."""
    # Vectors and constant matrices are equal by chance, as fresh norms are.
    if len(source.shape(name)) < 2 or not bool((source.read(name) != source.read(name).reshape(-1)[:1]).any()):
        return False
    alike = (o for o in common if source.shape(o) == source.shape(name) and source.dtype(o) == source.dtype(name))
    return any(torch.equal(source.read(other), source.read(name)) for other in alike)


def agreed_names(sources: Sequence[WeightSource], *, dtypes: bool = False, conflicts: Sequence[str] = ()) -> list[str]:
    """Names that all sources share, or one error with every mismatch.

    Parameters
    ----------
    sources : sequence of WeightSource
        At least one.
    dtypes : bool, default False
        Refuse different floating types as well.
    conflicts : sequence of str, default ()
        What else keeps the models apart, to be listed with the mismatches.

    Returns
    -------
    list of str
        In the order of the first source; second copies of tied weights, and buffers that follow from the configuration,
        are left out where others lack them.

    Raises
    ------
    InputError
        The sources do not agree; the text lists what `mismatches` finds.
    """
    names, lines = _compare(sources, dtypes=dtypes)
    lines = [*conflicts, *lines]
    if lines:
        shown = "; ".join(lines[:_MAX_LISTED]) + (f"; and {len(lines) - _MAX_LISTED} more" * (len(lines) > _MAX_LISTED))
        raise InputError(
            message(
                f"models with {len(lines)} mismatches: {shown}",
                "equal names, shapes and types",
                "pass models of one architecture and vocabulary"
                + (", or name the type to compute the result in" if dtypes else ""),
            )
        )
    return names


def check_finite(tensor: torch.Tensor, *, name: str, origin: str) -> torch.Tensor:
    """Return a tensor that is finite, or say where it is not.

    Parameters
    ----------
    tensor : torch.Tensor of any shape
        Floating.
    name, origin : str
        How tensor and model are called in the error.

    Returns
    -------
    torch.Tensor of the same shape
        The same object.

    Raises
    ------
    NonFiniteError
        NaN or infinity.
    """
    # A sum is finite when every term is, barring overflow; only then is it worth looking at each entry.
    if not bool(torch.isfinite(tensor.sum())) and not bool(torch.isfinite(tensor).all()):
        raise NonFiniteError(
            message(f"NaN or infinity in {name!r} of {origin}", "finite weights", "leave that model out or repair it")
        )
    return tensor
