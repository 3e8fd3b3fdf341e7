"""Folders a static encoder is read from and written to: its own artefact format and that of model2vec."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from orthant.artifact import read_artifact, write_artifact, write_bytes_atomically
from orthant.errors import NotFoundError, StoreCorruptedError, message

__all__ = ["read_model2vec", "read_static", "write_static"]

_KIND = "encoder.static"
_TOKENIZER = "tokenizer.json"
_MODEL2VEC_WINDOW = 512


def write_static(folder: Path, arrays: Mapping[str, Any], config: Mapping[str, Any], tokenizer: str) -> None:
    """Write table, settings and tokenizer as one checksummed artefact.

    Parameters
    ----------
    folder : Path
        Created if missing.
    arrays : mapping of str to ndarray
        ``table`` of shape (V, d) or packed (V, d / 2), ``scales`` (V,), ``empty`` (d,); packed also ``levels``.
    config : mapping
        JSON-serialisable settings of the encoder.
    tokenizer : str
        Content of its ``tokenizer.json``.
    """
    source = tokenizer.encode()
    record = {**config, "tokenizer_sha256": hashlib.sha256(source).hexdigest()}
    write_artifact(folder, kind=_KIND, arrays=arrays, config=record)
    write_bytes_atomically(folder / _TOKENIZER, source)


def read_static(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what ``write_static`` wrote, verifying both files.

    Parameters
    ----------
    folder : Path
        The artefact.

    Returns
    -------
    settings : dict
        Arguments of ``StaticEncoder``.
    origin : dict
        Where the table comes from.

    Raises
    ------
    NotFoundError
        A file is missing.
    StoreCorruptedError
        A checksum is wrong, or a setting or array is missing.
    StoreVersionError
        A newer release wrote it.
    """
    arrays, config = read_artifact(folder, kind=_KIND)
    tokenizer = _read_text(folder / _TOKENIZER)
    if hashlib.sha256(tokenizer.encode()).hexdigest() != config.get("tokenizer_sha256"):
        raise StoreCorruptedError(
            message(f"{folder / _TOKENIZER} with a wrong checksum", "the saved file", "restore or reinstall it")
        )
    try:
        settings = {name: config[name] for name in ("name", "power", "normalize", "max_tokens")}
        settings |= {name: arrays[name] for name in ("table", "scales", "empty")}
    except KeyError as error:
        raise StoreCorruptedError(
            message(f"{folder} without {error}", "a complete artefact", "restore or reinstall it")
        ) from error
    return {**settings, "levels": arrays.get("levels"), "tokenizer": tokenizer}, config.get("origin", {})


def read_model2vec(folder: Path) -> dict[str, Any]:
    """Read a model2vec model folder.

    Parameters
    ----------
    folder : Path
        With ``model.safetensors`` (``embeddings``, optionally ``weights`` and ``mapping``), ``tokenizer.json`` and
        ``config.json``.

    Returns
    -------
    dict
        Arguments of ``StaticEncoder``; a vocabulary-quantised table is expanded to one row per token.

    Raises
    ------
    NotFoundError
        A file is missing.
    StoreCorruptedError
        A file is not what the format says.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays = load_file(folder / "model.safetensors")
        settings = json.loads(_read_text(folder / "config.json"))
        table = arrays["embeddings"]
    except (SafetensorError, ValueError, KeyError) as error:
        if isinstance(error, NotFoundError):
            raise
        raise StoreCorruptedError(
            message(f"{folder} with {error}", "a model2vec folder with 'embeddings'", "save the model again")
        ) from error
    if "mapping" in arrays:
        table = table[arrays["mapping"]]
    return {
        "table": table if table.dtype == np.int8 else table.astype(np.float32),
        "tokenizer": _read_text(folder / _TOKENIZER),
        "scales": arrays.get("weights"),
        "normalize": bool(settings.get("normalize", False)),
        "max_tokens": settings.get("max_length", _MODEL2VEC_WINDOW),
        "name": "model2vec",
    }


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFoundError(message(f"no file {path}", "it beside the table", "restore the folder")) from error
    except UnicodeDecodeError as error:
        raise StoreCorruptedError(message(f"{path} that is not UTF-8", "text", "restore the folder")) from error
