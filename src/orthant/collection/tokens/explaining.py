"""The matches of tokens behind the hits that are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from orthant.collection.stages.showing import Entry, StoredRecord
from orthant.collection.storage.generation import Generation
from orthant.collection.tokens.alignment import TokenMatch, align, token_texts

if TYPE_CHECKING:
    from orthant.collection.searching import Query, SearchOptions

__all__ = ["alignments"]


def alignments(
    generation: Generation,
    query: Query,
    options: SearchOptions,
    entries: Sequence[Entry],
    records: Mapping[int, StoredRecord],
) -> dict[int, tuple[TokenMatch, ...]]:
    """Say which token of a query met which of each record that is shown.

    Parameters
    ----------
    generation : Generation
        What the search saw.
    query : Query
        With its tokens.
    options : SearchOptions
        Nothing is said without ``explain`` and a space of tokens.
    entries : sequence of Entry
        What is shown.
    records : mapping of int to (id, text, metadata)
        Their records.

    Returns
    -------
    dict of int to tuple of TokenMatch
        By row. Cost: tokens of the query times those of the records shown.
    """
    space = options.tokens.explained
    asked = None if space is None else query.tokens.get(space)
    if not options.explain or space is None or asked is None or not entries:
        return {}
    rows = [entry.row for entry in entries]
    _, held = generation.spaces[space].tokens_of(np.array(rows, dtype=np.int64))
    encoder, words, told = options.tokens.encoder, None, None
    if query.text is not None:
        words = token_texts(encoder, [query.text], "query")
        told = token_texts(encoder, [records[row][1] or "" for row in rows], "document")
    return {
        row: align(
            asked,
            held[i],
            query_texts=None if words is None else words[0],
            record_texts=None if told is None else told[i],
        )
        for i, row in enumerate(rows)
    }
