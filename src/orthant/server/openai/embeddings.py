"""Texts to vectors for a request: counted, whole unless told otherwise, and shortened only where a model allows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orthant.encoders.fingerprint import Fingerprint
from orthant.errors import InputError, message
from orthant.transforms.alignment.spaces import unit_rows
from orthant.types import Encoder, FloatArray, Role

__all__ = ["Embedded", "check_texts", "count_tokens", "embed"]


@dataclass(frozen=True)
class Embedded:
    """Vectors of a request.

    Attributes
    ----------
    vectors : ndarray of shape (n, dim), float32
        One per text.
    tokens : int
        Tokens of the texts, or words where the encoder does not count.
    truncated : int
        Tokens that the encoder did not read.
    """

    vectors: FloatArray
    tokens: int
    truncated: int


def check_texts(given: Any) -> list[str]:
    """Return the texts of a request for embeddings.

    Parameters
    ----------
    given : str or list of str
        What stands under ``input``.

    Returns
    -------
    list of str
        At least one, none of them empty.

    Raises
    ------
    InputError
        Token ids, which belong to the tokenizer of another model; other values; nothing.

    Examples
    --------
    >>> check_texts("a red kite")
    ['a red kite']
    """
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        raise InputError(message("no input", "a text, or a list of texts", "send at least one"))
    if all(_is_token(one) for one in texts) or any(isinstance(one, list) for one in texts):
        way = "send texts (LangChain: check_embedding_ctx_length=False)"
        raise InputError(message("token ids, which belong to another model's tokenizer", "texts", way))
    for place, one in enumerate(texts):
        if not isinstance(one, str):
            raise InputError(message(f"input {place} of type {type(one).__name__}", "a text", "send texts only"))
        if not one:
            raise InputError(message(f"input {place}, which is empty", "a text", "leave empty texts out"))
    return texts


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def count_tokens(encoder: Any, texts: Sequence[str]) -> int:
    """Return how many tokens an encoder makes of texts.

    Parameters
    ----------
    encoder : object
        With ``token_counts``, or without.
    texts : sequence of str
        Texts.

    Returns
    -------
    int
        Without special tokens; words where the encoder does not count.
    """
    counts = getattr(encoder, "token_counts", None)
    if callable(counts):
        return int(sum(counts(texts)))
    return sum(len(text.split()) for text in texts)


def embed(
    encoder: Encoder,
    texts: Sequence[str],
    *,
    role: Role = "document",
    dimensions: int | None = None,
    allowed: Sequence[int] = (),
    truncate: bool = False,
) -> Embedded:
    """Return the vectors of a request's texts.

    Parameters
    ----------
    encoder : Encoder
        The model.
    texts : sequence of str
        As :func:`check_texts` returns them.
    role : {"query", "document"}, default "document"
        What the texts are; matters to encoders that treat both differently.
    dimensions : int, optional
        Values per vector. Fewer than the encoder's are its leading ones at length 1.
    allowed : sequence of int, default ()
        Widths that the model was made for, beside its own.
    truncate : bool, default False
        Accept that the end of a text beyond the encoder's window is not read. Otherwise such texts are refused.

    Returns
    -------
    Embedded
        Vectors and figures.

    Raises
    ------
    InputError
        A width that the model was not made for, or a text beyond the window.

    Notes
    -----
    Cost: that of encoding; the tokens are counted by one more tokenization.

    Examples
    --------
    >>> from orthant.encoders.registry import load_encoder
    >>> embed(load_encoder("static"), ["a red kite"], dimensions=64, allowed=[64]).vectors.shape
    (1, 64)
    """
    if dimensions is not None and dimensions not in (encoder.dim, *allowed):
        widths = ", ".join(str(one) for one in sorted({*allowed, encoder.dim}))
        way = "leave dimensions out" if not allowed else "choose one of these"
        raise InputError(message(f"dimensions={dimensions}", f"{widths}, for which this model was made", way))
    X, report = encoder.encode_with_report(list(texts), role=role)
    cut = 0 if _reads_all(encoder) else report.truncated_tokens
    if cut and not truncate:
        window = f"at most {encoder.max_tokens} tokens each" if encoder.max_tokens else "shorter ones"
        way = "split them, or send truncate=true to use their beginning only"
        raise InputError(message(f"{report.truncated_items} text(s) beyond the model's window", window, way))
    if dimensions is not None and dimensions < X.shape[1]:
        X = unit_rows(X[:, :dimensions])
    return Embedded(X, count_tokens(encoder, texts) - cut, cut)


def _reads_all(encoder: Encoder) -> bool:
    """Whether long texts are read window by window, which a report counts as well."""
    try:
        return Fingerprint.parse(encoder.fingerprint).truncation == "chunk"
    except InputError:
        return False
