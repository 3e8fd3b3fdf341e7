"""A function of one's own as an encoder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.encoders.fingerprint import Fingerprint
from orthant.encoders.progress import progress_bar
from orthant.errors import DimensionError, InputError, message
from orthant.types import EncodeReport, FloatArray, Role
from orthant.validate import as_vectors, check_choice, check_count

__all__ = ["CallableEncoder"]

Function = Callable[[list[Any]], npt.ArrayLike]


def as_item_list(items: Sequence[Any]) -> list[Any]:
    """Return items of any kind as a list, refusing a bare text, which would be read as its letters.

    Parameters
    ----------
    items : sequence
        Items.

    Returns
    -------
    list
        The same items.

    Raises
    ------
    InputError
        A bare str or bytes, or something else that is no sequence.
    """
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        raise InputError(message(f"items as one {type(items).__name__}", "a list of items", "write [item]"))
    return list(items)


class CallableEncoder:
    """Wrap a function from a list of items to vectors, such as a call to your own model or service.

    Use it when no other encoder fits. A function has no weights to hash, so its identity is what you say: change
    ``revision`` whenever the function's vectors change, or old and new vectors will mix unnoticed.

    Parameters
    ----------
    function : callable
        Takes a list of items of any kind, returns finite array-like vectors of shape (n, dim), in the same order.
    dim : int
        Dimension of the vectors, at least 1.
    name : str
        Name of the model, for the fingerprint.
    revision : str, default ""
        Version of the model, for the fingerprint.
    query_function : callable, optional
        Used for queries; left out, ``function`` serves both roles.
    max_tokens : int, optional
        Window of the model, where it has one. What is cut cannot be counted from outside.

    Attributes
    ----------
    dim, max_tokens
        As given.
    fingerprint : str
        From name, revision, dimension and window.

    Raises
    ------
    InputError
        Not a function, an empty name or a dimension below 1.

    Notes
    -----
    A collection cannot store a function. Pass the encoder again when you open it, or register a loader with
    ``register_encoder_name``.

    Examples
    --------
    >>> lengths = CallableEncoder(lambda texts: [[len(t), 1] for t in texts], dim=2, name="lengths")
    >>> lengths.encode(["a", "four"])
    array([[1., 1.],
           [4., 1.]], dtype=float32)
    """

    def __init__(
        self,
        function: Function,
        *,
        dim: int,
        name: str,
        revision: str = "",
        query_function: Function | None = None,
        max_tokens: int | None = None,
    ) -> None:
        for one in (function, query_function or function):
            if not callable(one):
                raise InputError(message(f"a {type(one).__name__}", "a function from items to vectors", "pass one"))
        self._functions: dict[str, Function] = {"document": function, "query": query_function or function}
        self.dim = check_count(dim, name="dim")
        self.max_tokens = max_tokens
        self.fingerprint = str(Fingerprint(name=name, revision=revision, dim=dim, max_tokens=max_tokens))

    def encode(
        self, items: Sequence[Any], *, role: Role = "document", batch_size: int = 64, progress: bool = False
    ) -> FloatArray:
        """Return one vector per item.

        Parameters
        ----------
        items : sequence
            Whatever the function takes.
        role : {"query", "document"}, default "document"
            Chooses the function.
        batch_size : int, default 64
            Items per call of the function.
        progress : bool, default False
            Show a bar on stderr.

        Returns
        -------
        ndarray of shape (n, dim), float32, C-contiguous
            In the order given.

        Raises
        ------
        DimensionError
            The function returned another shape.
        NonFiniteError
            The function returned NaN or infinity.
        """
        check_choice(role, ("query", "document"), name="role")
        check_count(batch_size, name="batch_size")
        given = as_item_list(items)
        out = np.empty((len(given), self.dim), dtype=np.float32)
        with progress_bar(len(given), shown=progress) as advance:
            for start in range(0, len(given), batch_size):
                batch = given[start : start + batch_size]
                found = as_vectors(self._functions[role](batch), dim=self.dim, name="vectors of the function")
                if len(found) != len(batch):
                    raise DimensionError(
                        message(f"{len(found)} vectors for {len(batch)} items", "one per item", "check the function")
                    )
                out[start : start + len(batch)] = found
                advance(len(batch))
        return out

    def encode_with_report(
        self, items: Sequence[Any], *, role: Role = "document", batch_size: int = 64, progress: bool = False
    ) -> tuple[FloatArray, EncodeReport]:
        """Return the vectors and a report of items and seconds; the rest is not visible from outside.

        Parameters
        ----------
        items, role, batch_size, progress
            As for ``encode``.

        Returns
        -------
        vectors : ndarray of shape (n, dim), float32, C-contiguous
            As from ``encode``.
        report : EncodeReport
            Items and seconds.

        Raises
        ------
        DimensionError
            As for ``encode``.
        """
        started = time.perf_counter()
        vectors = self.encode(items, role=role, batch_size=batch_size, progress=progress)
        return vectors, EncodeReport(items=len(vectors), seconds=time.perf_counter() - started)

    def __repr__(self) -> str:
        """Return the identity in one line."""
        return f"CallableEncoder({self.fingerprint!r})"
