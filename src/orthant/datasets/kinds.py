"""What a reader returns: one frozen record type per kind of data set.

Texts are plain ``str``, numbers are NumPy arrays; every type has a length (its rows) and, where rows are
independent, ``head(n)`` for a quick look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.types import FloatArray
from orthant.validate import check_count

__all__ = [
    "Document",
    "DocumentSet",
    "ImageSet",
    "LabelledTexts",
    "RetrievalSet",
    "TextPairs",
    "VectorSet",
    "WordVectors",
]


@dataclass(frozen=True, slots=True)
class Document:
    """One record with text; use it wherever a corpus is handed from one wing to another.

    Attributes
    ----------
    id : str
        Unique within its set.
    title : str
        May be empty.
    text : str
        The body; may be empty in a few rows of a few sets.
    metadata : mapping
        Further fields: str, int, float, bool, None or lists of them.
    """

    id: str
    title: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def content(self) -> str:
        """Title and text joined by a newline, or the one that is not empty."""
        return f"{self.title}\n{self.text}" if self.title and self.text else self.title or self.text


@dataclass(frozen=True)
class DocumentSet:
    """Documents without questions: for indexing, filtering, clustering and haystacks.

    Attributes
    ----------
    name : str
        The data set, with its part where it has parts (``"longtexts/udhr"``).
    documents : list of Document
        In the order of the file.
    """

    name: str
    documents: list[Document]

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self.documents)

    def head(self, n: int) -> DocumentSet:
        """Return the set with its first n documents.

        Parameters
        ----------
        n : int
            From 1; more than there are keeps all.

        Returns
        -------
        DocumentSet
            A smaller set that shares its contents with this one.
        """
        return replace(self, documents=self.documents[: check_count(n, name="n")])


@dataclass(frozen=True)
class RetrievalSet:
    """A corpus, queries and relevance judgements: what nDCG, recall and MRR are measured on.

    Attributes
    ----------
    name : str
        The data set, with its part or languages where it has several.
    corpus : list of Document
        Ids are unique.
    queries : dict of str to str
        Text by query id; a query without judgements may be present (see ``judged``).
    qrels : dict of str to dict of str to int
        Grade by document id, per query; 0 is "judged, not relevant". Every id occurs in the corpus.
    """

    name: str
    corpus: list[Document]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]

    def __len__(self) -> int:
        """Return the number of queries."""
        return len(self.queries)

    @property
    def judged(self) -> list[str]:
        """Ids of the queries that have at least one relevant document."""
        return [q for q in self.queries if any(grade > 0 for grade in self.qrels.get(q, {}).values())]

    def head(self, n: int) -> RetrievalSet:
        """Return the set with its first n queries and the whole corpus.

        Parameters
        ----------
        n : int
            From 1; more than there are keeps all.

        Returns
        -------
        RetrievalSet
            A smaller set that shares its contents with this one.
        """
        queries = dict(list(self.queries.items())[: check_count(n, name="n")])
        return replace(self, queries=queries, qrels={q: r for q, r in self.qrels.items() if q in queries})


@dataclass(frozen=True, eq=False)
class TextPairs:
    """Pairs of texts or words with a score, a label, or both.

    Attributes
    ----------
    name : str
        The data set with its part.
    first, second : list of str
        The two sides, n each. Where sides differ, ``first`` is the question, passage or head.
    scores : ndarray of shape (n,), float32, or None
        Graded similarity on the set's own scale, or 0 / 1; larger is more similar.
    labels : list of str or None
        Class of a pair, such as an entailment label or a relation.
    splits : list of str or None
        The origin's split of each pair, where it has splits.
    """

    name: str
    first: list[str]
    second: list[str]
    scores: FloatArray | None = None
    labels: list[str] | None = None
    splits: list[str] | None = None

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.first)

    def head(self, n: int) -> TextPairs:
        """Return the first n pairs.

        Parameters
        ----------
        n : int
            From 1; more than there are keeps all.

        Returns
        -------
        TextPairs
            A smaller set that shares its contents with this one.
        """
        n = check_count(n, name="n")
        return replace(
            self,
            first=self.first[:n],
            second=self.second[:n],
            scores=None if self.scores is None else self.scores[:n],
            labels=None if self.labels is None else self.labels[:n],
            splits=None if self.splits is None else self.splits[:n],
        )


@dataclass(frozen=True, eq=False)
class LabelledTexts:
    """Texts or words with one class each: for probes, clustering, few-shot and label-shift studies.

    Attributes
    ----------
    name : str
        The data set with its part.
    texts : list of str
        n texts. Many sets are sorted by class: shuffle with a seed before taking a part.
    labels : ndarray of shape (n,), int64
        Positions in ``label_names``.
    label_names : tuple of str
        The classes, sorted by name or in the origin's order.
    splits : list of str or None
        The origin's split of each text, where it has splits.
    metadata : list of mapping or None
        Further fields per text.
    """

    name: str
    texts: list[str]
    labels: npt.NDArray[np.int64]
    label_names: tuple[str, ...]
    splits: list[str] | None = None
    metadata: list[Mapping[str, Any]] | None = None

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.texts)

    def head(self, n: int) -> LabelledTexts:
        """Return the first n texts; the classes stay as they are.

        Parameters
        ----------
        n : int
            From 1; more than there are keeps all.

        Returns
        -------
        LabelledTexts
            A smaller set that shares its contents with this one.
        """
        n = check_count(n, name="n")
        return replace(
            self,
            texts=self.texts[:n],
            labels=self.labels[:n],
            splits=None if self.splits is None else self.splits[:n],
            metadata=None if self.metadata is None else self.metadata[:n],
        )


@dataclass(frozen=True, eq=False)
class WordVectors:
    """A table of word vectors, as read from the text format ``word v1 v2 ...``.

    Attributes
    ----------
    name : str
        The data set with its part.
    words : tuple of str
        n words.
    vectors : ndarray of shape (n, d), float32
        Not normalised.
    """

    name: str
    words: tuple[str, ...]
    vectors: FloatArray

    def __len__(self) -> int:
        """Return the number of words."""
        return len(self.words)

    def head(self, n: int) -> WordVectors:
        """Return the first n words.

        Parameters
        ----------
        n : int
            From 1; more than there are keeps all.

        Returns
        -------
        WordVectors
            A smaller set that shares its contents with this one.
        """
        n = check_count(n, name="n")
        return replace(self, words=self.words[:n], vectors=self.vectors[:n])


@dataclass(frozen=True, eq=False)
class VectorSet:
    """Base vectors and query vectors: what nearest-neighbour search and quantizers are measured on.

    Attributes
    ----------
    name : str
        The data set with its part.
    base : ndarray of shape (n, d), float32, C-contiguous
        What is indexed.
    queries : mapping of str to ndarray of shape (q, d), float32
        Query vectors by name, such as ``"in"`` and ``"out"`` of distribution; may be empty.
    base_records : sequence of mapping or None
        Fields of each base vector (source, id, text, label), where they are known.
    query_records : mapping of str to sequence of mapping
        The same for the queries, by the same names.
    """

    name: str
    base: FloatArray
    queries: Mapping[str, FloatArray] = field(default_factory=dict)
    base_records: Sequence[Mapping[str, Any]] | None = None
    query_records: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of base vectors."""
        return len(self.base)

    @property
    def dim(self) -> int:
        """The dimension."""
        return int(self.base.shape[1])

    def head(self, n: int) -> VectorSet:
        """Return the set with its first n base vectors; the queries stay.

        Parameters
        ----------
        n : int
            From 1; more than there are keeps all.

        Returns
        -------
        VectorSet
            A smaller set that shares its contents with this one.
        """
        n = check_count(n, name="n")
        records = None if self.base_records is None else self.base_records[:n]
        return replace(self, base=self.base[:n], base_records=records)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Pictures of one size with classes and fields.

    Attributes
    ----------
    name : str
        The data set.
    images : ndarray of shape (n, height, width) or (n, height, width, channels), uint8
        Grey, RGB or RGBA values 0..255; ink is 0 / 1 in Omniglot.
    labels : ndarray of shape (n,), int64
        Positions in ``label_names``.
    label_names : tuple of str
        The classes.
    splits : list of str or None
        The origin's split of each picture, where it has splits.
    metadata : list of mapping or None
        Further fields per picture.
    """

    name: str
    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    label_names: tuple[str, ...]
    splits: list[str] | None = None
    metadata: list[Mapping[str, Any]] | None = None

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.images)

    def as_vectors(self) -> FloatArray:
        """Return the pixels as float32 rows of shape (n, height * width * channels), unscaled (0..255)."""
        return np.ascontiguousarray(self.images.reshape(len(self.images), -1), dtype=np.float32)

    def head(self, n: int) -> ImageSet:
        """Return the first n pictures; the classes stay as they are.

        Parameters
        ----------
        n : int
            From 1; more than there are keeps all.

        Returns
        -------
        ImageSet
            A smaller set that shares its contents with this one.
        """
        n = check_count(n, name="n")
        return replace(
            self,
            images=self.images[:n],
            labels=self.labels[:n],
            splits=None if self.splits is None else self.splits[:n],
            metadata=None if self.metadata is None else self.metadata[:n],
        )
