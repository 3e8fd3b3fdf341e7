"""What a search asks of token spaces: which space, whose tokens, and the tokens of each query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orthant.collection.spaces import SpaceDefinition, require_dense
from orthant.errors import DimensionError, InputError, NotFoundError, message
from orthant.types import FloatArray
from orthant.validate import as_ragged, as_vectors

__all__ = ["TokenSettings", "as_matrices", "query_tokens", "token_settings", "token_space"]


@dataclass(frozen=True)
class TokenSettings:
    """Which token spaces a search needs.

    Attributes
    ----------
    leg : str or None
        The space that is searched.
    rerank : str or None
        The space whose tokens order the candidates again.
    vectors : bool
        Whether there is a dense leg beside it.
    encoder : TokenEncoder or None
        What may tell the tokens of the explained space in words.
    """

    leg: str | None = None
    rerank: str | None = None
    vectors: bool = True
    encoder: Any = None

    @property
    def explained(self) -> str | None:
        """The space whose matches are shown: what ordered the hits last."""
        return self.rerank or self.leg


def token_space(name: str | None, spaces: Mapping[str, SpaceDefinition]) -> str:
    """Return a space of tokens, the only one where none is named.

    Parameters
    ----------
    name : str or None
        What was asked for.
    spaces : mapping of str to SpaceDefinition
        The collection's spaces.

    Returns
    -------
    str
        Its name.

    Raises
    ------
    NotFoundError
        No such space of tokens.
    InputError
        There is none, or several and none is named.
    """
    held = [key for key, definition in spaces.items() if definition.kind == "tokens"]
    if name is not None and name in held:
        return name
    way = "add one with add_space(name, encoder=..., kind='tokens'), or with `orthant add --tokens MODEL`"
    if name is not None:
        known = f"one of: {', '.join(held)}" if held else "a space of tokens"
        raise NotFoundError(message(f"{name!r} as a space of tokens", known, way))
    if not held:
        raise InputError(message("a search by tokens where no space of tokens is", "a space of tokens", way))
    if len(held) > 1:
        raise InputError(message(f"{len(held)} spaces of tokens ({', '.join(held)})", "one", "name it with space=..."))
    return held[0]


def token_settings(
    mode: str | None,
    space: str,
    weights: Any,
    spaces: Mapping[str, SpaceDefinition],
    *,
    default: str,
    rerank: str | None = None,
) -> TokenSettings:
    """Return which token spaces a search needs.

    Parameters
    ----------
    mode : str or None
        What was asked.
    space : str
        What was asked; a space of tokens makes the leg.
    weights : mapping or None
        Of a hybrid search; ``"tokens"`` above 0 makes the leg.
    spaces : mapping of str to SpaceDefinition
        The collection's spaces.
    default : str
        What ``space`` is where none was asked for.
    rerank : str, optional
        The space of tokens that orders candidates again.

    Returns
    -------
    TokenSettings
        Without an encoder.

    Raises
    ------
    NotFoundError, InputError
        No such space, several, or one of the other kind.
    """
    given = weights if isinstance(weights, Mapping) else {}
    if space in spaces and spaces[space].kind == "tokens":
        if mode == "dense":
            require_dense(spaces[space])
        return TokenSettings(None if mode == "lexical" else space, rerank, vectors=False)
    if mode == "tokens" and space != default:
        token_space(space, spaces)
    if mode == "tokens" or (mode in (None, "hybrid") and given.get("tokens")):
        vectors = mode != "tokens" and bool(given.get("dense"))
        return TokenSettings(token_space(None, spaces), rerank, vectors=vectors)
    return TokenSettings(None, rerank)


def as_matrices(queries: Any) -> list[FloatArray] | None:
    """Return queries that were given as token vectors, or None where they are texts or single vectors.

    Parameters
    ----------
    queries : sequence
        Of a search.

    Returns
    -------
    list of ndarray of shape (t, dim), or None
        None unless every query is a matrix.

    Raises
    ------
    DtypeError
        A query whose rows differ in length, or that holds other things than numbers.
    """
    if not isinstance(queries, (list, tuple)) or not queries or not all(_is_matrix(item) for item in queries):
        return None
    return [as_vectors(item, name="the tokens of a query") for item in queries]


def require_single_vectors(matrices: Sequence[FloatArray] | None, vectors: Any) -> None:
    """Refuse matrices where one vector per query belongs, and vectors that nobody would look at beside matrices.

    Parameters
    ----------
    matrices : sequence of ndarray of shape (t, dim), or None
        From ``as_matrices``, of the queries themselves.
    vectors : sequence, or ndarray of shape (q, dim), or None
        Given beside the queries.

    Raises
    ------
    InputError
        Token vectors and vectors together.
    DimensionError
        Token vectors as a vector.
    """
    if vectors is None:
        return
    if matrices is not None:
        raise InputError(message("token vectors beside vector=", "one of them", "search by one after the other"))
    found = next((item for item in vectors if _is_matrix(item)), None) if isinstance(vectors, (list, tuple)) else None
    if found is not None:
        given, way = f"vector= of shape {np.shape(found)}", "pass token vectors as the query, search(matrix)"
        raise DimensionError(message(given, "one vector", f"{way}, and several queries to search_many"))


def _is_matrix(item: Any) -> bool:
    if isinstance(item, (list, tuple)):
        return len(item) > 0 and isinstance(item[0], (list, tuple, np.ndarray))
    return getattr(item, "ndim", 0) == 2


def require_token_leg(matrices: Sequence[FloatArray] | None, tokens: TokenSettings) -> None:
    """Refuse matrices where no leg compares tokens: nothing would be searched, and nothing found.

    Parameters
    ----------
    matrices : sequence of ndarray of shape (t, dim), or None
        From ``as_matrices``.
    tokens : TokenSettings
        What the search compares.

    Raises
    ------
    InputError
        A matrix that nobody would look at, such as the (1, dim) that an encoder returns for one text.
    """
    if matrices is None or tokens.leg is not None:
        return
    given = f"a query of shape {matrices[0].shape} where no tokens are compared"
    way = "pass one row, such as X[0], and several queries to search_many"
    raise InputError(message(given, "a text, or a vector of shape (dim,)", way))


def query_tokens(
    texts: Sequence[str | None],
    matrices: Sequence[FloatArray] | None,
    definition: SpaceDefinition,
    encoder: Any,
) -> list[FloatArray | None]:
    """Return the token vectors of queries.

    Parameters
    ----------
    texts : sequence of (str or None)
        The queries' texts.
    matrices : sequence of ndarray of shape (t, dim), or None
        Their tokens, where they came with the query.
    definition : SpaceDefinition
        The space.
    encoder : callable
        Gives the encoder; asked only where texts must be encoded.

    Returns
    -------
    list of (ndarray of shape (t, dim), or None)
        None for a query without a token that counts.

    Raises
    ------
    InputError, DimensionError, NonFiniteError
        Tokens that do not fit, or no text to encode.
    """
    if matrices is not None:
        name = "the tokens of a query"
        return [_some(as_vectors(given, dim=definition.dim, name=name)) for given in matrices]
    if any(text is None for text in texts):
        given = f"a query without a text for the tokens of space {definition.name!r}"
        raise InputError(message(given, "a text, or a matrix of token vectors", "pass query='...'"))
    found = encoder().encode_tokens([text or "" for text in texts], role="query")
    tokens = as_ragged(found, dim=definition.dim, name="the tokens of the queries")
    return [_some(np.ascontiguousarray(tokens[i])) for i in range(len(tokens))]


def _some(tokens: FloatArray) -> FloatArray | None:
    return tokens if len(tokens) else None
