"""A search over several spaces at once: their weights, and each query as every one of them encodes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from orthant.collection.fusion import DEFAULT_WEIGHTS
from orthant.collection.legs.vectors import space_leg
from orthant.collection.storage.generation import Generation
from orthant.errors import InputError, NotFoundError, message
from orthant.validate import check_fraction

if TYPE_CHECKING:
    from orthant.collection.searching import Query

__all__ = ["SpaceShares", "given_vectors", "query_texts", "space_shares", "with_space"]


@dataclass(frozen=True)
class SpaceShares:
    """What each space counts in a search over several.

    Attributes
    ----------
    dense : dict of str to float
        Spaces of vectors with weights above 0.
    sparse : tuple of (str, float), or None
        The sparse space, where there is one.
    lexical : float
        What words count beside them.
    """

    dense: dict[str, float]
    sparse: tuple[str, float] | None
    lexical: float

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the legs, sum 1; no lexical one where words do not count."""
        out = {space_leg(name): weight for name, weight in self.dense.items()}
        if self.sparse is not None:
            out["sparse"] = self.sparse[1]
        total = sum(out.values())
        out = {leg: (1 - self.lexical) * weight / total for leg, weight in out.items()}
        return {**out, "lexical": self.lexical} if self.lexical else out


def space_shares(wanted: Any, now: Generation, *, mode: str | None, weights: Any, default: bool) -> SpaceShares:
    """Check which spaces a search asks, and what each of them counts.

    Parameters
    ----------
    wanted : mapping of str to float
        Weights by space, 0 or more; their sum is of no account.
    now : Generation
        What the search is prepared for.
    mode : str or None
        ``"hybrid"`` adds words to the spaces; ``"dense"`` and None do not.
    weights : mapping or None
        With hybrid search, what the spaces together (``"dense"``) and words (``"lexical"``) count.
    default : bool
        No other space was named beside them.

    Returns
    -------
    SpaceShares
        At least one space.

    Raises
    ------
    InputError
        No mapping, nothing above 0, a space of tokens, two sparse spaces, or other settings that do not fit.
    NotFoundError
        No such space.
    """
    if not isinstance(wanted, Mapping) or not wanted:
        given = f"spaces={wanted!r}"
        raise InputError(message(given, "a mapping of spaces to weights", "write spaces={'genre': 0.7, 'text': 0.3}"))
    if not default:
        raise InputError(message("space= beside spaces=", "one of them", "name every space in spaces="))
    if mode not in (None, "dense", "hybrid"):
        given = f"spaces= with mode={mode!r}"
        raise InputError(message(given, "'dense' or 'hybrid'", "leave mode out, or 'hybrid' to add words"))
    dense: dict[str, float] = {}
    sparse: list[tuple[str, float]] = []
    for name, value in wanted.items():
        weight = check_fraction(value, name=f"spaces[{name!r}]", high=1e9)
        if name in now.sparse:
            sparse += [(name, weight)] if weight else []
            continue
        if name not in now.spaces:
            known = ", ".join([*now.spaces, *now.sparse]) or "none"
            raise NotFoundError(message(f"space {name!r}", f"one of: {known}", "add it with add_space"))
        if now.spaces[name].definition.kind == "tokens":
            given = f"{name!r} in spaces=, a space of tokens"
            raise InputError(message(given, "spaces of one vector per record", f"pass rerank='tokens:{name}'"))
        if weight:
            dense[name] = weight
    if not dense and not sparse:
        raise InputError(message(f"spaces={wanted!r}", "at least one weight above 0", "raise one of them"))
    if len(sparse) > 1:
        given = f"{len(sparse)} sparse spaces ({', '.join(name for name, _ in sparse)})"
        raise InputError(message(given, "one beside any number of others", "leave the others out"))
    return SpaceShares(dense, sparse[0] if sparse else None, _lexical(mode, weights))


