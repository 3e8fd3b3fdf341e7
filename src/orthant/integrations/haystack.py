"""Haystack: a collection as ``DocumentStore``; its retrievers are in ``haystack_retrievers``."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orthant.collection.collection import Collection
from orthant.collection.opening import open as open_collection
from orthant.collection.results import Hit, Record
from orthant.collection.searching import Mode
from orthant.errors import FilterError as OrthantFilterError
from orthant.errors import InputError, message
from orthant.integrations.common import find_hits, missing, require_one_encoder, vectors_of
from orthant.integrations.filters import where_from_haystack
from orthant.integrations.haystack_async import AsyncCalls
from orthant.integrations.haystack_metadata import MetadataQuestions
from orthant.types import Metric

try:
    from haystack import Document, default_from_dict, default_to_dict
    from haystack.document_stores.errors import DuplicateDocumentError
    from haystack.document_stores.types import DuplicatePolicy
    from haystack.errors import FilterError
except ImportError:
    DuplicatePolicy = None

__all__ = ["OrthantDocumentStore"]

Filters = Mapping[str, Any]


class OrthantDocumentStore(MetadataQuestions, AsyncCalls):
    """A collection behind Haystack's ``DocumentStore`` protocol.

    Parameters
    ----------
    path : str
        Folder of the collection; made when it is first used.
    encoder : str, optional
        Name or folder of an encoder with which the collection encodes contents itself. Left out, documents bring
        their embeddings (or have none and are found by their words).
    metric : {"cosine", "dot", "l2"}, optional
        Score of a new collection; default cosine.

    Notes
    -----
    The policy ``NONE`` behaves as ``FAIL``. One call is one transaction, so a refused one writes nothing. Documents
    with a blob or a sparse embedding are refused, since a collection cannot hold either. Embeddings come back as
    float32. The metadata of a document is the record's metadata, so ``orthant search`` filters by it too.
    """

    def __init__(self, path: str | Path, *, encoder: str | None = None, metric: Metric | None = None) -> None:
        if DuplicatePolicy is None:
            raise missing("haystack-ai", "haystack")
        self.path = str(path)
        self.encoder = encoder
        self.metric = metric
        self._collection: Collection | None = None
        # Awaited calls come from several threads: the first two must not both open, nor two writers both find an id
        # free that they then both write.
        self._lock = threading.RLock()

    @property
    def collection(self) -> Collection:
        """The collection, opened at the first use."""
        with self._lock:
            if self._collection is None:
                self._collection = open_collection(self.path, encoder=self.encoder, metric=self.metric)
            return self._collection

    def close(self) -> None:
        """Give the collection back; the next use opens it again."""
        with self._lock:
            if self._collection is not None:
                self._collection.close()
                self._collection = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the settings: a copy is a store that has not opened anything yet."""
        return {"path": self.path, "encoder": self.encoder, "metric": self.metric}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the settings of a copied store."""
        OrthantDocumentStore.__init__(self, **state)

    def to_dict(self) -> dict[str, Any]:
        """Return type and settings, for a pipeline's YAML.

        Returns
        -------
        dict
            What :meth:`from_dict` takes.

        Raises
        ------
        InputError
            The encoder is an object, which has no name.
        """
        if self.encoder is not None and not isinstance(self.encoder, (str, Path)):
            given = f"an encoder of type {type(self.encoder).__name__}"
            raise InputError(
                message(given, "a name or a folder, which can be written down", "save it and pass its path")
            )
        encoder = None if self.encoder is None else str(self.encoder)
        return default_to_dict(self, path=self.path, encoder=encoder, metric=self.metric)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> OrthantDocumentStore:
        """Make a store from its settings.

        Parameters
        ----------
        data : dict
            What :meth:`to_dict` gave.

        Returns
        -------
        OrthantDocumentStore
            The store; nothing is opened yet.
        """
        return default_from_dict(cls, data)

    # ---- reading ------------------------------------------------------------------------------------------------

    def count_documents(self) -> int:
        """Return how many documents there are.

        Returns
        -------
        int
            The number.
        """
        return len(self.collection)

    def count_documents_by_filter(self, filters: Filters) -> int:
        """Return how many documents match.

        Parameters
        ----------
        filters : dict
            A Haystack filter.

        Returns
        -------
        int
            The number.
        """
        return len(self._matching(filters))

    def filter_documents(self, filters: Filters | None = None) -> list[Document]:
        """Return the documents that match, in insertion order, with their embeddings.

        Parameters
        ----------
        filters : dict, optional
            A Haystack filter; none takes all.

        Returns
        -------
        list of Document
            The documents.

        Raises
        ------
        haystack.errors.FilterError
            A malformed filter.
        """
        found = self._matching(filters)
        vectors = vectors_of(self.collection, [record.id for record in found])
        return [_document(record, vector) for record, vector in zip(found, vectors, strict=True)]

    def search_documents(
        self,
        query: str | None = None,
        *,
        query_embedding: list[float] | None = None,
        filters: Filters | None = None,
        top_k: int = 10,
        mode: Mode = "dense",
        weights: Mapping[str, float] | None = None,
        return_embedding: bool = False,
    ) -> list[Document]:
        """Return the best documents for a query; the retrievers call this.

        Parameters
        ----------
        query : str, optional
            A text; needed by words, and by meaning where the collection has an encoder.
        query_embedding : list of float, length dim, optional
            The query's vector.
        filters : dict, optional
            A Haystack filter.
        top_k : int, default 10
            Documents wanted; 0 gives none.
        mode : {"dense", "lexical", "hybrid"}, default "dense"
            The legs.
        weights : mapping, optional
            Weights of ``"dense"`` and ``"lexical"`` in a hybrid search.
        return_embedding : bool, default False
            Also read the documents' embeddings.

        Returns
        -------
        list of Document
            Best first, with scores; larger is closer.
        """
        if top_k == 0:
            return []
        require_one_encoder(self.collection, foreign=query_embedding is not None, name="query_embedding")
        hits = find_hits(
            self.collection,
            query,
            k=top_k,
            mode=mode,
            vector=query_embedding,
            where=_where(filters),
            weights=weights,
        )
        ids = [hit.id for hit in hits]
        vectors = vectors_of(self.collection, ids) if return_embedding and ids else [None] * len(ids)
        return [_document(hit, vector) for hit, vector in zip(hits, vectors, strict=True)]

    def _matching(self, filters: Filters | None) -> list[Record]:
        count = len(self.collection)
        return self.collection.find(_where(filters), limit=max(count, 1))

    # ---- writing ------------------------------------------------------------------------------------------------

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy | None = None) -> int:
        """Write documents; durable on return, all or none.

        Parameters
        ----------
        documents : list of Document
            The documents.
        policy : DuplicatePolicy, optional
            What to do where the id exists: ``OVERWRITE``, ``SKIP``, or ``FAIL`` (as do ``NONE`` and None).

        Returns
        -------
        int
            Documents written; with ``OVERWRITE`` all that were given.

        Raises
        ------
        DuplicateDocumentError
            An id exists, or comes twice, with ``FAIL`` or ``NONE``.
        InputError
            Something else than documents, one with a blob or a sparse embedding, or one with an embedding for a
            collection that encodes.
        """
        _check_documents(documents)
        require_one_encoder(
            self.collection, foreign=any(d.embedding is not None for d in documents), name="the documents' embeddings"
        )
        if not documents:
            return 0
        with self._lock:
            return self._write(documents, policy)

    def _write(self, documents: list[Document], policy: DuplicatePolicy | None) -> int:
        overwrite = policy == DuplicatePolicy.OVERWRITE
        chosen = {d.id: d for d in (documents if overwrite else reversed(documents))}
        if not overwrite:
            found = self.collection.get(list(chosen))
            held = {record.id for record in found if record is not None}
            if policy != DuplicatePolicy.SKIP and (held or len(chosen) != len(documents)):
                repeated = sorted(held) or [d.id for d in documents if d is not chosen[d.id]]
                remedy = "pass policy=DuplicatePolicy.OVERWRITE or SKIP"
                raise DuplicateDocumentError(message(f"the id {repeated[0]!r} again", "new, distinct ids", remedy))
            chosen = {d.id: d for d in documents if d.id not in held and chosen[d.id] is d}
        if chosen:
            self._upsert(list(chosen.values()))
        return len(documents) if overwrite else len(chosen)

    def _upsert(self, documents: list[Document]) -> None:
        vectors = [document.embedding for document in documents]
        self.collection.upsert(
            [document.id for document in documents],
            texts=[document.content for document in documents],
            metadata=[document.meta for document in documents],
            vectors=None if all(vector is None for vector in vectors) else vectors,  # type: ignore[arg-type]
        )

    def delete_documents(self, document_ids: list[str]) -> None:
        """Remove documents by id.

        Parameters
        ----------
        document_ids : list of str
            Absent ones are ignored.
        """
        self.collection.delete(document_ids)

    def delete_all_documents(self) -> None:
        """Remove every document."""
        self.collection.delete(where={})

    def delete_by_filter(self, filters: Filters) -> int:
        """Remove the documents that match.

        Parameters
        ----------
        filters : dict
            A Haystack filter; an empty one matches all.

        Returns
        -------
        int
            Documents removed.
        """
        return self.collection.delete(where=_where(filters) or {})

    def update_by_filter(self, filters: Filters, meta: Mapping[str, Any]) -> int:
        """Merge metadata into the documents that match; texts and vectors stay.

        Parameters
        ----------
        filters : dict
            A Haystack filter.
        meta : dict
            Fields to set.

        Returns
        -------
        int
            Documents changed.
        """
        with self._lock:
            return self._update(filters, meta)

    def _update(self, filters: Filters, meta: Mapping[str, Any]) -> int:
        found = self._matching(filters)
        if not found:
            return 0
        whole = [record for record in self.collection.get([r.id for r in found], vectors=True) if record is not None]
        self.collection.upsert(
            [record.id for record in whole],
            texts=[record.text for record in whole],
            metadata=[{**record.metadata, **meta} for record in whole],
            vectors={
                **{name: [record.vectors.get(name) for record in whole] for name in self.collection.spaces},
                **{name: [record.sparse.get(name) for record in whole] for name in self.collection.sparse_spaces},
            },
        )
        return len(whole)


def _where(filters: Filters | None) -> dict[str, Any] | None:
    try:
        return where_from_haystack(filters)
    except OrthantFilterError as error:
        raise FilterError(str(error)) from error


def _check_documents(documents: Any) -> None:
    if not isinstance(documents, list) or not all(isinstance(document, Document) for document in documents):
        raise InputError(
            message("something else than documents", "a list of haystack.Document", "write [Document(...)]")
        )
    for document in documents:
        for name in ("blob", "sparse_embedding"):
            if getattr(document, name, None) is not None:
                given = f"document {document.id!r} with a {name}"
                raise InputError(
                    message(given, "content, meta and embedding", f"drop the {name}, or keep it elsewhere")
                )


def _document(found: Record | Hit, vector: Any) -> Document:
    return Document(
        id=found.id,
        content=found.text,
        meta=found.metadata,
        score=found.score if isinstance(found, Hit) else None,
        embedding=None if vector is None else vector.tolist(),
    )
