"""Token ids that are code points, with strings where Unicode has none and bytes for the rest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from orthant.encoders.glyphs.table import GlyphTable
from orthant.errors import InputError, message
from orthant.types import FloatArray
from orthant.validate import as_texts, check_count

__all__ = ["UnicodeTokenizer", "frequent_strings"]

_SURROGATES = range(0xD800, 0xE000)
_BYTES = range(0xE000, 0xE100)
_SPECIAL = range(0xE100, 0xE110)
_MORE = range(0xE110, 0xF900)
_SIZE = 0x10000
_NAMES = ("padding", "begin", "end", "mask", "unknown")


class UnicodeTokenizer:
    """Split texts into characters whose ids are their code points, and into frequent strings.

    Nothing is learned that has to be kept beside a model: two models read the same ids, whatever they were trained on.
    There is no unknown character. Texts are longer than with subwords, several-fold without strings.

    Parameters
    ----------
    strings : sequence of str, optional
        Strings of two characters or more with an id of their own, at most 8,176, such as `frequent_strings` finds.

    Attributes
    ----------
    size : int
        65,536 ids.
    strings : tuple of str
        The longest first, then by alphabet; that is the order of their ids.
    special : dict of str to int
        Ids of ``padding``, ``begin``, ``end``, ``mask`` and ``unknown``; no text has them.

    Raises
    ------
    InputError
        A string of one character or none, or too many.

    Notes
    -----
    Ids 0x0000-0xD7FF and 0xF900-0xFFFF are code points; 0xD800-0xDFFF, surrogates, which no text has, and 0xE110-0xF8FF
    are strings; 0xE000-0xE0FF are bytes, and 0xE100-0xE10F special. Characters beyond the plane and of private use are
    given as the bytes of UTF-8. The longest string that matches is taken, from left to right; the paper applies merges
    instead, the longest first, which can divide a text in another way. Cost: linear in the characters.

    References
    ----------
    A. Bochkov: Emergent Semantics Beyond Token Embeddings. arXiv 2507.04886, section 3.

    Examples
    --------
    >>> tokenizer = UnicodeTokenizer(["the"])
    >>> ids = tokenizer.encode("the яхта 🚤")
    >>> chr(ids[2]), tokenizer.decode(ids)
    ('я', 'the яхта 🚤')
    """

    def __init__(self, strings: Sequence[str] = ()) -> None:
        given = set(as_texts(strings, name="strings"))
        places = [*_SURROGATES, *_MORE]
        short = sorted(text for text in given if len(text) < 2)
        if short or len(given) > len(places):
            told = f"the string {short[0]!r}" if short else f"{len(given)} strings"
            expected = f"at most {len(places)} strings of two characters or more"
            raise InputError(message(told, expected, "leave out what is short or rare"))
        self.size = _SIZE
        self.strings = tuple(sorted(given, key=lambda text: (-len(text), text)))
        self.special = dict(zip(_NAMES, _SPECIAL, strict=False))
        self._ids = dict(zip(self.strings, places, strict=False))
        self._texts = {number: text for text, number in self._ids.items()}
        self._pattern = re.compile("|".join(map(re.escape, self.strings)) + "|." if self.strings else ".", re.DOTALL)

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """Return the ids of a text.

        Parameters
        ----------
        text : str
            Any text without lone surrogates.

        Returns
        -------
        ndarray of shape (n,), int64
            From 0 to 65,535.

        Raises
        ------
        InputError
            Not a text, or one with a lone surrogate, which is half a character.
        """
        (text,) = as_texts([text], name="text")
        ids: list[int] = []
        for piece in self._pattern.findall(text):
            point = self._ids.get(piece) or ord(piece)
            if len(piece) > 1 or point < 0xD800 or 0xF900 <= point < _SIZE:
                ids.append(point)
            elif point in _SURROGATES:
                given = f"the lone surrogate U+{point:04X}"
                raise InputError(message(given, "whole characters", "decode the text with errors='replace'"))
            else:
                ids.extend(_BYTES[byte] for byte in piece.encode())
        return np.array(ids, dtype=np.int64)

    def decode(self, ids: npt.ArrayLike) -> str:
        """Return the text of ids.

        Parameters
        ----------
        ids : array-like of shape (n,), int
            As from `encode`; special ids are passed over, and bytes that are no character become U+FFFD.

        Returns
        -------
        str
            The text.

        Raises
        ------
        InputError
            An id out of range, or of a string that this tokenizer does not have.
        """
        out: list[str] = []
        held = bytearray()
        for number in np.asarray(ids, dtype=np.int64).reshape(-1).tolist():
            if number in _BYTES:
                held.append(number - _BYTES.start)
                continue
            if held:
                out.append(held.decode(errors="replace"))
                held.clear()
            if number in _SPECIAL:
                continue
            known = self._texts.get(number)
            if known is None and (not 0 <= number < _SIZE or 0xD800 <= number < 0xF900):
                raise InputError(message(f"the id {number}", "an id of this tokenizer", "use the one that encoded it"))
            out.append(known if known is not None else chr(number))
        return "".join(out) + held.decode(errors="replace")

    def matrix(self, table: GlyphTable) -> FloatArray:
        """Return the frozen input table of a model: one row per id.

        Parameters
        ----------
        table : GlyphTable
            What draws characters and strings.

        Returns
        -------
        ndarray of shape (65536, dim), float32
            Unit vectors; ids of bytes, special and unused ids have codes. 64 MB at 256 dimensions.
        """
        out = table.rows(np.arange(_SIZE))
        # Private use has pictures in some fonts, and here it has other meanings.
        out[_BYTES.start : _MORE.stop] = table.rows(np.arange(0x110000 - (_MORE.stop - _BYTES.start), 0x110000))
        if self.strings:
            out[list(self._ids.values())] = table.strings(self.strings)
        return out


def frequent_strings(texts: Iterable[str], *, count: int = 1_000, longest: int = 5) -> list[str]:
    """Return the strings of two characters or more that save a tokenizer the most tokens.

    Parameters
    ----------
    texts : iterable of str
        A sample; a megabyte is enough.
    count : int, default 1,000
        How many; fewer where there are fewer. More make texts shorter and each of them rarer in training.
    longest : int, default 5
        Characters of the longest, at least 2.

    Returns
    -------
    list of str
        By occurrences times tokens saved, the best first.

    Raises
    ------
    InputError
        A number out of range.

    Notes
    -----
    Strings are counted within words, with a blank before that belongs to them. Cost: O(longest characters).

    Examples
    --------
    >>> frequent_strings(["she sells sea shells"], count=2, longest=3)
    [' se', 'ell']
    """
    check_count(count, name="count")
    check_count(longest, name="longest", minimum=2)
    words: Counter[str] = Counter()
    for text in texts:
        words.update(re.findall(r" ?\w+", text))
    found: Counter[str] = Counter()
    for word, times in words.items():
        for size in range(2, longest + 1):
            for start in range(len(word) - size + 1):
                found[word[start : start + size]] += times * (size - 1)
    return [text for text, _ in sorted(found.items(), key=lambda item: (-item[1], item[0]))[:count]]
