"""Tensors of safetensors files, one at a time: memory-mapped on the way in, streamed on the way out."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch

from orthant.artifact import aside_name
from orthant.errors import InputError, NotFoundError, StoreCorruptedError, message

__all__ = ["TensorEntry", "TensorFileWriter", "file_sha256", "read_header", "read_tensor", "weight_files"]

_CODES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: code for code, dtype in _CODES.items()}
# The format's own bound on a header; a larger length field is damage, not a large model.
_MAX_HEADER = 100_000_000
_INDEX_END = ".safetensors.index.json"


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies in a file.

    Attributes
    ----------
    path : Path
        The safetensors file.
    dtype : torch.dtype
        As stored.
    shape : tuple of int
        As stored; ``()`` is a scalar.
    start, stop : int
        Bytes of the tensor, counted from the beginning of the file.
    """

    path: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    stop: int


def read_header(path: str | Path) -> tuple[dict[str, TensorEntry], dict[str, str]]:
    """List the tensors of a safetensors file without reading any of them.

    Parameters
    ----------
    path : str or Path
        One safetensors file.

    Returns
    -------
    entries : dict of str to TensorEntry
        By name, in the order in which they lie in the file.
    metadata : dict of str to str
        The file's own notes; empty when it has none.

    Raises
    ------
    StoreCorruptedError
        The header is not one, or names bytes that the file does not have.
    NotFoundError
        There is no such file.

    Examples
    --------
    >>> import tempfile
    >>> from safetensors.torch import save_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_file({"w": torch.ones(2, 3)}, f"{folder}/model.safetensors")
    ...     entries, _ = read_header(f"{folder}/model.safetensors")
    >>> entries["w"].shape
    (2, 3)
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with open(path, "rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            if size < 8 or length > min(_MAX_HEADER, size - 8):
                raise _damaged(path, f"a header of {length} bytes in a file of {size}")
            header = json.loads(handle.read(length))
    except FileNotFoundError as error:
        raise NotFoundError(message(f"no file {path}", "a safetensors file", "check the path")) from error
    except ValueError as error:
        raise _damaged(path, "a header that is not JSON") from error
    if not isinstance(header, dict):
        raise _damaged(path, "a header that is not an object")
    metadata = header.pop("__metadata__", {})
    entries = {name: _entry(path, name, record, 8 + length, size) for name, record in header.items()}
    ordered = dict(sorted(entries.items(), key=lambda item: (item[1].start, item[0])))
    return ordered, {str(key): str(value) for key, value in dict(metadata or {}).items()}


def _damaged(path: Path, what: str) -> StoreCorruptedError:
    return StoreCorruptedError(
        message(f"{path} with {what}", "a whole safetensors file", "restore or download it anew")
    )


def _entry(path: Path, name: str, record: Any, begin: int, size: int) -> TensorEntry:
    try:
        code, shape = record["dtype"], tuple(int(length) for length in record["shape"])
        start, stop = (begin + int(offset) for offset in record["data_offsets"])
    except (TypeError, KeyError, ValueError) as error:
        raise _damaged(path, f"an unreadable entry for {name!r}") from error
    if code not in _CODES:
        raise InputError(
            message(f"{name!r} stored as {code} in {path.name}", f"one of {sorted(_CODES)}", "convert the model first")
        )
    dtype = _CODES[code]
    if min(shape, default=0) < 0 or not begin <= start <= stop <= size:
        raise _damaged(path, f"bytes {start} to {stop} for {name!r}, of {size}")
    if stop - start != math.prod(shape) * dtype.itemsize:
        raise _damaged(path, f"{stop - start} bytes for {name!r} of shape {shape}")
    return TensorEntry(path, dtype, shape, start, stop)


def read_tensor(entry: TensorEntry) -> torch.Tensor:
    """Map one tensor into memory; its pages go when the tensor does.

    Each tensor has a mapping of its own, so that what was looked at stays resident no longer than it is used.

    Parameters
    ----------
    entry : TensorEntry
        From `read_header`.

    Returns
    -------
    torch.Tensor of shape entry.shape and dtype entry.dtype
        A private copy-on-write view: writing to it leaves the file as it is.
    """
    count = entry.stop - entry.start
    if count == 0:
        return torch.empty(entry.shape, dtype=entry.dtype)
    raw: npt.NDArray[np.uint8] = np.memmap(entry.path, dtype=np.uint8, mode="c", offset=entry.start, shape=(count,))
    if raw.ctypes.data % entry.dtype.itemsize:
        raw = np.array(raw)
    return torch.from_numpy(raw).view(entry.dtype).reshape(entry.shape)


class TensorFileWriter:
    """Write a safetensors file whose tensors are made one after another.

    The header comes first, so names, dtypes and shapes are settled ahead. The file is written aside and renamed at the
    end; when the block is left by an error, nothing remains.

    Parameters
    ----------
    path : str or Path
        The file; its folder must exist.
    layout : mapping of str to (torch.dtype, shape)
        Every tensor in the order of writing.
    metadata : mapping of str to str, optional
        Notes for the header; ``{"format": "pt"}`` is what transformers expects.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with TensorFileWriter(f"{folder}/w.safetensors", {"w": (torch.float32, (2,))}) as file:
    ...         file.write("w", torch.ones(2))
    ...     read_tensor(read_header(f"{folder}/w.safetensors")[0]["w"]).tolist()
    [1.0, 1.0]
    """

    def __init__(
        self,
        path: str | Path,
        layout: Mapping[str, tuple[torch.dtype, Sequence[int]]],
        *,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
        self._layout = {name: (dtype, tuple(shape)) for name, (dtype, shape) in layout.items()}
        self._metadata = dict(metadata or {"format": "pt"})
        self._waiting = list(self._layout)
        self._aside = self.path.with_name(aside_name(self.path.name))
        self._handle: BinaryIO | None = None

    def __enter__(self) -> TensorFileWriter:
        """Open the file and write its header."""
        header: dict[str, Any] = {"__metadata__": self._metadata}
        offset = 0
        for name, (dtype, shape) in self._layout.items():
            size = math.prod(shape) * dtype.itemsize
            header[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [offset, offset + size]}
            offset += size
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self._handle = open(self._aside, "wb")
        self._handle.write(len(text).to_bytes(8, "little") + text)
        return self

    def write(self, name: str, tensor: torch.Tensor) -> None:
        """Append the next tensor.

        Parameters
        ----------
        name : str
            The next name of the layout.
        tensor : torch.Tensor of the shape and dtype in the layout
            Its values.

        Raises
        ------
        InputError
            Another name, shape or dtype than the layout has next.
        """
        if self._handle is None:
            raise InputError(message("a write to a closed file", "an open one", "write inside the with block"))
        if not self._waiting or self._waiting[0] != name:
            awaited = repr(self._waiting[0]) if self._waiting else "no further tensor"
            raise InputError(message(f"tensor {name!r}", awaited, "write in the order of the layout"))
        if (tensor.dtype, tuple(tensor.shape)) != self._layout[name]:
            raise InputError(
                message(
                    f"{name!r} as {tensor.dtype} {tuple(tensor.shape)}", f"{self._layout[name]}", "convert it first"
                )
            )
        self._waiting.pop(0)
        if tensor.numel():
            flat = tensor.detach().to("cpu").contiguous().reshape(-1)
            self._handle.write(flat.view(torch.uint8).numpy().data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close and rename the file, or remove what an error left half written."""
        if self._handle is None:
            return
        try:
            if kind is None:
                self._handle.flush()
                os.fsync(self._handle.fileno())
        finally:
            self._handle.close()
            self._handle = None
            if kind is not None or self._waiting:
                self._aside.unlink(missing_ok=True)
        if kind is None and self._waiting:
            raise InputError(message(f"no values for {self._waiting[:5]}", "every tensor", "write the whole layout"))
        if kind is None:
            os.replace(self._aside, self.path)


