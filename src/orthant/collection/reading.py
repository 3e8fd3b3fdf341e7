"""A collection as readers see it: life cycle, records by id, search, figures, export."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import numpy.typing as npt

from orthant.collection.adapting.asking import adapted
from orthant.collection.columns.methods import FilterReading
from orthant.collection.diagnosis.methods import DiagnosisMethods
from orthant.collection.documents.methods import DocumentReading
from orthant.collection.duplicates.methods import CleaningMethods
from orthant.collection.ingest import check_ids
from orthant.collection.insight.asking import Insight, Observer
from orthant.collection.legs.methods import SpacesReading
from orthant.collection.querying import (
    as_recall,
    check_options,
    check_space,
    choose_mode,
    encode_queries,
    needs_dense,
    split_queries,
)
from orthant.collection.records.items import doubts, partial_queries
from orthant.collection.results import Record, SearchResult
from orthant.collection.searching import Mode, Query, SearchOptions, execute
from orthant.collection.snapshots.exporting import ExportReading
from orthant.collection.snapshots.methods import SnapshotReading
from orthant.collection.space_encoders import SpaceEncoders, named_encoders
from orthant.collection.spaces import SpaceDefinition
from orthant.collection.sparse.leg import question, wanted
from orthant.collection.sparse.state import SparseDefinition
from orthant.collection.sparse.tables import fetch_vectors
from orthant.collection.stages.by_example import SearchByExample
from orthant.collection.stages.options import StageOptions, check_stages
from orthant.collection.stages.steering import steered
from orthant.collection.storage import tables
from orthant.collection.storage.generation import Generation
from orthant.collection.storage.store import Store
from orthant.collection.tokens.methods import TokenReading
from orthant.collection.tokens.queries import as_matrices, require_single_vectors, require_token_leg
from orthant.collection.tuning.stored import stored_weights
from orthant.collection.upgrade.asking import again_after_cut_over, for_bridge, same_space
from orthant.encoders.sparse.rows import SparseVector
from orthant.errors import InputError, NotFoundError, message
from orthant.kernels import bitmaps
from orthant.types import BitmapArray, Encoder, FloatArray, Metric, Reranker
from orthant.validate import check_choice, check_metric

if TYPE_CHECKING:
    from orthant.collection.storage.files import FileLayer

__all__ = ["DEFAULT_SPACE", "CollectionReader", "Where"]

DEFAULT_SPACE = "default"
"""The space that bare vectors and the encoder given to ``open`` belong to."""

Where = Mapping[str, Any]


class CollectionReader(
    ExportReading,
    SearchByExample,
    Insight,
    CleaningMethods,
    DocumentReading,
    SnapshotReading,
    DiagnosisMethods,
    TokenReading,
    SpacesReading,
    FilterReading,
):
    """The reading half of :class:`Collection`, which is what :func:`orthant.open` returns.

    Parameters
    ----------
    path : str or Path
        The folder.
    encoder, metric, read_only, canaries, spaces
        As in :func:`orthant.open`.
    files : FileLayer, optional
        Replaces how files are written; for tests of faults.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        encoder: str | Encoder | Any | None = None,
        metric: Metric | None = None,
        read_only: bool = False,
        canaries: Literal["raise", "warn"] = "raise",
        spaces: Mapping[str, Any] | None = None,
        files: FileLayer | None = None,
    ) -> None:
        self.path = Path(path)
        self._metric = None if metric is None else check_metric(metric)
        check_choice(canaries, ("raise", "warn"), name="canaries")
        given = named_encoders(spaces, DEFAULT_SPACE, encoder)
        self._store = Store(self.path, read_only=read_only, files=files)
        self._encoders = SpaceEncoders(self._store, canaries)
        # Called after every search with its queries, options, results and seconds.
        self._observers: tuple[Observer, ...] = ()
        try:
            self._require_metric()
            for name, (loaded, loadable) in given.items():
                self._encoders.adopt(name, loaded, loadable=loadable)
        except BaseException:
            self._store.close()
            raise

    def _require_metric(self) -> None:
        space = self._store.generation.spaces.get(DEFAULT_SPACE)
        if space is not None and self._metric not in (None, space.definition.metric):
            raise InputError(
                message(
                    f"metric={self._metric!r} for a space made with {space.definition.metric!r}",
                    "the stored metric",
                    "leave metric out, or add another space with add_space",
                )
            )

    # ---- life cycle ---------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release files and the writer lock; further calls raise ``StoreError``."""
        self._store.close()

    def __len__(self) -> int:
        """Return the number of records."""
        return self._store.refreshed().count

    def __contains__(self, record_id: object) -> bool:
        """Return whether a record exists."""
        return isinstance(record_id, str) and bool(record_id) and self.get([record_id])[0] is not None

    def __repr__(self) -> str:
        """Return path, size and spaces."""
        spaces = ", ".join(f"{s.name}: {s.dim} {s.metric}" for s in self.spaces.values()) or "no spaces"
        return f"{type(self).__name__}({str(self.path)!r}, records={self._store.generation.count}, {spaces})"

    # ---- spaces --------------------------------------------------------------------------------------------------

    @property
    def spaces(self) -> dict[str, SpaceDefinition]:
        """Definitions of the vector spaces by name."""
        return {name: space.definition for name, space in self._store.refreshed().spaces.items()}

    @property
    def sparse_spaces(self) -> dict[str, SparseDefinition]:
        """Definitions of the spaces of weighted terms by name."""
        return {name: space.definition for name, space in self._store.refreshed().sparse.items()}

    def _ids_of(self, connection: sqlite3.Connection, bitmap: BitmapArray) -> list[str]:
        rows = bitmaps.to_rows(bitmap).tolist()
        found = tables.fetch_records(connection, self._store.database, rows)
        lost = [row for row in rows if row not in found]
        if lost:
            raise self._store.database.corrupted(f"row {lost[0]} is indexed but has no record")
        return [found[row][0] for row in rows]

    # ---- reading ------------------------------------------------------------------------------------------------

    @overload
    def get(self, ids: str, *, vectors: bool = False) -> Record: ...  # type: ignore[overload-overlap]

    @overload
    def get(self, ids: Sequence[str], *, vectors: bool = False) -> list[Record | None]: ...

    def get(self, ids: str | Sequence[str], *, vectors: bool = False) -> Record | list[Record | None]:
        """Return records by id.

        Parameters
        ----------
        ids : str or sequence of str
            One id, or several.
        vectors : bool, default False
            Also read the records' vectors, by space.

        Returns
        -------
        Record, or list of (Record or None)
            For several ids, None stands where one is absent.

        Raises
        ------
        NotFoundError
            A single id that is absent.
        """
        wanted = check_ids([ids] if isinstance(ids, str) else ids, distinct=False)
        by_id = self._store.read(lambda connection, now: self._records_by_id(connection, now, wanted, vectors=vectors))
        out = [by_id.get(key) for key in wanted]
        if not isinstance(ids, str):
            return out
        if out[0] is None:
            raise NotFoundError(message(f"id {ids!r}", "the id of a stored record", "check it, or list ids with ids()"))
        return out[0]

    def _records_by_id(
        self, connection: sqlite3.Connection, generation: Generation, wanted: list[str], *, vectors: bool
    ) -> dict[str, Record]:
        database = self._store.database
        rows = tables.find_rows(connection, database, wanted)
        found = tables.fetch_records(connection, database, rows.tolist())
        held: dict[int, dict[str, FloatArray]] = {row: {} for row in found}
        sparse: dict[int, dict[str, SparseVector]] = {row: {} for row in found}
        for name, space in generation.spaces.items() if vectors else ():
            for row, x in space.by_row(rows).items():
                held[row][name] = x
        for name in generation.sparse if vectors else ():
            for row, vector in fetch_vectors(connection, database, name, rows.tolist()).items():
                sparse[row][name] = vector
        by_id = {found[row][0]: Record(*found[row], held[row], sparse[row]) for row in found}
        tables.require_absent(connection, database, (key for key in wanted if key not in by_id))
        return by_id

    def ids(self) -> Iterator[str]:
        """Iterate over every record's id in insertion order.

        Returns
        -------
        iterator of str
            Ids as of the call.
        """
        return iter(self._store.read(lambda connection, now: self._ids_of(connection, now.live)))

    def search(
        self,
        query: str | npt.ArrayLike | Mapping[str, Any] | None = None,
        *,
        k: int = 10,
        mode: Mode | None = None,
        where: Where | None = None,
        vector: npt.ArrayLike | None = None,
        space: str = DEFAULT_SPACE,
        spaces: Mapping[str, float] | None = None,
        sparse_vector: Any | None = None,
        sparse_space: str | None = None,
        offset: int = 0,
        min_score: float | None = None,
        weights: Mapping[str, float] | None = None,
        fusion: Literal["minmax", "rrf"] | None = None,
        depth: int | None = None,
        recall: float | None = None,
        effort: int | None = None,
        threads: int | None = None,
        exact: bool = False,
        explain: bool = False,
        include_text: bool = True,
        syntax: Literal["operators", "plain"] | None = None,
        rerank: Reranker | str | Any | None = None,
        rerank_depth: int | None = None,
        diversity: float | None = None,
        group_by: str | None = None,
        groups: int | None = None,
        per_group: int | None = None,
        facets: Sequence[str] | Mapping[str, int] | None = None,
        steer: Mapping[str, Any] | None = None,
    ) -> SearchResult:
        """Find the records closest to a query, by meaning, by words, or both.

        Parameters
        ----------
        query : str, array-like of shape (dim,), or mapping, optional
            A text, a vector, a matrix of shape (tokens, dim) for a space of tokens, or a part of a record where the
            space has a :class:`RecordEncoder`. Words in double quotes must appear as a phrase, ``word*`` is a prefix,
            ``-word`` excludes and ``+word`` requires; these concern the lexical leg.
        k : int, default 10
            Hits wanted; fewer come back when fewer match.
        mode : {"dense", "lexical", "sparse", "tokens", "hybrid"}, optional
            ``"sparse"``: by the weighted terms of a sparse space; ``"tokens"``: token by token (MaxSim), which is
            the default for a space of tokens. Else: hybrid when both a text and a way to a vector are at hand, or
            what is possible.
        where : mapping, optional
            Only records that match, such as ``{"year": {"gte": 1900}, "genre": {"in": ["novel", "memoir"]}}``. The
            filter comes first: every hit satisfies it.
        vector : array-like of shape (dim,), or mapping of str to array-like, optional
            Query vector, used instead of encoding ``query``; with ``spaces`` by space, such as a record's ``vectors``.
        space : str, default "default"
            Space to search, of vectors or of tokens.
        spaces : mapping of str to float, optional
            Several spaces, aspects for example, with what each counts: ``{"genre": 0.7, "text": 0.3}``. Any of vectors
            and at most one sparse one; joined as the legs of hybrid search are (``hit.legs["dense:genre"]``). Words
            take part with ``mode="hybrid"`` or a weight for ``"lexical"``; ``"dense"`` then weighs the spaces together.
        sparse_vector : mapping, optional
            The query's weighted terms, ``{term: weight}`` or ``{"indices", "values"}``, instead of encoding ``query``.
        sparse_space : str, optional
            Sparse space to search; default the only one.
        offset : int, default 0
            Hits to skip. Pages of one generation never overlap; a hybrid list ends where both legs' candidates end.
        min_score : float, optional
            Drop hits below it: a cosine, dot product or minus squared distance (dense), a BM25 score (lexical), or a
            fused score in [0, 1] (hybrid; not comparable between queries).
        weights : mapping, optional
            Weights of ``"dense"``, ``"lexical"``, ``"sparse"`` and ``"tokens"`` in hybrid search; default 0.4, 0.6 and
            none (the latter two take part where they have a weight), or what ``set_fusion`` or ``tune_fusion`` stored.
        fusion : {"minmax", "rrf"}, optional
            Weighted min-max of the legs' scores (default, unless another is stored), or reciprocal rank fusion.
        depth : int, optional
            Candidates per leg before fusion, default 200. More finds more and costs more; fewer than half of
            ``offset + k`` is refused.
        recall : float, optional
            Share of the true neighbours to find on average, default 0.95. Above about 20,000 vectors a graph is
            searched as long as that takes; 1.0 compares every vector. Tokens go by what ``token_report`` stored.
        effort : int, optional
            Instead of ``recall``: candidates that a graph search keeps, or whose tokens are compared. Too few miss
            neighbours, too many cost time.
        threads : int, optional
            Threads for the dense scan; default all CPUs for large scans, one for small.
        exact : bool, default False
            Compare every vector or token, whatever graph or shortcut there is: the oracle, as ``recall=1.0``.
        explain : bool, default False
            Fill every hit's ``matched`` terms, ``alignment`` where tokens were compared, and ``shared`` (see
            ``hit.explain``) where a sparse space was. Scores and ranks per leg and the plan are always there.
        include_text : bool, default True
            Leave texts out of the hits with False.
        syntax : {"operators", "plain"}, optional
            Whether quotes, ``*``, ``+`` and ``-`` in the text are operators (default) or plain punctuation.
        rerank : Reranker or str, optional
            ``"tokens"`` (or ``"tokens:SPACE"``): by the stored token vectors, in milliseconds. Or an object with
            ``score(query, records)``, or a sentence-transformers cross-encoder: scores the first candidates again, and
            the list ends with them. The scores before stay in ``hit.stages`` and ``hit.legs``.
        rerank_depth : int, optional
            Candidates that are reranked, default 50. More find what the legs ranked low and cost more; fewer than
            ``offset + k`` is refused.
        diversity : float, optional
            From 0, relevance only, to 1: prefer hits unlike those above them, by the stored vectors of ``space``. It
            is 1 minus the lambda of maximal marginal relevance, over ``depth`` candidates or the reranked ones; too
            much brings what is hardly relevant.
        group_by : str, optional
            Field by whose value hits are grouped, such as the document that a passage is from; ``result.groups``.
            The search deepens until there are enough groups. A record without a value is a group of its own;
            ``offset`` and ranks count groups.
        groups : int, optional
            Groups wanted, default ``k``.
        per_group : int, optional
            Hits of each group, default 3.
        facets : sequence of str, or mapping of str to int, optional
            Fields whose values are counted over all records that match the filter and, in lexical search, the query;
            ``result.facets``. A mapping says how many values to list, default 20.
        steer : mapping, optional
            Moves the query's vector: ``"away"`` takes the meaning of texts or vectors out, ``"toward"`` adds some, or
            with ``"instead_of"`` the difference of the two; ``"strength"`` from 0 to 2, default 1. Words stay.

        Returns
        -------
        SearchResult
            A sequence of :class:`Hit`, with ``plan``.

        Raises
        ------
        InputError
            k of 0 or less, no query, options that do not fit the mode, NaN or a wrong dimension in the vector.
        FilterError
            A malformed filter.

        Notes
        -----
        Cost: for the dense leg one pass over ``records x dim`` float32, or, where a graph exists, a few hundred
        comparisons and a pass over the rows written since it was made; for the lexical leg the query terms' postings.
        """
        return self.search_many(
            [query],
            k=k,
            mode=mode,
            where=where,
            vectors=None if vector is None else [vector],
            space=space,
            spaces=spaces,
            sparse_vectors=None if sparse_vector is None else [sparse_vector],
            sparse_space=sparse_space,
            offset=offset,
            min_score=min_score,
            weights=weights,
            fusion=fusion,
            depth=depth,
            recall=recall,
            effort=effort,
            threads=threads,
            exact=exact,
            explain=explain,
            include_text=include_text,
            syntax=syntax,
            rerank=rerank,
            rerank_depth=rerank_depth,
            diversity=diversity,
            group_by=group_by,
            groups=groups,
            per_group=per_group,
            facets=facets,
            steer=steer,
        )[0]

    @again_after_cut_over
    def search_many(
        self,
        queries: Sequence[str | npt.ArrayLike | Mapping[str, Any] | None],
        *,
        k: int = 10,
        mode: Mode | None = None,
        where: Where | None = None,
        vectors: Sequence[npt.ArrayLike] | npt.ArrayLike | None = None,
        space: str = DEFAULT_SPACE,
        spaces: Mapping[str, float] | None = None,
        sparse_vectors: Any | None = None,
        sparse_space: str | None = None,
        offset: int = 0,
        min_score: float | None = None,
        weights: Mapping[str, float] | None = None,
        fusion: Literal["minmax", "rrf"] | None = None,
        depth: int | None = None,
        recall: float | None = None,
        effort: int | None = None,
        threads: int | None = None,
        exact: bool = False,
        explain: bool = False,
        include_text: bool = True,
        syntax: Literal["operators", "plain"] | None = None,
        rerank: Reranker | Any | None = None,
        rerank_depth: int | None = None,
        diversity: float | None = None,
        group_by: str | None = None,
        groups: int | None = None,
        per_group: int | None = None,
        facets: Sequence[str] | Mapping[str, int] | None = None,
        steer: Mapping[str, Any] | None = None,
    ) -> list[SearchResult]:
        """Run several queries at once: faster than one by one, with the same results.

        Parameters
        ----------
        queries : sequence of (str, array-like of shape (dim,), mapping or None), length q
            All texts, all vectors or all parts of records.
        k, mode, where, space, spaces, offset, min_score, weights, fusion, depth, recall, effort, threads
            As in :meth:`search`.
        exact, explain, include_text, syntax, rerank, rerank_depth, diversity, group_by, groups, per_group, facets
            As in :meth:`search`.
        steer : mapping, optional
            As in :meth:`search`; it moves all queries alike.
        vectors : array-like of shape (q, dim), or with ``spaces`` a sequence of mappings, optional
            Query vectors, used instead of encoding.
        sparse_vectors : sequence of mappings, or SciPy sparse matrix of shape (q, dim), optional
            The queries' weighted terms, used instead of encoding.
        sparse_space : str, optional
            As in :meth:`search`.

        Returns
        -------
        list of SearchResult
            One per query.

        Raises
        ------
        InputError
            As in :meth:`search`.
        """
        started = time.perf_counter()
        stages = check_stages(
            k=k, space=space, rerank=rerank, rerank_depth=rerank_depth, diversity=diversity, group_by=group_by,
            groups=groups, per_group=per_group, facets=facets,
        )  # fmt: skip
        ready, options = self._prepared(
            queries,
            vectors,
            mode=mode,
            space=space,
            spaces=spaces,
            sparse=(sparse_vectors, sparse_space),
            k=k,
            where=where,
            offset=offset,
            min_score=min_score,
            weights=weights,
            method=fusion,
            depth=depth,
            recall=as_recall(exact, recall, effort),
            effort=effort,
            threads=threads,
            explain=explain,
            include_text=include_text,
            syntax=syntax,
            stages=stages,
            steer=steer,
        )
        if options is None:
            return []
        results = execute(self._store, ready, options, encode_seconds=time.perf_counter() - started)
        for observer in self._observers:
            observer(ready, options, results, time.perf_counter() - started)
        return results

    def _prepared(
        self,
        queries: Sequence[str | npt.ArrayLike | Mapping[str, Any] | None],
        vectors: Sequence[npt.ArrayLike] | npt.ArrayLike | None,
        *,
        mode: Mode | None,
        space: str,
        k: int,
        stages: StageOptions | None = None,
        sparse: tuple[Any, str | None] = (None, None),
        steer: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> tuple[list[Query], SearchOptions | None]:
        """Check what a search was given; no options where there is no query."""
        several = settings.pop("spaces", None)
        stages = check_stages(k=k, space=space) if stages is None else stages
        if several is not None:
            if steer is not None:
                raise InputError(message("steer= with spaces=", "one space to move a query in", "leave one out"))
            settings |= {"named": space != DEFAULT_SPACE, "stages": stages, "sparse": sparse}
            return self._across(queries, vectors, several, k=k, mode=mode, **settings)
        terms, sparse_space = sparse
        matrices = as_matrices(queries)
        require_single_vectors(matrices, vectors)
        if matrices is None:
            asked, vectors = partial_queries(queries, vectors, space, self._encoders)
            texts, given = split_queries(asked, vectors, sparse=terms is not None)
        else:
            texts, given = [None] * len(matrices), None
        if not texts:
            return [], None
        now = self._store.refreshed()
        check_space(space, now.spaces, default=DEFAULT_SPACE)
        stored, notes = stored_weights(now, mode, space, texts, settings, self._encoders)
        notes = (*notes, *doubts(queries, now.columns.names, self._encoders.given(space)))
        weights = settings.get("weights")
        alone = given is None and all(text is None for text in texts)
        asks = wanted(mode, weights, terms, sparse_space, alone=alone)
        unused = DEFAULT_SPACE if stages.diversity is None else space  # Diversity looks at it beside words too.
        tokens = self._token_settings(mode, space, stages, settings)
        require_token_leg(matrices, tokens)
        several_legs: Mode = "tokens" if tokens.leg == space else "hybrid"
        intended = several_legs if tokens.leg is not None and mode is None else mode
        chosen = choose_mode(
            intended, texts, given, space, self._encoders, default=unused, vectors=tokens.vectors, sparse=asks,
            weights=weights,
        )  # fmt: skip
        asked = None
        if asks:
            asked = question(texts, terms, space=sparse_space, spaces=now.sparse, encoders=self._encoders)
            settings |= {"sparse_space": asked.space, "vocabulary": asked.vocabulary}
        settings["dense"] = given is not None or needs_dense(weights) or self._encoders.at_hand(space)
        options = check_options(
            chosen, records=now.count, space=space, k=k, stages=stages, stored=stored, tokens=tokens, **settings
        )
        definition = None if space not in now.spaces else now.spaces[space].definition
        legs: Mode = chosen if options.space is not None else "lexical"
        with same_space(self._store, now, space):
            ready = encode_queries(texts, given, mode=legs, space=space, definition=definition, encoders=self._encoders)
        ready = adapted(steered(ready, steer, now, options.space, self._encoders), now, options.space)
        ready, options = for_bridge(ready, options, now, self._encoders, moved=steer is not None)
        ready = self._with_tokens(ready, texts, matrices, tokens)
        return ready if asked is None else asked.added_to(ready), replace(options, notes=notes)
