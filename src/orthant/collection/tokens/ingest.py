"""From what a user brings, or an encoder gives, to token vectors with the record that each belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from orthant.collection.spaces import SpaceDefinition
from orthant.errors import DimensionError, InputError, message
from orthant.types import FloatArray, IdArray, Ragged, TokenEncoder
from orthant.validate import as_ragged

__all__ = ["check_tokens", "encode_tokens"]

_MOST_TOKENS = 65_536


def check_tokens(values: Any, definition: SpaceDefinition, count: int) -> tuple[IdArray, FloatArray]:
    """Return brought token vectors with the position of the record of each.

    Parameters
    ----------
    values : Ragged, or sequence of (array-like of shape (t, dim), or None)
        One set per record; None and an empty set store none.
    definition : SpaceDefinition
        The space.
    count : int
        Records of the batch.

    Returns
    -------
    positions : ndarray of shape (T,), int64
        Ascending; a record with several tokens stands once for each.
    X : ndarray of shape (T, dim), float32
        The vectors.

    Raises
    ------
    InputError
        Not sets of vectors, one per record, of the space's dimension, finite and not too many.
    """
    name = f"vectors[{definition.name!r}]"
    if isinstance(values, list):
        empty = np.zeros((0, definition.dim), dtype=np.float32)
        values = [empty if one is None or not len(one) else one for one in values]
    tokens = as_ragged(values, dim=definition.dim, name=name)
    if len(tokens) != count:
        given = f"{len(tokens)} sets of tokens for {count} ids"
        raise DimensionError(message(given, "equal lengths", "pass one set per id, None for none"))
    return _placed(tokens, np.arange(count, dtype=np.int64), definition)


def encode_tokens(
    texts: Sequence[str | None], definition: SpaceDefinition, encoder: TokenEncoder
) -> tuple[IdArray, FloatArray]:
    """Return the token vectors of texts with the position of the text of each.

    Parameters
    ----------
    texts : sequence of (str or None)
        None and an empty text get none.
    definition : SpaceDefinition
        The space.
    encoder : TokenEncoder
        Its encoder.

    Returns
    -------
    positions : ndarray of shape (T,), int64
        Ascending, once per token.
    X : ndarray of shape (T, dim), float32
        The vectors.

    Raises
    ------
    InputError
        The encoder gave something else.
    """
    positions = np.array([i for i, text in enumerate(texts) if text], dtype=np.int64)
    if not len(positions):
        return positions, np.zeros((0, definition.dim), dtype=np.float32)
    given = encoder.encode_tokens([texts[i] for i in positions.tolist()], role="document")
    tokens = as_ragged(given, dim=definition.dim, name="what the encoder returned")
    if len(tokens) != len(positions):
        wrong = f"{len(tokens)} sets of tokens from the encoder for {len(positions)} texts"
        raise DimensionError(message(wrong, "one per text", "mend the encoder"))
    return _placed(tokens, positions, definition)


def _placed(tokens: Ragged, positions: IdArray, definition: SpaceDefinition) -> tuple[IdArray, FloatArray]:
    lengths = np.diff(tokens.offsets)
    if len(lengths) and int(lengths.max()) > _MOST_TOKENS:
        given = f"{int(lengths.max())} tokens of one record"
        raise InputError(message(given, f"at most {_MOST_TOKENS}", "divide the record, such as by add_documents"))
    return np.repeat(positions, lengths), _in_range(tokens.values, definition)


def _in_range(X: FloatArray, definition: SpaceDefinition) -> FloatArray:
    """Refuse what the storage type of the space would turn into infinity."""
    if definition.dtype == "float16" and len(X) and float(np.abs(X).max()) > float(np.finfo(np.float16).max):
        given = f"the value {float(np.abs(X).max()):g} for space {definition.name!r} of float16"
        raise InputError(message(given, "at most 65504", "make the space with dtype='float32'"))
    return X
