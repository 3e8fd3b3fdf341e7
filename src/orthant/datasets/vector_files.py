"""Vector files by their exact layout: memory-mapped where the layout allows, refused where the bytes do not add up.

Formats: .npy, .npz members, HDF5 data sets, the .fvecs family (int32 length before every row) and the .fbin family
(uint32 count and dimension before all rows).
"""

from __future__ import annotations

import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from orthant.artifact import written_aside
from orthant.datasets.vector_layouts import (
    FILE_HEADED,
    ROW_HEADED,
    SUFFIXES,
    WRITABLE,
    VectorLayout,
    check_matrix,
    inspect_vectors,
    open_hdf5,
    split_member,
)
from orthant.errors import DtypeError, InputError, NotFoundError, StoreError, message
from orthant.validate import as_vectors

__all__ = [
    "NpyWriter",
    "VectorFileInfo",
    "describe_vectors",
    "is_vector_file",
    "read_vectors",
    "write_vectors",
]

Vectors = npt.NDArray[Any]

_ROWS_AT_ONCE = 16384
_NPY_HEADER_BYTES = 128


@dataclass(frozen=True)
class VectorFileInfo:
    """What a vector file holds, told from its header.

    Attributes
    ----------
    path : str
        As it was given, with the member if any.
    format : str
        ``"npy"``, ``"npz"``, ``"hdf5"``, ``"fvecs"``, ``"fbin"`` and so on.
    count : int
        Rows.
    dim : int
        Columns.
    dtype : str
        NumPy name of the stored type.
    mappable : bool
        Whether ``read_vectors`` can map it instead of loading it.
    """

    path: str
    format: str
    count: int
    dim: int
    dtype: str
    mappable: bool


