"""The vectors and queries of one comparison, as files that every engine's process maps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from orthant.datasets import registry
from orthant.datasets.made.store import MADE_SETS, cache_folder, load_made
from orthant.datasets.readers.vectors import minilm_short_texts, mnist_vectors
from orthant.datasets.vector_files import read_vectors
from orthant.errors import DimensionError, InputError, NotFoundError, message
from orthant.evaluation.context import hash_data
from orthant.types import FloatArray, Metric
from orthant.validate import as_vectors, check_count, check_metric

__all__ = ["DATA_SETS", "AnnInputs", "QuerySplit", "named_inputs", "prepare_inputs", "read_inputs"]

DATA_SETS = ("minilm_short_texts", "mnist", *MADE_SETS)
_METRICS: Mapping[str, Metric] = {"mnist": "l2"}
_UNIT = 1e-5
_BLOCK = 65_536


@dataclass(frozen=True, eq=False)
class QuerySplit:
    """Queries of one kind, in parts that share nothing.

    Attributes
    ----------
    tune : ndarray of shape (t, d), float32
        Settings are chosen on these.
    judge : ndarray of shape (j, d), float32
        Figures are measured on these.
    rest : ndarray of shape (r, d), float32
        All others: a log that an engine may learn from.
    """

    tune: FloatArray
    judge: FloatArray
    rest: FloatArray


@dataclass(frozen=True, eq=False)
class AnnInputs:
    """What is indexed and asked.

    Attributes
    ----------
    name : str
        Of the data.
    base_path : Path
        ``.npy`` file, float32; rows have unit length under ``"cosine"``.
    base : ndarray of shape (n, d), float32
        That file, memory-mapped.
    queries : mapping of str to QuerySplit
        By kind, such as ``"in"`` and ``"out"`` of distribution.
    metric : {"cosine", "dot", "l2"}
        Score.
    data_sha256 : str
        Hash of base, queries and metric.
    """

    name: str
    base_path: Path
    base: FloatArray
    queries: Mapping[str, QuerySplit]
    metric: Metric
    data_sha256: str


def prepare_inputs(
    name: str,
    base: npt.NDArray[np.floating],
    queries: Mapping[str, npt.NDArray[np.floating]],
    *,
    metric: Metric,
    folder: Path,
    tune: int = 300,
    judge: int = 1_000,
    seed: int = 0,
) -> AnnInputs:
    """Write the base where engines can map it, and split the queries.

    Parameters
    ----------
    name : str
        Of the data.
    base : ndarray of shape (n, d)
        Vectors to index; a memory-mapped float32 file that needs no change is used where it lies.
    queries : mapping of str to ndarray of shape (q, d)
        By kind; none may be a row of the base by construction.
    metric : {"cosine", "dot", "l2"}
        Score.
    folder : Path
        For the file, when one must be written.
    tune, judge : int
        Queries of each half at most. Too few make recall uncertain: 1,000 give about 0.005 at a recall of 0.95.
    seed : int, default 0
        Of the split.

    Returns
    -------
    AnnInputs
        Ready to run.

    Raises
    ------
    DimensionError, InputError
        Queries of another dimension, fewer than two, or zero vectors under cosine.
    """
    check_metric(metric)
    check_count(tune, name="tune")
    check_count(judge, name="judge")
    splits: dict[str, QuerySplit] = {}
    for kind, given in queries.items():
        Q = as_vectors(given, name=f"queries {kind!r}", nonzero=metric == "cosine")
        if Q.shape[1] != base.shape[1]:
            raise DimensionError(
                message(f"queries of {Q.shape[1]} columns", f"{base.shape[1]}, as the base", "encode both alike")
            )
        if len(Q) < 2:
            raise InputError(message(f"{len(Q)} queries {kind!r}", "at least two", "pass one half to tune on"))
        order = np.random.default_rng(seed).permutation(len(Q))
        half = min(tune, len(Q) // 2)
        Q = _unit(Q) if metric == "cosine" else Q
        places = order[:half], order[half : half + judge], order[half + judge :]
        splits[kind] = QuerySplit(*(np.ascontiguousarray(Q[part]) for part in places))
    path, mapped = _as_file(base, metric, folder)
    digest = hash_data(metric, _hash_rows(mapped), {kind: [one.tune, one.judge] for kind, one in splits.items()})
    return AnnInputs(name, path, mapped, splits, metric, digest)


def _hash_rows(base: FloatArray) -> str:
    """SHA-256 of shape and rows, block by block: a mapped file of gigabytes is not copied into memory."""
    digest = hashlib.sha256(repr(base.shape).encode())
    for start in range(0, len(base), _BLOCK):
        digest.update(np.ascontiguousarray(base[start : start + _BLOCK]).data)
    return digest.hexdigest()


def _unit(rows: npt.NDArray[np.floating]) -> FloatArray:
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-30))).astype(np.float32)


def _usable_file(base: npt.NDArray[np.floating], metric: Metric) -> Path | None:
    """The ``.npy`` file that a mapped base is the whole of, when engines can take it as it is."""
    if not isinstance(base, np.memmap) or base.dtype != np.float32 or not base.flags.c_contiguous:
        return None
    path = Path(str(base.filename))
    if path.suffix != ".npy" or not path.is_file() or path.stat().st_size != base.offset + base.nbytes:
        return None
    if metric == "cosine":
        lengths = np.linalg.norm(base[:: max(1, len(base) // 10_000)], axis=1)
        if float(np.abs(lengths - 1).max(initial=0)) > _UNIT:
            return None
    return path


def _as_file(base: npt.NDArray[np.floating], metric: Metric, folder: Path) -> tuple[Path, FloatArray]:
    usable = _usable_file(base, metric)
    if usable is not None:
        return usable, np.load(usable, mmap_mode="r", allow_pickle=False)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "base.npy"
    out = np.lib.format.open_memmap(path, "w+", np.float32, base.shape)
    for start in range(0, len(base), _BLOCK):
        block = as_vectors(base[start : start + _BLOCK], nonzero=metric == "cosine")
        out[start : start + _BLOCK] = _unit(block) if metric == "cosine" else block
    out.flush()
    del out
    return path, np.load(path, mmap_mode="r", allow_pickle=False)


def named_inputs(
    name: str, *, folder: Path, limit: int | None = None, tune: int = 300, judge: int = 1_000, seed: int = 0
) -> AnnInputs:
    """Return a named set, ready to run.

    Parameters
    ----------
    name : str
        One of ``DATA_SETS``.
    folder : Path
        For a file of its vectors.
    limit : int, optional
        Base vectors, drawn at random, for a small trial; left out, all.
    tune, judge, seed : int
        As for ``prepare_inputs``.

    Returns
    -------
    AnnInputs
        Cosine, but Euclidean for mnist.

    Raises
    ------
    NotFoundError
        Unknown name, missing data, or a set that has not been made.
    """
    if name in MADE_SETS:
        vectors = load_made(name).vectors
    elif name == "minilm_short_texts":
        vectors = minilm_short_texts(texts="drop")
    elif name == "mnist":
        vectors = mnist_vectors()
    else:
        raise NotFoundError(
            message(f"--data {name}", f"one of {', '.join(DATA_SETS)}", "or pass --vectors and --queries")
        )
    base = vectors.base
    if limit is not None and check_count(limit, name="limit") < len(base):
        base = base[np.sort(np.random.default_rng(seed).permutation(len(base))[:limit])]
    metric = _METRICS.get(name, "cosine")
    return prepare_inputs(name, base, vectors.queries, metric=metric, folder=folder, tune=tune, judge=judge, seed=seed)


def read_inputs(
    vectors: str,
    queries: str,
    *,
    metric: Metric = "cosine",
    folder: Path,
    limit: int | None = None,
    tune: int = 300,
    judge: int = 1_000,
    seed: int = 0,
) -> AnnInputs:
    """Read a user's own vectors and queries.

    Parameters
    ----------
    vectors, queries : str
        ``.npy``, ``file.npz:name``, ``.fvecs`` or HDF5; any float dtype or uint8.
    metric : {"cosine", "dot", "l2"}, default "cosine"
        Score.
    folder : Path
        For a file of the vectors, when one must be written.
    limit : int, optional
        Base vectors, drawn at random; left out, all.
    tune, judge, seed : int
        As for ``prepare_inputs``.

    Returns
    -------
    AnnInputs
        Queries of one kind, ``"queries"``.

    Raises
    ------
    NotFoundError, InputError, DimensionError
        Files that are missing, damaged, or do not fit each other.
    """
    base = read_vectors(vectors)
    if limit is not None and check_count(limit, name="limit") < len(base):
        base = base[np.sort(np.random.default_rng(seed).permutation(len(base))[:limit])]
    return prepare_inputs(
        Path(vectors.split(":")[0]).name,
        base,
        {"queries": read_vectors(queries)},
        metric=metric,
        folder=folder,
        tune=tune,
        judge=judge,
        seed=seed,
    )


def truth_folder() -> Path:
    """Return where exact neighbours are kept.

    Returns
    -------
    Path
        In the cache; it need not exist.
    """
    return cache_folder() / "truth"


def index_folder() -> Path:
    """Return where indexes of peers are kept between runs.

    Returns
    -------
    Path
        In the cache; it need not exist.
    """
    return cache_folder() / "indexes"


def data_files_hash(name: str) -> str | None:
    """Return the hash of a named set's files.

    Parameters
    ----------
    name : str
        One of ``DATA_SETS``.

    Returns
    -------
    str or None
        None for a name that is no set of the data folder or the cache.
    """
    if name in MADE_SETS:
        return str(load_made(name).manifest["sha256"])
    return registry.data_hash(name) if name in registry.names() else None
