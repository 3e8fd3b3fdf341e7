"""From what a caller asks to checked queries and options."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, get_args

import numpy.typing as npt

from orthant.collection import fusion
from orthant.collection.columns.where import parse_where
from orthant.collection.searching import Mode, Query, SearchOptions
from orthant.collection.space_encoders import SpaceEncoders
from orthant.collection.spaces import SpaceDefinition
from orthant.collection.stages.options import StageOptions
from orthant.collection.storage.settings.fusion import StoredFusion
from orthant.collection.tokens.queries import TokenSettings
from orthant.errors import InputError, NotFoundError, message
from orthant.types import FloatArray
from orthant.validate import as_array, as_texts, as_vectors, check_choice, check_count, check_fraction

__all__ = [
    "DEFAULT_DEPTH",
    "as_recall",
    "check_options",
    "check_space",
    "choose_mode",
    "encode_queries",
    "needs_dense",
    "split_queries",
]

DEFAULT_DEPTH = 200
"""Candidates per leg of a hybrid search."""


def split_queries(
    queries: Sequence[str | npt.ArrayLike | None],
    vectors: Sequence[npt.ArrayLike] | npt.ArrayLike | None,
    *,
    sparse: bool = False,
) -> tuple[list[str | None], FloatArray | None]:
    """Separate texts from vectors.

    Parameters
    ----------
    queries : sequence of (str, array-like or None), length q
        All texts or all vectors; None where only ``vectors`` count.
    vectors : array-like of shape (q, dim), optional
        Query vectors.
    sparse : bool, default False
        There are sparse vectors too, so that a query may have nothing else.

    Returns
    -------
    texts : list of (str or None)
        One per query.
    vectors : ndarray of shape (q, dim), float32, or None
        None when the texts must be encoded.

    Raises
    ------
    InputError
        A mixture, or nothing to search for.
    """
    if isinstance(queries, (str, bytes)):
        raise InputError(message("queries as one str", "a list of queries", "call search, or write [query]"))
    listed = as_array(queries, name="query vectors")
    if not isinstance(listed, Iterable):
        raise InputError(message(f"queries of type {type(queries).__name__}", "a list of queries", "write [query]"))
    items = [as_array(item, name="a query vector") for item in listed]
    texts: list[str | None] = [item if isinstance(item, str) else None for item in items]
    as_texts([text for text in texts if text is not None], name="queries")
    raw = [item for item in items if item is not None and not isinstance(item, str)]
    if raw and (vectors is not None or len(raw) != len(items)):
        raise InputError(
            message(
                "a mixture of texts and vectors", "all texts or all vectors", "pass vectors by the argument for them"
            )
        )
    blank = next((i for i, text in enumerate(texts) if text is not None and not text.strip()), None)
    if blank is not None and vectors is None:
        raise InputError(message(f"an empty query at position {blank}", "a text with a word", "pass some words"))
    # A list may hold tensors; a whole matrix is converted by the check below.
    given: Any = raw or (
        [as_array(x, name="a query vector") for x in vectors] if isinstance(vectors, list) else vectors
    )
    if given is None:
        if not sparse and any(text is None for text in texts):
            raise InputError(message("no query", "a text or a vector", "pass query='...' or vector=[...]"))
        return texts, None
    Q = as_vectors(given, name="query vector")
    if len(Q) != len(items):
        raise InputError(message(f"{len(Q)} vectors for {len(items)} queries", "equal lengths", "pass one each"))
    return texts, Q


def check_space(space: str, spaces: Container[str], *, default: str) -> None:
    """Refuse a space that does not exist; the default one may not exist yet.

    Parameters
    ----------
    space : str
        What was asked for.
    spaces : container of str
        The collection's spaces.
    default : str
        Name of the default space.

    Raises
    ------
    InputError
        Not a name.
    NotFoundError
        No such space.
    """
    if not isinstance(space, str):
        raise InputError(message(f"space of type {type(space).__name__}", "a name", "pass space='...'"))
    if space != default and space not in spaces:
        raise NotFoundError(message(f"space {space!r}", "an existing space", "add it with add_space"))


def choose_mode(
    mode: Mode | None,
    texts: Sequence[str | None],
    given: FloatArray | None,
    space: str,
    encoders: SpaceEncoders,
    *,
    default: str,
    vectors: bool = True,
    sparse: bool = False,
    weights: Mapping[str, float] | None = None,
) -> Mode:
    """Return the mode asked for, or the richest one that is possible.

    Parameters
    ----------
    mode : str or None
        What was asked.
    texts : sequence of (str or None)
        The query texts.
    given : ndarray of shape (q, dim) or None
        The query vectors.
    space : str
        The vector space.
    encoders : SpaceEncoders
        What can be encoded.
    default : str
        Name of the space that is meant when none is named.
    vectors : bool, default True
        Whether the search has a dense leg where its mode has one.
    sparse : bool, default False
        The sparse leg takes part.
    weights : mapping, optional
        With a sparse leg, a hybrid search needs the dense one only where it has a weight.

    Returns
    -------
    str
        The mode.

    Raises
    ------
    InputError
        The queries do not serve the mode.
    """
    if mode is not None:
        check_choice(mode, get_args(Mode), name="mode")
    if mode == "tokens":
        return mode
    has_text = all(text is not None for text in texts)
    has_vector = not vectors or given is not None or (has_text and encoders.at_hand(space))
    if mode in ("lexical", "hybrid") and not has_text:
        raise InputError(message(f"mode={mode!r} without a text", "a text query", "pass query='...'"))
    if mode is None and sparse:
        mode = "hybrid" if has_text else "sparse"
    if not has_vector and (mode == "dense" or (mode == "hybrid" and needs_dense(weights))):
        encoders.require(space)
    if mode in ("lexical", "sparse") and space != default:
        raise InputError(message(f"space={space!r} with mode={mode!r}", "a dense leg for it", "leave it out"))
    if mode is not None:
        return mode
    if space != default and not has_vector:
        # Searching by words only would leave the space that was asked for unused.
        encoders.require(space)
    if has_text and has_vector:
        return "hybrid"
    return "dense" if has_vector else "lexical"


def as_recall(exact: bool, recall: float | None, effort: int | None) -> float | None:
    """Return the recall that a search is to have.

    Parameters
    ----------
    exact : bool
        Everything is to be compared.
    recall, effort : float and int, or None
        As in ``Collection.search``.

    Returns
    -------
    float or None
        1.0 for an exact search.

    Raises
    ------
    InputError
        ``exact`` beside another recall, or an effort.
    """
    if not exact:
        return recall
    if effort is not None or recall not in (None, 1.0):
        given = "exact=True with recall= or effort="
        raise InputError(message(given, "one of them", "leave recall and effort out: everything is compared"))
    return 1.0


def needs_dense(weights: Mapping[str, float] | None) -> bool:
    """Return whether a hybrid search cannot do without the dense leg.

    Parameters
    ----------
    weights : mapping or None
        As in ``Collection.search``.

    Returns
    -------
    bool
        False where the sparse leg has a weight and the dense one none.
    """
    return not (isinstance(weights, Mapping) and weights.get("sparse") and not weights.get("dense"))


def check_options(
    mode: Mode,
    *,
    records: int,
    space: str,
    k: int,
    offset: int,
    where: Mapping[str, Any] | None,
    depth: int | None,
    method: str | None,
    weights: Mapping[str, float] | None,
    min_score: float | None,
    recall: float | None,
    effort: int | None,
    threads: int | None,
    explain: bool,
    include_text: bool,
    syntax: str | None,
    stages: StageOptions,
    dense: bool = True,
    sparse_space: str | None = None,
    stored: StoredFusion | None = None,
    tokens: TokenSettings | None = None,
    spaces: Mapping[str, str | None] | None = None,
    vocabulary: Sequence[str] | None = None,
) -> SearchOptions:
    """Check a search's settings; one that could have no effect is refused.

    Parameters
    ----------
    mode : str
        The chosen mode.
    records : int
        Records in the collection.
    space, k, offset, where, depth, method, weights, min_score, recall, effort, threads, explain, include_text, syntax
        As in ``Collection.search``; ``method`` is its ``fusion``.
    stages : StageOptions
        What happens after retrieval.
    dense : bool, default True
        A hybrid search has a dense leg.
    sparse_space : str, optional
        Space of the sparse leg, where there is one.
    stored : StoredFusion, optional
        The collection's own fusion, for what the call leaves open.
    tokens : TokenSettings, optional
        Which spaces of tokens are searched.
    spaces : mapping of str to (str or None), optional
        Several spaces of vectors instead of one, with their fingerprints; ``weights`` are those of the legs, checked.
    vocabulary : sequence of str, optional
        Names of the terms of the sparse space.

    Returns
    -------
    SearchOptions
        The settings.

    Raises
    ------
    InputError
        A value out of range, or one without effect in this mode.
    FilterError
        A malformed filter.
    """
    tokens = TokenSettings() if tokens is None else tokens
    legs = ["dense"] * tokens.vectors + ["lexical"] + ["tokens"] * (tokens.leg is not None)
    fused: dict[str, Any] = {"weights": weights, "fusion": method}
    if stages.reranker is not None or not stages.ordered:
        # Diversity and groups take their candidates from this depth in every mode; a reranker has its own.
        fused["depth"] = depth
    idle = [name for name, value in fused.items() if value is not None]
    if mode != "hybrid" and idle:
        raise InputError(message(f"{idle[0]}= with mode={mode!r}", "mode='hybrid' for it", "leave it out"))
    if mode in ("dense", "sparse", "tokens") and syntax is not None:
        raise InputError(message(f"syntax= with mode={mode!r}", "a lexical leg for it", "leave it out"))
    idle = [name for name, value in (("recall", recall), ("effort", effort), ("threads", threads)) if value is not None]
    dense = dense and mode in ("dense", "hybrid")
    if not dense and tokens.leg is None and idle:
        raise InputError(message(f"{idle[0]}= with mode={mode!r}", "a dense leg for it", "leave it out"))
    if recall is not None and effort is not None:
        raise InputError(message("recall= and effort=", "one of them", "ask for a recall, or set the effort yourself"))
    fused_by = check_choice(
        ("minmax" if stored is None else stored.method) if method is None else method, ("minmax", "rrf"), name="fusion"
    )
    if weights is None and spaces is None and stored is not None and stored.method == fused_by and tokens.leg is None:
        # Weights of one method say nothing about the other's, and those of other legs nothing about tokens.
        weights = stored.weights
    options = SearchOptions(
        mode=mode,
        space=space if dense and tokens.vectors and spaces is None else None,
        k=check_count(k, name="k"),
        offset=check_count(offset, name="offset", minimum=0, maximum=2**62),
        predicate=None if where is None else parse_where(where),
        where=where,
        depth=DEFAULT_DEPTH if depth is None else check_count(depth, name="depth"),
        fusion=fused_by,  # type: ignore[arg-type]
        weights=(weights or {})
        if spaces is not None
        else fusion.check_weights(weights, legs=legs if mode == "hybrid" else ("dense", "lexical")),
        min_score=None if min_score is None else check_fraction(min_score, name="min_score", low=-1e30, high=1e30),
        recall=None if recall is None else check_fraction(recall, name="recall"),
        effort=None if effort is None else check_count(effort, name="effort"),
        threads=None if threads is None else check_count(threads, name="threads"),
        explain=explain,
        include_text=include_text,
        syntax=check_choice("operators" if syntax is None else syntax, ("operators", "plain"), name="syntax"),  # type: ignore[arg-type]
        stages=stages,
        sparse_space=sparse_space,
        tokens=tokens,
        spaces=spaces or {},
        vocabulary=vocabulary,
    )
    _check_reach(options, records)
    return options


def _check_reach(options: SearchOptions, records: int) -> None:
    """Refuse a page behind the end of the list that the settings allow."""
    stages, end = options.stages, min(options.offset + options.k, records)
    both = options.reach
    if options.mode == "hybrid" and stages.reranker is not None and min(stages.rerank_depth, records) > both:
        given = f"rerank_depth={stages.rerank_depth} with depth={options.depth}"
        raise InputError(message(given, f"at most {both}, all that its legs can bring", "raise depth"))
    if stages.group_by is not None:
        return
    wanted = f"offset + k = {options.offset + options.k}"
    if stages.reranker is not None and end > stages.rerank_depth:
        given, most = f"{wanted} with rerank_depth={stages.rerank_depth}", stages.rerank_depth
        raise InputError(message(given, f"at most {most}, all that is reranked", "raise rerank_depth"))
    if options.mode == "hybrid" and end > both:
        given = f"{wanted} with depth={options.depth}"
        raise InputError(message(given, f"at most {both}, all that its legs can bring", "raise depth"))
    if options.mode != "hybrid" and stages.closed and stages.reranker is None and end > options.depth:
        given = f"{wanted} with diversity= and depth={options.depth}"
        raise InputError(message(given, f"at most {options.depth}, all that are compared", "raise depth"))


def encode_queries(
    texts: Sequence[str | None],
    given: npt.ArrayLike | None,
    *,
    mode: Mode,
    space: str,
    definition: SpaceDefinition | None,
    encoders: SpaceEncoders,
) -> list[Query]:
    """Return queries with their vectors.

    Parameters
    ----------
    texts : sequence of (str or None)
        The query texts.
    given : array-like of shape (q, dim) or None
        Vectors that came with them.
    mode : str
        The chosen mode.
    space : str
        The vector space.
    definition : SpaceDefinition or None
        Its definition; None before the first record.
    encoders : SpaceEncoders
        What encodes the texts.

    Returns
    -------
    list of Query
        A text without a known token gets no vector: only its words are searched.

    Raises
    ------
    DimensionError, NonFiniteError, InputError
        Vectors that do not fit.
    NotFoundError
        No such space.
    """
    if mode in ("lexical", "sparse", "tokens"):
        return [Query(text, None) for text in texts]
    if definition is None and encoders.given(space) is None and space != "default":
        raise NotFoundError(message(f"space {space!r}", "an existing space", "add it with add_space"))
    cosine = definition is None or definition.metric == "cosine"
    dim = None if definition is None else definition.dim
    if given is not None:
        Q = as_vectors(given, dim=dim, name="query vector", nonzero=cosine)
        return [Query(text, q) for text, q in zip(texts, Q, strict=True)]
    encoder = encoders.require(space)
    Q = as_vectors(encoder.encode([text or "" for text in texts], role="query"), dim=dim, name="query vector")
    usable: list[bool] = Q.any(axis=1).tolist() if cosine else [True] * len(Q)  # type: ignore[assignment]
    return [Query(text, Q[i] if usable[i] else None) for i, text in enumerate(texts)]
