"""Exact neighbours by the flat index, kept in a cache under the hash of the data; others are refused."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, StoreCorruptedError, message
from orthant.index.flat import Flat
from orthant.measures.neighbours import recall_per_query
from orthant.types import FloatArray, IdArray, Metric

__all__ = ["Truth", "exact_scores", "ground_truth", "read_truth", "write_truth"]

_BATCH = 64_000_000


@dataclass(frozen=True, eq=False)
class Truth:
    """Exact neighbours.

    Attributes
    ----------
    ids : ndarray of shape (q, k), int64
        Best first.
    scores : ndarray of shape (q, k), float32
        Of the ids; larger is closer.
    data_sha256 : str
        Hash of the base, the queries, k and the metric.
    """

    ids: IdArray
    scores: FloatArray
    data_sha256: str

    def recall(self, found: IdArray, Q: FloatArray, X: FloatArray, metric: Metric) -> npt.NDArray[np.float64]:
        """Return the recall of each query; rows as close as the k-th neighbour count.

        Parameters
        ----------
        found : ndarray of shape (q, k), int64
            What an engine returned.
        Q : ndarray of shape (q, d), float32
            Queries.
        X : ndarray of shape (n, d), float32
            Base.
        metric : {"cosine", "dot", "l2"}
            Score.

        Returns
        -------
        ndarray of shape (q,), float64
            From 0 to 1.
        """
        return recall_per_query(
            found,
            self.ids,
            found_scores=exact_scores(found, Q, X, metric),
            true_scores=self.scores,
            tolerance=1e-6,
        )


def exact_scores(found: IdArray, Q: FloatArray, X: FloatArray, metric: Metric) -> FloatArray:
    """Return scores of given rows, computed from the full vectors.

    Parameters
    ----------
    found : ndarray of shape (q, k), int64
        Rows of X; -1 for none.
    Q : ndarray of shape (q, d), float32
        Queries.
    X : ndarray of shape (n, d), float32
        Base, of unit rows under ``"cosine"``.
    metric : {"cosine", "dot", "l2"}
        Score.

    Returns
    -------
    ndarray of shape (q, k), float32
        -inf for none.
    """
    out = np.empty(found.shape, dtype=np.float32)
    step = max(1, _BATCH // (max(1, found.shape[1]) * X.shape[1]))
    for start in range(0, len(found), step):
        ids = found[start : start + step]
        rows = X[np.maximum(ids, 0)].astype(np.float64)
        q = Q[start : start + step].astype(np.float64)
        if metric == "l2":
            rows -= q[:, None, :]
            scores = -np.einsum("qkd,qkd->qk", rows, rows)
        else:
            scores = np.einsum("qkd,qd->qk", rows, q)
            if metric == "cosine":
                lengths = np.linalg.norm(rows, axis=2) * np.linalg.norm(q, axis=1)[:, None]
                scores /= np.maximum(lengths, 1e-30)
        out[start : start + step] = np.where(ids < 0, -np.inf, scores)
    return out


def write_truth(path: Path, truth: Truth) -> None:
    """Write neighbours with the hash of their data.

    Parameters
    ----------
    path : Path
        ``.npz`` file; its folder must exist.
    truth : Truth
        What to keep.
    """
    aside = path.with_name(f".{path.name}")
    with open(aside, "wb") as handle:
        np.savez(handle, ids=truth.ids, scores=truth.scores, data_sha256=np.array(truth.data_sha256))
    aside.replace(path)


def read_truth(path: Path, *, data_sha256: str) -> Truth:
    """Read neighbours, or refuse those of other data.

    Parameters
    ----------
    path : Path
        What ``write_truth`` wrote.
    data_sha256 : str
        Hash of the data that the neighbours are wanted for.

    Returns
    -------
    Truth
        Of exactly these data.

    Raises
    ------
    InputError
        The file belongs to other vectors, queries, k or metric.
    StoreCorruptedError
        The file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = Truth(archive["ids"], archive["scores"], str(archive["data_sha256"]))
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise StoreCorruptedError(
            message(f"ground truth {path} ({error})", "ids, scores and a hash", "delete the file: it is made anew")
        ) from error
    if found.data_sha256 != data_sha256:
        raise InputError(
            message(
                f"ground truth {path} of data {found.data_sha256[:12]}",
                f"neighbours of data {data_sha256[:12]}, which is what is searched",
                "delete the file: it is made anew; recall against other neighbours means nothing",
            )
        )
    return found


def ground_truth(
    X: FloatArray, Q: FloatArray, *, k: int, metric: Metric, data_sha256: str, folder: Path | None = None
) -> Truth:
    """Return the exact neighbours of queries, from the cache or by the flat index.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Base; may be memory-mapped.
    Q : ndarray of shape (q, d), float32
        Queries.
    k : int
        Neighbours.
    metric : {"cosine", "dot", "l2"}
        Score.
    data_sha256 : str
        Hash of base, queries, k and metric.
    folder : Path, optional
        Cache; left out, nothing is kept.

    Returns
    -------
    Truth
        Of exactly these data.

    Raises
    ------
    InputError
        The cached file belongs to other data.

    Notes
    -----
    Cost: O(q n d), a minute for 2,000 queries and a million vectors of 384 dimensions.
    """
    path = None if folder is None else folder / f"{data_sha256[:32]}.npz"
    if path is not None and path.is_file():
        return read_truth(path, data_sha256=data_sha256)
    index = Flat.over([(X, np.arange(len(X), dtype=np.int64))], dim=X.shape[1], metric=metric)
    hits = index.search(Q, k)
    truth = Truth(hits.ids, hits.scores, data_sha256)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_truth(path, truth)
    return truth
