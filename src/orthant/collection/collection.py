"""The collection: documents stored durably, filtered, searched by meaning and by words, and explained."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import numpy.typing as npt

from orthant.collection.columns.where import parse_where
from orthant.collection.ingest import UpsertReport, VectorInput, check_ids, prepare_batch
from orthant.collection.querying import check_options, choose_mode, encode_queries, split_queries
from orthant.collection.results import Record, SearchResult
from orthant.collection.searching import Mode, execute
from orthant.collection.space_encoders import SpaceEncoders, define_space, load
from orthant.collection.spaces import SpaceDefinition, check_encoder, embed_canaries
from orthant.collection.storage import tables
from orthant.collection.storage.store import Store
from orthant.errors import InputError, NotFoundError, message
from orthant.types import Encoder, FloatArray, Metric
from orthant.validate import as_vectors, check_choice, check_metric

if TYPE_CHECKING:
    from orthant.collection.adding import AddReport
    from orthant.collection.checking import CheckReport
    from orthant.collection.statistics import CollectionStats
    from orthant.collection.storage.files import FileLayer
    from orthant.collection.transfer import ExportReport, ImportReport

__all__ = ["DEFAULT_SPACE", "Collection"]

DEFAULT_SPACE = "default"

Where = Mapping[str, Any]


class Collection:
    """Documents with metadata and vectors in named spaces; made by :func:`orthant.open`.

    Any mix of calls from any threads is safe: a search sees the last commit before it began, and a write is durable
    and searchable when it returns.

    Parameters
    ----------
    path : str or Path
        The folder.
    encoder, metric, read_only, canaries
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
        files: FileLayer | None = None,
    ) -> None:
        self.path = Path(path)
        self._metric = None if metric is None else check_metric(metric)
        check_choice(canaries, ("raise", "warn"), name="canaries")
        given, loadable = (None, None) if encoder is None else load(encoder)
        self._store = Store(self.path, read_only=read_only, files=files)
        self._encoders = SpaceEncoders(self._store, canaries)
        try:
            self._require_metric()
            if given is not None:
                self._encoders.adopt(DEFAULT_SPACE, given, loadable=loadable)
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

    def __enter__(self) -> Collection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back files and the writer's place; further calls raise ``StoreError``."""
        self._store.close()

    def __len__(self) -> int:
        """Return the number of records."""
        with self._store.view() as (_, generation):
            return generation.count

    def __contains__(self, record_id: object) -> bool:
        """Return whether a record exists."""
        return isinstance(record_id, str) and bool(record_id) and self.get([record_id])[0] is not None

    def __repr__(self) -> str:
        """Return path, size and spaces."""
        spaces = ", ".join(f"{s.name}: {s.dim} {s.metric}" for s in self.spaces.values()) or "no spaces"
        return f"Collection({str(self.path)!r}, records={self._store.generation.count}, {spaces})"

    # ---- spaces -------------------------------------------------------------------------------------------------

    @property
    def spaces(self) -> dict[str, SpaceDefinition]:
        """Definitions of the vector spaces by name."""
        return {name: space.definition for name, space in self._store.generation.spaces.items()}

    def add_space(
        self,
        name: str,
        *,
        encoder: str | Encoder | Any | None = None,
        dim: int | None = None,
        metric: Metric = "cosine",
    ) -> SpaceDefinition:
        """Add a vector space; records written from now on get a vector in it.

        Parameters
        ----------
        name : str
            1 to 64 letters, digits, ``_``, ``-`` or ``.``.
        encoder : str, Encoder or sentence-transformers model, optional
            Encodes texts for this space. Without one, pass ``dim`` and bring vectors.
        dim : int, optional
            Values per vector; taken from the encoder when there is one.
        metric : {"cosine", "dot", "l2"}, default "cosine"
            Score of the space.

        Returns
        -------
        SpaceDefinition
            Stored and immutable.

        Raises
        ------
        InputError
            The name is taken or malformed, or neither or both of ``encoder`` and ``dim`` are given.
        """
        if (encoder is None) == (dim is None):
            raise InputError(
                message("both or neither of encoder and dim", "exactly one of them", "pass encoder=... or dim=...")
            )
        loaded, loadable = (None, None) if encoder is None else load(encoder)
        definition, canaries = define_space(name, loaded, dim=dim, metric=check_metric(metric), loadable=loadable)
        self._store.create_space(definition, canaries)
        if loaded is not None:
            self._encoders.adopt(name, loaded, loadable=loadable)
        return definition

    def adopt_space(self, definition: SpaceDefinition) -> None:
        """Add a space as another collection defined it; used when vectors are imported with their definition.

        Parameters
        ----------
        definition : SpaceDefinition
            Name, dimension, metric and fingerprint.

        Raises
        ------
        InputError
            The name is taken.
        """
        encoder = self._encoders.given(definition.name)
        if encoder is not None:
            check_encoder(definition, encoder)
            canaries = embed_canaries(encoder)
        else:
            canaries = np.zeros((0, definition.dim), dtype=np.float32)
        self._store.create_space(definition, canaries)

    # ---- writing ------------------------------------------------------------------------------------------------

    def upsert(
        self,
        ids: Sequence[str],
        *,
        texts: Sequence[str | None] | None = None,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
        vectors: VectorInput | None = None,
        progress: bool = False,
    ) -> UpsertReport:
        """Write records, replacing those whose id exists; durable and searchable on return.

        A replaced record is replaced whole: text, metadata and vectors in every space.

        Parameters
        ----------
        ids : sequence of str, length n
            Distinct, non-empty, at most 512 bytes each.
        texts : sequence of (str or None), length n, optional
            What is searched by words, and encoded in every space that has an encoder.
        metadata : sequence of (mapping or None), length n, optional
            JSON objects; ``where`` filters see their fields, nested ones as ``"a.b"``.
        vectors : array-like of shape (n, dim), or mapping of space name to such, optional
            Used instead of encoding. A list may hold None for records without a vector. Float64, other strides and
            integer dtypes are converted.
        progress : bool, default False
            Show a bar while encoding.

        Returns
        -------
        UpsertReport
            Counts, truncation and seconds.

        Raises
        ------
        InputError
            Anything malformed; nothing was written.
        StoreLockedError
            Another process writes.
        StoreError
            The disk is full or failing; nothing was written.

        Notes
        -----
        One call is one transaction: all of it or nothing. Batches of 1,000 to 10,000 records are quickest; single
        records cost one disk sync each.
        """
        started = time.perf_counter()
        with self._store.writer():
            self._ensure_space(texts, vectors)
            spaces = self.spaces
            able = [name for name in spaces if texts is not None and self._encoders.at_hand(name)]
            encoders = {name: self._encoders.require(name) for name in able}
            prepared = prepare_batch(
                ids,
                texts,
                metadata,
                vectors,
                spaces=spaces,
                default_space=DEFAULT_SPACE,
                encoders=encoders,
                progress=progress,
            )
            checked = time.perf_counter()
            commit = self._store.commit(prepared.batch)
            ended = time.perf_counter()
        count = len(prepared.batch.ids)
        written = {name: len(positions) for name, (positions, _) in prepared.batch.vectors.items()}
        encode = prepared.seconds.get("encode", 0.0)
        return UpsertReport(
            records=count,
            replaced=commit.removed,
            vectors=written,
            without_vector={name: count - written.get(name, 0) for name in spaces},
            truncated_items=prepared.truncated_items,
            truncated_tokens=prepared.truncated_tokens,
            generation=commit.generation,
            seconds={"check": checked - started - encode, "encode": encode, "commit": ended - checked},
        )

    def add(
        self,
        source: Any,
        *,
        id_field: str | None = None,
        text_fields: str | Sequence[str] | None = None,
        vector_field: str | Mapping[str, str] | None = None,
        metadata_fields: Sequence[str] | None = None,
        metadata_field: str | None = None,
        ids: Literal["field", "hash", "number"] = "field",
        format: Literal["jsonl", "csv", "tsv", "parquet", "folder"] | None = None,
        batch_size: int = 4096,
        advance: Callable[[int], None] | None = None,
    ) -> AddReport:
        """Upsert a whole source: JSONL, CSV, TSV, Parquet, a folder of .txt and .md, a table, or a list of dicts.

        The source is checked from end to end first, so a malformed line leaves the collection untouched; then every
        batch is durable as soon as it is written.

        Parameters
        ----------
        source : str, Path, pandas, Arrow or Polars table, or iterable of dict
            What to read; a str is a path.
        id_field : str, optional
            Field with the ids; default ``"_id"``, else ``"id"``.
        text_fields : str or sequence of str, optional
            Fields joined to the text; default ``"title"`` and ``"text"``, whichever exist.
        vector_field : str or mapping of str to str, optional
            Field with a vector per record, or space to field.
        metadata_fields : sequence of str, optional
            Fields to keep as metadata; default all others.
        metadata_field : str, optional
            The one field that holds all metadata as an object.
        ids : {"field", "hash", "number"}, default "field"
            Where ids come from when the records have none.
        format : {"jsonl", "csv", "tsv", "parquet", "folder"}, optional
            Default: by the path's ending.
        batch_size : int, default 4096
            Records per commit; small ones pay one disk sync each, large ones memory.
        advance : callable of int, optional
            Told how many further records are stored, for a progress bar.

        Returns
        -------
        AddReport
            Counts and seconds per stage.

        Raises
        ------
        InputError
            Anything malformed, with file and line; nothing was written.
        """
        from orthant.collection.adding import add_source

        if isinstance(vector_field, str):
            vector_field = {DEFAULT_SPACE: vector_field}
        return add_source(
            self,
            source,
            id_field=id_field,
            text_fields=text_fields,
            vector_field=vector_field,
            metadata_fields=metadata_fields,
            metadata_field=metadata_field,
            ids=ids,
            format=format,
            batch_size=batch_size,
            advance=advance,
        )

    def _ensure_space(self, texts: Sequence[str | None] | None, vectors: VectorInput | None) -> None:
        if DEFAULT_SPACE in self._store.generation.spaces:
            return
        metric: Metric = self._metric or "cosine"
        if self._encoders.given(DEFAULT_SPACE) is not None:
            self._store.create_space(*self._encoders.define(DEFAULT_SPACE, metric=metric))
            return
        if isinstance(vectors, Mapping):
            vectors = vectors.get(DEFAULT_SPACE)
        if vectors is not None:
            first = vectors if hasattr(vectors, "shape") else [v for v in vectors if v is not None][:1]  # type: ignore
            X = as_vectors(first, name="vectors") if len(first) else None  # type: ignore[arg-type]
            if X is not None and len(X):
                self._store.create_space(*define_space(DEFAULT_SPACE, None, dim=X.shape[1], metric=metric))

    def delete(self, ids: Sequence[str] | None = None, *, where: Where | None = None) -> int:
        """Remove records by id or by filter; durable on return.

        Parameters
        ----------
        ids : sequence of str, optional
            Absent ids are ignored.
        where : mapping, optional
            A where-expression; every matching record goes.

        Returns
        -------
        int
            Records removed.

        Raises
        ------
        InputError
            Both or neither given, or malformed.
        """
        if (ids is None) == (where is None):
            raise InputError(
                message("both or neither of ids and where", "exactly one", "pass ids=[...] or where={...}")
            )
        with self._store.writer() as generation:
            if where is not None:
                found = generation.columns.evaluate(parse_where(where), live=generation.live)
                chosen = [record.id for record in self._records_of_bitmap(found.bitmap)]
            else:
                chosen = check_ids(ids or [], distinct=False)
            return self._store.commit(remove_ids=chosen).removed

    def _records_of_bitmap(self, bitmap: np.ndarray) -> Iterator[Record]:
        from orthant.kernels import bitmaps

        rows = bitmaps.to_rows(bitmap)
        with self._store.view() as (connection, _):
            for begin in range(0, len(rows), 8192):
                part = rows[begin : begin + 8192].tolist()
                found = tables.fetch_records(connection, self._store.database, part)
                yield from (Record(*found[row]) for row in part if row in found)

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
        with self._store.view() as (connection, generation):
            rows = tables.find_rows(connection, wanted)
            found = tables.fetch_records(connection, self._store.database, rows.tolist())
            held: dict[int, dict[str, FloatArray]] = {row: {} for row in found}
            if vectors:
                for name, space in generation.spaces.items():
                    present, X = space.vectors_of(rows)
                    for row, x in zip(rows[present].tolist(), X, strict=True):
                        held[row][name] = x
        by_id = {found[row][0]: Record(*found[row], held[row]) for row in found}
        out = [by_id.get(key) for key in wanted]
        if not isinstance(ids, str):
            return out
        if out[0] is None:
            raise NotFoundError(message(f"id {ids!r}", "the id of a stored record", "check it, or list ids with ids()"))
        return out[0]

    def ids(self) -> Iterator[str]:
        """Iterate over every record's id in insertion order.

        Yields
        ------
        str
            Ids as of the call's start.
        """
        for record in self._records_of_bitmap(self._store.generation.live):
            yield record.id

    def search(
        self,
        query: str | npt.ArrayLike | None = None,
        *,
        k: int = 10,
        mode: Mode | None = None,
        where: Where | None = None,
        vector: npt.ArrayLike | None = None,
        space: str = DEFAULT_SPACE,
        offset: int = 0,
        min_score: float | None = None,
        weights: Mapping[str, float] | None = None,
        fusion: Literal["minmax", "rrf"] | None = None,
        depth: int | None = None,
        recall: float | None = None,
        threads: int | None = None,
        explain: bool = False,
        include_text: bool = True,
        syntax: Literal["operators", "plain"] | None = None,
    ) -> SearchResult:
        """Find the records closest to a query, by meaning, by words, or both.

        Parameters
        ----------
        query : str or array-like of shape (dim,), optional
            A text, or a vector. Words in double quotes must appear as a phrase, ``word*`` is a prefix, ``-word``
            excludes and ``+word`` requires; these concern the lexical leg.
        k : int, default 10
            Hits wanted; fewer come back when fewer match.
        mode : {"dense", "lexical", "hybrid"}, optional
            Default: hybrid when both a text and a way to a vector are at hand, else what is possible.
        where : mapping, optional
            Only records that match, such as ``{"year": {"gte": 1900}, "genre": {"in": ["novel", "memoir"]}}``. The
            filter comes first: every hit satisfies it.
        vector : array-like of shape (dim,), optional
            Query vector, used instead of encoding ``query``.
        space : str, default "default"
            Vector space to search.
        offset : int, default 0
            Hits to skip. Pages of one generation never overlap; a hybrid list ends where both legs' candidates end.
        min_score : float, optional
            Drop hits below it: a cosine, dot product or minus squared distance (dense), a BM25 score (lexical), or a
            fused score in [0, 1] (hybrid; not comparable between queries).
        weights : mapping, optional
            Weights of ``"dense"`` and ``"lexical"`` in hybrid search; default 0.3 and 0.7.
        fusion : {"minmax", "rrf"}, optional
            Weighted min-max of the legs' scores (default), or reciprocal rank fusion.
        depth : int, optional
            Candidates per leg before fusion, default 200; more finds more and costs more, fewer than ``offset + k`` is refused.
        recall : float, optional
            Share of the true neighbours to find; an exact scan always meets it.
        threads : int, optional
            Threads for the dense scan; default all CPUs for large scans, one for small.
        explain : bool, default False
            Fill every hit's ``matched`` terms. Scores and ranks per leg and the plan are always there.
        include_text : bool, default True
            Leave texts out of the hits with False.
        syntax : {"operators", "plain"}, optional
            Whether quotes, ``*``, ``+`` and ``-`` in the text are operators (default) or plain punctuation.

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
        Cost: one pass over ``records x dim`` float32 for the dense leg, the query terms' postings for the lexical leg.
        """
        return self.search_many(
            [query],
            k=k,
            mode=mode,
            where=where,
            vectors=None if vector is None else [vector],
            space=space,
            offset=offset,
            min_score=min_score,
            weights=weights,
            fusion=fusion,
            depth=depth,
            recall=recall,
            threads=threads,
            explain=explain,
            include_text=include_text,
            syntax=syntax,
        )[0]

    def search_many(
        self,
        queries: Sequence[str | npt.ArrayLike | None],
        *,
        k: int = 10,
        mode: Mode | None = None,
        where: Where | None = None,
        vectors: Sequence[npt.ArrayLike] | npt.ArrayLike | None = None,
        space: str = DEFAULT_SPACE,
        offset: int = 0,
        min_score: float | None = None,
        weights: Mapping[str, float] | None = None,
        fusion: Literal["minmax", "rrf"] | None = None,
        depth: int | None = None,
        recall: float | None = None,
        threads: int | None = None,
        explain: bool = False,
        include_text: bool = True,
        syntax: Literal["operators", "plain"] | None = None,
    ) -> list[SearchResult]:
        """Run several queries at once; quicker than one by one, same results.

        Parameters
        ----------
        queries : sequence of (str, array-like of shape (dim,), or None), length q
            All texts or all vectors.
        k, mode, where, space, offset, min_score, weights, fusion, depth, recall, threads, explain, include_text, syntax
            As in :meth:`search`.
        vectors : array-like of shape (q, dim), optional
            Query vectors, used instead of encoding.

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
        texts, given = split_queries(queries, vectors)
        if not texts:
            return []
        chosen = choose_mode(mode, texts, given, space, self._encoders)
        options = check_options(
            chosen,
            space=space,
            k=k,
            offset=offset,
            where=where,
            depth=depth,
            method=fusion,
            weights=weights,
            min_score=min_score,
            recall=recall,
            threads=threads,
            explain=explain,
            include_text=include_text,
            syntax=syntax,
        )
        ready = encode_queries(
            texts, given, mode=chosen, space=space, definition=self.spaces.get(space), encoders=self._encoders
        )
        return execute(self._store, ready, options, encode_seconds=time.perf_counter() - started)

    # ---- looking after ------------------------------------------------------------------------------------------

    def stats(self) -> CollectionStats:
        """Return counts, bytes, spaces, fields and what maintenance would do.

        Returns
        -------
        CollectionStats
            A record with ``to_dict``.
        """
        from orthant.collection.statistics import collect

        return collect(self._store)

    def check(self, *, repair: bool = False) -> CheckReport:
        """Verify every checksum and every cross-reference, and mend what can be mended.

        Parameters
        ----------
        repair : bool, default False
            Rebuild derived files and encode damaged vectors again from their texts.

        Returns
        -------
        CheckReport
            ``ok``, the problems found, and what was repaired.
        """
        from orthant.collection.checking import check

        return check(self._store, self._encoders.require if repair else None, repair=repair)

    def export(self, path: str | Path, *, format: Literal["folder", "parquet"] | None = None) -> ExportReport:
        """Write every record with its vectors to JSONL + .npy, or to one Parquet file.

        Parameters
        ----------
        path : str or Path
            A new folder, or a file ending in ``.parquet``.
        format : {"folder", "parquet"}, optional
            Default: by the path's ending.

        Returns
        -------
        ExportReport
            Counts and path.

        Raises
        ------
        InputError
            The target exists.
        MissingExtraError
            Parquet without pyarrow.
        """
        from orthant.collection.transfer import export

        return export(self._store, Path(path), format=format)

    def import_from(self, path: str | Path, *, vectors: bool = True, progress: bool = False) -> ImportReport:
        """Write every record of an export, keeping ids, texts, metadata and vectors.

        Parameters
        ----------
        path : str or Path
            What :meth:`export` made.
        vectors : bool, default True
            Keep the exported vectors; with False the texts are encoded anew by this collection's encoder.
        progress : bool, default False
            Show a bar.

        Returns
        -------
        ImportReport
            Counts, by space.

        Raises
        ------
        StoreCorruptedError
            The export is damaged; nothing was written.
        EncoderMismatchError
            A space of that name was made by another encoder.
        """
        from orthant.collection.transfer import import_export

        return import_export(self, Path(path), vectors=vectors, progress=progress)
