"""LangChain: a collection as ``VectorStore``, any encoder as ``Embeddings``."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orthant.collection.collection import Collection
from orthant.collection.opening import open as open_collection
from orthant.collection.reading import DEFAULT_SPACE
from orthant.collection.searching import Mode
from orthant.encoders.registry import load_encoder
from orthant.errors import InputError, message
from orthant.integrations.common import (
    absent,
    encoder_of,
    find_hits,
    require_collection,
    require_one_encoder,
    vectors_of,
)
from orthant.types import Encoder, Metric
from orthant.validate import check_choice, check_count, check_fraction

try:
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.vectorstores import VectorStore
    from langchain_core.vectorstores.utils import maximal_marginal_relevance
except ImportError:
    Embeddings = VectorStore = absent("langchain-core", "langchain")

__all__ = ["OrthantEmbeddings", "OrthantVectorStore"]

_MODES = ("dense", "lexical", "hybrid")
Where = Mapping[str, Any]


class OrthantEmbeddings(Embeddings):
    """Any encoder of Orthant as LangChain embeddings; queries and documents keep their own prompts.

    Parameters
    ----------
    encoder : str, Path, Encoder, or any embedding model that ``orthant.load_encoder`` accepts; default "static"
        What encodes.
    batch_size : int, default 64
        Texts per batch; large ones cost memory, small ones time.
    """

    def __init__(self, encoder: str | Path | Encoder | Any = "static", *, batch_size: int = 64) -> None:
        self.encoder = load_encoder(encoder)
        self.batch_size = check_count(batch_size, name="batch_size")

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Encode documents.

        Parameters
        ----------
        texts : list of str
            The documents.

        Returns
        -------
        list of list of float
            One vector each.
        """
        return self.encoder.encode(list(texts), role="document", batch_size=self.batch_size).tolist()

    def embed_query(self, text: str) -> list[float]:
        """Encode one query.

        Parameters
        ----------
        text : str
            The query.

        Returns
        -------
        list of float
            Its vector.
        """
        return self.encoder.encode([text], role="query")[0].tolist()


