"""A flat index on disk: raw vectors, raw ids, and one header that names and checks them.

The header is replaced last, so a folder holds the old index or the new one, never a mixture. File names are relative.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orthant.index.array_files import damaged, listed_files, map_array, read_header, settled, verify_file, write_arrays
from orthant.types import FloatArray, IdArray, Metric
from orthant.validate import check_metric

__all__ = ["FORMAT", "SavedFlat", "read_flat", "write_flat"]

FORMAT = 1
_KIND = "index.flat"
_HEADER = "flat.json"
_MOST_DIM = 1 << 31


@dataclass(frozen=True)
class SavedFlat:
    """What a folder holds.

    Attributes
    ----------
    matrix : ndarray of shape (n, dim), float32
        Vectors; read-only when mapped.
    ids : ndarray of shape (n,), int64
        Ids.
    dim : int
        Dimension.
    metric : str
        Score.
    next_id : int
        First id that automatic numbering gives next.
    """

    matrix: FloatArray
    ids: IdArray
    dim: int
    metric: Metric
    next_id: int


def write_flat(
    path: str | Path, *, vectors: Iterable[FloatArray], ids: IdArray, dim: int, metric: Metric, next_id: int
) -> None:
    """Write an index to a folder.

    Parameters
    ----------
    path : str or Path
        Folder; created if missing, its earlier index replaced in one step.
    vectors : iterable of ndarray of shape (m, dim), float32
        The rows in order, in parts.
    ids : ndarray of shape (n,), int64
        Their ids.
    dim : int
        Dimension.
    metric : {"dot", "cosine", "l2"}
        Score.
    next_id : int
        First id that automatic numbering gives next.

    Raises
    ------
    InputError
        The path is a file.
    """
    write_arrays(
        path,
        header=_HEADER,
        kind=_KIND,
        version=FORMAT,
        body={"dim": dim, "metric": metric, "count": len(ids), "next_id": next_id},
        arrays={
            "vectors": (v.astype("<f4", copy=False) for v in vectors),
            "ids": [ids.astype("<i8", copy=False)],
        },
    )


@settled(_HEADER)
def read_flat(path: str | Path, *, mmap: bool) -> SavedFlat:
    """Read an index from a folder and verify every byte of it.

    Parameters
    ----------
    path : str or Path
        A folder that ``write_flat`` made.
    mmap : bool
        Map the vectors instead of copying them into memory.

    Returns
    -------
    SavedFlat
        The content.

    Raises
    ------
    NotFoundError
        No index there.
    StoreCorruptedError
        A file is missing, cut or changed; the text names it and, where known, the block.
    StoreVersionError
        A newer release wrote it.
    """
    folder = Path(path)
    body = read_header(folder / _HEADER, kind=_KIND, version=FORMAT)
    try:
        dim, count, next_id = (int(body[name]) for name in ("dim", "count", "next_id"))
        metric = check_metric(body["metric"])
        files = listed_files(folder, body["files"], {"vectors": count * dim * 4, "ids": count * 8})
        if dim < 1 or count < 0 or dim > _MOST_DIM:
            raise ValueError("no such shape")
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(folder / _HEADER, "fields that do not fit together") from error
    for file, entry in files.values():
        verify_file(file, entry)
    ids = np.fromfile(files["ids"][0], dtype="<i8").astype(np.int64, copy=False)
    matrix = map_array(files["vectors"][0], "<f4", (count, dim), mmap=mmap)
    return SavedFlat(matrix, ids, dim, metric, next_id)
