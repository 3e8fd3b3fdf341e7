"""Lookalikes found and undone: letters of other scripts that stand in for Latin ones."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np

from orthant.encoders.glyphs.table import GlyphTable
from orthant.errors import InputError, message
from orthant.validate import as_texts, check_fraction

__all__ = ["LookalikeFolding"]

_WORD = re.compile(r"[^\W_]+")
_MARKS = ("Mn", "Me", "Cf")


class LookalikeFolding:
    """Replace letters by the Latin ones that they look like, so that a disguised word is recognised.

    Use it before any encoder or lexical index where texts come from people who evade filters, and to list suspicious
    names. It has no list of lookalikes: what looks alike in the font is alike, accents included.

    Parameters
    ----------
    threshold : float, default 0.92, range 0 to 1
        Least cosine of two pictures. Lower folds more, and wrongly; above 0.99 only twins to the pixel.
    letters : str
        What others are folded to; the Latin alphabet and digits when left out.
    mixed_only : bool, default True
        Leave words alone that have none of the letters: Russian stays Russian. Off, every letter with a lookalike is
        folded, for names of accounts and domains.
    accents : bool, default False
        Take accents off as well, which Unicode knows without pictures.
    table : GlyphTable, optional
        Whose pictures decide.

    Raises
    ------
    InputError
        A threshold out of range, or no letters.

    Notes
    -----
    Compatibility forms (full width, mathematical alphabets) are resolved by Unicode's NFKC first. Then
    ``fold(c) = argmax_l <g_c, g_l>`` over the letters l of the same case, where that is at least the threshold.
    Cost: 62 dim multiplications per new character; known ones are looked up.

    References
    ----------
    A. Bochkov: Emergent Semantics Beyond Token Embeddings. arXiv 2507.04886, section 3 (the table).
    M. Davis, M. Suignard: Unicode Security Mechanisms. Unicode Technical Standard 39 (lists instead of pictures).

    Examples
    --------
    >>> folding = LookalikeFolding()
    >>> folding.fold("раypаl"), folding.fold("привет")
    ('paypal', 'привет')
    >>> folding.suspicious("send to раypаl now")
    [('раypаl', 'paypal')]
    """

    def __init__(
        self,
        *,
        threshold: float = 0.92,
        letters: str = string.ascii_letters + string.digits,
        mixed_only: bool = True,
        accents: bool = False,
        table: GlyphTable | None = None,
    ) -> None:
        self.threshold = check_fraction(threshold, name="threshold")
        if not isinstance(letters, str) or not letters:
            raise InputError(message(f"letters={letters!r}", "letters to fold to", "leave it out for Latin"))
        self.letters = "".join(sorted(set(letters)))
        self.mixed_only, self.accents = bool(mixed_only), bool(accents)
        self.table = GlyphTable() if table is None else table
        self._targets = self.table.rows(self.letters)
        self._known: dict[str, str] = {letter: letter for letter in self.letters}

    @property
    def fingerprint(self) -> str:
        """Identity of what it does."""
        letters = "".join(f"{ord(c):x}." for c in self.letters) if self.letters != _latin() else "latin"
        return f"fold:{self.threshold:g}:{letters}:{self.mixed_only:d}{self.accents:d}:{self.table.fingerprint}"

    def settings(self) -> dict[str, Any]:
        """Return what `from_settings` makes an equal one of.

        Returns
        -------
        dict
            JSON values.

        Raises
        ------
        InputError
            A table with a font of its own, which is not copied.
        """
        names = ("threshold", "letters", "mixed_only", "accents")
        return {**{name: getattr(self, name) for name in names}, "table": self.table.settings()}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> LookalikeFolding:
        """Make one of what `settings` returned.

        Parameters
        ----------
        settings : mapping
            The settings.

        Returns
        -------
        LookalikeFolding
            That folds alike.

        Raises
        ------
        InputError
            Settings of a table that this release makes otherwise.
        """
        given = dict(settings)
        return cls(table=GlyphTable.from_settings(given.pop("table")), **given)

    def fold(self, text: str) -> str:
        """Return the text with lookalikes written as the letters they look like.

        Parameters
        ----------
        text : str
            Any text.

        Returns
        -------
        str
            Equal for an ASCII text.

        Raises
        ------
        InputError
            Not a text.
        """
        (text,) = as_texts([text], name="text")
        if text.isascii():
            return text
        whole = unicodedata.normalize("NFKC", text)
        if self.accents:
            whole = "".join(c for c in unicodedata.normalize("NFKD", whole) if unicodedata.category(c) not in _MARKS)
        return _WORD.sub(lambda found: self._word(found[0]), whole)

    def suspicious(self, text: str) -> list[tuple[str, str]]:
        """Return the words that are other words in disguise.

        Parameters
        ----------
        text : str
            Any text.

        Returns
        -------
        list of (str, str)
            As it stands and as it looks, in order; words with accents of their own are not among them.

        Raises
        ------
        InputError
            Not a text.
        """
        (text,) = as_texts([text], name="text")
        words = [found[0] for found in _WORD.finditer(text) if not found[0].isascii()]
        return [(word, self._word(word)) for word in words if self._word(word) != word and not _accented(word)]

    def _word(self, word: str) -> str:
        if word.isascii() or (self.mixed_only and not any(c in self._known and self._known[c] == c for c in word)):
            return word
        self._learn(word)
        return "".join(self._known[c] for c in word)

    def _learn(self, word: str) -> None:
        new = sorted(set(word) - self._known.keys())
        if not new:
            return
        scores = self.table.rows("".join(new)) @ self._targets.T
        # A small letter is never a capital in disguise: without this, a palochka would be "I" and not "l".
        scores[np.ix_([c.islower() for c in new], [c.isupper() for c in self.letters])] = -1
        scores[np.ix_([c.isupper() for c in new], [c.islower() for c in self.letters])] = -1
        for character, best, score in zip(new, scores.argmax(axis=1), scores.max(axis=1), strict=True):
            drawn = character in self.table.font and unicodedata.category(character)[0] in "LN"
            self._known[character] = self.letters[best] if drawn and score >= self.threshold else character


def _latin() -> str:
    return "".join(sorted(string.ascii_letters + string.digits))


def _accented(word: str) -> bool:
    plain = "".join(c for c in unicodedata.normalize("NFKD", word) if unicodedata.category(c) not in _MARKS)
    return plain.isascii()
