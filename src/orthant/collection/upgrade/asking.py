"""Queries of a space whose encoder is being replaced: encoded by the right model, and by both where that is asked."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import numpy as np

from orthant.collection.searching import Query, SearchOptions, SpaceChangedError
from orthant.collection.upgrade.maps import weighted_queries
from orthant.errors import DimensionError, EncoderMismatchError, InputError

if TYPE_CHECKING:
    from orthant.collection.space_encoders import SpaceEncoders
    from orthant.collection.storage.generation import Generation
    from orthant.collection.storage.store import Store

__all__ = ["again_after_cut_over", "for_bridge", "same_space"]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_TRIES = 5


def again_after_cut_over(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Run a search again where the space got another encoder between the encoding of its query and the search.

    Parameters
    ----------
    function : callable
        Encodes and searches.

    Returns
    -------
    callable
        The same, up to five times.
    """

    @functools.wraps(function)
    def again(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        for _ in range(_TRIES - 1):
            try:
                return function(*args, **kwargs)
            except SpaceChangedError:
                continue
        return function(*args, **kwargs)

    return again


@contextmanager
def same_space(store: Store, now: Generation, space: str) -> Iterator[None]:
    """Tell a query that does not fit from one that was encoded while the space changed.

    Parameters
    ----------
    store : Store
        The opened collection.
    now : Generation
        What the search was prepared for.
    space : str
        The space.

    Yields
    ------
    None
        Nothing.

    Raises
    ------
    SpaceChangedError
        The error within came of a cut-over.
    """
    try:
        yield
    except (DimensionError, EncoderMismatchError) as error:
        before, after = now.spaces.get(space), store.refreshed().spaces.get(space)
        if before is not None and after is not None and before.definition != after.definition:
            raise SpaceChangedError from error
        raise


def for_bridge(
    queries: list[Query], options: SearchOptions, now: Generation, encoders: SpaceEncoders, *, moved: bool = False
) -> tuple[list[Query], SearchOptions]:
    """Return queries as the space's index takes them, and options that notice a change of the encoder.

    Parameters
    ----------
    queries : list of Query
        Encoded by the space's encoder.
    options : SearchOptions
        Checked.
    now : Generation
        What the search was prepared for.
    encoders : SpaceEncoders
        The collection's.
    moved : bool, default False
        The vectors are no longer those of the texts, so the former encoder's say something else and are left out.

    Returns
    -------
    queries : list of Query
        With the former encoder's vector behind the new one where an upgrade searches by both. A query without a text,
        or of a collection that has no longer the former encoder, keeps the one.
    options : SearchOptions
        With the fingerprint that the queries were encoded for.
    """
    if options.space is None or options.space not in now.spaces:
        return queries, options
    options = replace(options, fingerprint=now.spaces[options.space].definition.fingerprint)
    upgrade = now.upgrade
    if not upgrade.committed or options.space != upgrade.space or not upgrade.weight:
        return queries, options
    places = [i for i, query in enumerate(queries) if query.vector is not None and query.text and not moved]
    try:
        encoder = encoders.require(upgrade.former) if places else None
    except (InputError, EncoderMismatchError):
        # The former model is gone: its part of the score is left out, and ranks come from the mapped vectors alone.
        encoder = None
    if encoder is None:
        return queries, options
    former = np.ascontiguousarray(encoder.encode([queries[i].text for i in places], role="query"), dtype=np.float32)
    fresh = np.stack([queries[i].vector for i in places])  # type: ignore[misc]
    both = weighted_queries(fresh, former, upgrade.weight, upgrade.scales)
    out = list(queries)
    for i, vector in zip(places, both, strict=True):
        out[i] = replace(queries[i], vector=vector)
    return out, options