def _lexical(mode: str | None, weights: Any) -> float:
    """Return the share of words."""
    if weights is None:
        return DEFAULT_WEIGHTS["lexical"] if mode == "hybrid" else 0.0
    if mode == "dense":
        raise InputError(message("weights= with mode='dense'", "mode='hybrid' for it", "leave it out"))
    if not isinstance(weights, Mapping) or set(weights) - {"dense", "lexical"}:
        expected = "a mapping with the keys 'dense' and 'lexical'"
        raise InputError(message(f"weights={weights!r} with spaces=", expected, "weigh the spaces in spaces="))
    all_spaces, words = (check_fraction(weights.get(leg, 0.0), name=leg, high=1e9) for leg in ("dense", "lexical"))
    if not all_spaces:
        given = f"weights={weights!r} with spaces="
        raise InputError(message(given, "a weight above 0 for 'dense', the spaces together", "raise it"))
    return words / (all_spaces + words)


def query_texts(queries: Any) -> list[str | None]:
    """Return the texts of queries over several spaces.

    Parameters
    ----------
    queries : sequence of (str or None)
        As in ``Collection.search_many``.

    Returns
    -------
    list of (str or None)
        None where vectors count alone.

    Raises
    ------
    InputError
        A vector, part of a record or empty text, or one str for all.
    """
    if isinstance(queries, (str, bytes)):
        raise InputError(message("queries as one str", "a list of queries", "call search, or write [query]"))
    for query in queries:
        if query is not None and not isinstance(query, str):
            given = f"a query of type {type(query).__name__} with spaces="
            way = "pass vector={'genre': [...]}, such as the vectors of a record"
            raise InputError(message(given, "a text, or vectors by space", way))
        if query is not None and not query.strip():
            raise InputError(message("an empty query", "a text with a word", "pass some words"))
    return list(queries)


def given_vectors(vectors: Any, texts: Sequence[str | None], shares: SpaceShares) -> dict[str, list[Any]]:
    """Return the vectors that came with queries, by space.

    Parameters
    ----------
    vectors : sequence of mappings, or None
        One per query; spaces that are not searched are passed over, so that a whole record's vectors may be given.
    texts : sequence of (str or None)
        The queries' texts, which are encoded for spaces without a vector.
    shares : SpaceShares
        The spaces.

    Returns
    -------
    dict of str to list
        One vector per query.

    Raises
    ------
    InputError
        No mappings, not one per query, a space that only some queries have a vector for, or nothing to search for.
    """
    rows = [{}] * len(texts) if vectors is None else list(vectors)
    if any(not isinstance(row, Mapping) for row in rows):
        raise InputError(
            message("vectors without their spaces", "a mapping of spaces to vectors", "pass vector={'genre': [...]}")
        )
    if len(rows) != len(texts):
        raise InputError(message(f"vectors of {len(rows)} queries for {len(texts)}", "one each", "align them"))
    out = {}
    for name in shares.dense:
        own = [row[name] for row in rows if name in row]
        if len(own) not in (0, len(rows)):
            given = f"vectors for space {name!r} in {len(own)} of {len(rows)} queries"
            raise InputError(message(given, "in all or none", "search in two calls"))
        if not own and any(text is None for text in texts):
            given = f"neither a text nor a vector for space {name!r}"
            raise InputError(message(given, "one of them", "pass query='...', or a vector for every space"))
        if own:
            out[name] = own
    return out


def with_space(queries: Sequence[Query], ready: Sequence[Query], space: str) -> list[Query]:
    """Return queries with what one space's encoder made of them.

    Parameters
    ----------
    queries : sequence of Query
        So far.
    ready : sequence of Query
        The same, encoded for the space.
    space : str
        Its name.

    Returns
    -------
    list of Query
        Copies; a query without a known token gets no vector.
    """
    return [
        query if own.vector is None else replace(query, vectors={**query.vectors, space: own.vector})
        for query, own in zip(queries, ready, strict=True)
    ]
