"""What a search gives back: hits that say why they are there, and the plan that found them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from orthant.collection.sparse.shared import SharedTerm
from orthant.collection.tokens.alignment import TokenMatch
from orthant.encoders.sparse.rows import SparseVector
from orthant.errors import InputError, message
from orthant.types import FloatArray
from orthant.validate import check_count

if TYPE_CHECKING:
    from orthant.collection.stages.facets import Facet
    from orthant.collection.stages.listing import Listing

__all__ = [
    "FinishReport",
    "Group",
    "Hit",
    "LegPlan",
    "LegScore",
    "Plan",
    "Record",
    "SearchResult",
    "StagePlan",
    "StageScore",
]


@dataclass(frozen=True)
class Record:
    """A stored record.

    Attributes
    ----------
    id : str
        Its id.
    text : str or None
        Its text.
    metadata : dict
        Its metadata.
    vectors : dict of str to ndarray of shape (dim,), float32
        Its vectors by space, where they were asked for; of a space of tokens a matrix of shape (tokens, dim).
    sparse : dict of str to SparseVector
        Its weighted terms by sparse space, where vectors were asked for.
    """

    id: str
    text: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    vectors: dict[str, FloatArray] = field(default_factory=dict)
    sparse: dict[str, SparseVector] = field(default_factory=dict)


@dataclass(frozen=True)
class FinishReport:
    """What finishing the graphs did.

    Attributes
    ----------
    merged : dict of str to int
        Rows put into the graph, by space; 0 where there was nothing to do or the space is too small for a graph.
    removed : dict of str to int
        Deleted rows taken out of it, by space.
    seconds : float
        Wall-clock seconds.
    """

    merged: dict[str, int]
    removed: dict[str, int]
    seconds: float


@dataclass(frozen=True)
class LegScore:
    """Score and rank of a hit in one leg of a search.

    Attributes
    ----------
    score : float or None
        Raw score of the leg: cosine, dot product, minus squared distance, MaxSim, or BM25; of the sparse leg a dot
        product, 0 without a shared term. None where the leg has none, such as a record without a vector.
    rank : int or None
        1 for the leg's best; None beyond the leg's candidates.
    normalized : float or None
        Contribution basis in [0, 1] before weighting; None outside hybrid search.
    weight : float or None
        The leg's weight in the fused score; None outside hybrid search.
    """

    score: float | None
    rank: int | None
    normalized: float | None = None
    weight: float | None = None


@dataclass(frozen=True)
class StageScore:
    """Score and rank of a hit in one stage after retrieval.

    Attributes
    ----------
    score : float
        ``"retrieve"``: the score before any stage. ``"rerank"``: the reranker's. ``"diversity"``: relevance less
        likeness, as of the moment the hit was taken. ``"group"``: the hit's score within its group.
    rank : int
        1 for the stage's best; within its group for ``"group"``.
    """

    score: float
    rank: int


@dataclass(frozen=True)
class Hit:
    """One found record.

    Attributes
    ----------
    id : str
        The record's id.
    score : float
        Dense: the metric's score. Tokens: MaxSim. Lexical: BM25. Sparse: a dot product. Hybrid: the fused score in
        [0, 1], comparable within one query only. After reranking: the reranker's score.
    rank : int
        1 for the best of the whole result, counted through all pages. With ``group_by``: the rank of its group.
    text : str or None
        The record's text.
    metadata : dict
        The record's metadata.
    legs : dict of str to LegScore
        Raw score and rank per leg.
    matched : tuple of str
        Query terms found in the text; filled with ``explain=True``.
    stages : dict of str to StageScore
        Score and rank in every stage after retrieval, in their order; empty where none ran.
    alignment : tuple of TokenMatch
        With ``explain=True`` where tokens were compared: for each token of the query the best one of the record.
    shared : tuple of SharedTerm, or None
        With ``explain=True`` where a sparse space was searched: terms or concepts of query and record, by what they
        add to the leg's score, largest first.
    """

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
        """Return the concepts, or terms, that query and record share, and what each adds to the score.

        Parameters
        ----------
        k : int, default 5
            Concepts at most; those left out add the rest of the sparse leg's score.

        Returns
        -------
        list of (str, float)
            Largest first; empty where nothing is shared.

        Raises
        ------
        InputError
            Nothing was noted: the search had no sparse leg, or no ``explain=True``.

        Notes
        -----
        All of them sum to ``legs["sparse"].score``, up to rounding: a dot product has no other parts.

        Examples
        --------
        >>> hit = Hit("a", 0.75, 1, shared=(SharedTerm("lung", 1.0, 0.5), SharedTerm("fever", 0.5, 0.5)))
        >>> hit.explain(1)
        [('lung', 0.5)]
        """
        if self.shared is None:
            given = "a hit without shared terms"
            way = "search with explain=True and spaces={'concepts': 1.0}, mode='sparse' or a weight for 'sparse'"
            raise InputError(message(given, "one of a search by a sparse space", way))
        return [(term.name, term.contribution) for term in self.shared[: check_count(k, name="k")]]

    def to_dict(self) -> dict[str, Any]:
        """Return the hit as JSON-ready values.

        Returns
        -------
        dict
            Nested plain values; ``stages`` only where one ran, ``alignment`` and ``shared`` only where there is any.
        """
        out = {**asdict(self), "matched": list(self.matched)}
        if self.shared is None:
            del out["shared"]
        if not self.stages:
            del out["stages"]
        if not self.alignment:
            del out["alignment"]
        return out


@dataclass(frozen=True)
class LegPlan:
    """How one leg was run.

    Attributes
    ----------
    name : str
        ``"dense"``, ``"tokens"``, ``"lexical"`` or ``"sparse"``.
    method : str
        How it looked, such as ``"scan"`` or ``"postings"``.
    candidates : int
        Hits it brought.
    seconds : float
        Wall-clock seconds.
    details : mapping
        Further figures, such as vector comparisons.
    """

    name: str
    method: str
    candidates: int
    seconds: float
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StagePlan:
    """What one stage after retrieval did.

    Attributes
    ----------
    name : str
        ``"rerank"``, ``"diversity"``, ``"group"`` or ``"facets"``.
    method : str
        How, such as the reranker's class.
    candidates : int
        Records it looked at.
    kept : int
        Records, groups or fields that came out.
    seconds : float
        Wall-clock seconds.
    details : mapping
        Settings and further figures.
    """

    name: str
    method: str
    candidates: int
    kept: int
    seconds: float
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """How a search was run and what it cost.

    Attributes
    ----------
    mode : str
        ``"dense"``, ``"lexical"``, ``"sparse"``, ``"tokens"`` or ``"hybrid"``.
    space : str or None
        The vector space searched.
    generation : int
        The commit that was seen.
    records : int
        Live records.
    allowed : int or None
        Records that pass the filter; None without one.
    where : mapping or None
        The filter in canonical form.
    legs : tuple of LegPlan
        What ran.
    fusion : mapping or None
        Method, weights and candidate depth.
    seconds : mapping of str to float
        Wall-clock seconds per stage.
    warnings : tuple of str
        What the caller should know, such as a filter on an unknown field.
    stages : tuple of StagePlan
        What ran after retrieval, in its order.
    """

    mode: str
    space: str | None
    generation: int
    records: int
    allowed: int | None
    where: Mapping[str, Any] | None
    legs: tuple[LegPlan, ...]
    fusion: Mapping[str, Any] | None
    seconds: Mapping[str, float]
    warnings: tuple[str, ...] = ()
    stages: tuple[StagePlan, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready values.

        Returns
        -------
        dict
            Nested plain values.
        """
        return {
            **{name: getattr(self, name) for name in ("mode", "space", "generation", "records", "allowed")},
            "where": None if self.where is None else dict(self.where),
            "legs": [{**vars(leg), "details": dict(leg.details)} for leg in self.legs],
            "fusion": None if self.fusion is None else dict(self.fusion),
            "seconds": {name: round(value, 6) for name, value in self.seconds.items()},
            "warnings": list(self.warnings),
            "stages": [{**vars(stage), "details": dict(stage.details)} for stage in self.stages],
        }