def read_vectors(path: str | Path, *, mmap: bool = True) -> npt.NDArray[Any]:
    """Open a file of vectors as an array, without loading it where the format allows.

    Use it for benchmark sets and for vectors made elsewhere. For vectors that lie in records next to their text,
    use ``read_records(vector_field=...)``.

    Parameters
    ----------
    path : str or Path
        ``.npy``; a member of an archive as ``file.npz:name``; ``.fvecs``, ``.bvecs``, ``.ivecs``; ``.fbin``,
        ``.u8bin``, ``.i8bin``, ``.ibin``; a data set as ``file.hdf5:train``. The member may be left out when there
        is one only.
    mmap : bool, default True
        Map the file read-only. False loads it into memory. Compressed members are loaded either way.

    Returns
    -------
    ndarray of shape (n, d), dtype as stored
        A read-only view when mapped. Rows of the .fvecs family are strided, not contiguous: ``as_vectors`` copies.

    Raises
    ------
    NotFoundError
        No such file or member.
    DtypeError
        Not real numbers; a pickled object is never loaded.
    DimensionError
        Not a matrix.
    InputError
        Truncated, damaged, or of an unknown format; the text gives expected and actual bytes.
    MissingExtraError
        HDF5 without h5py.

    Notes
    -----
    The .fvecs family repeats its dimension before each row; all of them are compared, which reads 4 bytes per row.
    Values are not looked at: NaN is found where vectors are used.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_vectors(folder / "x.fvecs", np.eye(3))
    >>> read_vectors(folder / "x.fvecs").tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    layout = inspect_vectors(path)
    if layout.format == "npz":
        return _read_npz(layout)
    if layout.offset is None:
        return _read_hdf5(layout)
    if layout.row_header:
        return _read_row_headed(layout, mmap=mmap)
    order = "F" if layout.fortran else "C"
    if layout.shape[0] == 0:
        return np.zeros(layout.shape, dtype=layout.dtype)
    mapped = np.memmap(layout.file, layout.dtype, "r", layout.offset, layout.shape, order)  # type: ignore[call-overload]
    return cast(Vectors, mapped if mmap else np.array(mapped))


def is_vector_file(path: str | Path) -> bool:
    """Tell by its ending whether a path names a file of vectors.

    Parameters
    ----------
    path : str or Path
        As for ``read_vectors``; it need not exist.

    Returns
    -------
    bool
        True for the endings that ``read_vectors`` takes.

    Examples
    --------
    >>> is_vector_file("base.fvecs"), is_vector_file("set.hdf5:train"), is_vector_file("books.jsonl")
    (True, True, False)
    """
    return split_member(path)[0].suffix.lower() in SUFFIXES


def describe_vectors(path: str | Path) -> VectorFileInfo:
    """Tell rows, columns and type of a vector file from its header and size.

    Parameters
    ----------
    path : str or Path
        As for ``read_vectors``.

    Returns
    -------
    VectorFileInfo
        What the file holds; the vectors themselves are not read.

    Raises
    ------
    NotFoundError
        No such file or member.
    InputError
        What ``read_vectors`` would refuse, but for row headers that differ.
    MissingExtraError
        HDF5 without h5py.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> path = Path(tempfile.mkdtemp()) / "x.npy"
    >>> write_vectors(path, np.zeros((5, 8), dtype=np.float32))
    >>> info = describe_vectors(path)
    >>> info.count, info.dim, info.dtype
    (5, 8, 'float32')
    """
    layout = inspect_vectors(path)
    return VectorFileInfo(
        str(path), layout.format, *layout.shape, str(layout.dtype.newbyteorder("=")), layout.offset is not None
    )


def _read_row_headed(layout: VectorLayout, *, mmap: bool) -> Vectors:
    count, dim = layout.shape
    stride = layout.row_header + dim * layout.dtype.itemsize
    raw = np.memmap(layout.file, np.uint8, "r", 0, (count, stride))
    for start in range(0, count, _ROWS_AT_ONCE):
        heads = np.ascontiguousarray(raw[start : start + _ROWS_AT_ONCE, :4]).view("<i4")[:, 0]
        wrong = np.flatnonzero(heads != dim)
        if len(wrong):
            raise InputError(
                f"{layout.file}: "
                + message(
                    f"row {start + wrong[0]} of dimension {heads[wrong[0]]}",
                    f"{dim}, as in the first row",
                    "check the file's format; vectors of several dimensions need several files",
                )
            )
    values = raw[:, layout.row_header :].view(layout.dtype)
    return values if mmap else np.array(values)


def _read_npz(layout: VectorLayout) -> Vectors:
    try:
        with np.load(layout.file, allow_pickle=False) as archive:
            return cast(Vectors, archive[layout.member])
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, OSError) as error:
        raise InputError(
            f"{layout.file}:{layout.member}: "
            + message(f"damaged data ({error})", f"{layout.shape} {layout.dtype}", "copy the file again")
        ) from None


def _read_hdf5(layout: VectorLayout) -> Vectors:
    with open_hdf5(layout.file) as archive:
        return cast(Vectors, archive[layout.member][...])


class NpyWriter:
    """Append rows to an .npy file whose number of rows is known only at the end.

    Parameters
    ----------
    handle : binary file
        Open for writing at position 0, seekable.
    dim : int
        Columns.
    dtype : dtype, default float32
        Stored type, little-endian.

    Attributes
    ----------
    count : int
        Rows written.
    """

    def __init__(self, handle: BinaryIO, dim: int, dtype: npt.DTypeLike = np.float32) -> None:
        self._handle = handle
        self.dim = dim
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self.count = 0
        handle.write(self._header())

    def _header(self) -> bytes:
        record = f"{{'descr': '{self.dtype.str}', 'fortran_order': False, 'shape': ({self.count}, {self.dim}), }}"
        # A fixed length leaves room for any count, so that the header can be rewritten in place.
        text = record.encode("latin-1").ljust(_NPY_HEADER_BYTES - 11) + b"\n"
        return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text

    def append(self, X: npt.NDArray[Any]) -> None:
        """Write rows.

        Parameters
        ----------
        X : ndarray of shape (m, dim)
            The rows, of the writer's dtype.
        """
        self._handle.write(np.ascontiguousarray(X, dtype=self.dtype).tobytes())
        self.count += len(X)

    def finish(self) -> None:
        """Write the final number of rows into the header."""
        self._handle.seek(0)
        self._handle.write(self._header())
        self._handle.seek(0, os.SEEK_END)


def write_vectors(path: str | Path, X: npt.ArrayLike) -> None:
    """Write a matrix in the format that the path's ending names.

    Parameters
    ----------
    path : str or Path
        ``.npy`` keeps the dtype of X; ``.fvecs`` and ``.fbin`` store float32; ``.bvecs`` and ``.u8bin`` uint8,
        ``.i8bin`` int8, ``.ivecs`` and ``.ibin`` int32, each from integers that fit.
    X : array-like of shape (n, d)
        Finite real numbers; a memory map is read in slices. The .fvecs family has no form for n = 0.

    Raises
    ------
    InputError
        Another ending, or no rows for the .fvecs family.
    NotFoundError
        No such folder.
    StoreError
        The disk refused; nothing is left of the attempt.
    DtypeError
        Floats, or integers out of range, for an integer format; values that are not real numbers.
    DimensionError
        Not a matrix.
    NonFiniteError
        NaN or infinity.

    Notes
    -----
    The file appears whole or not at all; an existing one is replaced.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> path = Path(tempfile.mkdtemp()) / "x.u8bin"
    >>> write_vectors(path, np.arange(6).reshape(2, 3))
    >>> read_vectors(path).tolist()
    [[0, 1, 2], [3, 4, 5]]
    """
    path = Path(path)
    suffix = path.suffix.lower()
    array = np.asarray(X)
    if suffix not in WRITABLE:
        raise InputError(message(f"{path}, whose ending is unknown", f"one of {', '.join(WRITABLE)}", "rename it"))
    count, dim = check_matrix("vectors", array.shape, array.dtype)
    if suffix in ROW_HEADED and count == 0:
        raise InputError(
            message(f"no rows for {suffix}", "one row or more, since each states the dimension", "use .npy")
        )
    dtype = (ROW_HEADED | FILE_HEADED).get(suffix, array.dtype)
    try:
        with written_aside(path) as handle:
            writer = NpyWriter(handle, dim, dtype) if suffix == ".npy" else None
            if suffix in FILE_HEADED:
                handle.write(np.array([count, dim], dtype="<u4").tobytes())
            for start in range(0, count, _ROWS_AT_ONCE):
                rows = _converted(array[start : start + _ROWS_AT_ONCE], dtype, start)
                if writer is not None:
                    writer.append(rows)
                else:
                    handle.write(_with_heads(rows).tobytes() if suffix in ROW_HEADED else rows.tobytes())
            if writer is not None:
                writer.finish()
    except FileNotFoundError as error:
        raise NotFoundError(message(f"no folder at {path.parent}", "an existing folder", "create it first")) from error
    except OSError as error:
        raise StoreError(
            message(f"{path}, which cannot be written ({error.strerror})", "a writable folder with space", "free it")
        ) from error


def _converted(rows: Vectors, dtype: np.dtype[Any], start: int) -> Vectors:
    name = f"vectors[{start}:{start + len(rows)}]"
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            out = np.ascontiguousarray(rows, dtype=dtype)
        if not np.isfinite(out).all():
            as_vectors(out, name=name)
        return out
    if rows.dtype.kind not in "iu":
        raise DtypeError(message(f"{name} of dtype {rows.dtype}", f"integers for {dtype}", "quantize or use float32"))
    bounds = np.iinfo(dtype)
    if rows.size and (int(rows.min()) < bounds.min or int(rows.max()) > bounds.max):
        raise DtypeError(
            message(
                f"{name} from {rows.min()} to {rows.max()}",
                f"{bounds.min} to {bounds.max} for {dtype}",
                "use a wider format",
            )
        )
    return np.ascontiguousarray(rows, dtype=dtype)


def _with_heads(rows: Vectors) -> npt.NDArray[np.uint8]:
    count, dim = rows.shape
    out = np.empty((count, 4 + dim * rows.dtype.itemsize), dtype=np.uint8)
    out[:, :4] = np.full((count, 1), dim, dtype="<i4").view(np.uint8)
    out[:, 4:] = rows.view(np.uint8).reshape(count, -1)
    return out
