"""Queries corrected by the adapter of their space."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from orthant.collection.searching import Query
    from orthant.collection.storage.generation import Generation

__all__ = ["adapted"]


def adapted(queries: list[Query], now: Generation, space: str | None) -> list[Query]:
    """Return queries with corrected vectors where their space has an adapter for its present encoder.

    Parameters
    ----------
    queries : list of Query
        Encoded by the space's encoder.
    now : Generation
        What the search was prepared for.
    space : str or None
        The space; None where no vectors are searched.

    Returns
    -------
    list of Query
        The same list where there is nothing to correct. An adapter of another encoder, such as the one before an
        upgrade, is passed over: it knows nothing about these vectors.
    """
    stored = None if space is None else now.adapters.get(space)
    if stored is None or space is None or stored.fingerprint != now.spaces[space].definition.fingerprint:
        return queries
    places = [i for i, query in enumerate(queries) if query.vector is not None]
    if not places:
        return queries
    moved = stored.adapter.transform(np.stack([queries[i].vector for i in places]))  # type: ignore[misc]
    out = list(queries)
    for i, vector in zip(places, moved, strict=True):
        out[i] = replace(queries[i], vector=vector)
    return out
