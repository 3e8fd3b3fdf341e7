"""What a plain list shows, before anybody looks: hits are made of it when they are asked for, and JSON without them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orthant.collection.legs.ranking import Said
from orthant.collection.results import Hit
from orthant.collection.storage.texts.records import RawRecord

if TYPE_CHECKING:
    from orthant.collection.results import SearchResult

__all__ = ["Listing", "listing_of"]


@dataclass(frozen=True)
class Listing:
    """One page of a ranking with its records: lists of plain values, which hold on to no state of the collection.

    Attributes
    ----------
    first : int
        Rank of the first row, from 1.
    scores : list of float, length m
        Best first.
    legs : dict of str to Said
        What each leg said of the rows.
    records : list of (id, text, metadata), length m
        Metadata as the JSON text that is stored; the text None where it is not to be shown.
    """

    first: int
    scores: list[float]
    legs: dict[str, Said]
    records: list[RawRecord]

    def hits(self) -> tuple[Hit, ...]:
        """Make the hits.

        Returns
        -------
        tuple of Hit
            Best first; each with metadata of its own.
        """
        names, said = list(self.legs), [leg.each() for leg in self.legs.values()]
        rows = zip(*said, strict=True) if said else ((),) * len(self.records)
        return tuple(
            Hit(key, score, rank, text, json.loads(about), dict(zip(names, row, strict=True)))
            for rank, ((key, text, about), score, row) in enumerate(
                zip(self.records, self.scores, rows, strict=True), self.first
            )
        )


def listing_of(result: SearchResult) -> Listing | None:
    """Return the listing that a result was made from.

    Parameters
    ----------
    result : SearchResult
        Of one query.

    Returns
    -------
    Listing or None
        None where stages arranged or something explained the hits: then they are made already.
    """
    found = vars(result).get("_listing")
    return found if isinstance(found, Listing) else None
