"""The terms behind the hits that are shown: what each adds to the score of the sparse leg."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orthant.collection.sparse.shared import SharedTerm
from orthant.collection.stages.showing import Entry
from orthant.collection.storage.generation import Generation

if TYPE_CHECKING:
    from orthant.collection.searching import Query, SearchOptions

__all__ = ["shared_terms"]


def shared_terms(
    generation: Generation, query: Query, options: SearchOptions, entries: Sequence[Entry]
) -> dict[int, tuple[SharedTerm, ...]] | None:
    """Say which weighted terms a query shares with each record that is shown.

    Parameters
    ----------
    generation : Generation
        What the search saw.
    query : Query
        With its weighted terms.
    options : SearchOptions
        Nothing is said without ``explain`` and a sparse leg.
    entries : sequence of Entry
        What is shown.

    Returns
    -------
    dict of int to tuple of SharedTerm, or None
        By row, largest contribution first. Cost: one look into the postings of each term of the query, per record.
    """
    if not options.explain or options.sparse_space is None:
        return None
    index, names = generation.sparse[options.sparse_space].index, options.vocabulary
    out: dict[int, tuple[SharedTerm, ...]] = {}
    for entry in entries:
        found = [] if query.sparse is None else index.shares(query.sparse, entry.row)
        terms = [SharedTerm(str(term) if names is None else names[term], asked, own) for term, asked, own in found]
        out[entry.row] = tuple(sorted(terms, key=lambda term: (-term.contribution, term.name)))
    return out
