"""Documents as people keep them (text, Markdown, HTML, PDF, code, mail) and their division into chunks.

Files and bytes enter; texts with headings, and chunks with their place in them, leave.
Never stores or encodes anything: that is the business of `orthant.collection.documents`.
Start with `reading`, then `chunking`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "Chunk": "chunking",
    "Chunking": "chunking",
    "DocumentText": "kinds",
    "Mark": "kinds",
    "chunk_document": "chunking",
    "find_documents": "finding",
    "read_document": "reading",
    "read_documents": "reading",
}

__all__ = [
    "Chunk",
    "Chunking",
    "DocumentText",
    "Mark",
    "chunk_document",
    "find_documents",
    "read_document",
    "read_documents",
]

if TYPE_CHECKING:
    from orthant.datasets.documents.chunking import Chunk, Chunking, chunk_document
    from orthant.datasets.documents.finding import find_documents
    from orthant.datasets.documents.kinds import DocumentText, Mark
    from orthant.datasets.documents.reading import read_document, read_documents


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"orthant.datasets.documents.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'orthant.datasets.documents' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
