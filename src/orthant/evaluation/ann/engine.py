"""What an engine must do to be compared, and which engines there are."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from orthant.errors import InputError, MissingExtraError, message
from orthant.types import FloatArray, IdArray, Metric

__all__ = ["ENGINES", "Engine", "EngineInfo", "expand_peers", "is_installed", "load_engine"]

Settings = dict[str, Any]


class Engine(Protocol):
    """One way to index vectors and search them.

    Attributes
    ----------
    name : str
        Its key in results.
    """

    name: str

    def builds(self, n: int, dim: int) -> list[Settings]:
        """Return candidate build settings for n vectors of a dimension, the likeliest first."""
        ...

    def build(self, X: FloatArray, metric: Metric, *, threads: int, settings: Settings) -> None:
        """Index X of shape (n, d), float32, ids 0 to n - 1; rows have unit length under ``"cosine"``."""
        ...

    def paths(self, k: int) -> list[list[Settings]]:
        """Return search settings, as lists of rising effort: a sweep leaves a list once recall no longer rises."""
        ...

    def search(self, Q: FloatArray, k: int, setting: Settings, *, threads: int) -> IdArray:
        """Return ids of shape (q, k), best first, -1 where there was none."""
        ...

    def save(self, folder: Path) -> bool:
        """Write the index for a later run; False when the engine wants to be built anew each time."""
        ...

    def load(self, folder: Path, X: FloatArray, metric: Metric, *, settings: Settings) -> None:
        """Read what ``save`` wrote."""
        ...

    def mapped_bytes(self) -> int:
        """Return bytes of codes and links that lie in mapped files, so that memory counts them."""
        ...


@dataclass(frozen=True)
class EngineInfo:
    """Where an engine is.

    Attributes
    ----------
    family : str
        The name that ``--peers`` takes: all engines of a library.
    package : str
        Module that must be importable.
    home : str
        ``module:class`` below ``orthant.evaluation.ann``.
    """

    family: str
    package: str
    home: str


ENGINES: Mapping[str, EngineInfo] = {
    "orthant": EngineInfo("orthant", "orthant", "orthant_engine:OrthantEngine"),
    "orthant-query-aware": EngineInfo("orthant-query-aware", "orthant", "orthant_engine:QueryAwareEngine"),
    "faiss-pca-sq8-refine": EngineInfo("faiss", "faiss", "faiss_engines:PcaHnsw"),
    "faiss-hnsw-sq8": EngineInfo("faiss", "faiss", "faiss_engines:HnswSq8"),
    "faiss-hnsw": EngineInfo("faiss", "faiss", "faiss_engines:HnswFlat"),
    "faiss-ivfpq-refine": EngineInfo("faiss", "faiss", "faiss_engines:IvfPq"),
    "faiss-ivfrabitq-refine": EngineInfo("faiss", "faiss", "faiss_engines:IvfRabitq"),
    "scann": EngineInfo("scann", "scann", "other_engines:Scann"),
    "usearch": EngineInfo("usearch", "usearch", "other_engines:UsearchFloat"),
    "usearch-i8": EngineInfo("usearch", "usearch", "other_engines:UsearchInt8"),
    "hnswlib": EngineInfo("hnswlib", "hnswlib", "other_engines:Hnswlib"),
}


def expand_peers(peers: Sequence[str]) -> list[str]:
    """Turn names of libraries and engines into engines.

    Parameters
    ----------
    peers : sequence of str
        Such as ``"faiss"`` (five engines), ``"faiss-hnsw"`` or ``"scann"``.

    Returns
    -------
    list of str
        Keys of ``ENGINES``, each once, without ``"orthant"``.

    Raises
    ------
    InputError
        An unknown name.

    Examples
    --------
    >>> expand_peers(["usearch", "faiss-hnsw"])
    ['usearch', 'usearch-i8', 'faiss-hnsw']
    """
    families = {info.family for info in ENGINES.values()}
    found: dict[str, None] = {}
    for peer in peers:
        if peer in families:
            found |= {name: None for name, info in ENGINES.items() if info.family == peer}
        elif peer in ENGINES:
            found[peer] = None
        else:
            known = sorted(families | set(ENGINES) - {"orthant"})
            raise InputError(message(f"the peer {peer!r}", f"some of {', '.join(known)}", "check the spelling"))
    found.pop("orthant", None)
    return list(found)


def is_installed(name: str) -> bool:
    """Return whether an engine can run here.

    Parameters
    ----------
    name : str
        Key of ``ENGINES``.

    Returns
    -------
    bool
        Nothing is imported.
    """
    return importlib.util.find_spec(ENGINES[name].package) is not None


def load_engine(name: str) -> Engine:
    """Make an engine.

    Parameters
    ----------
    name : str
        Key of ``ENGINES``.

    Returns
    -------
    Engine
        Empty.

    Raises
    ------
    InputError
        An unknown name.
    MissingExtraError
        Its library is not installed.
    """
    if name not in ENGINES:
        raise InputError(message(f"the engine {name!r}", f"one of {', '.join(ENGINES)}", "check the spelling"))
    if not is_installed(name):
        package = {"faiss": "faiss-cpu"}.get(ENGINES[name].package, ENGINES[name].package)
        raise MissingExtraError(
            message(f"the engine {name!r}", f"the package {package}", f"run: pip install {package}")
        )
    module, kind = ENGINES[name].home.split(":")
    return getattr(importlib.import_module(f"orthant.evaluation.ann.{module}"), kind)()
