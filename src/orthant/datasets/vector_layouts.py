"""Where a matrix lies in a vector file: headers read, sizes added up, nothing else touched."""

from __future__ import annotations

import contextlib
import os
import re
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from orthant.errors import (
    DimensionError,
    DtypeError,
    InputError,
    MissingExtraError,
    NotFoundError,
    OrthantError,
    message,
)

__all__ = [
    "FILE_HEADED",
    "ROW_HEADED",
    "SUFFIXES",
    "WRITABLE",
    "VectorLayout",
    "check_matrix",
    "inspect_vectors",
    "open_hdf5",
    "split_member",
]

ROW_HEADED: dict[str, np.dtype[Any]] = {".fvecs": np.dtype("<f4"), ".bvecs": np.dtype("u1"), ".ivecs": np.dtype("<i4")}
FILE_HEADED: dict[str, np.dtype[Any]] = {
    ".fbin": np.dtype("<f4"),
    ".u8bin": np.dtype("u1"),
    ".i8bin": np.dtype("i1"),
    ".ibin": np.dtype("<i4"),
}
_HDF5 = (".hdf5", ".h5")
_MEMBER = re.compile(r"(?P<file>.+\.(?:npz|hdf5|h5)):(?P<member>[^:]+)", re.IGNORECASE)
WRITABLE = (".npy", ".fvecs", ".bvecs", ".ivecs", ".fbin", ".u8bin", ".i8bin", ".ibin")
SUFFIXES = (*WRITABLE, ".npz", *_HDF5)
_MAX_DIM = 1 << 20


@dataclass(frozen=True)
class VectorLayout:
    """Where a matrix lies in a file.

    Attributes
    ----------
    file : Path
        The file, without a member.
    format : str
        Its ending, without the dot.
    shape : tuple of int
        Rows and columns.
    dtype : dtype
        As stored.
    offset : int or None
        First byte of the values; None when they are not there as they stand (archives, chunks, filters).
    row_header : int
        Bytes before every row.
    fortran : bool
        Whether columns are contiguous instead of rows.
    member : str or None
        Array inside the file.
    """

    file: Path
    format: str
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    offset: int | None
    row_header: int = 0
    fortran: bool = False
    member: str | None = None


def split_member(path: str | Path) -> tuple[Path, str | None]:
    """Split ``file.npz:name`` and ``file.hdf5:name`` into file and member.

    Parameters
    ----------
    path : str or Path
        With or without a member.

    Returns
    -------
    file : Path
        The file.
    member : str or None
        The array inside.
    """
    text = os.fspath(path)
    match = _MEMBER.fullmatch(text)
    return (Path(match["file"]), match["member"]) if match else (Path(text), None)


def inspect_vectors(path: str | Path) -> VectorLayout:
    """Read the header of a vector file and check it against the file's size.

    Parameters
    ----------
    path : str or Path
        As for ``read_vectors``.

    Returns
    -------
    VectorLayout
        Where the matrix lies.

    Raises
    ------
    InputError, NotFoundError, MissingExtraError
        As for ``read_vectors``.
    """
    file, member = split_member(path)
    suffix = file.suffix.lower()
    with _open(file) as handle:
        size = os.fstat(handle.fileno()).st_size
        if suffix == ".npy":
            return _inspect_npy(file, handle, size)
        if suffix in ROW_HEADED:
            return _inspect_row_headed(file, handle, size)
        if suffix in FILE_HEADED:
            return _inspect_file_headed(file, handle, size)
        if suffix == ".npz":
            return _inspect_npz(file, handle, member)
    if suffix in _HDF5:
        return _inspect_hdf5(file, member)
    raise InputError(
        message(
            f"{file}, whose ending is unknown",
            f"{', '.join(WRITABLE)}, file.npz:name or file.hdf5:name",
            "rename or convert the file",
        )
    )


@contextlib.contextmanager
def _open(file: Path) -> Iterator[BinaryIO]:
    try:
        handle = open(file, "rb")  # noqa: SIM115
    except FileNotFoundError as error:
        raise NotFoundError(message(f"no file at {file}", "a vector file", "check the path")) from error
    except OSError as error:
        raise InputError(
            message(f"{file}, which cannot be opened ({error.strerror})", "a readable file", "name a vector file")
        ) from error
    with handle:
        yield handle


def check_matrix(place: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, int]:
    """Return (n, d), or refuse what is not a matrix of real numbers.

    Parameters
    ----------
    place : str
        The array, for the error.
    shape : tuple of int
        Its shape.
    dtype : dtype
        Its type.

    Returns
    -------
    tuple of int
        Rows and columns.

    Raises
    ------
    DtypeError
        Not real numbers.
    DimensionError
        Not two axes, or no columns.
    """
    if dtype.kind not in "fiu":
        raise DtypeError(
            f"{place}: "
            + message(f"values of dtype {dtype}", "real numbers", "save it as float32; pickled objects are not loaded")
        )
    if len(shape) != 2 or shape[1] < 1:
        raise DimensionError(
            f"{place}: " + message(f"an array of shape {shape}", "a matrix (n, d) with d of 1 or more", "reshape it")
        )
    return int(shape[0]), int(shape[1])


def _check_size(file: Path, expected: int, actual: int, what: str) -> None:
    if expected != actual:
        fault = "truncated" if actual < expected else "longer than its header says"
        raise InputError(
            f"{file}: " + message(f"{actual} bytes, {fault}", f"{expected} bytes for {what}", "copy the file again")
        )


