"""Readers: data sets under ORTHANT_DATA, record and vector files, the interpreter's own documentation.

Paths and names enter; records, arrays and judgement tables leave.
Never downloads, never writes into the data folder.
Start with `registry`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "DatasetInfo": "inventory",
    "Document": "kinds",
    "DocumentSet": "kinds",
    "DocumentationSet": "pydocs",
    "ImageSet": "kinds",
    "LabelledTexts": "kinds",
    "RetrievalSet": "kinds",
    "TextPairs": "kinds",
    "VectorSet": "kinds",
    "WordVectors": "kinds",
    "available": "registry",
    "data_hash": "registry",
    "describe": "registry",
    "load": "registry",
    "load_retrieval": "registry",
    "names": "registry",
    "read_python_documentation": "pydocs",
    "root": "registry",
}

__all__ = [
    "DatasetInfo",
    "Document",
    "DocumentSet",
    "DocumentationSet",
    "ImageSet",
    "LabelledTexts",
    "RetrievalSet",
    "TextPairs",
    "VectorSet",
    "WordVectors",
    "available",
    "data_hash",
    "describe",
    "load",
    "load_retrieval",
    "names",
    "read_python_documentation",
    "root",
]

if TYPE_CHECKING:
    from orthant.datasets.inventory import DatasetInfo
    from orthant.datasets.kinds import (
        Document,
        DocumentSet,
        ImageSet,
        LabelledTexts,
        RetrievalSet,
        TextPairs,
        VectorSet,
        WordVectors,
    )
    from orthant.datasets.pydocs import DocumentationSet, read_python_documentation
    from orthant.datasets.registry import available, data_hash, describe, load, load_retrieval, names, root


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"orthant.datasets.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'orthant.datasets' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
