"""Reasons to reject a generated text: too short, copied, too far from its source, or not leading back to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from orthant.errors import InputError, NotFoundError, message
from orthant.learn.conversion.texts import word_form
from orthant.types import Encoder, Index, Reranker
from orthant.validate import check_count

__all__ = ["Candidate", "CopyFilter", "LengthFilter", "RoundTripFilter", "SimilarityFilter", "SynthesisFilter"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A generated text with what it was made from.

    Attributes
    ----------
    id : str
        The record's id.
    source : str
        The record's text that it belongs to.
    text : str
        What was generated.
    record : mapping
        All fields of the record.
    """

    id: str
    source: str
    text: str
    record: Mapping[str, Any] = field(default_factory=dict)


class SynthesisFilter(Protocol):
    """Decides which generated texts are kept."""

    name: str

    def reject(self, candidates: Sequence[Candidate]) -> list[str | None]:
        """Return a reason per candidate, None for what is kept."""
        ...


@dataclass(frozen=True)
class LengthFilter:
    """Keep texts of a plausible length.

    Parameters
    ----------
    fewest, most : int, default 2 and 64
        Words; real queries have 2 to 20, paraphrases as many as their source.

    Raises
    ------
    InputError
        Bounds out of order.

    Examples
    --------
    >>> LengthFilter(2, 4).reject([Candidate("1", "", "gout"), Candidate("1", "", "what is gout")])
    ['fewer than 2 words', None]
    """

    fewest: int = 2
    most: int = 64

    def __post_init__(self) -> None:
        check_count(self.most, name="most", minimum=check_count(self.fewest, name="fewest"))

    @property
    def name(self) -> str:
        """The filter with its settings."""
        return f"length {self.fewest}-{self.most}"

    def reject(self, candidates: Sequence[Candidate]) -> list[str | None]:
        """Return a reason per candidate.

        Parameters
        ----------
        candidates : sequence of Candidate
            Texts.

        Returns
        -------
        list of (str or None)
            None for what is kept.
        """
        counts = [len(c.text.split()) for c in candidates]
        return [
            f"fewer than {self.fewest} words"
            if n < self.fewest
            else f"more than {self.most} words"
            if n > self.most
            else None
            for n in counts
        ]


@dataclass(frozen=True)
class CopyFilter:
    """Reject texts that repeat their source, or a long run of its words.

    Parameters
    ----------
    longest : int, default 8
        Longest run of words that a text may share with its source. Small rejects quotations that are fair.

    Raises
    ------
    InputError
        ``longest`` below 1.

    Examples
    --------
    >>> CopyFilter(2).reject([Candidate("1", "Gout is a form of arthritis.", "what form of arthritis")])
    ['copies 3 words in a row']
    """

    longest: int = 8

    def __post_init__(self) -> None:
        check_count(self.longest, name="longest")

    @property
    def name(self) -> str:
        """The filter with its settings."""
        return f"copy {self.longest}"

    def reject(self, candidates: Sequence[Candidate]) -> list[str | None]:
        """Return a reason per candidate.

        Parameters
        ----------
        candidates : sequence of Candidate
            Texts.

        Returns
        -------
        list of (str or None)
            None for what is kept.
        """
        out: list[str | None] = []
        for candidate in candidates:
            text, source = word_form(candidate.text), f" {word_form(candidate.source)} "
            words, size = text.split(), self.longest + 1
            runs = (f" {' '.join(words[i : i + size])} " for i in range(len(words) - size + 1))
            copied = any(run in source for run in runs)
            out.append(
                "equals its source" if f" {text} " == source else f"copies {size} words in a row" if copied else None
            )
        return out


class SimilarityFilter:
    """Keep texts whose score with their source lies in a range: paraphrases above, negatives below.

    Parameters
    ----------
    scorer : Reranker
        Such as ``orthant.learn.mining.DenseScorer(encoder)``: its score is a cosine.
    minimum, maximum : float, optional
        Bounds; at least one.
    name : str, default "similarity"
        Part of the settings that a resumed run must share.

    Raises
    ------
    InputError
        No bound, or bounds that cross.
    """

    def __init__(
        self, scorer: Reranker, *, minimum: float | None = None, maximum: float | None = None, name: str = "similarity"
    ) -> None:
        if minimum is None and maximum is None:
            raise InputError(message("no bound", "minimum or maximum", "pass one"))
        if minimum is not None and maximum is not None and minimum > maximum:
            raise InputError(message(f"minimum={minimum} above maximum={maximum}", "bounds in order", "swap them"))
        self._scorer, self._minimum, self._maximum = scorer, minimum, maximum
        self.name = f"{name} {minimum}-{maximum}"

    def reject(self, candidates: Sequence[Candidate]) -> list[str | None]:
        """Return a reason per candidate.

        Parameters
        ----------
        candidates : sequence of Candidate
            Texts.

        Returns
        -------
        list of (str or None)
            None for what is kept.
        """
        out: list[str | None] = []
        for candidate in candidates:
            score = float(self._scorer.score(candidate.source, [candidate.text])[0])
            low = self._minimum is not None and not score >= self._minimum
            high = self._maximum is not None and not score <= self._maximum
            out.append("too far from its source" if low else "too near to its source" if high else None)
        return out


class RoundTripFilter:
    """Keep queries that find their own document again among the first k.

    Parameters
    ----------
    index : Index
        Index of the documents.
    encoder : Encoder
        Encodes the generated queries; the one that the index was made with.
    ids : mapping of str to int
        Id in the index by id of the record.
    k : int, default 10
        How far down the document may stand. 1 keeps sharp queries only; large keeps vague ones.

    Raises
    ------
    InputError
        ``k`` below 1.
    NotFoundError
        A record without an id in the index (when it is met).

    References
    ----------
    Dai et al., Promptagator: Few-shot dense retrieval from 8 examples, arXiv:2209.11755, section 3.2 (round-trip
    consistency).
    """

    def __init__(self, index: Index, encoder: Encoder, ids: Mapping[str, int], *, k: int = 10) -> None:
        self._index, self._encoder, self._ids = index, encoder, ids
        self._k = check_count(k, name="k")
        self.name = f"round trip {k} {encoder.fingerprint}"

    def reject(self, candidates: Sequence[Candidate]) -> list[str | None]:
        """Return a reason per candidate.

        Parameters
        ----------
        candidates : sequence of Candidate
            Queries.

        Returns
        -------
        list of (str or None)
            None for what is kept.
        """
        unknown = [c.id for c in candidates if c.id not in self._ids]
        if unknown:
            raise NotFoundError(message(f"record {unknown[0]!r}", "records with an id in the index", "complete ids="))
        if not candidates:
            return []
        vectors = self._encoder.encode([c.text for c in candidates], role="query")
        # What has no direction cannot be searched for under cosine, and finds nothing.
        filled = np.flatnonzero(np.linalg.norm(vectors, axis=1) > 0)
        out: list[str | None] = ["has no word that the encoder knows"] * len(candidates)
        if len(filled):
            hits = self._index.search(vectors[filled], self._k)
            for row, found in zip(filled.tolist(), hits.ids, strict=True):
                back = self._ids[candidates[row].id] in found
                out[row] = None if back else f"does not find its document among {self._k}"
        return out