def file_sha256(path: str | Path) -> str:
    """Hash a file without holding it.

    Parameters
    ----------
    path : str or Path
        Any file.

    Returns
    -------
    str
        SHA-256 in hexadecimal.
    """
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def weight_files(folder: str | Path) -> list[Path]:
    """Find the safetensors files that make up the model in a folder.

    In a folder of sentence-transformers (one with ``modules.json``) the modules' own folders count as well. Where an
    index lists shards, only these count; else ``model.safetensors``; else every safetensors file.

    Parameters
    ----------
    folder : str or Path
        A model folder as transformers or sentence-transformers save it, or one safetensors file.

    Returns
    -------
    list of Path
        The files, sorted; never empty.

    Raises
    ------
    NotFoundError
        No folder, or none of these files in it.
    StoreCorruptedError
        An index names a shard that is missing, or ``modules.json`` cannot be read.
    InputError
        The folder holds an adapter instead of a model.
    """
    folder = Path(folder)
    if folder.is_file():
        return [folder]
    found = [file for place in _places(folder) for file in _files_of(place)]
    if not found:
        raise NotFoundError(
            message(
                f"no safetensors file in {folder}",
                "a model folder with model.safetensors or shards and their index",
                "check the path, or save the model anew with save_pretrained(safe_serialization=True)",
            )
        )
    return sorted(found)


def _places(folder: Path) -> list[Path]:
    modules = folder / "modules.json"
    if not modules.is_file():
        return [folder]
    try:
        roots = {folder / entry["path"] for entry in json.loads(modules.read_text())} | {folder}
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(modules, "modules that cannot be read") from error
    nested = {path.parent for root in roots - {folder} for path in root.rglob("*.safetensors")}
    return sorted(roots | nested)


def _files_of(place: Path) -> list[Path]:
    if (place / "adapter_config.json").is_file() or (place / "adapter_model.safetensors").is_file():
        raise InputError(
            message(
                f"{place} with an unmerged LoRA adapter",
                "whole weights",
                "load it with peft, call merge_and_unload() and save the result",
            )
        )
    indexes = sorted(place.glob(f"*{_INDEX_END}"))
    if indexes:
        return _shards(indexes[0])
    if (place / "model.safetensors").is_file():
        return [place / "model.safetensors"]
    return sorted(path for path in place.glob("*.safetensors") if not path.name.startswith("."))


def _shards(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(index, "an index that cannot be read") from error
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise _damaged(index, f"shards that are missing: {missing}")
    return [index.parent / name for name in names]
