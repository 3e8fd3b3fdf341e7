"""Array aliases, result records and the protocols that every wing speaks.

One score convention everywhere: larger is closer (dot product, cosine, or minus the squared Euclidean distance).
n items, q queries, k neighbours, d dimension; dense vectors are float32 and C-contiguous; ids are int64 in indexes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

__all__ = [
    "BitmapArray",
    "CodeArray",
    "EncodeReport",
    "Encoder",
    "FloatArray",
    "Hits",
    "IdArray",
    "Index",
    "IndexStats",
    "Metric",
    "Quantizer",
    "Ragged",
    "Report",
    "Reranker",
    "Role",
    "SearchCost",
    "SparseEncoder",
    "Task",
    "TokenEncoder",
    "Transform",
]

FloatArray = npt.NDArray[np.float32]
IdArray = npt.NDArray[np.int64]
CodeArray = npt.NDArray[np.uint8]
BitmapArray = npt.NDArray[np.uint64]

Metric = Literal["dot", "cosine", "l2"]
Role = Literal["query", "document"]


@dataclass(frozen=True)
class SearchCost:
    """What a search spent.

    Attributes
    ----------
    plan : str
        How the neighbours were found, such as ``"scan"``, ``"scan-allowed"`` or ``"graph"``.
    distances : int
        Vector comparisons over all queries.
    seconds : float
        Wall-clock seconds inside the index.
    bytes_read : int
        Vector or code bytes that the comparisons touched.
    details : mapping
        Further figures that belong to the plan, by name.
    """

    plan: str = "scan"
    distances: int = 0
    seconds: float = 0.0
    bytes_read: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Hits:
    """Neighbours of a batch of queries, padded to k.

    Attributes
    ----------
    ids : ndarray of shape (q, k), int64
        Neighbour ids; -1 where there was none.
    scores : ndarray of shape (q, k), float32
        Non-increasing along a row, larger is closer; -inf where there was none.
    counts : ndarray of shape (q,), int64
        How many of a row's entries are real.
    cost : SearchCost
        What the search spent.
    """

    ids: IdArray
    scores: FloatArray
    counts: npt.NDArray[np.int64]
    cost: SearchCost = field(default_factory=SearchCost)

    def __len__(self) -> int:
        """Return the number of queries."""
        return len(self.ids)


@dataclass(frozen=True)
class EncodeReport:
    """Statistics of an encoding: items, truncation, cache hits and seconds.

    Attributes
    ----------
    items : int
        Items given.
    truncated_items : int
        Items longer than the encoder's window.
    truncated_tokens : int
        Tokens that fell outside the window, over all items.
    empty_items : int
        Items without a single known token.
    seconds : float
        Wall-clock seconds spent encoding.
    cache_hits : int
        Items answered from a cache.
    """

    items: int = 0
    truncated_items: int = 0
    truncated_tokens: int = 0
    empty_items: int = 0
    seconds: float = 0.0
    cache_hits: int = 0


@dataclass(frozen=True)
class Ragged:
    """Rows of varying length stored back to back.

    Attributes
    ----------
    values : ndarray of shape (T, d), float32
        All rows' vectors.
    offsets : ndarray of shape (n + 1,), int64
        Row i is ``values[offsets[i]:offsets[i + 1]]``.
    """

    values: FloatArray
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> FloatArray:
        """Return row i, shape (length, d)."""
        return self.values[self.offsets[i] : self.offsets[i + 1]]


@dataclass(frozen=True)
class IndexStats:
    """What an index holds and costs.

    Attributes
    ----------
    kind : str
        Class of the index.
    count : int
        Live vectors.
    dead : int
        Removed vectors whose place is not reused yet.
    dim : int
        Dimension.
    metric : str
        Score of the index.
    memory_bytes : int
        Bytes held in memory or mapped.
    bytes_per_vector : float
        ``memory_bytes`` over live and dead vectors; 0 when empty.
    details : mapping
        Further figures by name.
    """

    kind: str
    count: int
    dead: int
    dim: int
    metric: str
    memory_bytes: int
    bytes_per_vector: float
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """The outcome of an evaluation task.

    Attributes
    ----------
    metrics : mapping of str to float
        Measured figures by name.
    missing : sequence of str
        Arms or queries that did not run; missing is never written as zero.
    context : mapping
        Encoder fingerprint, lengths, dtype, seeds, versions and data hash.
    """

    metrics: Mapping[str, float]
    missing: Sequence[str] = ()
    context: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Encoder(Protocol):
    """Turns items into dense vectors."""

    dim: int
    fingerprint: str
    max_tokens: int | None

    def encode(
        self, items: Sequence[Any], *, role: Role = "document", batch_size: int = 64, progress: bool = False
    ) -> FloatArray:
        """Return float32 vectors of shape (n, dim)."""
        ...

    def encode_with_report(
        self, items: Sequence[Any], *, role: Role = "document", batch_size: int = 64, progress: bool = False
    ) -> tuple[FloatArray, EncodeReport]:
        """Return the vectors and what was cut or missed."""
        ...


@runtime_checkable
class SparseEncoder(Protocol):
    """Turns items into weighted terms of a vocabulary: ``dim`` terms, whose names are told where they are known."""

    dim: int
    fingerprint: str
    vocabulary: Sequence[str] | None

    def encode_sparse(self, items: Sequence[Any], *, role: Role = "document", batch_size: int = 64) -> Any:
        """Return a SciPy CSR matrix of shape (n, dim): finite weights of 0 or more, each term once per row."""
        ...


@runtime_checkable
class TokenEncoder(Protocol):
    """Turns items into one vector per token."""

    dim: int
    fingerprint: str

    def encode_tokens(self, items: Sequence[Any], *, role: Role = "document", batch_size: int = 64) -> Ragged:
        """Return token vectors, one ragged row per item."""
        ...


@runtime_checkable
class Reranker(Protocol):
    """Scores a query against records."""

    def score(self, query: Any, records: Sequence[Any]) -> FloatArray:
        """Return scores of shape (m,), larger is better."""
        ...


@runtime_checkable
class Transform(Protocol):
    """Maps vectors to vectors; a scikit-learn estimator."""

    def fit(self, X: FloatArray, y: Any = None, *, queries: FloatArray | None = None) -> Transform:
        """Learn from X of shape (n, d) and return self."""
        ...

    def transform(self, X: FloatArray) -> FloatArray:
        """Return X mapped, shape (n, new dimension)."""
        ...


@runtime_checkable
class Quantizer(Protocol):
    """Maps vectors to compact codes and scores queries against codes."""

    @property
    def code_size(self) -> int:
        """Exact bytes per vector, metadata included."""
        ...

    def fit(self, X: FloatArray, y: Any = None, *, queries: FloatArray | None = None) -> Quantizer:
        """Learn from X of shape (n, d) and return self."""
        ...

    def encode(self, X: FloatArray) -> CodeArray:
        """Return codes of shape (n, code_size), uint8."""
        ...

    def decode(self, codes: CodeArray) -> FloatArray:
        """Return approximate vectors of shape (n, d)."""
        ...

    def score(self, Q: FloatArray, codes: CodeArray, *, metric: Metric) -> FloatArray:
        """Return scores of shape (q, n), larger is closer."""
        ...


@runtime_checkable
class Index(Protocol):
    """Finds nearest neighbours among vectors with int64 ids."""

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""

    @property
    def metric(self) -> Metric:
        """How vectors are compared."""

    def __len__(self) -> int:
        """Return the number of live vectors."""
        ...

    def add(self, X: FloatArray, ids: IdArray | None = None) -> IdArray:
        """Add rows of X; return their ids."""
        ...

    def remove(self, ids: IdArray) -> int:
        """Remove ids; return how many were present."""
        ...

    def search(
        self,
        Q: FloatArray,
        k: int = 10,
        *,
        allowed: BitmapArray | IdArray | npt.NDArray[np.bool_] | None = None,
        effort: int | None = None,
        recall: float | None = None,
        threads: int | None = None,
    ) -> Hits:
        """Return the k nearest live, allowed vectors of each query."""
        ...

    def stats(self) -> IndexStats:
        """Return counts and bytes."""
        ...

    def save(self, path: str | Path) -> None:
        """Write the index to a folder."""
        ...


@runtime_checkable
class Task(Protocol):
    """An evaluation that runs against a target."""

    name: str
    needs: Sequence[str]

    def run(self, target: Any, *, seed: int = 0, limit: int | None = None) -> Report:
        """Evaluate the target and return a report."""
        ...
