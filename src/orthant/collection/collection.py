"""The collection: documents stored durably, filtered, searched by meaning and by words, and explained."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from orthant.collection.adapting.methods import AdaptMethods
from orthant.collection.columns.where import parse_where
from orthant.collection.compression.methods import CompressionMethods
from orthant.collection.documents.methods import DocumentMethods
from orthant.collection.importers.methods import ForeignMethods
from orthant.collection.ingest import UpsertReport, VectorInput, by_space, check_ids, leading_dim, prepare_batch
from orthant.collection.reading import DEFAULT_SPACE, CollectionReader, Where
from orthant.collection.records.items import encodable
from orthant.collection.results import FinishReport
from orthant.collection.snapshots.methods import SnapshotMethods
from orthant.collection.space_encoders import define_space, load
from orthant.collection.spaces import SpaceDefinition, SpaceKind
from orthant.collection.sparse.ingest import canaries_of, define_any, weigh_batch
from orthant.collection.sparse.state import SparseDefinition
from orthant.collection.storage.settings.shortcuts import EXACT_BELOW
from orthant.collection.tokens.shortcut import ShortcutMethods, check_shortcut
from orthant.collection.tuning.methods import FusionMethods
from orthant.collection.tuning.methods_queries import QueryMethods
from orthant.collection.upgrade.methods import UpgradeMethods
from orthant.errors import InputError, message
from orthant.types import Encoder, Metric, SparseEncoder
from orthant.validate import check_choice, check_path

if TYPE_CHECKING:
    from orthant.collection.adding import AddReport
    from orthant.collection.checking import CheckReport
    from orthant.collection.transfer import ImportReport

__all__ = ["DEFAULT_SPACE", "Collection"]


class Collection(
    CollectionReader,
    ForeignMethods,
    DocumentMethods,
    SnapshotMethods,
    FusionMethods,
    QueryMethods,
    UpgradeMethods,
    CompressionMethods,
    AdaptMethods,
    ShortcutMethods,
):
    """Documents with metadata and vectors in named spaces; opened by :func:`orthant.open`.

    Any mix of calls from any threads is safe: a search sees the last commit before it began, and a write is durable
    and searchable when it returns.

    Parameters
    ----------
    path : str or Path
        The folder.
    encoder, metric, read_only, canaries, spaces
        As in :func:`orthant.open`.
    files : FileLayer, optional
        Replaces how files are written; for tests of faults.
    """

    # ---- spaces -------------------------------------------------------------------------------------------------

    def add_space(
        self,
        name: str,
        *,
        encoder: str | Encoder | SparseEncoder | Any | None = None,
        dim: int | None = None,
        metric: Metric | None = None,
        kind: SpaceKind | Literal["sparse"] | None = None,
        dtype: Literal["float32", "float16"] = "float32",
        method: str | None = None,
        exact_below: int | None = None,
    ) -> SpaceDefinition | SparseDefinition:
        """Add a space; records written from now on get a vector, token vectors, or weighted terms, in it.

        Parameters
        ----------
        name : str
            1 to 64 letters, digits, ``_``, ``-`` or ``.``.
        encoder : str, Encoder, TokenEncoder, SparseEncoder or sentence-transformers model, optional
            Encodes texts for this space; for tokens the folder of a late-interaction model, or an object with
            ``encode_tokens``. Without one, pass ``dim`` and bring vectors.
        dim : int, optional
            Values per vector, or terms of the vocabulary; taken from the encoder when there is one.
        metric : {"cosine", "dot", "l2"}, optional
            Score of a vector space, default ``"cosine"``. A sparse space has the dot product, and tokens MaxSim, a sum
            of dot products.
        kind : {"dense", "tokens", "sparse"}, optional
            One vector per record; one per token, for ``search(mode="tokens")``, ``rerank="tokens"`` or a leg of a
            hybrid search, dozens per record; or weighted terms. Default: sparse for such an encoder, else dense.
        dtype : {"float32", "float16"}, default "float32"
            How tokens are stored; ``"float16"`` takes half the bytes and three digits.
        method, exact_below : str and int, optional
            Of tokens: how candidates are found, as for :meth:`index_tokens`; default ``"auto"`` and 10,000.

        Returns
        -------
        SpaceDefinition or SparseDefinition
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
        if kind != "tokens" and (method, exact_below) != (None, None):
            raise InputError(message(f"method= or exact_below= with kind={kind!r}", "kind='tokens'", "leave them out"))
        shortcut = check_shortcut(
            "auto" if method is None else method, EXACT_BELOW if exact_below is None else exact_below
        )
        if kind == "tokens":
            if name == DEFAULT_SPACE:
                raise InputError(message(f"tokens in the space {name!r}", "another name", "call it 'tokens'"))
            loaded, loadable = (None, None) if encoder is None else load(encoder, kind="tokens")
            definition: Any
            definition, canaries = define_space(
                name, loaded, dim=dim, metric=metric or "dot", loadable=loadable, kind=kind, dtype=dtype
            )
        else:
            check_choice(dtype, ("float32",), name="dtype")
            loaded, loadable = (None, None) if encoder is None else load(encoder, sparse=kind != "dense")
            definition, canaries = define_any(name, loaded, dim=dim, metric=metric, kind=kind, loadable=loadable)
        self._store.create_space(definition, canaries, shortcut)
        if loaded is not None:
            self._encoders.adopt(name, loaded, loadable=loadable)
        return definition

    def adopt_space(self, definition: SpaceDefinition | SparseDefinition) -> None:
        """Add a space as another collection defined it; used when vectors are imported with their definition.

        Parameters
        ----------
        definition : SpaceDefinition or SparseDefinition
            Name, dimension, metric and fingerprint.

        Raises
        ------
        InputError
            The name is taken.
        """
        encoder = self._encoders.given(definition.name)
        self._store.create_space(definition, canaries_of(definition, encoder))

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
            JSON objects; ``where`` filters see their fields, nested ones as ``"a.b"``. A :class:`RecordEncoder` encodes
            them, the text as one field more.
        vectors : array-like of shape (n, dim), or mapping of space name to such, optional
            Used instead of encoding. A list may hold None for records without a vector. Float64, other strides and
            integer dtypes are converted. For a space of tokens: a matrix of shape (tokens, dim) per record. A sparse
            space takes a SciPy sparse matrix, or a list of ``{term: weight}``, ``{"indices": [...], "values": [...]}``
            or None.
        progress : bool, default False
            Show a bar while encoding, and while a graph is built.

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
        records cost one disk sync each. A call that makes a space outgrow its scan also builds or extends its graph,
        at most 32,768 rows at a time; ``seconds["graph"]`` says how long that took. ``bulk`` does it once at the end.
        """
        return self._upsert(ids, texts=texts, metadata=metadata, vectors=vectors, progress=progress)

    def _upsert(
        self,
        ids: Sequence[str],
        *,
        texts: Sequence[str | None] | None = None,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
        vectors: VectorInput | None = None,
        remove_ids: Sequence[str] = (),
        progress: bool = False,
    ) -> UpsertReport:
        """Do what ``upsert`` does, and remove further records in the same commit; ``replaced`` counts those too."""
        started = time.perf_counter()
        with self._store.writer():
            weighted = {*self._store.generation.sparse, *self._encoders.sparse_names()}
            given, terms = by_space(vectors, DEFAULT_SPACE, sparse=weighted)
            # A space that this call needs is made by the same commit, so a refused call leaves no trace of it.
            fresh = self._missing_space(given)
            made: dict[str, Any] = {definition.name: definition for definition, _ in fresh}
            spaces = self.spaces | {n: one for n, one in made.items() if isinstance(one, SpaceDefinition)}
            sparse = self.sparse_spaces | {n: one for n, one in made.items() if isinstance(one, SparseDefinition)}
            brings = {"texts": texts is not None, "metadata": metadata is not None}
            able = [name for name in (*spaces, *sparse) if encodable(name, spaces, self._encoders, **brings)]
            encoders = {name: self._encoders.require(name) for name in able if name not in given and name not in terms}
            prepared = prepare_batch(ids, texts, metadata, given, spaces=spaces, encoders=encoders, progress=progress)
            weigh_batch(prepared, terms, spaces=sparse, encoders=encoders, encode=texts is not None)
            checked = time.perf_counter()
            commit = self._store.commit(prepared.batch, remove_ids=remove_ids, spaces=fresh, progress=progress)
            ended = time.perf_counter()
        count = len(prepared.batch.ids)
        brought = {**prepared.batch.vectors, **prepared.batch.sparse}
        written = {name: len(np.unique(positions)) for name, (positions, _) in brought.items()}
        encode = prepared.seconds.get("encode", 0.0)
        return UpsertReport(
            records=count,
            replaced=commit.removed,
            vectors=written,
            without_vector={name: count - written.get(name, 0) for name in (*spaces, *sparse)},
            truncated_items=prepared.truncated_items,
            truncated_tokens=prepared.truncated_tokens,
            generation=commit.generation,
            seconds={
                "check": checked - started - encode,
                "encode": encode,
                "commit": ended - checked - commit.graph_s,
                "graph": commit.graph_s,
            },
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
        types: Mapping[str, Literal["str", "int", "float", "bool"]] | None = None,
        delimiter: str | None = None,
        quote: str | None = '"',
        encoding: str = "utf-8",
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
        types : mapping of str to {"str", "int", "float", "bool"}, optional
            Types of CSV and TSV columns; the others are told from the whole column.
        delimiter : str, optional
            Cell separator of CSV and TSV.
        quote : str or None, default '"'
            Quote character of CSV and TSV; None when quotes are ordinary characters.
        encoding : str, default "utf-8"
            Encoding of text files.
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
            types=types,
            delimiter=delimiter,
            quote=quote,
            encoding=encoding,
            batch_size=batch_size,
            advance=advance,
        )

    def add_vectors(
        self,
        path: str | Path | npt.ArrayLike,
        *,
        space: str = DEFAULT_SPACE,
        id_prefix: str = "",
        ids: Sequence[str] | None = None,
        batch_size: int = 4096,
        advance: Callable[[int], None] | None = None,
    ) -> AddReport:
        """Upsert the rows of a vector file, or of a matrix, as records without text.

        Parameters
        ----------
        path : str, Path, or array-like of shape (n, dim)
            ``.npy``, ``.npz:name``, ``.fvecs``, ``.bvecs``, ``.fbin``, ``.u8bin`` or an HDF5 data set
            (``file.hdf5:train``), any real dtype. Or the vectors: a NumPy array, or what has ``__dlpack__`` on the CPU.
        space : str, default "default"
            The vector space; the default one is made if it does not exist.
        id_prefix : str, default ""
            Ids are this and the row's number.
        ids : sequence of str, length n, optional
            Ids instead.
        batch_size : int, default 4096
            Records per commit.
        advance : callable of int, optional
            Told how many further records are stored.

        Returns
        -------
        AddReport
            Counts and seconds per stage.

        Raises
        ------
        InputError
            A malformed file, NaN, or a dimension other than the space's; nothing was written.
        """
        from orthant.collection.adding import add_vector_file

        return add_vector_file(
            self,
            path,
            space=space,
            metric=self._metric or "cosine",
            id_prefix=id_prefix,
            ids=ids,
            batch_size=batch_size,
            advance=advance,
        )

    def _missing_space(self, vectors: Mapping[str, Any]) -> list[tuple[Any, Any]]:
        metric: Metric = self._metric or "cosine"
        named = [name for name in self._encoders.without_space() if name != DEFAULT_SPACE]
        fresh: list[tuple[Any, Any]] = [self._encoders.define(name, metric="cosine") for name in named]
        if DEFAULT_SPACE in self._store.generation.spaces:
            return fresh
        if self._encoders.given(DEFAULT_SPACE) is not None:
            return [self._encoders.define(DEFAULT_SPACE, metric=metric), *fresh]
        dim = leading_dim(vectors[DEFAULT_SPACE]) if DEFAULT_SPACE in vectors else None
        return fresh if dim is None else [define_space(DEFAULT_SPACE, None, dim=dim, metric=metric), *fresh]

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
        predicate = None if where is None else parse_where(where)
        chosen = [] if ids is None else check_ids(ids, distinct=False)
        with self._store.writer() as generation:
            if predicate is not None:
                found = generation.columns.evaluate(predicate, live=generation.live)
                chosen = self._store.read(lambda connection, _: self._ids_of(connection, found.bitmap))
            return self._store.commit(remove_ids=chosen).removed

    # ---- looking after ------------------------------------------------------------------------------------------

    @contextmanager
    def bulk(self, *, progress: bool = False) -> Iterator[None]:
        """Load many batches in a ``with`` block: graphs are built once, at its end.

        Every batch is durable and searchable when its call returns, by a scan of what is not in a graph yet.

        Parameters
        ----------
        progress : bool, default False
            Show that the graph is being built.

        Yields
        ------
        None
            Nothing.

        Notes
        -----
        Quicker than building on the way, and the reduction of the vectors is learned from all of them. A block that
        ends in an error leaves what is due to later commits.
        """
        with self._store.bulk(progress=progress):
            yield

    def finish(self, *, progress: bool = False) -> FinishReport:
        """Merge every vector into the graph of its space, so that no search has to scan newer rows.

        Records are searchable without it. Call it after a large load, before many searches.

        Parameters
        ----------
        progress : bool, default False
            Show that the graph is being built.

        Returns
        -------
        FinishReport
            Rows merged and removed, and seconds.

        Raises
        ------
        StoreError
            The disk is full or failing; the graph in use stays.

        Notes
        -----
        Writers wait meanwhile, searches do not. Spaces of up to 20,000 vectors have no graph: a scan is quicker.
        """
        began = time.perf_counter()
        merged = self._store.finish_graphs(progress=progress)
        return FinishReport(
            {name: lacks.tail if lacks.wanted else 0 for name, lacks in merged.items()},
            {name: lacks.dead for name, lacks in merged.items()},
            time.perf_counter() - began,
        )

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

    def import_from(self, path: str | Path, *, vectors: bool = True, progress: bool = False) -> ImportReport:
        """Write every record of an export, keeping ids, texts, metadata and vectors.

        Parameters
        ----------
        path : str or Path
            What :meth:`export` made: a folder, a Parquet file or an archive.
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

        return import_export(self, check_path(path, name="path"), vectors=vectors, progress=progress)

    # ---- duplicates ----------------------------------------------------------------------------------------------

    def unmark_duplicates(self, *, field: str = "duplicate_of") -> int:
        """Remove the marks of ``DuplicateReport.mark`` from every record, whichever report wrote them.

        Parameters
        ----------
        field : str, default "duplicate_of"
            The metadata field; whatever text it holds is removed.

        Returns
        -------
        int
            Records changed, in one commit.

        Raises
        ------
        InputError
            A name that no mark can have.
        """
        from orthant.collection.duplicates.marking import unmark_all

        return unmark_all(self._store, field=field)