@dataclass(frozen=True)
class Group:
    """Hits that share a value of a field.

    Attributes
    ----------
    value : str, int, float, bool or None
        The value; None for a record without one, which is a group of its own.
    score : float
        Score of its best hit.
    rank : int
        1 for the best group, counted through all pages.
    count : int
        Records of the group that match filter and query, whether shown or not.
    hits : tuple of Hit
        Its best hits, at most ``per_group``.
    """

    value: Any
    score: float
    rank: int
    count: int
    hits: tuple[Hit, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the group as JSON-ready values, its hits by id.

        Returns
        -------
        dict
            Plain values.
        """
        return {**vars(self), "hits": [hit.id for hit in self.hits]}


@dataclass(frozen=True)
class SearchResult(Sequence[Hit]):
    """The hits of one query, best first.

    Attributes
    ----------
    hits : tuple of Hit
        At most k. With ``group_by``: the hits of all groups, group by group.
    plan : Plan
        How they were found.
    groups : tuple of Group
        With ``group_by``, best first.
    facets : mapping of str to Facet
        With ``facets``, by field.

    Examples
    --------
    >>> result = SearchResult((Hit("a", 0.9, 1), Hit("b", 0.4, 2)), plan=None)
    >>> [hit.id for hit in result], len(result), result.ids
    (['a', 'b'], 2, ['a', 'b'])
    """

    hits: tuple[Hit, ...]
    plan: Plan
    groups: tuple[Group, ...] = ()
    facets: Mapping[str, Facet] = field(default_factory=dict)

    @classmethod
    def _listed(cls, listing: Listing, plan: Plan, facets: Mapping[str, Facet]) -> SearchResult:
        """Return a result whose hits are made at the first look: who passes them on as JSON needs none."""
        out = object.__new__(cls)
        vars(out).update(_listing=listing, plan=plan, groups=(), facets=facets)
        return out

    def __getattr__(self, name: str) -> Any:
        """Make the hits; whatever else is not there is not there."""
        listing = vars(self).get("_listing")
        if name != "hits" or listing is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        # Threads that look at the same moment get the same hits.
        return vars(self).setdefault("hits", listing.hits())

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
            Keys ``hits`` and ``plan``; ``groups`` and ``facets`` where they were asked for.
        """
        out: dict[str, Any] = {"hits": [hit.to_dict() for hit in self.hits], "plan": self.plan.to_dict()}
        if self.groups:
            out["groups"] = [group.to_dict() for group in self.groups]
        if self.facets:
            out["facets"] = {name: facet.to_dict() for name, facet in self.facets.items()}
        return out
