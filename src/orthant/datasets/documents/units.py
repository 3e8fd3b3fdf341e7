"""Where a text may be divided: words, sentences, lines and blocks, as spans that follow each other without a gap."""

from __future__ import annotations

import re

__all__ = ["blocks", "lines", "sentences", "words"]

# Scripts that put no blank between words; each of their characters counts as a word.
_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af"
# What runs on without a blank is divided: a line of a million characters is no word.
_WORD = re.compile(f"[{_IDEOGRAPHS}]|[^\\s{_IDEOGRAPHS}]{{1,40}}")
# A full stop after these, or after one capital letter, ends no sentence.
_ABBREVIATION_NAMES = """
dr mr mrs ms prof st no nos vs etc e.g i.e cf fig figs eq eqs al approx ca dept est inc jr sr vol pp ed
"""
_ABBREVIATIONS = frozenset(_ABBREVIATION_NAMES.split())
_END = re.compile(
    # Looked at once per run, however long: a table of contents may have thousands of dots in a row.
    "(?<![.!?\u2026])[.!?\u2026]++[\"'\u201d\u2019)\\]]*+(?=\\s)|[\u3002\uff01\uff1f]+[\u300d\u300f\u201d]*"
    "|\n[ \t]*\n|\n(?=[ \t]*(?:[-*+\u2022]|\\d{1,3}[.)])[ \t])"
)
_BLOCK = re.compile(r"(?<!\n)\n[ \t]*\n++(?=[^\s)}\]])")

Span = tuple[int, int]


def words(text: str, begin: int, end: int) -> list[Span]:
    """Return the words between two characters, each with the blanks behind it.

    Parameters
    ----------
    text : str
        The document.
    begin, end : int
        The part to divide.

    Returns
    -------
    list of (int, int)
        Spans from ``begin`` to ``end``; a run of more than 40 characters is several words.

    Examples
    --------
    >>> words("a red kite", 0, 10)
    [(0, 2), (2, 6), (6, 10)]
    """
    return _spans([found.start() for found in _WORD.finditer(text, begin, end)], begin, end)


def sentences(text: str, begin: int, end: int) -> list[Span]:
    """Return the sentences between two characters; an empty line and a list item begin one as well.

    Parameters
    ----------
    text : str
        The document.
    begin, end : int
        The part to divide.

    Returns
    -------
    list of (int, int)
        Spans from ``begin`` to ``end``.

    Examples
    --------
    >>> text = "Dr. Gull flies. The wind is up!"
    >>> [text[a:b] for a, b in sentences(text, 0, len(text))]
    ['Dr. Gull flies. ', 'The wind is up!']
    """
    starts = []
    for found in _END.finditer(text, begin, end):
        if found[0].startswith(".") and _abbreviated(text, found.start(), found.end()):
            continue
        starts.append(_after_blanks(text, found.end(), end))
    return _spans(starts, begin, end)


def blocks(text: str, begin: int, end: int) -> list[Span]:
    """Return blocks of a program: each begins behind an empty line, at a line without indentation.

    Parameters
    ----------
    text : str
        The program.
    begin, end : int
        The part to divide.

    Returns
    -------
    list of (int, int)
        Spans from ``begin`` to ``end``. A line that only closes a bracket begins none.
    """
    return _spans([found.end() for found in _BLOCK.finditer(text, begin, end)], begin, end)


def lines(text: str, begin: int, end: int) -> list[Span]:
    """Return the lines between two characters, each with its end.

    Parameters
    ----------
    text : str
        The document.
    begin, end : int
        The part to divide.

    Returns
    -------
    list of (int, int)
        Spans from ``begin`` to ``end``.
    """
    starts = []
    position = text.find("\n", begin, end)
    while position >= 0:
        starts.append(position + 1)
        position = text.find("\n", position + 1, end)
    return _spans(starts, begin, end)


def _spans(starts: list[int], begin: int, end: int) -> list[Span]:
    if begin >= end:
        return []
    inner = sorted({start for start in starts if begin < start < end})
    # The blanks before the first word belong to it.
    return list(zip([begin, *inner], [*inner, end], strict=True))


def _after_blanks(text: str, position: int, end: int) -> int:
    while position < end and text[position].isspace():
        position += 1
    return position


def _abbreviated(text: str, stop: int, after: int) -> bool:
    """Whether a full stop belongs to the word before it: "Dr.", an initial, or one that goes on in lower case."""
    if after - stop > 1:
        return False
    begin = stop
    while begin > 0 and stop - begin < 12 and not text[begin - 1].isspace():
        begin -= 1
    word = text[begin:stop].strip("(\"'[")
    if word.lower() in _ABBREVIATIONS or (len(word) == 1 and word.isupper()):
        return True
    following = text[after : after + 3].lstrip(" ")
    return following[:1].islower() and "\n" not in text[after : after + 2]
