"""What comes back from a server: the shapes of ``orthant.collection.results``, without needing NumPy."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orthant.errors import InputError, message

__all__ = [
    "Answer",
    "Facet",
    "Group",
    "Hit",
    "LegScore",
    "Record",
    "SearchResult",
    "SharedTerm",
    "StageScore",
    "TokenMatch",
]


class Answer(dict[str, Any]):
    """A report of a server: a dict whose keys are attributes too, and ``to_dict`` as the embedded reports have it.

    Examples
    --------
    >>> Answer({"records": 3}).records
    3
    """

    def __getattr__(self, name: str) -> Any:
        """Return a key's value."""
        if name in self:
            value = self[name]
            return Answer(value) if type(value) is dict else value
        raise AttributeError(name)

    def to_dict(self) -> dict[str, Any]:
        """Return the plain values.

        Returns
        -------
        dict
            A copy of the outermost dict.
        """
        return dict(self)


@dataclass(frozen=True)
class LegScore:
    """How one leg of a search saw a hit; see ``orthant.collection.results.LegScore``."""

    score: float | None
    rank: int | None
    normalized: float | None = None
    weight: float | None = None


@dataclass(frozen=True)
class StageScore:
    """How one stage after retrieval saw a hit; see ``orthant.collection.results.StageScore``."""

    score: float
    rank: int


@dataclass(frozen=True)
class TokenMatch:
    """One token of the query with its best token of the record."""

    query_token: int
    record_token: int
    score: float
    query_text: str | None = None
    record_text: str | None = None


@dataclass(frozen=True)
class SharedTerm:
    """One term or concept that query and record share, with its weights on either side."""

    name: str
    query: float
    record: float

    @property
    def contribution(self) -> float:
        """What it adds to the sparse leg's score."""
        return self.query * self.record


@dataclass(frozen=True)
class Hit:
    """One found record; see ``orthant.collection.results.Hit``."""

    id: str
    score: float
    rank: int
    text: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    legs: dict[str, LegScore] = field(default_factory=dict)
    matched: tuple[str, ...] = ()
    stages: dict[str, StageScore] = field(default_factory=dict)
    alignment: tuple[TokenMatch, ...] = ()
    shared: tuple[SharedTerm, ...] | None = None

    def explain(self, k: int = 5) -> list[tuple[str, float]]:
        """Return what query and record share; see ``orthant.collection.results.Hit.explain``.

        Parameters
        ----------
        k : int, default 5
            Terms at most, from 1.

        Returns
        -------
        list of (str, float)
            Names and what each adds, largest first.

        Raises
        ------
        InputError
            Nothing was noted, or k is below 1.
        """
        if self.shared is None:
            given = "a hit without shared terms"
            way = "search with explain=True and spaces={'concepts': 1.0}, mode='sparse' or a weight for 'sparse'"
            raise InputError(message(given, "one of a search by a sparse space", way))
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise InputError(message(f"k={k!r}", "a whole number from 1", "correct it"))
        return [(term.name, term.contribution) for term in self.shared[:k]]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Hit:
        """Make one from JSON.

        Parameters
        ----------
        values : mapping
            As the server sent it.

        Returns
        -------
        Hit
            The same.
        """
        return cls(
            values["id"],
            values["score"],
            values["rank"],
            values["text"],
            values["metadata"],
            {name: LegScore(**leg) for name, leg in values["legs"].items()},
            tuple(values["matched"]),
            {name: StageScore(**stage) for name, stage in values.get("stages", {}).items()},
            tuple(TokenMatch(**match) for match in values.get("alignment", ())),
            None if "shared" not in values else tuple(SharedTerm(**term) for term in values["shared"]),
        )


@dataclass(frozen=True)
class Group:
    """Hits that share a value of a field; see ``orthant.collection.results.Group``."""

    value: Any
    score: float
    rank: int
    count: int
    hits: tuple[Hit, ...]


@dataclass(frozen=True)
class Facet:
    """Counts of a field over all records that match; ``buckets`` are dicts."""

    values: tuple[tuple[Any, int], ...]
    distinct: int
    other: int
    missing: int
    buckets: tuple[Any, ...] = ()


@dataclass(frozen=True)
class SearchResult(Sequence[Hit]):
    """The hits of one query, best first; ``plan`` says how they were found."""

    hits: tuple[Hit, ...]
    plan: Answer
    groups: tuple[Group, ...] = ()
    facets: Mapping[str, Facet] = field(default_factory=dict)
    _values: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> SearchResult:
        """Make one from JSON.

        Parameters
        ----------
        values : mapping
            As the server sent it.

        Returns
        -------
        SearchResult
            The same.
        """
        hits = tuple(map(Hit.of, values["hits"]))
        groups, begin = [], 0
        for group in values.get("groups", ()):
            end = begin + len(group["hits"])
            groups.append(Group(**{**group, "hits": hits[begin:end]}))
            begin = end
        facets = {name: _facet(facet) for name, facet in values.get("facets", {}).items()}
        return cls(hits, Answer(values["plan"]), tuple(groups), facets, values)

    def __len__(self) -> int:
        """Return the number of hits."""
        return len(self.hits)

    def __iter__(self) -> Iterator[Hit]:
        """Iterate over the hits."""
        return iter(self.hits)

    def __getitem__(self, position: Any) -> Any:
        """Return the hit at a position, or a tuple for a slice."""
        return self.hits[position]

    @property
    def ids(self) -> list[str]:
        """The hits' ids, best first."""
        return [hit.id for hit in self.hits]

    def to_dict(self) -> dict[str, Any]:
        """Return hits and plan as JSON-ready values.

        Returns
        -------
        dict
            As the server sent it.
        """
        return dict(self._values)


def _facet(values: Mapping[str, Any]) -> Facet:
    pairs = tuple((one["value"], one["count"]) for one in values["values"])
    buckets = tuple(Answer(bucket) for bucket in values["buckets"])
    return Facet(pairs, values["distinct"], values["other"], values["missing"], buckets)


@dataclass(frozen=True)
class Record:
    """A stored record.

    Attributes
    ----------
    id, text, metadata
        As they were written.
    vectors : dict of str to array of float, or list of such
        Vectors by space, as ``array.array('f')``, which NumPy takes without a copy; tokens as a list of them.
    sparse : dict of str to Answer
        Weighted terms by sparse space: ``indices`` and ``values``.
    """

    id: str
    text: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    vectors: dict[str, array[float] | list[array[float]]] = field(default_factory=dict)
    sparse: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Record:
        """Make one from JSON.

        Parameters
        ----------
        values : mapping
            As the server sent it, vectors in base64.

        Returns
        -------
        Record
            The same.
        """
        from orthant.client.vectors import unpack

        vectors = {name: unpack(vector) for name, vector in values.get("vectors", {}).items()}
        sparse = {name: Answer(terms) for name, terms in values.get("sparse", {}).items()}
        return cls(values["id"], values["text"], values["metadata"], vectors, sparse)
