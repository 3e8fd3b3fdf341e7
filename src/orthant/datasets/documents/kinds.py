"""What a read document is, and which kind of document a file's ending says it is."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

__all__ = ["LONGEST_HEADING", "SUFFIXES", "DocumentKind", "DocumentText", "Mark", "kind_of", "tidy"]

DocumentKind = Literal["text", "markdown", "html", "pdf", "python", "code", "mail", "mbox"]

SUFFIXES: dict[str, DocumentKind] = {
    ".txt": "text",
    ".text": "text",
    ".rst": "text",
    ".adoc": "text",
    ".org": "text",
    ".tex": "text",
    ".log": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".pdf": "pdf",
    ".py": "python",
    **dict.fromkeys(
        (
            *(".js", ".jsx", ".mjs", ".ts", ".tsx", ".java", ".kt", ".scala", ".c", ".h", ".cc", ".cpp", ".hpp", ".cs"),
            *(".go", ".rs", ".swift", ".rb", ".php", ".sh", ".sql"),
        ),
        "code",
    ),
    ".eml": "mail",
    ".mbox": "mbox",
}
"""Kinds by the lower-case ending of a file's name."""

LONGEST_HEADING = 500
"""Characters of a heading or title; what is longer is no line to read, and every chunk would repeat it."""

_TRAILING = " \t\f\v\u00a0"
_BLANK_LINES = re.compile(r"\n{3,}")


@dataclass(frozen=True)
class Mark:
    """Where a headed section of a document begins.

    Attributes
    ----------
    position : int
        Character of the document's text at which the section begins.
    level : int
        1 for the outermost; a section ends where one of its level or further out begins.
    title : str
        The heading, or the signature's name in code.
    """

    position: int
    level: int
    title: str


@dataclass(frozen=True)
class DocumentText:
    r"""A document as text, with what is known about its structure.

    Attributes
    ----------
    text : str
        What is searched and shown. Lines end in ``\n``, carry no trailing blanks, and two empty lines never follow
        each other.
    kind : str
        ``"text"``, ``"markdown"``, ``"html"``, ``"pdf"``, ``"python"``, ``"code"`` or ``"mail"``.
    title : str
        From the document, or empty where it names none.
    marks : tuple of Mark
        Headed sections, by ascending position.
    pages : tuple of int
        Characters at which pages begin (PDF only).
    metadata : dict
        What the document says of itself, such as the headers of a mail.
    encoding : str
        How its bytes were read: ``"utf-8"``, ``"utf-16"``, ``"cp1252"``, or what it declares; empty for a PDF.
    """

    text: str
    kind: str = "text"
    title: str = ""
    marks: tuple[Mark, ...] = ()
    pages: tuple[int, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    encoding: str = ""


def kind_of(path: str | Path) -> DocumentKind | None:
    """Return which kind of document a file is, by its ending.

    Parameters
    ----------
    path : str or Path
        Its name.

    Returns
    -------
    str or None
        None for an ending that stands for no document.

    Examples
    --------
    >>> kind_of("Guide.MD"), kind_of("photo.png")
    ('markdown', None)
    """
    return SUFFIXES.get(Path(path).suffix.lower())


def tidy(text: str, *, code: bool = False) -> str:
    r"""Return a text with one kind of line end and without trailing blanks, NUL characters and runs of empty lines.

    Parameters
    ----------
    text : str
        Any text.
    code : bool, default False
        Keep leading empty lines and runs of them, so that lines keep their numbers.

    Returns
    -------
    str
        The text.

    Examples
    --------
    >>> tidy("a  \r\n\r\n\r\n\r\nb\n")
    'a\n\nb'
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    # A pattern for blanks before a line end would look at a long run of blanks once per blank.
    text = "\n".join([line.rstrip(_TRAILING) for line in text.split("\n")])
    return text.rstrip("\n") if code else _BLANK_LINES.sub("\n\n", text).strip("\n")
