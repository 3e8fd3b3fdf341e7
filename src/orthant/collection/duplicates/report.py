"""What a look for duplicates found, and what can be done with it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from orthant.collection.duplicates import marking
from orthant.collection.duplicates.near import PairRecall
from orthant.collection.duplicates.thresholds import SimilarityHistogram, ThresholdChoice
from orthant.errors import InputError, message

if TYPE_CHECKING:
    from orthant.collection.storage.store import Store

__all__ = ["DuplicateGroup", "DuplicatePair", "DuplicateReport"]


@dataclass(frozen=True)
class DuplicatePair:
    """Two records that are nearly the same.

    Attributes
    ----------
    first, second : str
        Their ids, in insertion order.
    cosine : float or None
        Of their vectors; None where vectors were not compared.
    jaccard : float or None
        Of their word shingles; None where texts were not compared.
    """

    first: str
    second: str
    cosine: float | None
    jaccard: float | None


@dataclass(frozen=True)
class DuplicateGroup:
    """Near-duplicate records, of which one is kept.

    Attributes
    ----------
    kept : str
        Id of the record that the rule keeps.
    duplicates : tuple of str
        Ids of the others.
    """

    kept: str
    duplicates: tuple[str, ...]


@dataclass
class DuplicateReport:
    """Pairs and groups of near-duplicates; nothing is changed until ``mark`` or ``delete`` is called.

    Attributes
    ----------
    by : str
        ``"vectors"``, ``"text"`` or ``"both"``.
    space : str or None
        Vector space compared.
    method : str
        ``"scan"``, ``"graph"``, ``"minhash"`` or ``"shingles"`` (every pair that shares one).
    threshold : dict of str to float, or None
        Least similarity of ``"vectors"`` (cosine) and ``"text"`` (Jaccard); None where none was given or chosen, and
        so no pairs were sought.
    choice : ThresholdChoice or None
        How the threshold was chosen on judged pairs.
    histogram : SimilarityHistogram or None
        How similar records are, where there is no threshold.
    records : int
        Records compared.
    left_out : int
        Records that the filter allows, but that lack what is compared.
    recall : PairRecall or None
        Share of the true pairs found: measured for a graph, computed at the threshold for MinHash, 1 for the others.
    pairs : tuple of DuplicatePair
        The most similar first. Copies whose shingles or vectors are equal stand once each, with the first of them.
    groups : tuple of DuplicateGroup
        Groups in the order of the rule.
    chained : int
        Sets of records, joined by pairs, that did not hold together around one record and were split.
    seconds : float
        Wall-clock seconds.
    """

    by: str
    space: str | None
    method: str
    threshold: dict[str, float] | None
    choice: ThresholdChoice | None
    histogram: SimilarityHistogram | None
    records: int
    left_out: int
    recall: PairRecall | None
    pairs: tuple[DuplicatePair, ...]
    groups: tuple[DuplicateGroup, ...]
    chained: int
    seconds: float
    _store: Store | None = field(default=None, repr=False, compare=False)
    _rows: dict[str, int] = field(default_factory=dict, repr=False, compare=False)

    @property
    def duplicates(self) -> dict[str, str]:
        """The kept record of each duplicate, by id."""
        return {key: group.kept for group in self.groups for key in group.duplicates}

    def mark(self, *, field: str = marking.FIELD) -> int:
        """Write into each duplicate's metadata which record it duplicates, in one commit.

        Searches leave marked records out with ``where={"duplicate_of": {"exists": False}}``.

        Parameters
        ----------
        field : str, default "duplicate_of"
            Metadata field for the id of the kept record; none of the records may have it yet.

        Returns
        -------
        int
            Records marked.

        Raises
        ------
        InputError
            No threshold was given, a record changed since, or one has the field already; nothing was written.
        StoreReadOnlyError, StoreLockedError
            The collection cannot be written.

        Notes
        -----
        Texts, other metadata and vectors stay as they are and nothing is encoded. A marked record counts as inserted
        anew, so it moves to the end of the insertion order. Cost: writing the duplicates again.
        """
        new = marking.mark_records(self._writable(), self.duplicates, self._rows, field=field)
        self._rows.update(new)
        return len(new)

    def unmark(self, *, field: str = marking.FIELD) -> int:
        """Take away the marks of this report.

        Parameters
        ----------
        field : str, default "duplicate_of"
            The field that ``mark`` wrote.

        Returns
        -------
        int
            Records that had a mark of this report.

        Raises
        ------
        InputError
            A record changed since; nothing was written.
        """
        new = marking.unmark_records(self._writable(), self.duplicates, self._rows, field=field)
        self._rows.update(new)
        return len(new)

    def delete(self) -> int:
        """Remove every duplicate for good, marked or not; the kept records stay.

        Returns
        -------
        int
            Records removed.

        Raises
        ------
        InputError
            No threshold was given, or a record changed since; nothing was removed.

        Notes
        -----
        There is no way back but a copy of the collection.
        """
        return marking.delete_records(self._writable(), self.duplicates, self._rows)

    def _writable(self) -> Store:
        if self.threshold is None or self._store is None:
            raise InputError(
                message(
                    "a report without a threshold",
                    "duplicates above a threshold that you have chosen",
                    "look at its histogram, then call duplicates with threshold=... or labelled=...",
                )
            )
        return self._store

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values.

        Returns
        -------
        dict
            Nested plain values.
        """
        plain = ("by", "space", "method", "threshold", "records", "left_out", "chained", "seconds")
        return {
            **{name: getattr(self, name) for name in plain},
            "choice": None if self.choice is None else self.choice.to_dict(),
            "histogram": None if self.histogram is None else self.histogram.to_dict(),
            "recall": None if self.recall is None else asdict(self.recall),
            "pairs": [asdict(pair) for pair in self.pairs],
            "groups": [{"kept": group.kept, "duplicates": list(group.duplicates)} for group in self.groups],
        }
