"""The errors Orthant raises, as one tree.

Every message says what was given, what was expected, and what to do. ``message()`` composes the three parts so
that no raise site forgets one.

::

    OrthantError
    ├── InputError (ValueError)
    │   ├── DimensionError
    │   ├── DtypeError
    │   ├── NonFiniteError
    │   └── FilterError
    ├── NotFittedError (ValueError, AttributeError)
    ├── MissingExtraError (ImportError)
    ├── EncoderMismatchError
    ├── EndpointError
    ├── NotFoundError (KeyError)
    ├── OverloadedError
    └── StoreError
        ├── StoreCorruptedError
        ├── StoreLockedError
        ├── StoreVersionError
        └── StoreReadOnlyError
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

__all__ = [
    "DimensionError",
    "DtypeError",
    "EncoderMismatchError",
    "EndpointError",
    "FilterError",
    "InputError",
    "MissingExtraError",
    "NonFiniteError",
    "NotFittedError",
    "NotFoundError",
    "OrthantError",
    "OverloadedError",
    "StoreCorruptedError",
    "StoreError",
    "StoreLockedError",
    "StoreReadOnlyError",
    "StoreVersionError",
    "message",
    "quiet",
    "warn",
]

_HOME = str(Path(__file__).parent) + os.sep
_SILENT: ContextVar[bool] = ContextVar("orthant_silent", default=False)


def message(given: str, expected: str, remedy: str) -> str:
    """Compose an error text from what was given, what was expected and what to do.

    Parameters
    ----------
    given : str
        What arrived, as the user would recognise it.
    expected : str
        What would have been accepted.
    remedy : str
        The next step, as an imperative.

    Returns
    -------
    str
        One paragraph: ``"Got <given>; expected <expected>. <Remedy>."``

    Examples
    --------
    >>> message("k=0", "k of at least 1", "pass k=1 or more")
    'Got k=0; expected k of at least 1. Pass k=1 or more.'
    """
    remedy = remedy.rstrip(".")
    return f"Got {given}; expected {expected.rstrip('.')}. {remedy[:1].upper()}{remedy[1:]}."


def warn(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the caller's own line: the nearest one outside this package.

    Parameters
    ----------
    text : str
        What is wrong, and what the reader can do about it.
    category : type of Warning, default UserWarning
        Its class.
    """
    if _SILENT.get():
        return
    depth, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HOME):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(text, category, stacklevel=depth)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep `warn` silent in this thread: for settings that the library chose, which no caller could change.

    Yields
    ------
    None
        Warnings of other threads and other packages are not touched.
    """
    token = _SILENT.set(True)
    try:
        yield
    finally:
        _SILENT.reset(token)


class OrthantError(Exception):
    """Root of every error that Orthant raises on purpose."""


class InputError(OrthantError, ValueError):
    """An argument, a file or a record was not acceptable; nothing was changed."""


class DimensionError(InputError):
    """Vectors had another number of columns, or axes, than the target holds."""


class DtypeError(InputError):
    """Values had a type that cannot be converted without loss of meaning."""


class NonFiniteError(InputError):
    """Vectors or values contained NaN or infinity."""


class FilterError(InputError):
    """A where-expression was malformed or did not fit the types it met."""


class NotFittedError(OrthantError, ValueError, AttributeError):
    """An estimator was used before ``fit``."""


class MissingExtraError(OrthantError, ImportError):
    """A feature needs an optional dependency that is not installed; the text names the extra."""


class EncoderMismatchError(OrthantError):
    """A space was made with another encoder than the one given now."""


class EndpointError(OrthantError):
    """A server on the network did not answer, refused a request or answered nonsense.

    Parameters
    ----------
    text : str
        What happened and what to do.
    status : int, optional
        The HTTP status of a refusal; None where there was no such answer.
    """

    def __init__(self, text: str, *, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class NotFoundError(OrthantError, KeyError):
    """An id, space, data set or paper key does not exist."""

    def __str__(self) -> str:
        """Return the plain message; ``KeyError`` would print its repr."""
        return str(self.args[0]) if self.args else ""


class OverloadedError(OrthantError):
    """More calls wait for their turn than were allowed; nothing was done, and trying again later may succeed."""


class StoreError(OrthantError):
    """A collection on disk could not be read or written."""


class StoreCorruptedError(StoreError):
    """A stored file is damaged; the text names the file and, where known, the block."""


class StoreLockedError(StoreError):
    """Another process holds the writer lock."""


class StoreVersionError(StoreError):
    """A stored file needs a newer release than this one."""


class StoreReadOnlyError(StoreError):
    """A write was asked of a collection that is open for reading, or of a folder that cannot be written."""
