"""The public border: every array and number a user passes is checked and converted here, once.

Kernels trust what they get; nothing else in the package repeats these checks.
"""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, DtypeError, InputError, NonFiniteError, message
from orthant.types import BitmapArray, CodeArray, FloatArray, IdArray, Metric, Ragged

__all__ = [
    "as_allowed",
    "as_array",
    "as_codes",
    "as_ids",
    "as_ragged",
    "as_texts",
    "as_vectors",
    "check_choice",
    "check_count",
    "check_fraction",
    "check_metric",
    "check_path",
]

_MAX_SHOWN = 5
_SURROGATES = re.compile("[\ud800-\udfff]")


def as_vectors(
    X: npt.ArrayLike,
    *,
    dim: int | None = None,
    name: str = "vectors",
    nonzero: bool = False,
    single: bool = False,
) -> FloatArray:
    """Return X as a finite float32 C-contiguous matrix, or say what is wrong with it.

    Parameters
    ----------
    X : array-like of shape (n, d), or (d,) when ``single``
        Any real numeric dtype, any strides; also what has ``__dlpack__`` on the CPU, taken without a copy.
    dim : int, optional
        Number of columns required. Left out, any is accepted.
    name : str, default "vectors"
        How the argument is called in an error.
    nonzero : bool, default False
        Refuse rows of norm zero (the cosine is undefined there).
    single : bool, default False
        Accept one vector of shape (d,) and return it as (1, d).

    Returns
    -------
    ndarray of shape (n, d), float32, C-contiguous
        A view when X already was one, else a copy.

    Raises
    ------
    DtypeError
        Not numeric, complex, or ragged.
    DimensionError
        Wrong number of axes or columns, or no columns.
    NonFiniteError
        NaN or infinity, including float64 values that float32 cannot hold.
    InputError
        A zero row where ``nonzero`` is set.
    """
    array = _numeric(X, name)
    if single and array.ndim == 1:
        array = array[None, :]
    if array.ndim != 2:
        raise DimensionError(
            message(
                f"{name} of shape {array.shape}", "a matrix of shape (n, d)", "reshape to two axes, one row per item"
            )
        )
    if dim is not None and array.shape[1] != dim and not (array.size == 0 and len(array) == 0):
        raise DimensionError(
            message(
                f"{name} with {array.shape[1]} columns",
                f"{dim}",
                "encode with the encoder that made the stored vectors",
            )
        )
    if dim is not None and len(array) == 0:
        return np.zeros((0, dim), dtype=np.float32)
    if array.shape[1] == 0:
        raise DimensionError(message(f"{name} with no columns", "at least one", "pass vectors of dimension 1 or more"))
    if array.dtype == np.float32:
        out: FloatArray = np.ascontiguousarray(array)
        # One query at a time is the commonest call: its square is finite and not zero when all is well.
        if len(out) == 1 and 0 < float(np.dot(out[0], out[0])) < np.inf:
            return out
    else:
        with np.errstate(over="ignore"):
            out = np.ascontiguousarray(array, dtype=np.float32)
    _check_finite(out, name)
    if nonzero:
        _check_nonzero(out, name)
    return out


def as_array(X: Any, *, name: str = "vectors") -> Any:
    """Return what speaks DLPack as a NumPy array on the same memory, and anything else as it is.

    Parameters
    ----------
    X : any
        A tensor of torch, jax or another library, or something else.
    name : str, default "vectors"
        How the argument is called in an error.

    Returns
    -------
    ndarray or any
        A view of a tensor on the CPU.

    Raises
    ------
    DtypeError
        A tensor on another device, one that needs gradients, or of a dtype that NumPy lacks.
    """
    if isinstance(X, np.ndarray) or not hasattr(X, "__dlpack__"):
        return X
    try:
        return np.from_dlpack(X)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise DtypeError(
            message(
                f"{name} as a {type(X).__name__} that cannot be shared ({error})",
                "a tensor on the CPU without gradients, of a dtype that NumPy has",
                "pass X.detach().cpu().float()",
            )
        ) from error


