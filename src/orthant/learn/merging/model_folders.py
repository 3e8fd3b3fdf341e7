"""A complete model folder made from another one: its files copied, its weights written anew, tensor by tensor."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from orthant.artifact import staged_folder
from orthant.learn.merging.files import TensorFileWriter, file_sha256
from orthant.learn.merging.sources import FolderWeights, WeightSource

__all__ = ["write_model_folder"]

# Other forms of the same weights would be out of date beside new ones; a model card describes the old model.
_WEIGHTS = {
    ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".onnx_data", ".ot", ".gguf", ".npz",
}  # fmt: skip
_LEFT_OUT = {"README.md", "merge.json", "pruning.json"}
_LEFT_OUT_FOLDERS = {"onnx", "openvino", "coreml"}


def write_model_folder(
    like: WeightSource,
    folder: str | Path,
    *,
    names: list[str],
    make: Callable[[str], torch.Tensor],
    dtypes: Mapping[str, torch.dtype],
    record: Callable[[], Mapping[str, Any]],
    record_name: str = "merge.json",
) -> dict[str, Any]:
    """Write a model folder with the files of one model and new weights, holding one new tensor at a time.

    The folder is made aside and renamed when it is complete. The new weights lie in the files, shards and order of the
    old ones. Weights in other formats, exports, checkpoints and the model card are not copied.

    Parameters
    ----------
    like : WeightSource
        Whose files are copied; for a state dict or module there are none, and one file of weights is written.
    folder : str or Path
        New or empty.
    names : list of str
        Tensors to write; others of ``like`` are left out.
    make : callable of str to torch.Tensor
        Values of a tensor; called once per name, in the order of the files.
    dtypes : mapping of str to torch.dtype
        Types to write; a tensor that is made comes in this type.
    record : callable without arguments to mapping
        What to write beside the weights; called when all of them are made.
    record_name : str, default "merge.json"
        The record's file.

    Returns
    -------
    dict
        The record as written, with the SHA-256 of every new file under ``"written"``.

    Raises
    ------
    InputError
        The folder has content.
    """
    with staged_folder(folder) as aside:
        if isinstance(like, FolderWeights) and like.folder.is_dir():
            for path in _plain_files(like.folder):
                (aside / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(like.folder / path, aside / path)
        wanted = set(names)
        digests = {}
        for place, inside in _layout(like, names).items():
            _write_file(like, aside, place, [n for n in inside if n in wanted], make=make, dtypes=dtypes)
            digests[place] = file_sha256(aside / place)
        _adjust_indexes(aside, like, wanted)
        written = {**record(), "written": digests}
        (aside / record_name).write_text(json.dumps(written, indent=2, default=str) + "\n", encoding="utf-8")
    return written


def _layout(like: WeightSource, names: list[str]) -> Mapping[str, list[str]]:
    return like.files if isinstance(like, FolderWeights) else {"model.safetensors": names}


def _write_file(
    like: WeightSource,
    folder: Path,
    place: str,
    names: list[str],
    *,
    make: Callable[[str], torch.Tensor],
    dtypes: Mapping[str, torch.dtype],
) -> None:
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = "" if Path(place).parent == Path() else f"{Path(place).parent.as_posix()}/"
    notes = like.metadata.get(place) if isinstance(like, FolderWeights) else {"format": "pt"}
    layout = {name.removeprefix(prefix): (dtypes[name], like.shape(name)) for name in names}
    with TensorFileWriter(path, layout, metadata=notes) as file:
        for name in names:
            file.write(name.removeprefix(prefix), make(name))


def _plain_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        parts = inside.parts
        if any(p.startswith((".", "checkpoint-")) or p in _LEFT_OUT_FOLDERS for p in parts) or parts[-1] in _LEFT_OUT:
            continue
        if path.is_file() and path.suffix not in _WEIGHTS:
            yield inside


def _adjust_indexes(folder: Path, like: WeightSource, wanted: set[str]) -> None:
    """Make the indexes of shards tell the new size and name only what was written; drop those of other formats."""
    for path in folder.rglob("*.index.json"):
        if not path.name.endswith(".safetensors.index.json"):
            path.unlink()
            continue
        prefix = "" if path.parent == folder else f"{path.parent.relative_to(folder).as_posix()}/"
        index = json.loads(path.read_text(encoding="utf-8"))
        index["weight_map"] = {n: f for n, f in index["weight_map"].items() if prefix + n in wanted}
        shards = {path.parent / shard for shard in index["weight_map"].values()}
        index.setdefault("metadata", {})["total_size"] = sum(_payload(shard) for shard in shards)
        path.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _payload(path: Path) -> int:
    with open(path, "rb") as handle:
        return path.stat().st_size - 8 - int.from_bytes(handle.read(8), "little")
