"""How long chunks are for the encoders of a collection, and which settings a stored document depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orthant.datasets.documents.chunking import Chunking, Counter
from orthant.datasets.documents.reading import READER_REVISION

if TYPE_CHECKING:
    from orthant.collection.collection import Collection

__all__ = ["Measure", "measure", "settings_hash"]

_REMEMBERED = 200_000
# Where an encoder counts no tokens for us, a word is taken for so many when its window is to be kept.
_TOKENS_PER_WORD = 3
_SPECIAL_TOKENS = 2


class _Remembering:
    """Counts the tokens of words, each word once.

    Parameters
    ----------
    encoder : object
        With ``token_counts``.
    """

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder
        self._known: dict[str, int] = {}

    def __call__(self, words: Sequence[str]) -> list[int]:
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        new = list({word for word in words if word not in self._known})
        if new:
            self._known.update(zip(new, map(int, self._encoder.token_counts(new)), strict=True))
        return [self._known[word] for word in words]


class Measure:
    """How chunks are counted.

    Parameters
    ----------
    count : callable, optional
        Tokens of words; None counts words.
    limit : int, optional
        Most of them that every encoder sees whole.
    """

    def __init__(self, count: Counter | None = None, limit: int | None = None) -> None:
        self.count, self.limit = count, limit


def measure(collection: Collection) -> Measure:
    """Return how the encoder with the shortest window counts, and how much it sees.

    Parameters
    ----------
    collection : Collection
        Opened, with its encoders at hand.

    Returns
    -------
    Measure
        Words and no limit where no space has an encoder.

    Raises
    ------
    InputError
        A space was made by an encoder that is not at hand.
    """
    definitions = _definitions(collection)
    encoders = [collection._encoders.require(name) for name, mark in definitions.items() if mark is not None]
    if not encoders:
        return Measure()
    windows = [_window(encoder) for encoder in encoders]
    # The order of spaces decides among equals, so that the same collection always divides alike.
    tightest = min(range(len(encoders)), key=lambda i: (windows[i] is None, windows[i] or 0, i))
    encoder, window = encoders[tightest], windows[tightest]
    if hasattr(encoder, "token_counts"):
        return Measure(_Remembering(encoder), window)
    return Measure(None, None if window is None else max(1, window // _TOKENS_PER_WORD))


def _window(encoder: Any) -> int | None:
    told = getattr(encoder, "document_tokens", None)
    window = getattr(encoder, "max_tokens", None)
    if told is not None or window is None:
        return told
    return max(1, int(window) - _SPECIAL_TOKENS)


def _definitions(collection: Collection) -> dict[str, str | None]:
    """Fingerprints of the encoders by space, the space that the next write would make included."""
    held = {name: one.fingerprint for name, one in (collection.spaces | collection.sparse_spaces).items()}
    return held | {definition.name: definition.fingerprint for definition, _ in collection._missing_space({})}


def settings_hash(collection: Collection, chunking: Chunking, truncation: str) -> bytes:
    """Return a hash of everything but its bytes that decides how a document is stored.

    Parameters
    ----------
    collection : Collection
        Its encoders count, at hand or not.
    chunking : Chunking
        The division.
    truncation : str
        What happens beyond a window.

    Returns
    -------
    bytes
        To be hashed together with a document.
    """
    marks = sorted((name, mark) for name, mark in _definitions(collection).items() if mark is not None)
    told = [READER_REVISION, chunking.by, chunking.size, chunking.overlap, truncation if marks else "", marks]
    return hashlib.sha256(json.dumps(told).encode()).digest()
