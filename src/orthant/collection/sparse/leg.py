"""The sparse leg of a search: which space it asks, the query's weighted terms, and the rows that it brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from orthant.collection.sparse.state import SparseState
from orthant.collection.storage.generation import Generation
from orthant.encoders.sparse.rows import SparseVector, as_sparse_rows
from orthant.errors import InputError, NotFoundError, message
from orthant.kernels import bitmaps
from orthant.types import BitmapArray, FloatArray, IdArray

if TYPE_CHECKING:
    from orthant.collection.searching import Query
    from orthant.collection.space_encoders import SpaceEncoders

__all__ = ["SparseQuestion", "found_rows", "question", "search_leg", "wanted"]


@dataclass(frozen=True)
class SparseQuestion:
    """What a search wants of the sparse leg.

    Attributes
    ----------
    space : str
        The sparse space.
    vectors : list of SparseVector
        One per query.
    vocabulary : sequence of str or None
        Names of the terms, where an encoder at hand has them.
    """

    space: str
    vectors: list[SparseVector]
    vocabulary: Sequence[str] | None = None

    def added_to(self, queries: Sequence[Query]) -> list[Query]:
        """Return queries with their weighted terms; one without a term gets none.

        Parameters
        ----------
        queries : sequence of Query
            As many as there are vectors.

        Returns
        -------
        list of Query
            Copies.
        """
        pairs = zip(queries, self.vectors, strict=True)
        return [replace(query, sparse=vector if len(vector) else None) for query, vector in pairs]


def wanted(mode: str | None, weights: Any, given: Any, space: str | None, *, alone: bool) -> bool:
    """Return whether the sparse leg takes part.

    Parameters
    ----------
    mode : str or None
        As in ``Collection.search``.
    weights : mapping or None
        As in ``Collection.search``; in hybrid search the leg takes part where it has a weight.
    given : object
        The queries' sparse vectors, or None.
    space : str or None
        The sparse space asked for.
    alone : bool
        There is neither a text nor a dense vector.

    Returns
    -------
    bool
        True for ``mode="sparse"``, for hybrid search with a weight for it, and where there is nothing else.

    Raises
    ------
    InputError
        A sparse vector or space that would have no effect.
    """
    if mode == "sparse" or (mode is None and alone and given is not None):
        return True
    weighted = isinstance(weights, Mapping) and bool(weights.get("sparse"))
    if mode in (None, "hybrid") and weighted:
        return True
    name = "sparse_vector" if given is not None else "sparse_space" if space is not None else None
    if name is not None:
        given_text = f"{name}= with mode={mode!r}" if mode in ("dense", "lexical") else f"{name}= without a weight"
        way = "pass weights={'dense': 0.3, 'lexical': 0.3, 'sparse': 0.4}, for example, or leave it out"
        raise InputError(message(given_text, "mode='sparse', or hybrid search with a weight for 'sparse'", way))
    return False


def question(
    texts: Sequence[str | None],
    given: Any,
    *,
    space: str | None,
    spaces: Mapping[str, SparseState],
    encoders: SpaceEncoders,
) -> SparseQuestion:
    """Return the queries' weighted terms, encoded where none were given.

    Parameters
    ----------
    texts : sequence of (str or None)
        The query texts.
    given : sequence of sparse vectors, SciPy matrix or None
        Used instead of encoding.
    space : str or None
        The sparse space; None takes the only one.
    spaces : mapping of str to SparseState
        The collection's sparse spaces.
    encoders : SpaceEncoders
        What encodes the texts.

    Returns
    -------
    SparseQuestion
        One vector per query, perhaps without a term.

    Raises
    ------
    NotFoundError
        No such space.
    InputError
        No space, or several and no name, no encoder at hand, or malformed vectors.
    """
    name = _chosen(space, spaces)
    state = spaces[name]
    state.require_sound()
    dim = state.definition.dim
    if given is None:
        lacking = any(text is None for text in texts)
        if lacking:
            raise InputError(message("no text for the sparse leg", "a text or sparse_vector", "pass one of them"))
        encoder: Any = encoders.require(name)
        given = encoder.encode_sparse([text or "" for text in texts], role="query")
    rows = as_sparse_rows(given, dim=dim, name="sparse query")
    if len(rows) != len(texts):
        raise InputError(message(f"{len(rows)} sparse vectors for {len(texts)} queries", "one each", "align them"))
    return SparseQuestion(name, [rows[i] for i in range(len(rows))], getattr(encoders.given(name), "vocabulary", None))


def _chosen(space: str | None, spaces: Mapping[str, SparseState]) -> str:
    known = ", ".join(map(repr, spaces)) or "none"
    if space is not None:
        if space not in spaces:
            given = f"sparse space {space!r}"
            raise NotFoundError(message(given, f"one of: {known}", "add it with add_space"))
        return space
    if not spaces:
        given = "a search by weighted terms in a collection without a sparse space"
        way = "open with spaces={'sparse': encoder}, or add one with add_space, and write the records"
        raise InputError(message(given, "a sparse space", way))
    if len(spaces) > 1:
        raise InputError(message("several sparse spaces", f"one of: {known}", "name one by sparse_space"))
    return next(iter(spaces))


def search_leg(
    generation: Generation,
    space: str,
    query: SparseVector,
    *,
    k: int,
    allowed: BitmapArray | None,
    condition: BitmapArray | None,
) -> tuple[IdArray, FloatArray]:
    """Return the rows with the largest dot products.

    Parameters
    ----------
    generation : Generation
        What the search sees.
    space : str
        The sparse space.
    query : SparseVector
        The query.
    k : int
        Rows wanted.
    allowed : ndarray of uint64 or None
        Rows that pass the filter.
    condition : ndarray of uint64 or None
        Rows that satisfy the text's phrases, required and excluded words.

    Returns
    -------
    rows : ndarray of shape (m,), int64
        Best first.
    scores : ndarray of shape (m,), float32
        All above 0.
    """
    live = generation.live
    if condition is not None:
        live = live & bitmaps.resize(condition, len(live))
    return generation.sparse[space].index.search(query, k=k, allowed=allowed, live=live)


def found_rows(
    generation: Generation, space: str | None, query: SparseVector | None, allowed: BitmapArray
) -> BitmapArray:
    """Return all rows that share a term with a query.

    Parameters
    ----------
    generation : Generation
        What the search sees.
    space : str or None
        The sparse space.
    query : SparseVector or None
        The query.
    allowed : ndarray of uint64
        Rows that count.

    Returns
    -------
    ndarray of uint64
        Their bitmap.
    """
    if space is None or query is None:
        return np.zeros_like(allowed)
    return generation.sparse[space].index.found(query, allowed=allowed & generation.live)
