"""LlamaIndex: a collection as vector store, any encoder as embedding model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orthant.collection.collection import Collection
from orthant.collection.results import Hit, Record
from orthant.collection.searching import Mode
from orthant.encoders.registry import load_encoder
from orthant.errors import InputError, message
from orthant.integrations.common import absent, find_hits, require_collection, require_one_encoder, vectors_of
from orthant.integrations.filters import where_from_llamaindex
from orthant.types import Encoder

try:
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import PrivateAttr
    from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings
    from llama_index.core.schema import BaseNode, MetadataMode
    from llama_index.core.vector_stores.types import (
        BasePydanticVectorStore,
        MetadataFilters,
        VectorStoreQuery,
        VectorStoreQueryResult,
    )
    from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict
except ImportError:
    BaseEmbedding = BasePydanticVectorStore = absent("llama-index-core", "llamaindex")
    PrivateAttr = dict

__all__ = ["OrthantEmbedding", "OrthantVectorStore"]

_NODE_ID = "_node_id"
_CONTENT = "_node_content"
_OWN = (_NODE_ID, _CONTENT, "_node_type", "document_id", "doc_id", "ref_doc_id")
_MODES: dict[str, Mode] = {
    "default": "dense",
    "mmr": "dense",
    "sparse": "lexical",
    "text_search": "lexical",
    "hybrid": "hybrid",
    "semantic_hybrid": "hybrid",
}
_MMR_CANDIDATES = 4


class OrthantEmbedding(BaseEmbedding):
    """Any encoder of Orthant as LlamaIndex embedding model; queries and documents keep their own prompts.

    Parameters
    ----------
    encoder : str, Path, Encoder, or any embedding model that ``orthant.load_encoder`` accepts; default "static"
        What encodes.
    batch_size : int, default 64
        Texts per batch; large ones cost memory, small ones time.
    """

    _encoder: Encoder = PrivateAttr()

    def __init__(self, encoder: str | Path | Encoder | Any = "static", *, batch_size: int = 64) -> None:
        loaded = load_encoder(encoder)
        super().__init__(model_name=loaded.fingerprint, embed_batch_size=batch_size)
        self._encoder = loaded

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex knows the class.

        Returns
        -------
        str
            The name.
        """
        return "OrthantEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._encoder.encode([query], role="query")[0].tolist()

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._encoder.encode(texts, role="document", batch_size=self.embed_batch_size).tolist()


class OrthantVectorStore(BasePydanticVectorStore):
    """A collection behind LlamaIndex's vector store: nodes with texts, filters, words, variety.

    Parameters
    ----------
    collection : Collection
        What ``orthant.open`` returned, without ``encoder=``: LlamaIndex embeds nodes and queries itself, for example
        with `OrthantEmbedding`. The caller closes it.

    Raises
    ------
    InputError
        The collection encodes its own texts: two encoders in one space give wrong neighbours.

    Notes
    -----
    Query modes: ``default``, ``hybrid`` (``alpha`` is the dense weight), ``text_search`` and ``sparse`` (BM25), and
    ``mmr``; others are refused. ``hybrid_top_k`` goes before ``similarity_top_k`` in hybrid mode. A node's metadata is
    the record's, with a few fields that begin with an underscore or end in ``doc_id`` beside it.
    """

    stores_text: bool = True
    _collection: Collection = PrivateAttr()

    def __init__(self, collection: Collection) -> None:
        require_one_encoder(require_collection(collection), foreign=True, name="LlamaIndex")
        super().__init__(stores_text=True)
        self._collection = collection

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex knows the class.

        Returns
        -------
        str
            The name.
        """
        return "OrthantVectorStore"

    @property
    def client(self) -> Collection:
        """The collection."""
        return self._collection

    # ---- writing ------------------------------------------------------------------------------------------------

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Write nodes with their embeddings, replacing those whose id exists; durable on return.

        Parameters
        ----------
        nodes : sequence of BaseNode
            Nodes with embeddings.
        **kwargs : any
            LlamaIndex's; without effect here.

        Returns
        -------
        list of str
            The nodes' ids.

        Raises
        ------
        InputError
            A node without an embedding, or metadata that JSON cannot hold; nothing was written.
        """
        without = [node.node_id for node in nodes if node.embedding is None]
        if without:
            given = f"node {without[0]!r} without an embedding"
            raise InputError(message(given, "nodes with embeddings", "set embed_model on the index"))
        last = list({node.node_id: node for node in nodes}.values())
        if last:
            self._collection.upsert(
                [node.node_id for node in last],
                texts=[node.get_content(metadata_mode=MetadataMode.NONE) or None for node in last],
                metadata=[_metadata(node) for node in last],
                vectors=[node.embedding for node in last],  # type: ignore[arg-type]
            )
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Remove the nodes of one document.

        Parameters
        ----------
        ref_doc_id : str
            Id of the document that they came from.
        **delete_kwargs : any
            LlamaIndex's; without effect here.
        """
        self._collection.delete(where={"ref_doc_id": ref_doc_id})

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Remove nodes by id, by filter, or those that satisfy both.

        Parameters
        ----------
        node_ids : list of str, optional
            Ids; absent ones are ignored.
        filters : MetadataFilters, optional
            Filters.
        **delete_kwargs : any
            LlamaIndex's; without effect here.
        """
        if node_ids is None and filters is None:
            raise InputError(message("no node_ids and no filters", "at least one", "call clear() to remove all"))
        self._collection.delete(where=_where(filters, node_ids=node_ids))

    def clear(self) -> None:
        """Remove every node."""
        self._collection.delete(where={})

    # ---- reading ------------------------------------------------------------------------------------------------

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Return nodes by id, by filter, or those that satisfy both, in insertion order.

        Parameters
        ----------
        node_ids : list of str, optional
            Ids; absent ones are left out.
        filters : MetadataFilters, optional
            Filters.

        Returns
        -------
        list of BaseNode
            Without embeddings.
        """
        where = _where(filters, node_ids=node_ids)
        return [_node(record) for record in self._collection.find(where, limit=max(1, len(self._collection)))]

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Answer a query.

        Parameters
        ----------
        query : VectorStoreQuery
            Embedding, text, mode, filters and counts.
        **kwargs : any
            LlamaIndex's; ``mmr_threshold`` is read in ``mmr`` mode, nothing else.

        Returns
        -------
        VectorStoreQueryResult
            Nodes, scores (larger is closer) and ids, best first.

        Raises
        ------
        InputError
            A mode or a setting that has no counterpart.
        """
        mode = _check_query(query)
        k = query.similarity_top_k
        if mode == "hybrid" and query.hybrid_top_k is not None:
            k = query.hybrid_top_k
        variety = query.mode.value == "mmr"
        weights = None
        if mode == "hybrid" and query.alpha is not None:
            weights = {"dense": query.alpha, "lexical": 1.0 - query.alpha}
        found = find_hits(
            self._collection,
            None if mode == "dense" else query.query_str,
            k=k * _MMR_CANDIDATES if variety else k,
            mode=mode,
            vector=query.query_embedding,
            # A retriever writes empty lists where nothing is restricted.
            where=_where(query.filters, node_ids=query.node_ids or None, doc_ids=query.doc_ids or None),
            weights=weights,
        )
        hits = [(hit, hit.score) for hit in found]
        if variety and hits:
            threshold = query.mmr_threshold if query.mmr_threshold is not None else kwargs.get("mmr_threshold")
            hits = self._varied(query, hits, threshold)
        return VectorStoreQueryResult(
            nodes=[_node(hit) for hit, _ in hits],
            similarities=[score for _, score in hits],
            ids=[hit.id for hit, _ in hits],
        )

    def _varied(
        self, query: VectorStoreQuery, hits: list[tuple[Hit, float]], threshold: float | None
    ) -> list[tuple[Hit, float]]:
        vectors = vectors_of(self._collection, [hit.id for hit, _ in hits])
        # A record that another process removed meanwhile has no vector any more.
        kept = [(hit, x.tolist()) for (hit, _), x in zip(hits, vectors, strict=True) if x is not None]
        scores, places = get_top_k_mmr_embeddings(
            query.query_embedding,
            [x for _, x in kept],
            similarity_top_k=query.similarity_top_k,
            embedding_ids=list(range(len(kept))),
            mmr_threshold=threshold,
        )
        return [(kept[place][0], score) for place, score in zip(places, scores, strict=True)]


