"""HTML to text with headings, by the standard library's parser, in bounded time.

Scripts, styles and navigation are dropped. The parser re-reads what it could not finish, so a tag that never ends would
cost time with the square of its length: comments and embedded programs are cut out beforehand in one pass, the page is
fed in slices, and a tag that outgrows a bound ends the reading with an error.
"""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser

from orthant.datasets.documents.kinds import DocumentText, Mark, tidy
from orthant.datasets.documents.texts import decode
from orthant.errors import InputError, message

__all__ = ["html_text", "read_html"]

_SLICE = 16_384
_LONGEST_TAG = 65_536
_DECLARED = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
_PROGRAMS = re.compile(r"<(script|style|template|noscript|svg|iframe|object)\b", re.IGNORECASE)
_DATA_URI = re.compile(r"([\"'])data:[^\"'>]*\1", re.IGNORECASE)
_BLANKS = re.compile(r"[ \t\r\n\f\v]+")

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCK_NAMES = """
address article aside blockquote body br caption center dd details dialog div dl dt fieldset figcaption
figure footer form header hr li main ol option p pre section select summary table tbody tfoot thead tr ul
"""
_BLOCKS = frozenset(_BLOCK_NAMES.split())
_PARAGRAPH_NAMES = """
article blockquote div dl figure h1 h2 h3 h4 h5 h6 ol p pre section table ul
"""
_PARAGRAPHS = frozenset(_PARAGRAPH_NAMES.split())


def read_html(data: bytes) -> DocumentText:
    r"""Read a page: its words, its headings as marks, its title; without scripts, styles and navigation.

    Parameters
    ----------
    data : bytes
        The file. An encoding that it declares is used where it is no UTF-8.

    Returns
    -------
    DocumentText
        Blocks on lines of their own, ``pre`` as it is written. A page without ``title`` has that of its first ``h1``.

    Raises
    ------
    InputError
        No text, or a tag of more than 64 kB.

    Examples
    --------
    >>> read_html(b"<title>Kites</title><nav>Home</nav><h2>Line</h2><p>Long &amp; thin.").text
    'Line\n\nLong & thin.'
    """
    declared = _DECLARED.search(data[:4096])
    page, encoding = decode(data, declared=declared[1].decode("ascii") if declared else None)
    text, title, marks = html_text(page)
    return DocumentText(text, "html", title, marks, encoding=encoding)


def html_text(page: str) -> tuple[str, str, tuple[Mark, ...]]:
    """Return the text, title and headings of a page that is decoded already.

    Parameters
    ----------
    page : str
        HTML, however broken.

    Returns
    -------
    text : str
        Its words.
    title : str
        Empty without ``title`` and ``h1``.
    marks : tuple of Mark
        Headings with words in them.

    Raises
    ------
    InputError
        A tag of more than 64 kB.
    """
    page = _DATA_URI.sub('""', _without_programs(page.replace("\0", "")))
    reader = _Reader()
    for begin in range(0, len(page), _SLICE):
        reader.feed(page[begin : begin + _SLICE])
        if len(reader.rawdata) > _LONGEST_TAG:
            given = f"a tag of more than {_LONGEST_TAG:,} characters without an end"
            raise InputError(message(given, "HTML", "mend the page, or save it as text"))
    reader.close()
    return reader.result()


def _without_programs(page: str) -> str:
    """Cut comments and embedded programs out, each found once from left to right; an unclosed one is only a tag."""
    kept: list[str] = []
    lower = page.lower()
    if len(lower) != len(page):
        # Few letters change their number in lower case; folding ASCII alone keeps positions.
        lower = page.translate({code: code + 32 for code in range(65, 91)})
    begin, unclosed = 0, set()
    opener = re.compile(f"<!--|{_PROGRAMS.pattern}", re.IGNORECASE)
    position = 0
    while found := opener.search(page, position):
        name = (found[1] or "").lower()
        close = f"</{name}" if name else "-->"
        end = -1 if close in unclosed else lower.find(close, found.end())
        if end < 0:
            # Nothing further on can be closed either, so it is searched for once only; the tag alone is dropped.
            unclosed.add(close)
            kept.append(page[begin : found.start()])
            last = page.find(">", found.end()) if name else found.end() - 1
            begin = position = len(page) if last < 0 else last + 1
            continue
        kept += [page[begin : found.start()], " "]
        if name:
            last = page.find(">", end)
            end = len(page) if last < 0 else last + 1
        else:
            end += 3
        begin = position = end
    return "".join([*kept, page[begin:]])