def _inspect_npy(file: Path, handle: BinaryIO, size: int) -> VectorLayout:
    shape, fortran, dtype = _npy_header(str(file), handle)
    offset = handle.tell()
    matrix = check_matrix(str(file), shape, dtype)
    _check_size(file, offset + matrix[0] * matrix[1] * dtype.itemsize, size, f"{matrix} {dtype}")
    return VectorLayout(file, "npy", matrix, dtype, offset, fortran=fortran)


def _npy_header(place: str, handle: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    from numpy.lib import format as npy

    try:
        version = npy.read_magic(handle)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(handle)
    except (ValueError, EOFError, tokenize.TokenError, zipfile.BadZipFile, zlib.error, OSError) as error:
        raise InputError(
            f"{place}: " + message(f"no readable .npy header ({error})", "a file of numpy.save", "copy it again")
        ) from None
    if min(shape, default=0) < 0:
        raise InputError(f"{place}: " + message(f"a shape of {shape}", "sizes of 0 or more", "copy the file again"))
    return shape, bool(fortran), dtype


def _inspect_row_headed(file: Path, handle: BinaryIO, size: int) -> VectorLayout:
    suffix = file.suffix.lower()
    dtype = ROW_HEADED[suffix]
    head = handle.read(4)
    dim = int(np.frombuffer(head, "<i4")[0]) if len(head) == 4 else 0
    if not 1 <= dim <= _MAX_DIM:
        given = f"a first row of dimension {dim}" if len(head) == 4 else f"{size} bytes"
        raise InputError(
            f"{file}: " + message(given, f"{suffix} rows, each led by its dimension", "check the file's format")
        )
    stride = 4 + dim * dtype.itemsize
    count = -(-size // stride)
    _check_size(file, count * stride, size, f"{count} rows of dimension {dim} ({stride} bytes each)")
    return VectorLayout(file, suffix[1:], (count, dim), dtype, 4, row_header=4)


def _inspect_file_headed(file: Path, handle: BinaryIO, size: int) -> VectorLayout:
    suffix = file.suffix.lower()
    dtype = FILE_HEADED[suffix]
    head = handle.read(8)
    _check_size(file, 8, min(size, 8), "the header (count, dimension)")
    count, dim = np.frombuffer(head, "<u4").tolist()
    check_matrix(str(file), (count, dim), dtype)
    _check_size(file, 8 + count * dim * dtype.itemsize, size, f"{count} rows of dimension {dim}")
    return VectorLayout(file, suffix[1:], (count, dim), dtype, 8)


def _one_member(file: Path, names: list[str], member: str | None) -> str:
    listed = ", ".join(names[:12]) or "none"
    if member is None:
        if len(names) == 1:
            return names[0]
        raise InputError(
            message(f"{file}, which holds {len(names)} arrays", f"one of: {listed}", f"write {file}:NAME to choose")
        )
    if member not in names:
        raise NotFoundError(message(f"no array {member!r} in {file}", f"one of: {listed}", "correct the name"))
    return member


def _inspect_npz(file: Path, handle: BinaryIO, member: str | None) -> VectorLayout:
    try:
        with zipfile.ZipFile(handle) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            name = _one_member(file, names, member)
            with archive.open(f"{name}.npy") as entry:
                shape, fortran, dtype = _npy_header(f"{file}:{name}", entry)
    except (zipfile.BadZipFile, RuntimeError, OSError) as error:
        raise InputError(
            f"{file}: " + message(f"no readable archive ({error})", "a file of numpy.savez", "copy it again")
        ) from None
    matrix = check_matrix(f"{file}:{name}", shape, dtype)
    return VectorLayout(file, "npz", matrix, dtype, None, fortran=fortran, member=name)


@contextlib.contextmanager
def open_hdf5(file: Path) -> Iterator[Any]:
    """Open an HDF5 file for reading.

    Parameters
    ----------
    file : Path
        The file.

    Yields
    ------
    h5py.File
        The open file.

    Raises
    ------
    MissingExtraError
        h5py is not installed.
    InputError
        Not HDF5, or damaged.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(message("an HDF5 file without h5py", "h5py", "pip install 'orthant[hdf5]'")) from error
    try:
        with h5py.File(file, "r") as archive:
            yield archive
    except OrthantError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        # h5py reports damage as any of these, depending on the structure that is hit.
        raise InputError(
            f"{file}: " + message(f"no readable HDF5 data ({error})", "a whole HDF5 file", "copy the file again")
        ) from error


def _inspect_hdf5(file: Path, member: str | None) -> VectorLayout:
    with open_hdf5(file) as archive:
        names: list[str] = []
        archive.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
        name = _one_member(file, names, member.strip("/") if member else None)
        data = archive[name]
        matrix = check_matrix(f"{file}:{name}", data.shape or (), data.dtype)
        # Neither chunked nor filtered: the matrix lies in one piece and can be mapped like any other.
        plain = data.chunks is None and data.compression is None and not data.external and not data.is_virtual
        offset = data.id.get_offset() if plain else None
        if offset is not None:
            end = offset + matrix[0] * matrix[1] * data.dtype.itemsize
            size = file.stat().st_size
            _check_size(file, max(end, size), size, f"{name} of shape {matrix}")
        return VectorLayout(file, "hdf5", matrix, data.dtype, offset, member=name)
