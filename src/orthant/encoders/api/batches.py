"""Texts to requests, and answers to checked vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from orthant.errors import DimensionError, InputError, NonFiniteError, message
from orthant.http_json import UnexpectedAnswerError
from orthant.types import FloatArray
from orthant.validate import check_count

__all__ = ["checked_rows", "estimated_tokens", "plan_batches"]

_BYTES_PER_TOKEN = 3


def estimated_tokens(text: str) -> int:
    """Estimate the tokens of a text without its model's tokenizer: a third of its bytes, rounded up.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    int
        At least 1. Usually too many for English prose, about right for other scripts and for code.

    Examples
    --------
    >>> estimated_tokens("a red kite")
    4
    """
    return max(1, math.ceil(len(text.encode("utf-8", "replace")) / _BYTES_PER_TOKEN))


def counted_tokens(texts: Sequence[str], count: Callable[[str], int] | None) -> list[int]:
    """Return the tokens of each text, by the user's function where there is one.

    Parameters
    ----------
    texts : sequence of str
        Texts.
    count : callable or None
        From a text to its tokens; None estimates.

    Returns
    -------
    list of int
        At least 1 each.

    Raises
    ------
    InputError
        The function gave no count.
    """
    if count is None:
        return [estimated_tokens(text) for text in texts]
    return [max(1, check_count(count(text), name="count_tokens(text)", minimum=0)) for text in texts]


def plan_batches(tokens: Sequence[int], *, max_batch: int, max_batch_tokens: int | None) -> list[range]:
    """Cut a list of texts into requests, in order.

    Parameters
    ----------
    tokens : sequence of int
        Tokens of each text.
    max_batch : int
        Most texts per request.
    max_batch_tokens : int or None
        Most tokens per request; a longer text goes alone.

    Returns
    -------
    list of range
        Positions per request; together they are all positions.

    Examples
    --------
    >>> plan_batches([1, 1, 5, 1], max_batch=2, max_batch_tokens=4)
    [range(0, 2), range(2, 3), range(3, 4)]
    """
    batches = []
    start = held = 0
    for i, count in enumerate(tokens):
        full = i - start >= max_batch or (max_batch_tokens is not None and held + count > max_batch_tokens)
        if full and i > start:
            batches.append(range(start, i))
            start, held = i, 0
        held += count
    if start < len(tokens):
        batches.append(range(start, len(tokens)))
    return batches


def checked_rows(rows: Sequence[Any], *, positions: Sequence[int], dim: int | None, source: str) -> FloatArray:
    """Return the rows of an answer as float32 vectors, or name the position that is wrong.

    Parameters
    ----------
    rows : sequence
        What the server sent.
    positions : sequence of int
        Positions of the texts in the user's call.
    dim : int or None
        Dimension that every row must have; None takes the first row's.
    source : str
        Who answered, for the message.

    Returns
    -------
    ndarray of shape (n, dim), float32
        One row per position.

    Raises
    ------
    DimensionError
        Another number of rows, or a row of another length.
    NonFiniteError
        NaN, infinity or null in a row.
    """
    if len(rows) != len(positions):
        raise DimensionError(
            message(
                f"{len(rows)} vectors from {source} for {len(positions)} texts (positions {_span(positions)})",
                "one per text",
                "nothing was kept of this answer; try a smaller batch_size, or mend the server",
            )
        )
    out: list[FloatArray] = []
    for row, position in zip(rows, positions, strict=True):
        vector = _row(row, position, source)
        dim = vector.size if dim is None else dim
        if vector.size != dim:
            raise DimensionError(
                message(
                    f"a vector of dimension {vector.size} from {source} for position {position}",
                    f"{dim}",
                    "nothing was kept of this answer; check the model and its dimensions",
                )
            )
        if not np.isfinite(vector).all():
            raise NonFiniteError(
                message(
                    f"NaN or infinity from {source} for position {position}",
                    "finite numbers",
                    "nothing was kept of this answer; look at that text, or mend the server",
                )
            )
        out.append(vector)
    return np.stack(out) if out else np.zeros((0, dim or 0), dtype=np.float32)


def _row(row: Any, position: int, source: str) -> FloatArray:
    try:
        with np.errstate(over="ignore"):
            vector = np.asarray(row, dtype=np.float32)
    except (TypeError, ValueError, OverflowError):
        raise UnexpectedAnswerError(f"no numbers from {source} for position {position}") from None
    if vector.ndim != 1 or not vector.size or isinstance(row, str):
        raise UnexpectedAnswerError(f"no row of numbers from {source} for position {position}")
    return vector


def _span(positions: Sequence[int]) -> str:
    return str(positions[0]) if len(positions) == 1 else f"{positions[0]} to {positions[-1]}"


def check_texts_are_unicode(texts: Sequence[str]) -> None:
    """Refuse texts that cannot be sent.

    Parameters
    ----------
    texts : sequence of str
        Texts.

    Raises
    ------
    InputError
        A lone surrogate; the text names the position.
    """
    for i, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                message(f"texts[{i}] with half a character ({error.reason})", "valid Unicode", "mend that text")
            ) from None
