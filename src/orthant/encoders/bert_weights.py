"""A transformer's weights and tokenizer, read and digested without torch.

Weights come from safetensors only: a pickled checkpoint is never opened.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import ChainMap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.encoders.fingerprint import digest_tensors
from orthant.encoders.pipeline.compressed import decoded_weights, is_compressed
from orthant.errors import InputError, StoreCorruptedError, message

__all__ = [
    "canonical_tensor_name",
    "hash_file",
    "hash_model",
    "hash_tokenizer",
    "hash_tokenizer_text",
    "hash_weights",
    "read_weights",
]

# A module's place in a saved pipeline, and the heads that no supported pooling reads.
_PREFIX = re.compile(r"^(?:0\.(?:auto_model|model)\.|bert\.)")
# What the first BERT called scale and shift; some releases of transformers write these names again.
_LEGACY = {"gamma": "weight", "beta": "bias"}
_UNUSED = re.compile(r"(?:^|\.)pooler\.dense\.(?:weight|bias)$|^cls\.")


def canonical_tensor_name(name: str) -> str | None:
    """Return a tensor's name without its place in a pipeline; None when no vector depends on it.

    Parameters
    ----------
    name : str
        As in a safetensors file or a ``state_dict``.

    Returns
    -------
    str or None
        The same name for the same tensor, whichever of the two it came from.
    """
    short = _PREFIX.sub("", name)
    head, _, last = short.rpartition(".")
    if head.endswith("LayerNorm"):
        short = f"{head}.{_LEGACY.get(last, last)}"
    return None if _UNUSED.search(short) or short.endswith("position_ids") else short


class _LazyTensors(Mapping[str, npt.NDArray[Any]]):
    """Tensors of a safetensors file by canonical name, read one at a time."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        pairs = ((canonical_tensor_name(name), name) for name in handle.keys())  # noqa: SIM118  (not a mapping)
        self._names = {short: name for short, name in pairs if short is not None}

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self._handle.get_tensor(self._names[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _open(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="numpy")
    except SafetensorError as error:
        raise StoreCorruptedError(
            message(f"{path}, which is damaged ({error})", "a whole safetensors file", "copy or download it again")
        ) from error


def hash_weights(path: str | Path, others: Mapping[str, npt.NDArray[Any]] | None = None) -> str:
    """Digest the weights of a safetensors file, whatever their order in the file.

    Parameters
    ----------
    path : str or Path
        The file.
    others : mapping of str to ndarray, optional
        Further arrays of the model by name, such as those of a Dense module, of any shape.

    Returns
    -------
    str
        16 hexadecimal digits, equal to the digest of the loaded model's ``state_dict``.

    Raises
    ------
    StoreCorruptedError
        The file is damaged.
    InputError
        A number format that NumPy does not know, such as bfloat16.
    """
    with _open(Path(path)) as handle:
        try:
            return digest_tensors(ChainMap(dict(others or {}), _LazyTensors(handle)))  # type: ignore[arg-type]
        except TypeError as error:
            raise _unknown_format(Path(path)) from error


def hash_model(weights: Path | None, graph: Path | None, head: Mapping[str, npt.NDArray[Any]]) -> str:
    """Digest what computes a model's vectors: its weights where they are at hand, else its graph.

    Parameters
    ----------
    weights : Path or None
        The transformer's safetensors file.
    graph : Path or None
        Its ONNX graph.
    head : mapping of str to ndarray
        Arrays of any shape behind the transformer.

    Returns
    -------
    str
        16 hexadecimal digits.

    Raises
    ------
    InputError
        Neither file.
    StoreCorruptedError
        A damaged file.
    """
    if weights is not None:
        return hash_weights(weights, head)
    if graph is None:
        raise InputError(message("a folder without weights", "model.safetensors or model.onnx", "check the path"))
    return hash_file(graph)[:16]


def read_weights(path: str | Path) -> dict[str, npt.NDArray[np.float32]]:
    """Read all weights as float32 by canonical name, and decode those that are codes.

    Parameters
    ----------
    path : str or Path
        The safetensors file: of a model, or what ``orthant.learn.compression.compress_text_encoder`` wrote.

    Returns
    -------
    dict of str to ndarray, float32
        The tensors that a vector depends on.

    Raises
    ------
    StoreCorruptedError
        The file is damaged.
    InputError
        A number format that NumPy does not know, such as bfloat16.
    """
    with _open(Path(path)) as handle:
        try:
            tensors = _LazyTensors(handle)
            if is_compressed(tensors):
                return decoded_weights(dict(tensors))
            return {name: np.ascontiguousarray(array, np.float32) for name, array in tensors.items()}
        except TypeError as error:
            raise _unknown_format(Path(path)) from error


def _unknown_format(path: Path) -> InputError:
    given, remedy = f"{path} in a format NumPy cannot read", "save the model in float32"
    return InputError(message(given, "float32 or float16 weights", remedy))


def hash_tokenizer(path: str | Path) -> str:
    """Digest what a ``tokenizer.json`` does to a text: normalisation, splitting and vocabulary.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    return hash_tokenizer_text(Path(path).read_text(encoding="utf-8"), source=str(path))


def hash_tokenizer_text(text: str, *, source: str = "tokenizer.json") -> str:
    """Digest the content of a ``tokenizer.json``, as ``hash_tokenizer`` does.

    Parameters
    ----------
    text : str
        JSON.
    source : str, default "tokenizer.json"
        Where it came from, for an error.

    Returns
    -------
    str
        16 hexadecimal digits.

    Raises
    ------
    StoreCorruptedError
        Not JSON.
    """
    try:
        settings = json.loads(text)
    except ValueError as error:
        raise StoreCorruptedError(message(f"{source} that is not JSON", "JSON", "restore the file")) from error
    if not isinstance(settings, dict):
        raise StoreCorruptedError(message(f"{source} without settings", "a JSON object", "restore the file"))
    # Padding and truncation are set by each encoder; releases of transformers write the other parts differently.
    kept = {key: settings.get(key) for key in ("normalizer", "pre_tokenizer", "model")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def hash_file(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits, the same that ``sha256sum`` prints.

    Parameters
    ----------
    path : str or Path
        The file, read as a stream.

    Returns
    -------
    str
        The checksum.
    """
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
