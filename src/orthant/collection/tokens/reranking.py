"""Ordering candidates again by their stored tokens, without encoding a record anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from orthant.collection.storage.generation import Generation
from orthant.collection.tokens.index import present_scores
from orthant.errors import InputError, message
from orthant.types import FloatArray, IdArray

__all__ = ["BoundTokens", "StoredTokens", "parse_stored_tokens"]


class StoredTokens:
    """Stands for ``rerank="tokens"`` until a search binds it to its candidates.

    Parameters
    ----------
    space : str, optional
        The space of tokens; left out, the only one.
    """

    def __init__(self, space: str | None = None) -> None:
        self.space = space

    def score(self, query: Any, records: Sequence[Any]) -> FloatArray:
        """Refuse: the tokens are found by rows, which only a search knows.

        Parameters
        ----------
        query, records : object
            Ignored.

        Returns
        -------
        ndarray
            Never.

        Raises
        ------
        InputError
            Always.
        """
        given = "stored tokens outside a search of their collection"
        raise InputError(message(given, "rerank='tokens' in search", "use MaxSimReranker for other records"))


class BoundTokens:
    """The tokens of the candidates of one query, ready to be compared.

    Parameters
    ----------
    generation : Generation
        What the search sees.
    space : str
        The space of tokens.
    rows : ndarray of shape (m,), int64
        The candidates.
    query : ndarray of shape (t, dim), float32, or None
        The tokens of the query.

    Attributes
    ----------
    lacking : int
        Candidates without tokens; they rank behind all others.
    """

    def __init__(self, generation: Generation, space: str, rows: IdArray, query: FloatArray | None) -> None:
        self._query = query
        self._present, self._held = generation.spaces[space].tokens_of(rows)
        self.lacking = int(np.count_nonzero(~self._present))

    def score(self, query: Any, records: Sequence[Any]) -> FloatArray:
        """Return the MaxSim of each candidate.

        Parameters
        ----------
        query : object
            Ignored: its tokens are known.
        records : sequence of m records
            The candidates, in the order of the rows.

        Returns
        -------
        ndarray of shape (m,), float32
            Finite; a candidate without tokens gets one less than the least of the others.
        """
        if self._query is None:
            return np.zeros(len(records), dtype=np.float32)
        scores = present_scores(self._query, self._present, self._held)
        least = scores[self._present].min() if self._present.any() else np.float32(0)
        return np.where(self._present, scores, least - 1).astype(np.float32)


def parse_stored_tokens(given: str) -> StoredTokens:
    """Return what ``rerank="tokens"`` or ``rerank="tokens:NAME"`` stands for.

    Parameters
    ----------
    given : str
        What was asked.

    Returns
    -------
    StoredTokens
        Unbound.

    Raises
    ------
    InputError
        Another text.
    """
    kind, _, name = given.partition(":")
    if kind != "tokens":
        raise InputError(message(f"rerank={given!r}", "'tokens', 'tokens:SPACE' or a reranker", "pass one of these"))
    return StoredTokens(name or None)
