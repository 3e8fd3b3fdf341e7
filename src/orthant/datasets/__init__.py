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
    "Records": "record_batches",
    "RetrievalSet": "kinds",
    "TextPairs": "kinds",
    "VectorSet": "kinds",
    "WordVectors": "kinds",
    "available": "registry",
    "data_hash": "registry",
    "describe": "registry",
    "describe_vectors": "vector_files",
    "load": "registry",
    "load_retrieval": "registry",
    "names": "registry",
    "perturb": "perturbations",
    "read_export": "imports",
    "read_python_documentation": "pydocs",
    "read_records": "records",
    "read_vectors": "vector_files",
    "root": "registry",
    "scan_records": "records",
    "write_export": "export",
    "write_jsonl": "export",
    "write_parquet": "export",
    "write_vectors": "vector_files",
}

__all__ = [
    "DatasetInfo",
    "Document",
    "DocumentSet",
    "DocumentationSet",
    "ImageSet",
    "LabelledTexts",
    "Records",
    "RetrievalSet",
    "TextPairs",
    "VectorSet",
    "WordVectors",
    "available",
    "data_hash",
    "describe",
    "describe_vectors",
    "load",
    "load_retrieval",
    "names",
    "perturb",
    "read_export",
    "read_python_documentation",
    "read_records",
    "read_vectors",
    "root",
    "scan_records",
    "write_export",
    "write_jsonl",
    "write_parquet",
    "write_vectors",
]

if TYPE_CHECKING:
    from orthant.datasets.export import write_export, write_jsonl, write_parquet
    from orthant.datasets.imports import read_export
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
    from orthant.datasets.perturbations import perturb
    from orthant.datasets.pydocs import DocumentationSet, read_python_documentation
    from orthant.datasets.record_batches import Records
    from orthant.datasets.records import read_records, scan_records
    from orthant.datasets.registry import available, data_hash, describe, load, load_retrieval, names, root
    from orthant.datasets.vector_files import describe_vectors, read_vectors, write_vectors


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"orthant.datasets.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'orthant.datasets' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
