"""What a mining run found: negatives per query, a reason for every other candidate, and the counts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from orthant.artifact import write_bytes_atomically
from orthant.errors import InputError, message
from orthant.learn.mining.rules import MiningRules, Reason
from orthant.types import FloatArray, IdArray
from orthant.validate import check_choice, check_count

__all__ = ["MinedNegatives", "MiningReport"]

Layout = Literal["triplet", "tuple", "list"]
Row = dict[str, Any]


@dataclass(frozen=True)
class MiningReport:
    """Counts of a mining run.

    Attributes
    ----------
    queries : int
        Queries given.
    pairs : int
        (query, positive) pairs given.
    dropped_pairs, flagged_pairs : int
        Pairs that fail the ranking-consistency filter, by what was done with them.
    candidates : int
        Candidates that the index returned.
    chosen : int
        Negatives taken, over all queries.
    rejected : mapping of str to int
        Candidates by the reason they were not taken.
    without_negatives : float
        Share of the queries with a pair left that got no negative at all.
    with_too_few : float
        Share of them that got some, but fewer than asked for.
    positives_not_above_zero : int
        Queries whose positive scores at most 0, where a relative margin says little.
    """

    queries: int
    pairs: int
    dropped_pairs: int
    flagged_pairs: int
    candidates: int
    chosen: int
    rejected: Mapping[str, int]
    without_negatives: float
    with_too_few: float
    positives_not_above_zero: int = 0

    def __str__(self) -> str:
        """Return the counts as lines of text."""
        lines = [
            f"{self.queries} queries, {self.pairs} pairs ({self.dropped_pairs} dropped, {self.flagged_pairs} flagged)",
            f"{self.chosen} negatives from {self.candidates} candidates",
            f"{self.without_negatives:.1%} of the queries without negatives, {self.with_too_few:.1%} with too few",
            *(f"  {count} {reason}" for reason, count in self.rejected.items()),
        ]
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class MinedNegatives:
    """Negatives of each query with everything that was considered.

    Attributes
    ----------
    queries : list of str
        n queries.
    positives : list of list of int
        Relevant ids of each query that are kept, in the order given; empty where the filter dropped all.
    texts : mapping of int to str
        Text by id.
    candidate_ids : ndarray of shape (n, k), int64
        What was considered, best first; -1 where there was nothing.
    candidate_scores : ndarray of shape (n, k), float32
        Scores of the index, or of the reranker where one was given.
    reasons : ndarray of shape (n, k), uint8
        ``Reason`` of each candidate: ``CHOSEN`` for the negatives.
    positive_scores : list of list of float
        Scores of ``positives``.
    positive_ranks : list of list of int
        1-based rank of each of ``positives`` among what is not relevant; 0 where it was not looked for, -1 beyond the
        depth searched.
    inconsistent : list of (int, int)
        (query, positive id) of pairs that fail the ranking-consistency filter, dropped or flagged.
    rules : MiningRules
        What was asked for.
    dropped : bool
        Whether inconsistent pairs were dropped rather than flagged.
    """

    queries: list[str]
    positives: list[list[int]]
    texts: Mapping[int, str]
    candidate_ids: IdArray
    candidate_scores: FloatArray
    reasons: npt.NDArray[np.uint8]
    positive_scores: list[list[float]]
    positive_ranks: list[list[int]]
    inconsistent: list[tuple[int, int]] = field(default_factory=list)
    rules: MiningRules = field(default_factory=MiningRules)
    dropped: bool = True

    def __len__(self) -> int:
        """Return the number of queries."""
        return len(self.queries)

    @property
    def ids(self) -> list[IdArray]:
        """Ids of the negatives of each query, best first."""
        return [row[mask == Reason.CHOSEN] for row, mask in zip(self.candidate_ids, self.reasons, strict=True)]

    @property
    def scores(self) -> list[FloatArray]:
        """Scores of the negatives of each query, in the order of ``ids``."""
        return [row[mask == Reason.CHOSEN] for row, mask in zip(self.candidate_scores, self.reasons, strict=True)]

    def rejections(self) -> Iterator[Row]:
        """Yield every candidate that was not taken.

        Yields
        ------
        dict
            ``query`` (its row), ``id``, ``score``, ``rank`` (0-based place among the candidates) and ``reason``.
        """
        rows, places = np.nonzero((self.reasons != Reason.CHOSEN) & (self.candidate_ids >= 0))
        for row, place in zip(rows.tolist(), places.tolist(), strict=True):
            yield {
                "query": row,
                "id": int(self.candidate_ids[row, place]),
                "score": float(self.candidate_scores[row, place]),
                "rank": place,
                "reason": Reason(self.reasons[row, place]).label,
            }

    def report(self) -> MiningReport:
        """Return the counts of the run.

        Returns
        -------
        MiningReport
            Counts per reason and shares of queries that went short.
        """
        real = self.candidate_ids >= 0
        chosen = (self.reasons == Reason.CHOSEN) & real
        kept = np.array([bool(p) for p in self.positives], dtype=np.bool_)
        counts = chosen.sum(axis=1)
        codes, numbers = np.unique(self.reasons[real & ~chosen], return_counts=True)
        share = max(int(kept.sum()), 1)
        bad = len(self.inconsistent)
        pairs = sum(map(len, self.positives)) + (bad if self.dropped else 0)
        return MiningReport(
            queries=len(self),
            pairs=pairs,
            dropped_pairs=bad if self.dropped else 0,
            flagged_pairs=0 if self.dropped else bad,
            candidates=int(real.sum()),
            chosen=int(chosen[kept].sum()),
            rejected={Reason(c).label: int(n) for c, n in zip(codes.tolist(), numbers.tolist(), strict=True)},
            without_negatives=int(((counts == 0) & kept).sum()) / share,
            with_too_few=int(((counts > 0) & (counts < self.rules.num_negatives) & kept).sum()) / share,
            positives_not_above_zero=sum(bool(s) and min(s) <= 0 for s in self.positive_scores),
        )

    def to_rows(
        self,
        *,
        layout: Layout = "triplet",
        fewest: int = 1,
        scores: bool = False,
        labels: Mapping[tuple[int, int], Sequence[float]] | None = None,
    ) -> list[Row]:
        """Return the rows of a training table.

        Parameters
        ----------
        layout : {"triplet", "tuple", "list"}, default "triplet"
            One row per (pair, negative) with ``negative``; one row per pair with ``negative_1``, ``negative_2`` and so
            on, for pairs that have all of them; or one row per pair with a list ``negatives`` of any length.
        fewest : int, default 1
            Fewest negatives of a pair in the list layout; 0 keeps pairs without any.
        scores : bool, default False
            Add ``scores``: the positive's, then the negatives'.
        labels : mapping of (int, int) to sequence of float, optional
            Soft labels by (query, positive id), as ``soft_labels`` gives; added as ``label`` to the tuple and list
            layouts, for pairs that have them.

        Returns
        -------
        list of dict
            ``anchor``, ``positive``, negatives, and ``flagged`` where pairs were flagged.

        Raises
        ------
        InputError
            An unknown layout, or labels for triplets.
        """
        layout = check_choice(layout, ("triplet", "tuple", "list"), name="layout")  # type: ignore[assignment]
        fewest = check_count(fewest, name="fewest", minimum=0)
        if labels is not None and layout == "triplet":
            raise InputError(message("labels for triplets", "one row per pair", "pass layout='tuple' or 'list'"))
        flagged = set() if self.dropped else set(self.inconsistent)
        out: list[Row] = []
        for row, (found, values) in enumerate(zip(self.ids, self.scores, strict=True)):
            texts = [self.texts[i] for i in found.tolist()]
            for positive, score in zip(self.positives[row], self.positive_scores[row], strict=True):
                base: Row = {"anchor": self.queries[row], "positive": self.texts[positive]}
                tail: Row = {"flagged": (row, positive) in flagged} if flagged else {}
                made = _rows(layout, base, texts, [score, *values.tolist()], self.rules.num_negatives, fewest, scores)
                if labels is not None:
                    made = [{**r, "label": list(labels[row, positive])} for r in made if (row, positive) in labels]
                out.extend({**r, **tail} for r in made)
        return out

    def write(self, folder: str | Path) -> None:
        """Write negatives, rejections and counts to a folder, for looking at and for later runs.

        Parameters
        ----------
        folder : str or Path
            Created if missing: ``negatives.jsonl`` (one line per query with ids and scores), ``rejected.jsonl``,
            ``report.json``.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        chosen = (
            {
                "query": self.queries[row],
                "positives": self.positives[row],
                "positive_scores": self.positive_scores[row],
                "negatives": ids.tolist(),
                "scores": values.tolist(),
            }
            for row, (ids, values) in enumerate(zip(self.ids, self.scores, strict=True))
        )
        write_bytes_atomically(folder / "negatives.jsonl", _json_lines(chosen))
        write_bytes_atomically(folder / "rejected.jsonl", _json_lines(self.rejections()))
        write_bytes_atomically(folder / "report.json", json.dumps(vars(self.report()), indent=2).encode())


def _json_lines(rows: Iterator[Row]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _rows(
    layout: Layout, base: Row, texts: list[str], values: list[float], wanted: int, fewest: int, scores: bool
) -> list[Row]:
    if layout == "triplet":
        tails = [{"scores": [values[0], value]} if scores else {} for value in values[1:]]
        return [{**base, "negative": text, **tail} for text, tail in zip(texts, tails, strict=True)]
    tail = {"scores": values} if scores else {}
    if layout == "list":
        return [{**base, "negatives": texts, **tail}] if len(texts) >= fewest else []
    if len(texts) < wanted:
        return []
    return [{**base, **{f"negative_{i}": text for i, text in enumerate(texts, 1)}, **tail}]