class _Reader(HTMLParser):
    """Collects words, line ends and headings."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._length = 0
        self._open: tuple[int, int] | None = None
        self._marks: list[tuple[int, int, str]] = []
        self._title: list[str] = []
        self._in_title = False
        self._preformatted = 0
        # Elements within the navigation that is being passed over, and where the output stood at its beginning.
        self._navigation: tuple[str, int, int, int, int] | None = None

    def _put(self, piece: str) -> None:
        self._parts.append(piece)
        self._length += len(piece)

    def _break(self, name: str) -> None:
        self._put("\n\n" if name in _PARAGRAPHS and not self._preformatted else "\n")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._navigation is not None:
            if tag == self._navigation[0]:
                name, depth, *before = self._navigation
                self._navigation = (name, depth + 1, *before)  # type: ignore[assignment]
        elif tag == "nav" or (tag not in ("body", "main") and ("role", "navigation") in attrs):
            self._navigation = (tag, 1, len(self._parts), len(self._marks), self._length)
        if tag == "title":
            self._in_title = True
        elif tag in _HEADINGS:
            self._close_heading()
            self._break(tag)
            self._open = (len(self._parts), _HEADINGS[tag])
        elif tag in _BLOCKS:
            self._break(tag)
            self._preformatted += tag == "pre"
        elif tag in ("td", "th"):
            self._put("\t")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        elif tag in _HEADINGS:
            self._close_heading()
            self._break(tag)
        elif tag in _BLOCKS:
            self._break(tag)
            self._preformatted -= tag == "pre" and self._preformatted > 0
        if self._navigation is not None and tag == self._navigation[0]:
            name, depth, *before = self._navigation
            self._navigation = (name, depth - 1, *before) if depth > 1 else None  # type: ignore[assignment]
            if depth == 1:
                # Dropped only where it ends: a page whose navigation never does is kept whole.
                parts, marks, self._length = before
                self._open = None
                del self._parts[parts:], self._marks[marks:]

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self._title.append(data)
        else:
            self._put(data if self._preformatted else _BLANKS.sub(" ", data))

    def _close_heading(self) -> None:
        if self._open is not None:
            begin, level = self._open
            title = _BLANKS.sub(" ", "".join(self._parts[begin:])).strip()
            if title:
                self._marks.append((begin, level, title))
            self._open = None

    def result(self) -> tuple[str, str, tuple[Mark, ...]]:
        """Return text, title and marks, whose positions are found while blanks are put in order."""
        self._close_heading()
        heads = {part: (level, title) for part, level, title in self._marks}
        marks: list[Mark] = []
        pieces: list[str] = []
        length = newlines = 0
        for number, part in enumerate(self._parts):
            if number in heads:
                marks.append(Mark(length, *heads[number]))
            piece = part
            if not piece.strip():
                # Blanks count by the line ends in them; at the head of the text they are left out.
                wanted = min(2, max(newlines, piece.count("\n")))
                piece = "\n" * (wanted - newlines) if length else ""
                newlines = wanted if length else 0
                if not piece and length and not newlines and not pieces[-1].endswith((" ", "\t")):
                    piece = " "
            else:
                piece = piece.lstrip(" ") if newlines or not length or pieces[-1].endswith((" ", "\t")) else piece
                newlines = 0
            if piece:
                pieces.append(piece)
                length += len(piece)
        text, marks = _settle("".join(pieces), marks)
        title = _BLANKS.sub(" ", "".join(self._title)).strip()
        return text, title or next((mark.title for mark in marks if mark.level == 1), ""), tuple(marks)


def _settle(raw: str, marks: list[Mark]) -> tuple[str, list[Mark]]:
    """Tidy the text section by section, so that the marks stay where their headings are."""
    edges = [0, *(mark.position for mark in marks), len(raw)]
    out, placed = "", []
    parts: list[str] = []
    length = 0
    for number, (begin, end) in enumerate(itertools.pairwise(edges)):
        section = tidy(raw[begin:end])
        if number:
            placed.append(Mark(length, marks[number - 1].level, marks[number - 1].title))
        if section:
            parts.append(section + "\n\n")
            length += len(section) + 2
    out = "".join(parts)
    return out.rstrip("\n"), placed
