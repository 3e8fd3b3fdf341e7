"""When two texts count as the same: one normal form for mining, splitting and deduplication."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orthant.errors import InputError, message

__all__ = ["check_filled", "column_texts", "normalised_text", "text_key", "word_form"]

_NO_WORD = re.compile(r"[\W_]+")


def normalised_text(text: str) -> str:
    r"""Return a text without differences that no reader sees: Unicode form, case, runs of white space.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        NFKC, case folded, single blanks.

    Examples
    --------
    >>> normalised_text("Don't  \n PANIC")
    "don't panic"
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def word_form(text: str) -> str:
    """Return the words of a text alone, so that copies with another punctuation are found.

    Parameters
    ----------
    text : str
        Any text; one without a single word keeps its signs.

    Returns
    -------
    str
        Words separated by single blanks.

    Examples
    --------
    >>> word_form("Don't panic!"), word_form("+-")
    ('don t panic', '+-')
    """
    plain = normalised_text(text)
    return _NO_WORD.sub(" ", plain).strip() or plain


def text_key(text: str) -> str:
    """Return a short hash of a text's words: equal for near-duplicates.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        32 hexadecimal digits (BLAKE2b of ``word_form``).

    Examples
    --------
    >>> text_key("A heart-attack.") == text_key("a heart attack")
    True
    """
    return hashlib.blake2b(word_form(text).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def column_texts(rows: Iterable[Mapping[str, Any]], column: str) -> list[str]:
    """Return a column of a table as texts, refusing rows that lack it.

    Parameters
    ----------
    rows : iterable of mapping
        The table.
    column : str
        Name of a text column.

    Returns
    -------
    list of str
        One per row.

    Raises
    ------
    InputError
        A row without the column, or with something that is no text.
    """
    out = []
    for i, row in enumerate(rows):
        value = row.get(column)
        if not isinstance(value, str):
            raise InputError(
                message(
                    f"row {i} with {column}={value!r}",
                    f"a text; the row has {', '.join(map(repr, row)) or 'no columns'}",
                    "name another column or fill it",
                )
            )
        out.append(value)
    return out


def check_filled(texts: Sequence[str], *, name: str) -> None:
    """Refuse texts that are empty or blank, naming the first one.

    Parameters
    ----------
    texts : sequence of str
        Texts.
    name : str
        How the argument is called in an error.

    Raises
    ------
    InputError
        A blank text.
    """
    for i, text in enumerate(texts):
        if not text.strip():
            blank = sum(not t.strip() for t in texts)
            raise InputError(
                message(f"{name}[{i}] without a word ({blank} such texts)", "texts with content", "drop those rows")
            )
