"""Haystack components over an ``OrthantDocumentStore``: by embedding, and by words and meaning together."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from orthant.collection.searching import Mode
from orthant.errors import InputError, message
from orthant.integrations.common import missing
from orthant.integrations.haystack import OrthantDocumentStore
from orthant.validate import check_choice, check_count


class _NoComponent:
    """Stands in for Haystack's decorator."""

    def __call__(self, cls: Any) -> Any:
        return cls

    def output_types(self, **types: Any) -> Any:
        return lambda method: method


try:
    from haystack import Document, component, default_from_dict, default_to_dict
    from haystack.document_stores.types import FilterPolicy
    from haystack.document_stores.types.filter_policy import apply_filter_policy
except ImportError:
    # Without Haystack the module still loads, and its documentation can be read; no store can be made to pass in.
    component = _NoComponent()
    FilterPolicy = SimpleNamespace(REPLACE="replace")
    Document = Any

__all__ = ["OrthantEmbeddingRetriever", "OrthantHybridRetriever"]

_DOCUMENTS = list[Document]


def _check_store(document_store: Any) -> OrthantDocumentStore:
    if isinstance(FilterPolicy, SimpleNamespace):
        raise missing("haystack-ai", "haystack")
    if not isinstance(document_store, OrthantDocumentStore):
        given = f"a document_store of type {type(document_store).__name__}"
        raise InputError(message(given, "an OrthantDocumentStore", "make one over the collection's folder"))
    return document_store


def _restored(data: dict[str, Any]) -> dict[str, Any]:
    settings = dict(data["init_parameters"])
    if isinstance(settings["document_store"], dict):
        settings["document_store"] = OrthantDocumentStore.from_dict(settings["document_store"])
    settings["filter_policy"] = FilterPolicy.from_str(settings["filter_policy"])
    return {**data, "init_parameters": settings}


@component
class OrthantEmbeddingRetriever:
    """Retrieve documents by the embedding of the query.

    Parameters
    ----------
    document_store : OrthantDocumentStore
        Where to search.
    filters : dict, optional
        A Haystack filter.
    top_k : int, default 10
        Documents wanted.
    return_embedding : bool, default False
        Also return the documents' embeddings.
    filter_policy : FilterPolicy, default REPLACE
        Whether the filters of a run replace these or are merged with them.
    """

    def __init__(
        self,
        document_store: OrthantDocumentStore,
        *,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        return_embedding: bool = False,
        filter_policy: FilterPolicy = FilterPolicy.REPLACE,
    ) -> None:
        self.document_store = _check_store(document_store)
        self.filters = filters
        self.top_k = check_count(top_k, name="top_k")
        self.return_embedding = return_embedding
        self.filter_policy = filter_policy

    def to_dict(self) -> dict[str, Any]:
        """Return type and settings, for a pipeline's YAML.

        Returns
        -------
        dict
            What ``from_dict`` takes.
        """
        return default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            filters=self.filters,
            top_k=self.top_k,
            return_embedding=self.return_embedding,
            filter_policy=self.filter_policy.value,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> OrthantEmbeddingRetriever:
        """Make a retriever from its settings.

        Parameters
        ----------
        data : dict
            What ``to_dict`` gave.

        Returns
        -------
        OrthantEmbeddingRetriever
            The retriever.
        """
        return default_from_dict(cls, _restored(data))

    @component.output_types(documents=_DOCUMENTS)
    def run(
        self, query_embedding: list[float], filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Retrieve.

        Parameters
        ----------
        query_embedding : list of float, length dim
            The query's embedding.
        filters : dict, optional
            Joined with those of the component by its policy.
        top_k : int, optional
            Instead of the component's.

        Returns
        -------
        dict
            ``documents``, best first.
        """
        documents = self.document_store.search_documents(
            query_embedding=query_embedding,
            filters=apply_filter_policy(self.filter_policy, self.filters, filters),
            top_k=self.top_k if top_k is None else top_k,
            return_embedding=self.return_embedding,
        )
        return {"documents": documents}


@component
class OrthantHybridRetriever:
    """Retrieve documents by words and meaning together, or by either.

    Parameters
    ----------
    document_store : OrthantDocumentStore
        Where to search.
    mode : {"hybrid", "lexical", "dense"}, default "hybrid"
        The legs.
    weights : mapping, optional
        Weights of ``"dense"`` and ``"lexical"``; default 0.4 and 0.6.
    filters : dict, optional
        A Haystack filter.
    top_k : int, default 10
        Documents wanted.
    filter_policy : FilterPolicy, default REPLACE
        Whether the filters of a run replace these or are merged with them.
    """

    def __init__(
        self,
        document_store: OrthantDocumentStore,
        *,
        mode: Mode = "hybrid",
        weights: Mapping[str, float] | None = None,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        filter_policy: FilterPolicy = FilterPolicy.REPLACE,
    ) -> None:
        self.document_store = _check_store(document_store)
        self.mode: Mode = check_choice(mode, ("hybrid", "lexical", "dense"), name="mode")  # type: ignore[assignment]
        if weights is not None and mode != "hybrid":
            raise InputError(message(f"weights= with mode={mode!r}", "mode='hybrid' for them", "leave them out"))
        self.weights = None if weights is None else dict(weights)
        self.filters = filters
        self.top_k = check_count(top_k, name="top_k")
        self.filter_policy = filter_policy

    def to_dict(self) -> dict[str, Any]:
        """Return type and settings, for a pipeline's YAML.

        Returns
        -------
        dict
            What ``from_dict`` takes.
        """
        return default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            mode=self.mode,
            weights=self.weights,
            filters=self.filters,
            top_k=self.top_k,
            filter_policy=self.filter_policy.value,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> OrthantHybridRetriever:
        """Make a retriever from its settings.

        Parameters
        ----------
        data : dict
            What ``to_dict`` gave.

        Returns
        -------
        OrthantHybridRetriever
            The retriever.
        """
        return default_from_dict(cls, _restored(data))

    @component.output_types(documents=_DOCUMENTS)
    def run(
        self,
        query: str,
        query_embedding: list[float] | None = None,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """Retrieve.

        Parameters
        ----------
        query : str
            Plain text.
        query_embedding : list of float, length dim, optional
            Its embedding; left out, the encoder of the store makes it.
        filters : dict, optional
            Joined with those of the component by its policy.
        top_k : int, optional
            Instead of the component's.

        Returns
        -------
        dict
            ``documents``, best first.
        """
        documents = self.document_store.search_documents(
            query,
            query_embedding=query_embedding,
            filters=apply_filter_policy(self.filter_policy, self.filters, filters),
            top_k=self.top_k if top_k is None else top_k,
            mode=self.mode,
            weights=self.weights,
        )
        return {"documents": documents}