def _check_query(query: VectorStoreQuery) -> Mode:
    if query.mode.value not in _MODES:
        known = ", ".join(_MODES)
        raise InputError(message(f"the query mode {query.mode.value!r}", f"one of {known}", "choose one of these"))
    for name in ("output_fields", "embedding_field", "sparse_top_k"):
        if getattr(query, name) is not None:
            raise InputError(
                message(f"{name}={getattr(query, name)!r}", f"no {name}", "leave it out: it has no effect")
            )
    mode = _MODES[query.mode.value]
    if mode != "lexical" and query.query_embedding is None:
        given = f"mode {query.mode.value!r} without query_embedding"
        raise InputError(message(given, "the query's embedding", "set embed_model, or use text_search"))
    if mode != "dense" and not (query.query_str or "").strip():
        raise InputError(message(f"mode {query.mode.value!r} without query_str", "a text", "pass query_str"))
    return mode


def _where(
    filters: MetadataFilters | None, *, node_ids: list[str] | None = None, doc_ids: list[str] | None = None
) -> dict[str, Any] | None:
    parts = [where_from_llamaindex(filters)]
    parts += [{_NODE_ID: {"in": list(node_ids)}} if node_ids is not None else None]
    parts += [{"ref_doc_id": {"in": list(doc_ids)}} if doc_ids is not None else None]
    given = [part for part in parts if part is not None]
    return {"and": given} if given else None


def _metadata(node: BaseNode) -> dict[str, Any]:
    whole = node_to_metadata_dict(node, remove_text=True)
    # The node's JSON repeats its metadata, which the record holds anyway.
    content = json.loads(whole[_CONTENT])
    content["metadata"] = {}
    taken = sorted(set(_OWN) & set(node.metadata))
    if taken:
        given = f"metadata {taken[0]!r} of node {node.node_id!r}"
        raise InputError(message(given, "a name that LlamaIndex does not keep for itself", "rename it"))
    return {**whole, _CONTENT: json.dumps(content, ensure_ascii=False), _NODE_ID: node.node_id}


def _node(found: Record | Hit) -> BaseNode:
    if _CONTENT not in found.metadata:
        # Written by another program: its text and metadata make a plain node.
        from llama_index.core.schema import TextNode

        return TextNode(id_=found.id, text=found.text or "", metadata=dict(found.metadata))
    content = json.loads(found.metadata[_CONTENT])
    content["metadata"] = {key: value for key, value in found.metadata.items() if key not in _OWN}
    return metadata_dict_to_node({**found.metadata, _CONTENT: json.dumps(content)}, text=found.text or "")
