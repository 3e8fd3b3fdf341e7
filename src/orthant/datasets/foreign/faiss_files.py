"""FAISS index files: vectors by number, from flat, inverted and graph indexes, and from codes by decoding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.datasets.foreign.contents import ForeignBatch, VectorField
from orthant.datasets.foreign.side_records import SideRecords
from orthant.errors import InputError, MissingExtraError, message
from orthant.types import Metric

__all__ = ["FaissSource", "looks_like_faiss"]

_EXACT = {"IndexFlat", "IndexFlatL2", "IndexFlatIP", "IndexIVFFlat", "IndexIVFFlatDedup", "IndexHNSWFlat"}
_BY_ID = ("IndexIDMap", "IndexIDMap2")


def looks_like_faiss(head: bytes) -> bool:
    """Return whether a file begins as FAISS indexes do: with a four-letter code whose first letter is I.

    Parameters
    ----------
    head : bytes
        At least four bytes.

    Returns
    -------
    bool
        Whether it is worth trying.

    Examples
    --------
    >>> looks_like_faiss(b"IxF2"), looks_like_faiss(b"PK??")
    (True, False)
    """
    return head[:1] == b"I" and len(head) >= 4 and head[1:4].isalnum()


class FaissSource:
    """A file that ``faiss.write_index`` wrote.

    Parameters
    ----------
    path : Path
        The file.
    records : SideRecords
        Ids, texts and fields by number, where the user has them.

    Raises
    ------
    MissingExtraError
        faiss is not installed.
    InputError
        The file cannot be read, or its kind of index keeps no vectors and cannot decode them.

    Notes
    -----
    The index is read into memory.
    """

    kind = "faiss"
    remote = False

    def __init__(self, path: Path, records: SideRecords) -> None:
        try:
            import faiss
        except ImportError as error:
            raise MissingExtraError(
                message("a FAISS index without faiss", "faiss", "pip install 'orthant[faiss]'")
            ) from error
        self.name, self._records = path.name, records
        try:
            index: Any = faiss.read_index(str(path))
        except (RuntimeError, MemoryError) as error:
            given = f"{path}: {str(error).strip().splitlines()[-1]}"
            raise InputError(
                message(given, "a file of faiss.write_index", "check the path, or save it anew")
            ) from error
        outer = None
        # The inner index is freed with the outer one.
        self._owner = index
        if type(index).__name__ in _BY_ID:
            outer = faiss.vector_to_array(index.id_map).astype(np.int64)
            index = faiss.downcast_index(index.index)
        _refuse_packed_lists(faiss, index)
        self._index, self._keys = index, _keys(faiss, index)
        self._labels = self._keys if outer is None else outer[self._keys]
        self.count: int | None = len(self._labels)
        metrics: dict[int, Metric] = {faiss.METRIC_INNER_PRODUCT: "dot", faiss.METRIC_L2: "l2"}
        self.vectors = {"": VectorField("", index.d, metrics.get(index.metric_type))}
        self.losses: dict[str, int] = {}
        exact = type(index).__name__ in _EXACT
        self.notes = {} if exact else {f"vectors decoded from the codes of {type(index).__name__}": self.count}
        self._decode(self._keys[:1])

    def _decode(self, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        try:
            return np.asarray(self._index.reconstruct_batch(keys), dtype=np.float32)
        except RuntimeError as error:
            raise _undecodable(self._index) from error

    def batches(self, size: int) -> Iterator[ForeignBatch]:
        """Yield vectors with their numbers.

        Parameters
        ----------
        size : int
            Vectors per batch.

        Yields
        ------
        ForeignBatch
            By number within the index, or list by list for an inverted one.
        """
        for begin in range(0, len(self._keys), size):
            X = self._decode(self._keys[begin : begin + size])
            yield self._records.batch(self._labels[begin : begin + size].tolist(), X)

    def close(self) -> None:
        """Free the index."""
        del self._index, self._owner


def _undecodable(index: Any) -> InputError:
    given = f"an index of type {type(index).__name__}"
    expected = "an index that keeps vectors, or codes that can be decoded"
    return InputError(message(given, expected, "import the vectors that it was built from"))


def _refuse_packed_lists(faiss: Any, index: Any) -> None:
    """Refuse inverted lists of packed codes: decoding them ends the process, or gives vectors that were never there."""
    if type(index).__name__.startswith("IndexRefine"):
        # What it reconstructs is the vectors that it keeps beside the codes.
        return
    try:
        inner = faiss.downcast_index(faiss.extract_index_ivf(index))
    except RuntimeError:
        return
    if "FastScan" in type(inner).__name__:
        raise _undecodable(inner)


def _keys(faiss: Any, index: Any) -> npt.NDArray[np.int64]:
    """Return the numbers by which an index reconstructs; an inverted one stores them with its lists."""
    try:
        ivf = faiss.extract_index_ivf(index)
    except RuntimeError:
        return np.arange(index.ntotal, dtype=np.int64)
    ivf = faiss.downcast_index(ivf)
    lists = ivf.invlists
    parts = [
        faiss.rev_swig_ptr(lists.get_ids(i), lists.list_size(i)).copy() for i in range(ivf.nlist) if lists.list_size(i)
    ]
    # A table of all numbers, since those of an inverted index need not count from 0.
    ivf.set_direct_map_type(faiss.DirectMap.Hashtable)
    return np.sort(np.concatenate(parts).astype(np.int64)) if parts else np.zeros(0, dtype=np.int64)
