"""Haystack's asynchronous calls: the blocking ones, each in a thread of the event loop's pool."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from haystack import Document
    from haystack.document_stores.types import DuplicatePolicy

__all__ = ["AsyncCalls"]

Filters = Mapping[str, Any]


class AsyncCalls:
    """The part of ``OrthantDocumentStore`` that is awaited.

    Each method takes and returns what the one without ``_async`` does, with the same guarantees: writes are durable
    when the call returns, and a cancelled call that had begun is carried out.
    """

    if TYPE_CHECKING:
        count_documents: Callable[..., int]
        count_documents_by_filter: Callable[..., int]
        filter_documents: Callable[..., list[Document]]
        write_documents: Callable[..., int]
        delete_documents: Callable[..., None]
        delete_all_documents: Callable[..., None]
        delete_by_filter: Callable[..., int]
        update_by_filter: Callable[..., int]
        get_metadata_fields_info: Callable[..., dict[str, dict[str, str]]]
        get_metadata_field_min_max: Callable[..., dict[str, Any]]
        get_metadata_field_unique_values: Callable[..., tuple[list[Any], int]]
        count_unique_metadata_by_filter: Callable[..., dict[str, int]]

    async def count_documents_async(self) -> int:
        """Return how many documents there are.

        Returns
        -------
        int
            The number.
        """
        return await asyncio.to_thread(self.count_documents)

    async def count_documents_by_filter_async(self, filters: Filters) -> int:
        """Return how many documents match.

        Parameters
        ----------
        filters : dict
            A Haystack filter; an empty one matches all.

        Returns
        -------
        int
            The number.
        """
        return await asyncio.to_thread(self.count_documents_by_filter, filters)

    async def filter_documents_async(self, filters: Filters | None = None) -> list[Document]:
        """Return the documents that match, with their embeddings.

        Parameters
        ----------
        filters : dict, optional
            A Haystack filter; none takes all.

        Returns
        -------
        list of Document
            In insertion order.
        """
        return await asyncio.to_thread(self.filter_documents, filters)

    async def write_documents_async(self, documents: list[Document], policy: DuplicatePolicy | None = None) -> int:
        """Return how many of the given documents were written, all or none.

        Parameters
        ----------
        documents : list of Document
            The documents.
        policy : DuplicatePolicy, optional
            What to do where the id exists.

        Returns
        -------
        int
            The number.
        """
        return await asyncio.to_thread(self.write_documents, documents, policy)

    async def delete_documents_async(self, document_ids: list[str]) -> None:
        """Remove documents by id.

        Parameters
        ----------
        document_ids : list of str
            Absent ones are ignored.
        """
        await asyncio.to_thread(self.delete_documents, document_ids)

    async def delete_all_documents_async(self) -> None:
        """Remove every document."""
        await asyncio.to_thread(self.delete_all_documents)

    async def delete_by_filter_async(self, filters: Filters) -> int:
        """Return how many documents that match were removed.

        Parameters
        ----------
        filters : dict
            A Haystack filter; an empty one matches all.

        Returns
        -------
        int
            The number.
        """
        return await asyncio.to_thread(self.delete_by_filter, filters)

    async def update_by_filter_async(self, filters: Filters, meta: Mapping[str, Any]) -> int:
        """Return into how many documents that match metadata was merged.

        Parameters
        ----------
        filters : dict
            A Haystack filter; an empty one matches all.
        meta : dict
            Fields to set.

        Returns
        -------
        int
            The number.
        """
        return await asyncio.to_thread(self.update_by_filter, filters, meta)

    async def get_metadata_fields_info_async(self) -> dict[str, dict[str, str]]:
        """Return the fields of the metadata and the type of their values.

        Returns
        -------
        dict of str to dict
            ``{"type": ...}`` per field.
        """
        return await asyncio.to_thread(self.get_metadata_fields_info)

    async def get_metadata_field_min_max_async(self, metadata_field: str) -> dict[str, Any]:
        """Return the least and the largest value of a field.

        Parameters
        ----------
        metadata_field : str
            The field.

        Returns
        -------
        dict
            ``{"min": ..., "max": ...}``.
        """
        return await asyncio.to_thread(self.get_metadata_field_min_max, metadata_field)

    async def get_metadata_field_unique_values_async(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int | None = 10,
        filters: Filters | None = None,
    ) -> tuple[list[Any], int]:
        """Return a page of the distinct values of a field.

        Parameters
        ----------
        metadata_field : str
            The field.
        search_term : str, optional
            Only values that contain it, in any case.
        from_ : int, default 0
            Values to pass over.
        size : int, default 10
            Values wanted; None gives all that follow.
        filters : dict, optional
            A Haystack filter; none takes all.

        Returns
        -------
        tuple of list and int
            The values, and how many there are on all pages.
        """
        return await asyncio.to_thread(
            self.get_metadata_field_unique_values, metadata_field, search_term, from_, size, filters
        )

    async def count_unique_metadata_by_filter_async(
        self,
        filters: Filters,
        metadata_fields: Sequence[str],
    ) -> dict[str, int]:
        """Return how many distinct values each of several fields has.

        Parameters
        ----------
        filters : dict
            A Haystack filter; an empty one matches all.
        metadata_fields : sequence of str
            The fields.

        Returns
        -------
        dict of str to int
            A number per field.
        """
        return await asyncio.to_thread(self.count_unique_metadata_by_filter, filters, metadata_fields)
