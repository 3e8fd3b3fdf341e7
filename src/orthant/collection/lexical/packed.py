"""Documents as a file holds them: a third of the bytes, read when they are needed.

Rows, lengths and posting lists are unpacked as a whole at the first search, since the lists of common words make up
most of them and every search needs some. The texts as word numbers, which are larger, stay packed: a phrase is looked
for as the bytes of its words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from orthant.collection.lexical import varbytes
from orthant.collection.lexical.chunks import CHUNK_ARRAYS, Documents, IntArray, narrow_candidates
from orthant.kernels.files.rows import release
from orthant.kernels.postings import find_phrase
from orthant.threads import Turn

__all__ = ["PACKED_ARRAYS", "PackedDocuments", "pack_documents"]

PACKED_ARRAYS = ("rows", "lengths", "tokens", "terms", "sizes", "docs", "counts")
"""Streams of a chunk: steps between rows; ranked words; word numbers; steps between terms; lengths of their lists;
twice the steps between documents of a list, plus one where the word occurs there again; how often more than twice it
does."""

_PART = 1 << 18
_COUNT_TYPES = (np.uint8, np.uint16, np.uint32)


def pack_documents(documents: Documents) -> dict[str, IntArray]:
    """Return documents as streams of bytes.

    Parameters
    ----------
    documents : Documents
        With tokens; packed already or not.

    Returns
    -------
    dict of str to ndarray of uint8
        The streams of ``PACKED_ARRAYS``.
    """
    if isinstance(documents, PackedDocuments):
        return {name: documents.streams[name] for name in PACKED_ARRAYS}
    terms, indptr, docs, counts = documents.postings
    steps = varbytes.differences(docs)
    first = indptr[:-1]
    steps[first] = docs[first]
    again = counts > 1
    return {
        "rows": varbytes.pack(varbytes.differences(documents.rows)),
        "lengths": varbytes.pack(documents["lengths"]),
        "tokens": varbytes.pack(documents["tokens"]),
        "terms": varbytes.pack(varbytes.differences(terms)),
        "sizes": varbytes.pack(np.diff(indptr)),
        "docs": varbytes.pack(2 * steps + again),
        "counts": varbytes.pack(counts[again].astype(np.int64) - 2),
    }


class _Unpacked(Mapping[str, IntArray]):
    """The arrays of a chunk by their names, unpacked when first asked for."""

    def __init__(self, streams: Mapping[str, IntArray]) -> None:
        self._streams = streams
        self._lock = Turn()
        self._held: dict[str, IntArray] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(CHUNK_ARRAYS)

    def __len__(self) -> int:
        return len(CHUNK_ARRAYS)

    def __contains__(self, name: object) -> bool:
        return name in CHUNK_ARRAYS

    def __getitem__(self, name: str) -> IntArray:
        # Neither of the two is needed by a search, and they are the largest.
        if name == "tokens":
            return varbytes.unpack(self._streams["tokens"], np.int32)
        if name == "offsets":
            return np.concatenate((np.zeros(1, np.int64), np.flatnonzero(self["tokens"] == 0) + 1))
        held = self._held.get(name)
        if held is None:
            with self._lock:
                if name not in self._held:
                    self._held.update(self._unpack(name))
                    # The file was read to the end for its checksums.
                    release(self._streams["tokens"])
                held = self._held[name]
        return held

    def _unpack(self, name: str) -> dict[str, IntArray]:
        streams = self._streams
        if name == "rows":
            return {"rows": varbytes.sums(varbytes.unpack(streams["rows"]), np.int64)}
        if name == "lengths":
            return {"lengths": varbytes.unpack(streams["lengths"], np.int32)}
        if name not in ("terms", "indptr", "docs", "counts"):
            raise KeyError(name)
        indptr = np.concatenate((np.zeros(1, np.int64), np.cumsum(varbytes.unpack(streams["sizes"]))))
        docs, counts = _lists(streams, indptr)
        terms = varbytes.sums(varbytes.unpack(streams["terms"]), np.int32)
        return {"terms": terms, "indptr": indptr, "docs": docs, "counts": counts}

    @property
    def nbytes(self) -> int:
        """Bytes of the streams, and of what was unpacked."""
        return sum(a.nbytes for a in (*self._streams.values(), *self._held.values()))


def _lists(streams: Mapping[str, IntArray], indptr: IntArray) -> tuple[IntArray, IntArray]:
    docs = varbytes.unpack(streams["docs"], np.uint32)
    more = varbytes.unpack(streams["counts"])
    largest = int(more.max()) + 2 if len(more) else 1
    counts = np.ones(len(docs), next(kind for kind in _COUNT_TYPES if largest <= np.iinfo(kind).max))
    used = first = 0
    while first < len(indptr) - 1:
        # Some lists at a time: whole arrays beside those that stay would double what the process keeps.
        last = max(first + 1, int(np.searchsorted(indptr, indptr[first] + _PART)) - 1)
        here = docs[indptr[first] : indptr[last]]
        again = np.flatnonzero(here & np.uint32(1))
        counts[indptr[first] : indptr[last]][again] = more[used : used + len(again)] + 2
        used += len(again)
        here >>= np.uint32(1)
        starts, steps = indptr[first:last] - indptr[first], here.copy()
        np.cumsum(steps, out=here)
        here -= (here[starts] - steps[starts]).repeat(np.diff(indptr[first : last + 1]))
        first = last
    return docs.view(np.int32), counts


class PackedDocuments(Documents):
    """Documents of a file.

    Parameters
    ----------
    streams : mapping of str to ndarray of uint8
        Those of ``PACKED_ARRAYS``. A mapping that checks a stored array on first access raises from here.
    """

    def __init__(self, streams: Mapping[str, IntArray]) -> None:
        self.streams = streams
        self._unpacked = _Unpacked(streams)
        super().__init__(self._unpacked)

    @property
    def nbytes(self) -> int:
        """Bytes of the streams, mapped, and of the arrays that were unpacked."""
        return self._unpacked.nbytes

    @property
    def token_count(self) -> int:
        """Words and separators."""
        return varbytes.count_numbers(self.streams["tokens"])

    @cached_property
    def _starts(self) -> IntArray:
        """Where each document begins in the stream of tokens: its separator is the only byte 0."""
        return np.concatenate((np.zeros(1, np.int64), np.flatnonzero(self.streams["tokens"] == 0) + 1))

    def phrase(self, words: Sequence[int], terms: Sequence[int]) -> tuple[IntArray, IntArray]:
        """Return the documents with some words side by side, and how often.

        Parameters
        ----------
        words : sequence of int
            Word numbers.
        terms : sequence of int
            Term numbers of those words that have one; their posting lists narrow the reading.

        Returns
        -------
        docs, counts : ndarray of shape (m,)
            As a posting list.
        """
        if min(words) < 0:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        stream, starts = self.streams["tokens"], self._starts
        wanted = varbytes.pack(np.array(words)).tolist()
        candidates = narrow_candidates(self, terms)
        if candidates is None:
            docs = np.searchsorted(starts, _found(stream, wanted), side="right") - 1
            return np.unique(docs.astype(np.int32), return_counts=True)
        spans = starts[candidates + 1] - starts[candidates]
        ends = np.cumsum(spans)
        source = np.repeat(starts[candidates] - (ends - spans), spans) + np.arange(int(spans.sum()))
        places = np.searchsorted(ends, _found(stream[source], wanted), side="right")
        return np.unique(candidates[places], return_counts=True)


def _found(stream: IntArray, wanted: Sequence[int]) -> IntArray:
    """Return where the bytes of a phrase begin; a byte with the top bit before them is a part of another first word."""
    found = find_phrase(stream, wanted)
    return found[(found == 0) | (stream[np.maximum(found, 1) - 1] < 128)]