class OrthantVectorStore(VectorStore):
    """A collection behind LangChain's ``VectorStore``: on disk, durable, with filters and hybrid search.

    Parameters
    ----------
    collection : Collection
        What ``orthant.open`` returned. The caller closes it.
    embedding : Embeddings, optional
        What turns texts into vectors. Left out, the encoder of the collection does.
    mode : {"dense", "lexical", "hybrid"}, default "dense"
        How texts are searched where a call does not say.

    Raises
    ------
    InputError
        Both the collection and ``embedding`` would encode: two encoders in one space give wrong neighbours.

    Notes
    -----
    ``filter=`` (LangChain's usual name) and ``where=`` both take a where-expression, so
    ``as_retriever(search_kwargs={"filter": {"year": {"gte": 1900}}, "mode": "hybrid"})`` works. Scores: larger is
    closer. The asynchronous methods run these in LangChain's thread pool.
    """

    def __init__(self, collection: Collection, embedding: Embeddings | None = None, *, mode: Mode = "dense") -> None:
        self.collection = require_collection(collection)
        require_one_encoder(collection, foreign=embedding is not None, name="embedding=")
        self._embedding = embedding
        self.mode: Mode = check_choice(mode, _MODES, name="mode")  # type: ignore[assignment]

    @property
    def embeddings(self) -> Embeddings | None:
        """What turns texts into vectors; None where nothing does."""
        if self._embedding is not None:
            return self._embedding
        encoder = encoder_of(self.collection)
        return None if encoder is None else OrthantEmbeddings(encoder)

    # ---- writing ------------------------------------------------------------------------------------------------

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
    ) -> list[str]:
        """Write texts, replacing records whose id exists; durable on return.

        Parameters
        ----------
        texts : iterable of str
            The texts.
        metadatas : sequence of mapping, optional
            JSON objects, one per text.
        ids : sequence of (str or None), optional
            Ids; random ones where None or left out. Of equal ids in one call the last counts.

        Returns
        -------
        list of str
            One id per text.

        Raises
        ------
        InputError
            Anything malformed; nothing was written.
        """
        items = list(texts)
        given = [None] * len(items) if ids is None else list(ids)
        data = [{}] * len(items) if metadatas is None else [dict(row or {}) for row in metadatas]
        if len(given) != len(items) or len(data) != len(items):
            sizes = f"{len(items)} texts, {len(data)} metadatas and {len(given)} ids"
            raise InputError(message(sizes, "equal lengths", "pass one of each per text"))
        keys = [str(uuid.uuid4()) if key is None else key for key in given]
        last = list({key: i for i, key in enumerate(keys)}.values())
        chosen = [items[i] for i in last]
        vectors = self._embedding.embed_documents(chosen) if self._embedding is not None and chosen else None
        if chosen:
            self.collection.upsert(
                [keys[i] for i in last], texts=chosen, metadata=[data[i] for i in last], vectors=vectors
            )
        return keys

    def delete(self, ids: Sequence[str] | None = None, *, where: Where | None = None) -> bool:
        """Remove records by id or by filter; everything when neither is given, as LangChain has it.

        Parameters
        ----------
        ids : sequence of str, optional
            Absent ones are ignored.
        where : mapping, optional
            A where-expression instead.

        Returns
        -------
        bool
            True.
        """
        self.collection.delete(ids, where={} if ids is None and where is None else where)
        return True

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        embedding: Embeddings | None = None,
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        *,
        path: str | Path,
        ids: Sequence[str | None] | None = None,
        encoder: str | Encoder | Any | None = None,
        metric: Metric | None = None,
        mode: Mode = "dense",
    ) -> OrthantVectorStore:
        """Open a collection, write texts, and return the store; ``from_documents`` does the same with documents.

        Parameters
        ----------
        texts : iterable of str
            The texts.
        embedding : Embeddings, optional
            As for the class.
        metadatas : sequence of mapping, optional
            One per text.
        path : str or Path
            Folder of the collection; made if absent.
        ids : sequence of (str or None), optional
            As in :meth:`add_texts`.
        encoder : str or Encoder, optional
            Encoder of the collection, instead of ``embedding``.
        metric : {"cosine", "dot", "l2"}, optional
            Score of a new collection; default cosine.
        mode : {"dense", "lexical", "hybrid"}, default "dense"
            As for the class.

        Returns
        -------
        OrthantVectorStore
            Close its ``collection`` when done.
        """
        collection = open_collection(path, encoder=encoder, metric=metric)
        try:
            store = cls(collection, embedding, mode=mode)
            store.add_texts(texts, metadatas, ids=ids)
        except BaseException:
            collection.close()
            raise
        return store

    # ---- reading ------------------------------------------------------------------------------------------------

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return documents by id, in the order asked; absent ones are left out.

        Parameters
        ----------
        ids : sequence of str
            Record ids.

        Returns
        -------
        list of Document
            The documents.
        """
        return [_document(record) for record in self.collection.get(list(ids)) if record is not None]

    def similarity_search(
        self,
        query: str,
        k: int = 4,
        *,
        where: Where | None = None,
        filter: Where | None = None,
        mode: Mode | None = None,
    ) -> list[Document]:
        """Return the closest documents.

        Parameters
        ----------
        query : str
            Plain text; punctuation has no special meaning.
        k : int, default 4
            Documents wanted.
        where, filter : mapping, optional
            A where-expression, under either name.
        mode : {"dense", "lexical", "hybrid"}, optional
            Default: the store's.

        Returns
        -------
        list of Document
            Best first.
        """
        found = self.similarity_search_with_score(query, k, where=where, filter=filter, mode=mode)
        return [document for document, _ in found]

    def similarity_search_with_score(
        self,
        query: str,
        k: int = 4,
        *,
        where: Where | None = None,
        filter: Where | None = None,
        mode: Mode | None = None,
    ) -> list[tuple[Document, float]]:
        """Return the closest documents with their scores, larger is closer.

        Parameters
        ----------
        query, k, where, filter, mode
            As in :meth:`similarity_search`.

        Returns
        -------
        list of (Document, float)
            Best first.
        """
        chosen = self._mode(mode)
        vector = None if chosen == "lexical" or self._embedding is None else self._embedding.embed_query(query)
        hits = find_hits(self.collection, query, k=k, mode=chosen, vector=vector, where=_one_filter(where, filter))
        return [(_document(hit), hit.score) for hit in hits]

    def similarity_search_by_vector(
        self, embedding: Sequence[float], k: int = 4, *, where: Where | None = None, filter: Where | None = None
    ) -> list[Document]:
        """Return the documents closest to a vector.

        Parameters
        ----------
        embedding : sequence of float, length dim
            The query vector.
        k : int, default 4
            Documents wanted.
        where, filter : mapping, optional
            A where-expression, under either name.

        Returns
        -------
        list of Document
            Best first.
        """
        chosen = _one_filter(where, filter)
        hits = find_hits(self.collection, None, k=k, mode="dense", vector=embedding, where=chosen)
        return [_document(hit) for hit in hits]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        where: Where | None = None,
        filter: Where | None = None,
    ) -> list[Document]:
        """Return close documents that differ from one another.

        Parameters
        ----------
        query : str
            The text.
        k : int, default 4
            Documents wanted.
        fetch_k : int, default 20
            Candidates to choose from; few leave little choice.
        lambda_mult : float, default 0.5
            1 looks at closeness only, 0 at variety only.
        where, filter : mapping, optional
            A where-expression, under either name.

        Returns
        -------
        list of Document
            In the order chosen.
        """
        embeddings = self.embeddings
        if embeddings is None:
            given = "a search for variety in a collection without an encoder"
            raise InputError(message(given, "vectors to compare", "pass embedding=, or open with encoder="))
        vector = embeddings.embed_query(query)
        return self.max_marginal_relevance_search_by_vector(vector, k, fetch_k, lambda_mult, where=where, filter=filter)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: Sequence[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        where: Where | None = None,
        filter: Where | None = None,
    ) -> list[Document]:
        """Return documents close to a vector that differ from one another.

        Parameters
        ----------
        embedding : sequence of float, length dim
            The query vector.
        k, fetch_k, lambda_mult, where, filter
            As in :meth:`max_marginal_relevance_search`.

        Returns
        -------
        list of Document
            In the order chosen.
        """
        check_fraction(lambda_mult, name="lambda_mult")
        chosen = _one_filter(where, filter)
        hits = find_hits(self.collection, None, k=max(fetch_k, k), mode="dense", vector=embedding, where=chosen)
        if not hits:
            return []
        vectors = vectors_of(self.collection, [hit.id for hit in hits])
        # A record that another process removed meanwhile has no vector any more.
        kept = [(hit, x) for hit, x in zip(hits, vectors, strict=True) if x is not None]
        order = maximal_marginal_relevance(
            np.asarray(embedding, dtype=np.float32), [x for _, x in kept], lambda_mult=lambda_mult, k=k
        )
        return [_document(kept[i][0]) for i in order]

    def _mode(self, mode: Mode | None) -> Mode:
        return self.mode if mode is None else check_choice(mode, _MODES, name="mode")  # type: ignore[return-value]

    def _similarity_search_with_relevance_scores(
        self,
        query: str,
        k: int = 4,
        *,
        where: Where | None = None,
        filter: Where | None = None,
        mode: Mode | None = None,
    ) -> list[tuple[Document, float]]:
        found = self.similarity_search_with_score(query, k, where=where, filter=filter, mode=mode)
        space = self.collection.spaces.get(DEFAULT_SPACE)
        kind = self._mode(mode)
        if kind == "dense" and space is not None:
            kind = space.metric  # type: ignore[assignment]
        if kind in ("lexical", "dot"):
            given = f"relevance scores of {kind} search, which have no upper end"
            raise InputError(message(given, "cosine, l2 or hybrid", "use similarity_search_with_score"))
        if kind == "l2":
            return [(document, 1.0 / (1.0 + max(0.0, -score) ** 0.5)) for document, score in found]
        return [(document, min(1.0, max(0.0, score))) for document, score in found]


def _one_filter(where: Where | None, filter: Where | None) -> Where | None:
    if where is not None and filter is not None:
        raise InputError(message("where= and filter=", "one of them", "join them with {'and': [...]}"))
    return filter if where is None else where


def _document(found: Any) -> Document:
    return Document(id=found.id, page_content=found.text or "", metadata=found.metadata)