def _numeric(X: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    if hasattr(X, "toarray"):
        raise DtypeError(message(f"{name} as a sparse matrix", "a dense array", "call .toarray() first"))
    try:
        array = np.asarray(as_array(X, name=name))
    except ValueError as error:
        raise DtypeError(
            message(f"{name} with rows of different lengths", "equal lengths", "check each row's length")
        ) from error
    if array.dtype == object or array.dtype.kind not in "fiub":
        raise DtypeError(
            message(
                f"{name} of dtype {array.dtype}", "a real numeric dtype", "convert to float32 with .astype(np.float32)"
            )
        )
    return array


def _check_finite(array: FloatArray, name: str) -> None:
    # One reduction is enough in the common case: a sum is finite when every term is, barring overflow.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(array.sum(dtype=np.float64)):
            return
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        shown = ", ".join(str(i) for i in bad[:_MAX_SHOWN]) + (" ..." if len(bad) > _MAX_SHOWN else "")
        raise NonFiniteError(
            message(
                f"{name} with NaN or infinity in {len(bad)} row(s): {shown}",
                "finite float32 values",
                "drop or repair these rows",
            )
        )


def _check_nonzero(array: FloatArray, name: str) -> None:
    bad = np.flatnonzero(~array.any(axis=1))
    if len(bad):
        shown = ", ".join(str(i) for i in bad[:_MAX_SHOWN]) + (" ..." if len(bad) > _MAX_SHOWN else "")
        raise InputError(
            message(
                f"{name} with {len(bad)} zero row(s): {shown}",
                "a non-zero norm, since the cosine is undefined at zero",
                "drop these rows or use metric='dot' or 'l2'",
            )
        )


def as_ids(ids: npt.ArrayLike | Iterable[int], *, count: int | None = None, name: str = "ids") -> IdArray:
    """Return ids as a one-dimensional int64 array of non-negative, distinct values.

    Parameters
    ----------
    ids : array-like of int, shape (n,)
        Index ids. Floats and booleans are refused.
    count : int, optional
        Length required.
    name : str, default "ids"
        How the argument is called in an error.

    Returns
    -------
    ndarray of shape (n,), int64
        The ids.

    Raises
    ------
    DtypeError
        Not integers.
    DimensionError
        Not one axis, or not ``count`` long.
    InputError
        Negative or repeated ids.
    """
    array = np.asarray(ids if hasattr(ids, "__len__") else list(ids))  # type: ignore[arg-type]
    if array.size == 0:
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise DtypeError(message(f"{name} of dtype {array.dtype}", "integers", "map your ids to int64 first"))
    if array.ndim != 1:
        raise DimensionError(message(f"{name} of shape {array.shape}", "one axis", "pass a flat sequence"))
    if count is not None and len(array) != count:
        raise DimensionError(message(f"{len(array)} {name}", f"{count}", "pass one id per row"))
    if array.dtype.kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise InputError(message(f"{name} above 2**63 - 1", "int64 values", "use smaller ids"))
    out = np.ascontiguousarray(array, dtype=np.int64)
    if len(out) and int(out.min()) < 0:
        raise InputError(
            message(f"a negative value in {name}", "ids of 0 or more", "-1 is reserved for 'no neighbour'")
        )
    if len(np.unique(out)) != len(out):
        raise InputError(message(f"repeated values in {name}", "distinct ids", "keep one row per id"))
    return out


def as_ragged(tokens: Any, *, dim: int | None = None, name: str = "tokens", nonempty: bool = False) -> Ragged:
    """Return sets of vectors as a ``Ragged`` of finite float32 rows, or say what is wrong with them.

    Parameters
    ----------
    tokens : Ragged, or sequence of array-like of shape (length, d)
        One set of vectors per item.
    dim : int, optional
        Number of columns required. Left out, any is accepted.
    name : str, default "tokens"
        How the argument is called in an error.
    nonempty : bool, default False
        Refuse a set without vectors (it has no best match).

    Returns
    -------
    Ragged
        ``values`` of shape (T, d), float32, C-contiguous; ``offsets`` of shape (n + 1,), int64, from 0 to T.

    Raises
    ------
    DtypeError
        Not a ``Ragged`` and not a sequence of matrices, or offsets that are not integers.
    DimensionError
        Wrong columns, or offsets that do not cover the values in order.
    NonFiniteError
        NaN or infinity.
    InputError
        An empty set where ``nonempty`` is set.
    """
    if not isinstance(tokens, Ragged):
        if isinstance(tokens, np.ndarray) and tokens.ndim != 3:
            expected = "a Ragged, or one matrix per item"
            raise DtypeError(message(f"{name} as one array of shape {tokens.shape}", expected, f"write [{name}]"))
        rows = [as_vectors(one, dim=dim, name=f"{name}[{i}]") for i, one in enumerate(tokens)]
        widths = {row.shape[1] for row in rows}
        if len(widths) > 1:
            raise DimensionError(message(f"{name} of {sorted(widths)} columns", "one width", "use one encoder"))
        empty = np.zeros((0, dim or (widths.pop() if widths else 1)), dtype=np.float32)
        offsets = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int64)
        out = Ragged(np.concatenate([empty, *rows]), offsets)
    else:
        offsets = np.asarray(tokens.offsets)
        if offsets.ndim != 1 or not len(offsets) or offsets.dtype.kind not in "iu":
            given = f"offsets of {name} of dtype {offsets.dtype} and shape {offsets.shape}"
            raise DtypeError(message(given, "n + 1 integers", "pass what the encoder returned"))
        out = Ragged(as_vectors(tokens.values, dim=dim, name=name), np.ascontiguousarray(offsets, dtype=np.int64))
    lengths = np.diff(out.offsets)
    if out.offsets[0] != 0 or out.offsets[-1] != len(out.values) or (lengths < 0).any():
        given = f"offsets of {name} that do not cover {len(out.values)} rows in order"
        raise DimensionError(message(given, "values from 0 to the number of rows", "pass what the encoder returned"))
    if nonempty and (lengths == 0).any():
        bad = np.flatnonzero(lengths == 0)
        shown = ", ".join(str(i) for i in bad[:_MAX_SHOWN]) + (" ..." if len(bad) > _MAX_SHOWN else "")
        given = f"{len(bad)} of {name} without a single vector: {shown}"
        raise InputError(message(given, "one vector at least, since an empty set has no best match", "drop them"))
    return out


