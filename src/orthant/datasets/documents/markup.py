"""HTML to text with headings, by the standard library's parser, in bounded time.

Scripts, styles and navigation are dropped. The parser reads again what it could not finish, so tags that never end
would cost time with the square of their number. The page is therefore put into plain form beforehand, in one pass that
never goes back: tags without attributes, and neither comments nor embedded programs.
"""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser

from orthant.datasets.documents.kinds import LONGEST_HEADING, DocumentText, Mark, tidy
from orthant.datasets.documents.texts import decode

__all__ = ["html_text", "read_html"]

_DECLARED = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
_TAG = re.compile(r"<(?:(!--)|([!?])|(/?)([a-zA-Z][^\s/>\"'<]{0,40}))")
_TAG_STOP = re.compile(r"[<>\"']")
_NAVIGATION = re.compile(r"\brole\s*=\s*[\"']?navigation", re.IGNORECASE)
_PROGRAMS = frozenset(["script", "style", "template", "noscript", "svg", "iframe", "object"])
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
        Blocks on lines of their own, ``pre`` as it is written. A page without ``title`` has that of its first ``h1``,
        and one without words is searched by its title.

    Raises
    ------
    InputError
        No text.

    Examples
    --------
    >>> read_html(b"<title>Kites</title><nav>Home</nav><h2>Line</h2><p>Long &amp; thin.").text
    'Line\n\nLong & thin.'
    """
    declared = _DECLARED.search(data[:4096])
    page, encoding = decode(data, declared=declared[1].decode("ascii") if declared else None)
    text, title, marks = html_text(page)
    # A page that a program fills has no words of its own but these.
    return DocumentText(text or title, "html", title, marks, encoding=encoding)


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
    """
    reader = _Reader()
    reader.feed(_Plain(page.replace("\0", "")).result())
    reader.close()
    return reader.result()


class _Plain:
    """Writes a page anew with tags that have no attributes, without comments and programs; every step goes forward."""

    def __init__(self, page: str) -> None:
        self._page = page
        # What was looked for and is not there; nothing further on can find it either.
        self._absent: set[str] = set()

    def result(self) -> str:
        """Return the plain page."""
        page, kept, position = self._page, [], 0
        while found := _TAG.search(page, position):
            kept.append(page[position : found.start()].replace("<", "&lt;"))
            comment, declaration, closing, name = found.groups()
            position = found.end()
            if comment:
                position = self._after("-->", position, default=position)
            elif declaration:
                position = self._after(">", position, default=position)
            else:
                begin, position, ended = position, *self._tag_end(position)
                if not ended:
                    continue
                role = " role=navigation" if _NAVIGATION.search(page, begin, position) else ""
                if name.lower() not in _PROGRAMS:
                    kept.append(f"<{closing}{name}{role}>")
                elif not closing and page[position - 2] != "/":
                    position = self._program_end(name.lower(), position)
        kept.append(page[position:].replace("<", "&lt;"))
        return "".join(kept)

    def _after(self, what: str, position: int, *, default: int) -> int:
        end = -1 if what in self._absent else self._page.find(what, position)
        if end < 0:
            self._absent.add(what)
            return default
        return end + len(what)

    def _tag_end(self, position: int) -> tuple[int, bool]:
        """Return where a tag ends, and whether it does: at ``<`` outside quotes it is given up."""
        while found := _TAG_STOP.search(self._page, position):
            sign = found[0]
            if sign == "<":
                return found.start(), False
            position = found.end()
            if sign == ">":
                return position, True
            # A quote that is never closed is an ordinary character.
            position = self._after(sign, position, default=position)
        return len(self._page), False

    def _program_end(self, name: str, position: int) -> int:
        """Return where a program's closing tag begins; one without is only a tag."""
        if name in self._absent:
            return position
        found = re.compile(f"</{name}", re.IGNORECASE).search(self._page, position)
        if found is None:
            self._absent.add(name)
            return position
        return found.start()


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
        if tag in _BLOCKS or tag in _HEADINGS:
            # A title that is never closed ends where the page begins.
            self._in_title = False
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
            if 0 < len(title) <= LONGEST_HEADING:
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
