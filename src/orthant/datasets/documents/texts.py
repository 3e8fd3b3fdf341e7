"""Bytes to text, and plain text and Markdown to documents."""

from __future__ import annotations

import codecs
import re

from orthant.datasets.documents.kinds import LONGEST_HEADING, DocumentText, Mark, tidy
from orthant.errors import InputError, message

__all__ = ["decode", "read_markdown", "read_plain"]

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", "utf-8"),
    # The mark of UTF-32, low byte first, begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32", "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "utf-16"),
)
_BINARY_LOOK = 8192
_BINARY_SHARE = 0.1

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?$")
_SETEXT = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_FRONT_TITLE = re.compile(r"title[ \t]*:[ \t]*(.+)$", re.IGNORECASE)
_INLINE = re.compile(r"!?\[([^\]]*)\]\([^)]*\)|[*_`]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}")


def decode(data: bytes, *, declared: str | None = None) -> tuple[str, str]:
    r"""Return bytes as text: by their byte-order mark, else as UTF-8, else as declared, else as Windows-1252.

    Parameters
    ----------
    data : bytes
        A whole file.
    declared : str, optional
        An encoding that the document names itself; used where the bytes are no UTF-8. An unknown one is passed over.

    Returns
    -------
    text : str
        Five byte values that Windows-1252 leaves undefined become U+FFFD.
    encoding : str
        What was used.

    Raises
    ------
    InputError
        The bytes are no text: one in ten of the first 8,192 is a control character, or the byte-order mark lies.

    Examples
    --------
    >>> decode(b"caf\xe9")
    ('café', 'cp1252')
    """
    for mark, codec, name in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            try:
                return data.decode(codec), name
            except UnicodeDecodeError as error:
                given = f"bytes that are no {name} although they begin with its mark (byte {error.start})"
                raise InputError(message(given, "text in one encoding", "save the file as UTF-8")) from error
    look = data[:_BINARY_LOOK]
    controls = sum(look.count(value) for value in range(32) if value not in (9, 10, 12, 13, 27))
    if controls > _BINARY_SHARE * len(look):
        raise InputError(message("bytes that are no text", "text", "rename the file, or leave it out"))
    candidates = ["utf-8"]
    if declared:
        try:
            known = codecs.lookup(declared)
        except (LookupError, ValueError):
            # A name with a NUL or a letter beyond ASCII is no error of its own kind.
            pass
        else:
            # Codecs that turn bytes into bytes are found by the same call.
            candidates += [declared.lower()] if known._is_text_encoding else []
    for codec in candidates:
        try:
            text = data.decode(codec)
            # Some codecs that a document may name spell out halves of surrogate pairs, which no text can hold.
            text.encode()
            return text, codec
        except UnicodeError:
            continue
    return data.decode("cp1252", "replace"), "cp1252"


def read_plain(data: bytes) -> DocumentText:
    """Read a plain text; it has neither title nor headings.

    Parameters
    ----------
    data : bytes
        The file.

    Returns
    -------
    DocumentText
        The text.

    Raises
    ------
    InputError
        No text.
    """
    text, encoding = decode(data)
    return DocumentText(tidy(text), encoding=encoding)


def read_markdown(data: bytes) -> DocumentText:
    r"""Read Markdown: ``#`` and underlined headings become marks; the text itself is kept as it is written.

    Parameters
    ----------
    data : bytes
        The file.

    Returns
    -------
    DocumentText
        Its title is that of the front matter, else the first heading of level 1.

    Raises
    ------
    InputError
        No text.

    Examples
    --------
    >>> [(mark.level, mark.title) for mark in read_markdown(b"# Kites\n\nUp.\n\n## Line\n\nLong.").marks]
    [(1, 'Kites'), (2, 'Line')]
    """
    decoded, encoding = decode(data)
    title, text = _front_matter(tidy(decoded))
    marks: list[Mark] = []
    fence, position, before = "", 0, ""
    for line in text.split("\n"):
        fenced = _FENCE.match(line)
        short = len(line) <= LONGEST_HEADING
        if fence:
            if fenced and fenced[1].startswith(fence) and not line.strip(" `~"):
                fence = ""
            before = ""
        elif fenced:
            fence, before = fenced[1], ""
        elif short and (found := _ATX.match(line)):
            marks.append(Mark(position, len(found[1]), _plain(_without_closing(found[2] or ""))))
            before = ""
        elif before and (found := _SETEXT.match(line)):
            marks.append(Mark(position - len(before) - 1, 1 if found[1][0] == "=" else 2, _plain(before)))
            before = ""
        else:
            # A list item, a quotation or a table above a rule is no heading.
            before = line if short and line.strip() and line.lstrip()[0] not in "-*+>|" else ""
        position += len(line) + 1
    named = [mark for mark in marks if mark.title]
    title = title or next((mark.title for mark in named if mark.level == 1), "")
    return DocumentText(text, "markdown", title, tuple(named), encoding=encoding)


def _front_matter(text: str) -> tuple[str, str]:
    """Split a block of settings between two lines of dashes off the head of a text; return its title and the rest."""
    if not text.startswith("---\n"):
        return "", text
    end = text.find("\n---\n", 3)
    if end < 0:
        return "", text
    found = (_FRONT_TITLE.match(line) for line in text[4:end].split("\n"))
    title = next((match[1].strip(" '\"") for match in found if match), "")
    return title, text[end + 5 :].lstrip("\n")


def _without_closing(heading: str) -> str:
    """Drop the signs that may close a heading, as in ``## Line ##``."""
    heading = heading.rstrip()
    bare = heading.rstrip("#")
    return bare.rstrip() if not bare or bare[-1] in " \t" else heading


def _plain(heading: str) -> str:
    return _INLINE.sub(lambda match: match[1] or "", heading).strip()