def as_texts(texts: Iterable[str], *, name: str = "texts") -> list[str]:
    """Return texts as a list of str, or name the first element that is not one.

    Parameters
    ----------
    texts : iterable of str
        Texts; a single str is refused, since it would be read as its letters.
    name : str, default "texts"
        How the argument is called in an error.

    Returns
    -------
    list of str
        The texts.

    Raises
    ------
    InputError
        A bare str, an element that is not a str, or one with half a surrogate pair, which no encoding can write.
    """
    if isinstance(texts, (str, bytes)):
        raise InputError(message(f"{name} as one {type(texts).__name__}", "a list of str", f"write [{name}]"))
    out = list(texts)
    for i, text in enumerate(out):
        if not isinstance(text, str):
            raise InputError(
                message(f"{name}[{i}] of type {type(text).__name__}", "str", "convert or drop that element")
            )
        if not text.isascii() and _SURROGATES.search(text):
            given = f"{name}[{i}] with a lone surrogate, which is no text"
            raise InputError(message(given, "valid Unicode", "decode the source with errors='replace'"))
    return out


def check_path(value: Any, *, name: str) -> Path:
    """Return a path, or refuse what names no place.

    Parameters
    ----------
    value : str or path-like
        An empty one is refused: ``Path("")`` is the working folder, which nobody means by a variable that is not set.
    name : str
        How the argument is called in an error.

    Returns
    -------
    Path
        As given.

    Raises
    ------
    InputError
        Neither a str nor path-like, empty, with a NUL, or longer than names can be.
    """
    text = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(text, str):
        raise InputError(message(f"{name} of type {type(value).__name__}", "a str or a Path", "pass one of them"))
    if not _names_a_place(text):
        raise InputError(message(f"{name}={text[:80]!r}", "the path of a file or folder", "check where it came from"))
    return Path(value)


def _names_a_place(text: str) -> bool:
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        return False
    # No file system takes a longer name, and asking for one is an error of its own kind.
    return bool(text) and b"\0" not in encoded and all(len(part) <= 255 for part in encoded.split(os.sep.encode()))


def as_allowed(
    allowed: BitmapArray | npt.ArrayLike | None, *, name: str = "allowed"
) -> BitmapArray | IdArray | npt.NDArray[np.bool_] | None:
    """Check an ``allowed`` argument: a uint64 bitmap over ids, a boolean mask over ids, or an array of ids.

    Parameters
    ----------
    allowed : uint64 bitmap, bool mask, array of int, or None
        Bit or position i stands for id i; None allows every id.
    name : str, default "allowed"
        How the argument is called in an error.

    Returns
    -------
    ndarray or None
        The argument as uint64, bool or int64 array of one axis.

    Raises
    ------
    DtypeError
        Another dtype.
    DimensionError
        More than one axis.
    """
    if allowed is None:
        return None
    array = np.asarray(allowed)
    if array.ndim != 1:
        raise DimensionError(
            message(f"{name} of shape {array.shape}", "one axis", "pass a flat bitmap, mask or id array")
        )
    if array.dtype == np.uint64 or array.dtype == np.bool_:
        return np.ascontiguousarray(array)
    if array.size == 0:
        return np.zeros(0, dtype=np.int64)
    if array.dtype.kind not in "iu":
        raise DtypeError(
            message(f"{name} of dtype {array.dtype}", "a uint64 bitmap, a bool mask or integer ids", "convert it")
        )
    return np.ascontiguousarray(array, dtype=np.int64)


