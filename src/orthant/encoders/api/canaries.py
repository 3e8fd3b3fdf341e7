"""Fixed texts embedded again and again, to notice that other weights answer under the same name."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from uuid import uuid4

import numpy as np

from orthant.encoders.api.vector_cache import VectorCache
from orthant.errors import EncoderMismatchError, message
from orthant.types import FloatArray

__all__ = ["CANARIES", "CanaryWatch", "canary_key", "require_same"]

CANARIES = (
    "The tide tables for the northern harbour were printed a week late.",
    "for row in rows: total += row.amount * rate",
    "Der Vertrag endet, wenn er nicht drei Monate vorher verlängert wird.",
)
"""Few and short: they are paid for at every opening."""


def canary_key(number: int) -> bytes:
    """Return the key under which a cache keeps the reference vector of a canary.

    Parameters
    ----------
    number : int
        Position in ``CANARIES``.

    Returns
    -------
    bytes
        Differs from the key of any text.
    """
    return b"canary" + hashlib.sha256(CANARIES[number].encode()).digest()


def require_same(now: FloatArray, reference: FloatArray, *, tolerance: float, source: str, remedy: str) -> None:
    """Compare canaries with their reference.

    Parameters
    ----------
    now, reference : ndarray of shape (c, dim), float32
        Vectors of the canaries today and when first asked for.
    tolerance : float
        How far a cosine may be from 1.
    source : str
        Who answered, for the message.
    remedy : str
        What to do, for the message.

    Raises
    ------
    EncoderMismatchError
        A canary moved; the text names it and its cosine.

    Examples
    --------
    >>> same = np.ones((3, 2), np.float32)
    >>> require_same(same, same, tolerance=0.001, source="s", remedy="r")
    """
    if now.shape != reference.shape:
        raise EncoderMismatchError(
            message(f"vectors of dimension {now.shape[1]} from {source}", f"{reference.shape[1]}, as before", remedy)
        )
    a, b = now.astype(np.float64), reference.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = (a * b).sum(axis=1) / np.where(norms == 0, 1, norms)
    worst = int(cosines.argmin())
    if cosines[worst] < 1 - tolerance:
        raise EncoderMismatchError(
            message(
                f"another vector from {source} for canary {worst} ({CANARIES[worst]!r}): cosine "
                f"{cosines[worst]:.4f} to the one kept",
                f"at least {1 - tolerance:g}",
                remedy,
            )
        )


class CanaryWatch:
    """Compare canaries at opening and every so many requests, and forget what was kept since they last agreed.

    Parameters
    ----------
    ask : callable
        From a list of texts to vectors of shape (n, dim), never from a cache.
    cache : VectorCache or None
        Where the reference lives from one process to the next.
    identity : str
        What makes the vectors, as the cache knows it.
    requests : callable
        Returns the requests answered so far.
    every : int
        Requests between two comparisons.
    tolerance : float
        How far a cosine may be from 1.
    source : str
        Who answers, for messages.
    """

    def __init__(
        self,
        ask: Callable[[list[str]], FloatArray],
        *,
        cache: VectorCache | None,
        identity: str,
        requests: Callable[[], int],
        every: int,
        tolerance: float,
        source: str,
    ) -> None:
        self._ask, self._cache, self._identity = ask, cache, identity
        self._requests, self._every, self._tolerance, self._source = requests, every, tolerance, source
        self._lock = threading.Lock()
        self._owner, self._passed = uuid4().hex, 0
        self._reference = self._first()
        self._seen = requests()

    @property
    def dim(self) -> int:
        """Dimension of the canaries' vectors."""
        return self._reference.shape[1]

    @property
    def batch(self) -> str:
        """Label of what is kept before the next comparison."""
        return f"{self._owner}-{self._passed}"

    def _first(self) -> FloatArray:
        now = self._ask(list(CANARIES))
        keys = [canary_key(i) for i in range(len(CANARIES))]
        if self._cache is None:
            return now
        found = self._cache.get(self._identity, keys)
        if len(found) == len(keys) and len({vector.size for vector in found.values()}) == 1:
            self._require(now, np.stack([found[key] for key in keys]))
            return np.stack([found[key] for key in keys])
        self._cache.put(self._identity, dict(zip(keys, now, strict=True)))
        return now

    def compare_if_due(self) -> None:
        """Compare again where it is due; call it before asking for anything.

        Raises
        ------
        EncoderMismatchError
            A canary moved. What was kept since the last comparison is forgotten, and every further call compares
            again.
        """
        with self._lock:
            if self._requests() - self._seen < self._every:
                return
            try:
                self._require(self._ask(list(CANARIES)), self._reference)
            except EncoderMismatchError:
                if self._cache is not None:
                    self._cache.forget(self._identity, batch=self.batch)
                raise
            self._passed += 1
            self._seen = self._requests()

    def _require(self, now: FloatArray, reference: FloatArray) -> None:
        require_same(
            now,
            reference,
            tolerance=self._tolerance,
            source=self._source,
            remedy="ask the provider for the former model, or pass another revision='...' and encode into a new space: "
            "old and new vectors do not mix",
        )
