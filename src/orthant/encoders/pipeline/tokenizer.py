"""The tokenizer that lies beside a model's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orthant.encoders.pipeline.modules import read_json
from orthant.errors import StoreCorruptedError, message

__all__ = ["expansion_token", "read_tokenizer", "special_token"]


def read_tokenizer(path: Path) -> Any:
    """Read a ``tokenizer.json``.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    tokenizers.Tokenizer
        With the padding and truncation that the file names.

    Raises
    ------
    StoreCorruptedError
        A damaged file.
    """
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:
        # The library has no exception class of its own.
        raise StoreCorruptedError(
            message(f"{path}, which is damaged ({error})", "a whole tokenizer.json", "copy or download it again")
        ) from error


def expansion_token(folder: Path) -> str:
    """Return the token with which queries are filled up where a model names none: the mask, else the end of text.

    Parameters
    ----------
    folder : Path
        Folder of the tokenizer.

    Returns
    -------
    str
        ``"[MASK]"`` where its settings say nothing.
    """
    for name in ("mask_token", "eos_token"):
        found = special_token(folder, name)
        if found:
            return found
    return "[MASK]"


def special_token(folder: Path, name: str) -> str | None:
    """Return a token that has a duty, such as the one that stands for unknown words.

    Parameters
    ----------
    folder : Path
        Folder of the tokenizer.
    name : str
        Such as ``"unk_token"``.

    Returns
    -------
    str or None
        None where its settings name none.
    """
    found = (read_json(folder / "tokenizer_config.json") or {}).get(name)
    # Some releases write a token as an object.
    return str(found.get("content", "")) if isinstance(found, dict) else found and str(found)