def as_codes(codes: npt.ArrayLike, *, size: int, name: str = "codes") -> CodeArray:
    """Return codes as a C-contiguous uint8 matrix of the right width.

    Parameters
    ----------
    codes : array-like of shape (n, size), uint8
        What a quantizer's ``encode`` returned.
    size : int
        Bytes per vector.
    name : str, default "codes"
        How the argument is called in an error.

    Returns
    -------
    ndarray of shape (n, size), uint8, C-contiguous
        A view when the codes already were, else a copy.

    Raises
    ------
    DtypeError
        Another dtype: numbers would be cut to bytes silently.
    DimensionError
        Another shape.
    """
    array = np.asarray(codes)
    if array.dtype != np.uint8:
        raise DtypeError(message(f"{name} of dtype {array.dtype}", "uint8", "pass what encode returned"))
    if array.ndim != 2 or array.shape[1] != size:
        raise DimensionError(
            message(f"{name} of shape {array.shape}", f"(n, {size})", "pass what encode of this quantizer returned")
        )
    return np.ascontiguousarray(array)


def check_count(value: Any, *, name: str, minimum: int = 1, maximum: int | None = None) -> int:
    """Return value as an int within bounds.

    Parameters
    ----------
    value : int
        NumPy integers are accepted, booleans and floats are not.
    name : str
        How the argument is called in an error.
    minimum : int, default 1
        Smallest value accepted.
    maximum : int, optional
        Largest value accepted.

    Returns
    -------
    int
        The value.

    Raises
    ------
    InputError
        Not an integer, or out of bounds.
    """
    if type(value) is int and value >= minimum and (maximum is None or value <= maximum):
        return value
    try:
        number = operator.index(value)
    except TypeError as error:
        expected = _bounds(minimum, maximum)
        raise InputError(message(f"{name}={value!r}", expected, f"pass {name} as an int")) from error
    if isinstance(value, (bool, np.bool_)) or number < minimum or (maximum is not None and number > maximum):
        expected = _bounds(minimum, maximum)
        raise InputError(message(f"{name}={value!r}", expected, f"choose {name} in that range"))
    return number


def _bounds(minimum: int, maximum: int | None) -> str:
    return f"an integer of at least {minimum}" + (f" and at most {maximum}" if maximum is not None else "")


def check_fraction(value: Any, *, name: str, low: float = 0.0, high: float = 1.0) -> float:
    """Return value as a finite float within [low, high].

    Parameters
    ----------
    value : float
        The number.
    name : str
        How the argument is called in an error.
    low, high : float, default 0.0 and 1.0
        Bounds, inclusive.

    Returns
    -------
    float
        The value.

    Raises
    ------
    InputError
        Not a number, or out of bounds.
    """
    if type(value) is float and low <= value <= high:
        return value
    expected = f"a number from {low:g} to {high:g}"
    if isinstance(value, (bool, str, bytes)):
        raise InputError(message(f"{name}={value!r}", expected, f"pass {name} as a float"))
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise InputError(message(f"{name}={value!r}", expected, f"pass {name} as a float")) from error
    if not low <= number <= high:
        raise InputError(message(f"{name}={value!r}", expected, f"choose {name} in that range"))
    return number


def check_effort(effort: int | None, recall: float | None, threads: int | None = None) -> None:
    """Check what a search of an approximate index may be asked for besides k.

    Parameters
    ----------
    effort : int or None
        At least 1.
    recall : float or None
        From 0 to 1.
    threads : int or None
        At least 1.

    Raises
    ------
    InputError
        A number out of range, or both effort and recall.
    """
    if effort is not None:
        check_count(effort, name="effort")
    if recall is not None:
        check_fraction(recall, name="recall")
        if effort is not None:
            raise InputError(message("both effort and recall", "one of them", "leave one out"))
    if threads is not None:
        check_count(threads, name="threads")


def check_choice(value: Any, choices: Sequence[str], *, name: str) -> str:
    """Return value if it is one of the choices.

    Parameters
    ----------
    value : str
        The choice made.
    choices : sequence of str
        What is valid.
    name : str
        How the argument is called in an error.

    Returns
    -------
    str
        The value.

    Raises
    ------
    InputError
        Not among the choices; the error lists them.
    """
    if not isinstance(value, str) or value not in choices:
        listed = ", ".join(repr(c) for c in choices)
        raise InputError(message(f"{name}={value!r}", f"one of {listed}", "check the spelling"))
    return value


def check_metric(value: Any) -> Metric:
    """Return value if it names a metric: ``"dot"``, ``"cosine"`` or ``"l2"``.

    Parameters
    ----------
    value : str
        The name.

    Returns
    -------
    str
        The same name.

    Raises
    ------
    InputError
        Another name.
    """
    return check_choice(value, get_args(Metric), name="metric")  # type: ignore[return-value]
