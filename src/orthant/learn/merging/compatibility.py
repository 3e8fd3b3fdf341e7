"""Whether folders may be merged beyond equal shapes, and how names in one place correspond to those in another."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from orthant.errors import StoreCorruptedError, message
from orthant.learn.merging.sources import FolderWeights, WeightSource

__all__ = ["RenamedWeights", "folder_conflicts", "match_names", "renamed"]

# Settings of training, saving and heads, which leave the function of the shared weights as it is.
_INERT = {
    "_attn_implementation", "_name_or_path", "architectures", "dtype", "finetuning_task", "gradient_checkpointing",
    "id2label", "initializer_range", "label2id", "problem_type", "tokenizer_class", "torch_dtype",
    "transformers_version", "use_cache",
}  # fmt: skip


def folder_conflicts(sources: Sequence[WeightSource]) -> list[str]:
    """List what keeps model folders of equal shapes from being one architecture with one vocabulary.

    Parameters
    ----------
    sources : sequence of WeightSource
        State dicts and modules among them have no configuration and are passed over.

    Returns
    -------
    list of str
        Differences of each folder from the first: settings in ``config.json`` that change what the weights do, and
        vocabularies in ``tokenizer.json``.
    """
    folders: list[FolderWeights] = [
        source for source in sources if isinstance(source, FolderWeights) and source.folder.is_dir()
    ]
    if len(folders) < 2:
        return []
    first, *rest = folders
    places = [
        path.relative_to(first.folder) for name in ("config.json", "tokenizer.json") for path in _all(first, name)
    ]
    lines = []
    for other in rest:
        for place in places:
            if (other.folder / place).is_file():
                lines += _compare(first.folder / place, other.folder / place, f"{place} of {other.origin}")
    return lines


def _all(source: FolderWeights, name: str) -> list[Path]:
    folders = {source.folder} | {source.folder / Path(place).parent for place in source.files}
    return sorted(folder / name for folder in folders if (folder / name).is_file())


def _compare(mine: Path, theirs: Path, label: str) -> list[str]:
    a, b = _json(mine), _json(theirs)
    if mine.name == "tokenizer.json":
        return [] if _vocabulary(a) == _vocabulary(b) else [f"another vocabulary in {label}"]
    keys = [key for key in sorted(a.keys() | b.keys()) if key not in _INERT and "dropout" not in key]
    return [f"{key}={b.get(key)!r} instead of {a.get(key)!r} in {label}" for key in keys if a.get(key) != b.get(key)]


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreCorruptedError(message(f"{path} that is not JSON", "JSON", "restore or download it anew")) from error
    return found if isinstance(found, dict) else {}


def _vocabulary(tokenizer: dict[str, Any]) -> tuple[Any, Any]:
    added = sorted((token.get("id"), token.get("content")) for token in tokenizer.get("added_tokens") or [])
    return (tokenizer.get("model") or {}).get("vocab"), added


def match_names(given: Sequence[str], wanted: Sequence[str]) -> dict[str, str]:
    """Find which of a module's names each of a folder's names stands for.

    A folder of sentence-transformers says ``2_Dense/linear.weight`` where the module says ``2.linear.weight``, and a
    saved backbone lacks the prefix that a wrapper gives it. Per folder of files, the one prefix is taken that explains
    most names. ``LayerNorm.gamma`` and ``beta``, as old files say, are ``weight`` and ``bias``.

    Parameters
    ----------
    given : sequence of str
        Names in files.
    wanted : sequence of str
        Names in a module.

    Returns
    -------
    dict of str to str
        From ``given`` to ``wanted``; names that nothing explains stand for themselves.

    Examples
    --------
    >>> match_names(["a.weight", "2_Dense/b.weight"], ["0.model.a.weight", "2.b.weight"])
    {'a.weight': '0.model.a.weight', '2_Dense/b.weight': '2.b.weight'}
    """
    targets = set(wanted)
    if targets == set(given):
        return {name: name for name in given}
    places: dict[str, list[str]] = defaultdict(list)
    for name in given:
        places[name.rpartition("/")[0]].append(name)
    out = {}
    taken: set[str] = set()
    for place, names in places.items():
        bare = {name: name.rpartition("/")[2] for name in names}
        prefixes: dict[str, int] = defaultdict(int)
        for short in bare.values():
            for target in targets:
                if target == short or target.endswith("." + short):
                    prefixes[target[: len(target) - len(short)]] += 1
        best = max(prefixes, key=lambda prefix: (prefixes[prefix], _likely(place, prefix), prefix == ""), default="")
        for name in sorted(names, key=lambda name: best + bare[name] not in targets):
            found = next((n for n in _spellings(best + bare[name]) if n in targets and n not in taken), name)
            taken.add(found)
            out[name] = found
    return {name: out[name] for name in given}


def _spellings(name: str) -> Iterator[str]:
    """A name, and what it is called in files from before layer norms had weights and biases, or after."""
    yield name
    for old, new in (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")):
        if name.endswith(old):
            yield name.removesuffix(old) + new
        if name.endswith(new):
            yield name.removesuffix(new) + old


def _likely(place: str, prefix: str) -> bool:
    """Whether a folder's number, as in ``2_Dense``, is the first part of the module's prefix."""
    number = place.rpartition("/")[2].partition("_")[0]
    return bool(number) and prefix.split(".")[0] == number


class RenamedWeights:
    """A source under other names.

    Parameters
    ----------
    source : WeightSource
        The weights.
    names : mapping of str to str
        From the source's names to those they shall have.
    """

    def __init__(self, source: WeightSource, names: dict[str, str]) -> None:
        self.origin = source.origin
        self.source = source
        self._inner = {names[name]: name for name in source.names}
        self.tied = {names.get(name, name): names.get(kept, kept) for name, kept in source.tied.items()}

    def _outer(self, name: str) -> str:
        return self._inner[self.tied.get(name, name)]

    @property
    def names(self) -> tuple[str, ...]:
        """The new names."""
        return tuple(self._inner)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor.

        Parameters
        ----------
        name : str
            A new name.

        Returns
        -------
        tuple of int
            The shape.
        """
        return self.source.shape(self._outer(name))

    def dtype(self, name: str) -> torch.dtype:
        """Type of a tensor.

        Parameters
        ----------
        name : str
            A new name.

        Returns
        -------
        torch.dtype
            The type.
        """
        return self.source.dtype(self._outer(name))

    def read(self, name: str) -> torch.Tensor:
        """Values of a tensor.

        Parameters
        ----------
        name : str
            A new name.

        Returns
        -------
        torch.Tensor of shape (as stored)
            As the source gives it.
        """
        return self.source.read(self._outer(name))

    def digests(self) -> dict[str, str]:
        """SHA-256 of what was read, by file."""
        return self.source.digests()


def renamed(source: WeightSource, wanted: Sequence[str]) -> tuple[WeightSource, dict[str, str]]:
    """Give a folder's weights the names that a module, or another folder, uses.

    Parameters
    ----------
    source : WeightSource
        State dicts and modules come back as they are.
    wanted : sequence of str
        The other's names.

    Returns
    -------
    source : WeightSource
        Under the other's names.
    names : dict of str to str
        From the other's names to the source's own.
    """
    if not isinstance(source, FolderWeights) or set(source.names) == set(wanted):
        return source, {}
    names = match_names(source.names, wanted)
    return RenamedWeights(source, names), {inner: outer for outer, inner in names.items()}
