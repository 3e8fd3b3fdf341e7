"""Which token of a query met which token of a record: the explanation of a MaxSim score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orthant.types import FloatArray, Role

__all__ = ["TokenMatch", "align", "token_texts"]


@dataclass(frozen=True)
class TokenMatch:
    """One token of the query with its best token of the record; their scores add up to the hit's.

    Attributes
    ----------
    query_token, record_token : int
        Places among the token vectors of the query and of the record, from 0.
    score : float
        Their dot product.
    query_text, record_text : str or None
        The tokens as words or pieces of words, where the encoder tells; a model that reduces tokens cannot.
    """

    query_token: int
    record_token: int
    score: float
    query_text: str | None = None
    record_text: str | None = None


def align(
    query: FloatArray,
    record: FloatArray,
    *,
    query_texts: Sequence[str] | None = None,
    record_texts: Sequence[str] | None = None,
) -> tuple[TokenMatch, ...]:
    """Return the best token of a record for each token of a query.

    Parameters
    ----------
    query : ndarray of shape (t, dim), float32
        Token vectors of the query.
    record : ndarray of shape (u, dim), float32
        Token vectors of the record; without any there is no match.
    query_texts, record_texts : sequence of str, optional
        The tokens in words. Left out of the result where their number is another one.

    Returns
    -------
    tuple of TokenMatch
        One per token of the query, in its order.

    Examples
    --------
    >>> import numpy as np
    >>> query, record = np.eye(2, dtype=np.float32), np.array([[0, 1], [0.5, 0]], dtype=np.float32)
    >>> [(match.record_token, match.score) for match in align(query, record)]
    [(1, 0.5), (0, 1.0)]
    """
    if not len(record):
        return ()
    products = query @ record.T
    best = products.argmax(axis=1)
    asked = query_texts if query_texts is not None and len(query_texts) == len(query) else [None] * len(query)
    told = record_texts if record_texts is not None and len(record_texts) == len(record) else [None] * len(record)
    return tuple(TokenMatch(i, int(j), float(products[i, j]), asked[i], told[j]) for i, j in enumerate(best.tolist()))


def token_texts(encoder: Any, texts: Sequence[str], role: Role) -> list[list[str]] | None:
    """Return the tokens of texts in words, where an encoder tells.

    Parameters
    ----------
    encoder : TokenEncoder or None
        It may have ``token_texts(texts, role=...)``.
    texts : sequence of str
        What was encoded.
    role : {"query", "document"}
        As what.

    Returns
    -------
    list of list of str, or None
        One list per text.
    """
    tell = getattr(encoder, "token_texts", None)
    return tell(texts, role=role) if callable(tell) and len(texts) else None
