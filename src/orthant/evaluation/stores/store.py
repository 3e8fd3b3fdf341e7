"""What a store must do to be compared, and which stores there are."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from orthant.errors import InputError, message
from orthant.types import FloatArray

__all__ = ["MODES", "STORES", "Query", "Rows", "Store", "StoreInfo", "load_store"]

Effort = dict[str, Any]

MODES = ("dense", "lexical", "hybrid", "filtered dense", "filtered hybrid")


@dataclass(frozen=True, eq=False)
class Rows:
    """A batch of records.

    Attributes
    ----------
    ids : list of str
        Unique.
    texts : list of str
        What the lexical leg searches.
    metadata : list of dict
        Flat: ``newsgroup``, ``date`` and ``organization`` (str, empty where unknown), ``characters`` (int).
    vectors : ndarray of shape (n, d)
        Float32, of unit length.
    """

    ids: list[str]
    texts: list[str]
    metadata: list[dict[str, Any]]
    vectors: FloatArray


@dataclass(frozen=True, eq=False)
class Query:
    """One question.

    Attributes
    ----------
    text : str
        For the lexical leg.
    vector : ndarray of shape (d,)
        For the dense leg.
    group : str
        A filtered mode asks for records of this group that are at least ``characters`` characters long.
    characters : int
        The other half of that filter.
    """

    text: str
    vector: FloatArray
    group: str
    characters: int


class Store(Protocol):
    """One store, embedded in the process that uses it.

    Attributes
    ----------
    modes : tuple of str
        Those of `MODES` that it offers.
    batch : int
        Records per write that suits it.
    notes : tuple of str
        How it is set up, and what its acknowledgement of a write means.
    packages : tuple of str
        Distributions whose versions belong to the figures.
    """

    modes: tuple[str, ...]
    batch: int
    notes: tuple[str, ...]
    packages: tuple[str, ...]

    def create(self, folder: Path, dim: int) -> None:
        """Make an empty store in a folder that exists and is empty."""
        ...

    def open(self, folder: Path) -> None:
        """Open what is there."""
        ...

    def load(self, batches: Iterable[Rows]) -> None:
        """Write many batches into an empty store, in the way its documentation recommends for that."""
        ...

    def write(self, rows: Rows) -> None:
        """Write one batch; it survives the end of the process once this returns."""
        ...

    def delete(self, ids: Sequence[str]) -> None:
        """Delete records; durable as `write` is."""
        ...

    def finish(self) -> None:
        """Bring every index up to date and write everything out."""
        ...

    def maintain(self) -> None:
        """Do the upkeep that its documentation recommends after many changes."""
        ...

    def efforts(self) -> list[Effort]:
        """Return settings of a dense search, by rising effort."""
        ...

    def search(self, query: Query, mode: str, k: int, effort: Effort) -> list[str]:
        """Return the ids of the hits, best first; texts and metadata are fetched too, as a user would need them."""
        ...

    def present(self, ids: Sequence[str]) -> int:
        """Return how many of these ids, each given once, are there."""
        ...

    def close(self) -> None:
        """Let go of the folder in good order."""
        ...


@dataclass(frozen=True)
class StoreInfo:
    """Where a store is.

    Attributes
    ----------
    package : str
        Module that must be importable in its environment.
    home : str
        ``module:class``.
    """

    package: str
    home: str


STORES: Mapping[str, StoreInfo] = {
    "chroma": StoreInfo("chromadb", "orthant.evaluation.stores.chroma_store:ChromaStore"),
    "lancedb": StoreInfo("lancedb", "orthant.evaluation.stores.lance_store:LanceStore"),
    "milvus-lite": StoreInfo("milvus_lite", "orthant.evaluation.stores.milvus_store:MilvusStore"),
    "txtai": StoreInfo("txtai", "orthant.evaluation.stores.txtai_store:TxtaiStore"),
}


def load_store(home: str) -> Store:
    """Make a store, importing its library.

    Parameters
    ----------
    home : str
        ``module:class``.

    Returns
    -------
    Store
        Neither created nor opened.

    Raises
    ------
    InputError
        Not of that form.

    Examples
    --------
    >>> load_store("orthant.cli.bench.orthant_store:OrthantStore").batch
    5000
    """
    module, _, name = home.partition(":")
    found = getattr(importlib.import_module(module), name, None) if module and name else None
    if found is None:
        raise InputError(message(repr(home), "module:class of a store", "check the spelling"))
    made: Store = found()
    return made
