"""What the readers of word lists, tables, events and graphs return.

The text, vector and picture types are in `kinds`; these are the ones with a shape of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from orthant.types import FloatArray
from orthant.validate import check_count

__all__ = [
    "Analogies",
    "Analogy",
    "Drawing",
    "Drawings",
    "Graph",
    "Interactions",
    "KnowledgeGraph",
    "OneShotRun",
    "Outliers",
    "OutlierGroup",
    "Question",
    "Questions",
    "SparseRows",
    "Synset",
    "Table",
    "WordNet",
]


class Analogy(NamedTuple):
    """``a`` is to ``b`` as ``c`` is to ``target``, of one kind of relation."""

    relation: str
    a: str
    b: str
    c: str
    target: str


@dataclass(frozen=True)
class Analogies:
    """Analogy questions, for the 3CosAdd accuracy of word vectors.

    Attributes
    ----------
    name : str
        The data set with its part.
    items : list of Analogy
        In the order of the file.
    """

    name: str
    items: list[Analogy]

    def __len__(self) -> int:
        """Return the number of analogies."""
        return len(self.items)

    def head(self, n: int) -> Analogies:
        """Return the first n analogies.

        Parameters
        ----------
        n : int
            From 1; more than there are keeps all.

        Returns
        -------
        Analogies
            A smaller set that shares its contents with this one.
        """
        return replace(self, items=self.items[: check_count(n, name="n")])


class OutlierGroup(NamedTuple):
    """Words of one category, and words that do not belong to it."""

    category: str
    words: tuple[str, ...]
    outliers: tuple[str, ...]


@dataclass(frozen=True)
class Outliers:
    """Outlier detection groups: find the word that does not belong.

    Attributes
    ----------
    name : str
        The data set with its part.
    groups : list of OutlierGroup
        In the order of the file.
    """

    name: str
    groups: list[OutlierGroup]

    def __len__(self) -> int:
        """Return the number of groups."""
        return len(self.groups)

    def head(self, n: int) -> Outliers:
        """Return the first n groups.

        Parameters
        ----------
        n : int
            From 1; more than there are keeps all.

        Returns
        -------
        Outliers
            A smaller set that shares its contents with this one.
        """
        return replace(self, groups=self.groups[: check_count(n, name="n")])


class Synset(NamedTuple):
    """One meaning: its words, definition and examples."""

    id: str
    pos: str
    lexfile: str
    members: tuple[str, ...]
    definition: str
    examples: tuple[str, ...]
    ili: str


@dataclass(frozen=True, eq=False)
class WordNet:
    """Word meanings and the typed relations between them.

    Attributes
    ----------
    name : str
        The data set.
    synsets : list of Synset
        n meanings.
    relations : tuple of str
        Names of the relation types, sorted.
    edges : ndarray of shape (m, 3), int32
        Source synset, relation, target synset, as positions; each relation is stored in one direction only.
    """

    name: str
    synsets: list[Synset]
    relations: tuple[str, ...]
    edges: npt.NDArray[np.int32]

    def __len__(self) -> int:
        """Return the number of meanings."""
        return len(self.synsets)

    def definitions(self) -> Iterator[tuple[str, str]]:
        """Yield every (word, definition) pair, words as they are written."""
        for synset in self.synsets:
            for word in synset.members:
                yield word, synset.definition


class Question(NamedTuple):
    """A multiple-choice question; ``answer`` is a position in ``options``."""

    id: str
    text: str
    options: tuple[str, ...]
    answer: int
    explanation: str
    category: str


@dataclass(frozen=True)
class Questions:
    """Multiple-choice questions with an explanation of the right option.

    Attributes
    ----------
    name : str
        The data set.
    questions : list of Question
        In the order of the file.
    """

    name: str
    questions: list[Question]

    def __len__(self) -> int:
        """Return the number of questions."""
        return len(self.questions)

    def head(self, n: int) -> Questions:
        """Return the first n questions.

        Parameters
        ----------
        n : int
            From 1; more than there are keeps all.

        Returns
        -------
        Questions
            A smaller set that shares its contents with this one.
        """
        return replace(self, questions=self.questions[: check_count(n, name="n")])


class Drawing(NamedTuple):
    """One vector drawing: the whole SVG file, what stands inside its ``svg`` element, tags and categories."""

    name: str
    svg: str
    shapes: str
    tags: tuple[str, ...]
    categories: tuple[str, ...]


@dataclass(frozen=True)
class Drawings:
    """SVG drawings with tags.

    Attributes
    ----------
    name : str
        The data set.
    drawings : list of Drawing
        In the order of the file.
    """

    name: str
    drawings: list[Drawing]

    def __len__(self) -> int:
        """Return the number of drawings."""
        return len(self.drawings)

    def head(self, n: int) -> Drawings:
        """Return the first n drawings.

        Parameters
        ----------
        n : int
            From 1; more than there are keeps all.

        Returns
        -------
        Drawings
            A smaller set that shares its contents with this one.
        """
        return replace(self, drawings=self.drawings[: check_count(n, name="n")])


class OneShotRun(NamedTuple):
    """One one-shot task: for each test picture, which training picture shows the same character.

    ``training`` (20, 105, 105) and ``test`` (20, 105, 105) are uint8 ink (1 where drawn); ``answers`` (20,) int64
    are positions in ``training``.
    """

    name: str
    training: npt.NDArray[np.uint8]
    test: npt.NDArray[np.uint8]
    answers: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Table:
    """Rows with categorical and numeric fields and a binary target.

    Attributes
    ----------
    name : str
        The data set.
    categorical : mapping of str to ndarray of shape (n,), str
        Columns of categories; a missing value is the empty string.
    numeric : mapping of str to ndarray of shape (n,), float64
        Columns of numbers; a missing value is NaN.
    target : ndarray of shape (n,), int64
        0 or 1.
    splits : ndarray of shape (n,), str, or None
        The origin's split of each row, where it has splits.
    """

    name: str
    categorical: Mapping[str, npt.NDArray[np.str_]]
    numeric: Mapping[str, npt.NDArray[np.float64]]
    target: npt.NDArray[np.int64]
    splits: npt.NDArray[np.str_] | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.target)

    def head(self, n: int) -> Table:
        """Return the first n rows.

        Parameters
        ----------
        n : int
            From 1; more than there are keeps all.

        Returns
        -------
        Table
            A smaller set that shares its contents with this one.
        """
        n = check_count(n, name="n")
        return replace(
            self,
            categorical={k: v[:n] for k, v in self.categorical.items()},
            numeric={k: v[:n] for k, v in self.numeric.items()},
            target=self.target[:n],
            splits=None if self.splits is None else self.splits[:n],
        )


@dataclass(frozen=True, eq=False)
class Interactions:
    """Who rated what, and when; with fields of the items.

    Attributes
    ----------
    name : str
        The data set.
    users, items : ndarray of shape (n,), int64
        Ids as in the file.
    ratings : ndarray of shape (n,), float32
        On the set's own scale.
    timestamps : ndarray of shape (n,), int64
        Unix seconds.
    item_fields : mapping of int to mapping
        Title, genres, brand and the like by item id; an item without fields is absent.
    tags : list of (int, int, str, int)
        User, item, tag, Unix seconds; empty where the set has none.
    """

    name: str
    users: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]
    ratings: FloatArray
    timestamps: npt.NDArray[np.int64]
    item_fields: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    tags: list[tuple[int, int, str, int]] = field(default_factory=list)

    def __len__(self) -> int:
        """Return the number of ratings."""
        return len(self.users)

    def head(self, n: int) -> Interactions:
        """Return the first n ratings in the order of the file; items and tags stay.

        Parameters
        ----------
        n : int
            From 1; more than there are keeps all.

        Returns
        -------
        Interactions
            A smaller set that shares its contents with this one.
        """
        n = check_count(n, name="n")
        return replace(
            self,
            users=self.users[:n],
            items=self.items[:n],
            ratings=self.ratings[:n],
            timestamps=self.timestamps[:n],
        )


class SparseRows(NamedTuple):
    """A sparse matrix in CSR parts: ``scipy.sparse.csr_matrix((data, indices, indptr), shape=shape)``."""

    data: FloatArray
    indices: npt.NDArray[np.int32]
    indptr: npt.NDArray[np.int64]
    shape: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Graph:
    """An undirected graph, with whatever labels and features its origin has.

    Attributes
    ----------
    name : str
        The data set with its part (``"graphs/cora"``).
    num_nodes : int
        n.
    edges : ndarray of shape (m, 2), int32
        Each pair once, no self-loops.
    labels : ndarray of shape (n,), int64, or None
        One class per node, -1 for unknown.
    label_pairs : ndarray of shape (p, 2), int64, or None
        (node, label) where nodes have several labels.
    features : SparseRows or None
        Node features of shape (n, f).
    node_names : tuple of str or None
        Names of the nodes.
    splits : mapping of str to ndarray of int64
        Node ids of the published split (``"train"``, ``"val"``, ``"test"``), or empty.
    """

    name: str
    num_nodes: int
    edges: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int64] | None = None
    label_pairs: npt.NDArray[np.int64] | None = None
    features: SparseRows | None = None
    node_names: tuple[str, ...] | None = None
    splits: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of nodes."""
        return self.num_nodes


@dataclass(frozen=True, eq=False)
class KnowledgeGraph:
    """Triples (head, relation, tail) with fixed splits.

    Attributes
    ----------
    name : str
        The data set with its part.
    entities, relations : tuple of str
        Names, sorted; triples hold positions.
    triples : mapping of str to ndarray of shape (m, 3), int32
        Head, relation, tail by split: ``"train"``, ``"valid"``, ``"test"``.
    entity_names : mapping of str to str
        Readable name by entity, where the set has one (the first seen, when several).
    """

    name: str
    entities: tuple[str, ...]
    relations: tuple[str, ...]
    triples: Mapping[str, npt.NDArray[np.int32]]
    entity_names: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of triples over all splits."""
        return sum(len(t) for t in self.triples.values())
