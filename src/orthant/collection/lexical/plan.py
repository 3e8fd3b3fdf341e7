"""What a query means for one state of an index: its posting lists in every chunk, and its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from orthant.collection.lexical.analysis import Clause
from orthant.collection.lexical.chunks import Chunk, Documents, IntArray
from orthant.collection.lexical.vocabulary import Vocabulary
from orthant.kernels.bitmaps import contains_rows, from_mask, from_rows, resize, to_mask
from orthant.kernels.postings import accumulate_bm25, inverse_document_frequency, postings_of, union_postings
from orthant.types import BitmapArray, FloatArray, IdArray
from orthant.validate import as_allowed

__all__ = ["QueryPlan", "apply_condition", "as_bitmap", "make_plan", "restrict", "rows_mask", "score_alone"]

_PostingList = tuple[IntArray, IntArray]


@dataclass(frozen=True)
class QueryPlan:
    """A query's clauses with everything that scoring needs.

    Attributes
    ----------
    clauses : list of Clause
        The conditions.
    weights : list of float
        Inverse document frequency over all live documents, times the clause's weight.
    lists : list of list of (docs, counts)
        For each chunk, one posting list per clause; dead documents are still in it.
    """

    clauses: list[Clause]
    weights: list[float]
    lists: list[list[_PostingList]]


def make_plan(clauses: list[Clause], vocabulary: Vocabulary, chunks: Sequence[Chunk], *, count: int) -> QueryPlan:
    """Look up every clause in every chunk and weigh it.

    Parameters
    ----------
    clauses : list of Clause
        The query.
    vocabulary : Vocabulary
        Numbers of words and terms.
    chunks : sequence of Chunk
        All documents.
    count : int
        Live documents.

    Returns
    -------
    QueryPlan
        The plan.
    """
    finders = [_Finder(clause, vocabulary) for clause in clauses]
    lists = [[finder.find(chunk.documents) for finder in finders] for chunk in chunks]
    weights = []
    for j, clause in enumerate(clauses):
        df = sum(chunk.count_live(found[j][0]) for chunk, found in zip(chunks, lists, strict=True))
        weights.append(clause.weight * inverse_document_frequency(df, count))
    return QueryPlan(clauses, weights, lists)


class _Finder:
    """Finds the posting list of one clause in any chunk."""

    def __init__(self, clause: Clause, vocabulary: Vocabulary) -> None:
        self._phrase = clause.kind == "phrase"
        if self._phrase:
            # A word that no text ever had has number -1, which no stored text contains.
            self._numbers = [vocabulary.word_number(word) for word in clause.words]
            self._terms = vocabulary.terms_of_words([number for number in self._numbers if number >= 0])
        elif clause.kind == "word":
            self._numbers = [vocabulary.term_number(clause.words[0])]
        else:
            found = vocabulary.words_with(clause.words[0], prefix=clause.kind == "prefix")
            self._numbers = vocabulary.terms_of_words(found)

    def find(self, documents: Documents) -> _PostingList:
        if self._phrase:
            return documents.phrase(self._numbers, self._terms)
        if len(self._numbers) == 1:
            # Of the type of the stored terms: else NumPy widens all of them for every look.
            return postings_of(documents.postings, cast(int, np.int32(self._numbers[0])))
        return union_postings(documents.postings, self._numbers)


def restrict(found: _PostingList, wanted: IntArray) -> _PostingList:
    """Return a posting list over positions in ``wanted`` instead of documents.

    Parameters
    ----------
    found : tuple of (docs, counts)
        A posting list.
    wanted : ndarray of shape (m,), int64
        Distinct documents.

    Returns
    -------
    docs, counts : ndarray
        Positions in ``wanted`` of those in the list, and their counts.
    """
    docs, counts = found
    if not len(docs):
        return found
    place = np.minimum(np.searchsorted(docs, wanted), len(docs) - 1)
    hit = np.flatnonzero(docs[place] == wanted)
    return hit, counts[place[hit]]


def score_alone(found: _PostingList, norm: FloatArray, weight: float) -> float | None:
    """Return what one clause adds to the score of one document.

    Parameters
    ----------
    found : tuple of (docs, counts)
        The clause's postings, restricted to that document.
    norm : ndarray of shape (1,), float32
        Its length norm.
    weight : float
        The clause's weight.

    Returns
    -------
    float or None
        None where the document does not match.
    """
    docs, counts = found
    if not len(docs):
        return None
    value = np.zeros(1, dtype=np.float32)
    accumulate_bm25(value, docs, counts, norm, weight)
    return float(value[0])


def apply_condition(fits: npt.NDArray[np.bool_], clause: Clause, docs: IntArray) -> None:
    """Clear what a clause forbids: its documents when it excludes, all others when it is required.

    Parameters
    ----------
    fits : ndarray of shape (n,), bool
        Changed.
    clause : Clause
        The condition.
    docs : ndarray of int
        The documents it matches.
    """
    if clause.mode == "not":
        fits[docs] = False
    elif clause.mode == "must":
        present = np.zeros(len(fits), dtype=bool)
        present[docs] = True
        fits &= present


def rows_mask(bitmap: BitmapArray, rows: IdArray) -> npt.NDArray[np.bool_]:
    """Return for each of ascending rows whether a bitmap holds it.

    Parameters
    ----------
    bitmap : ndarray of uint64
        The set.
    rows : ndarray of shape (n,), int64
        Ascending, at least one.

    Returns
    -------
    ndarray of shape (n,), bool
        Membership.
    """
    first, last = int(rows[0]), int(rows[-1])
    if last - first + 1 != len(rows):
        return contains_rows(bitmap, rows)
    # Rows without gaps are a slice of the bitmap: unpacking it beats looking up every row.
    start = first >> 6
    words = resize(bitmap[start:], (last >> 6) - start + 1)
    return to_mask(words, len(words) * 64)[first - start * 64 : last - start * 64 + 1]


def as_bitmap(value: BitmapArray | npt.ArrayLike | None, *, name: str) -> BitmapArray | None:
    """Return a checked set of rows as a bitmap.

    Parameters
    ----------
    value : uint64 bitmap, bool mask, array of int, or None
        The set; None stands for all rows.
    name : str
        How the argument is called in an error.

    Returns
    -------
    ndarray of uint64 or None
        The bitmap.
    """
    array = as_allowed(value, name=name)
    if array is None or array.dtype == np.uint64:
        return array  # type: ignore[return-value]
    return from_mask(array) if array.dtype == np.bool_ else from_rows(array)  # type: ignore[arg-type]
