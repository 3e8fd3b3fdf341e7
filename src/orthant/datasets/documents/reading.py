"""Reading documents of every kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from orthant.datasets.documents.code import read_code, read_python
from orthant.datasets.documents.kinds import SUFFIXES, DocumentText, kind_of
from orthant.datasets.documents.mail import mbox_messages, read_mail
from orthant.datasets.documents.markup import read_html
from orthant.datasets.documents.pages import read_pdf
from orthant.datasets.documents.texts import read_markdown, read_plain
from orthant.errors import InputError, NotFoundError, message
from orthant.validate import check_choice, check_count

__all__ = ["MAX_BYTES", "READER_REVISION", "raw_documents", "read_document", "read_documents"]

MAX_BYTES = 64 * 2**20
"""Longest document that is read unless told otherwise."""

READER_REVISION = "2"
"""Raised when a reader gives other texts for the same bytes, so that documents are read again."""

_READERS: dict[str, Callable[[bytes], DocumentText]] = {
    "text": read_plain,
    "markdown": read_markdown,
    "html": read_html,
    "pdf": read_pdf,
    "python": read_python,
    "code": read_code,
    "mail": read_mail,
}


def read_document(data: bytes, kind: str) -> DocumentText:
    r"""Read one document from its bytes.

    Parameters
    ----------
    data : bytes
        All of it.
    kind : {"text", "markdown", "html", "pdf", "python", "code", "mail"}
        What it is; see ``kind_of`` for the kind of a file.

    Returns
    -------
    DocumentText
        Text, title, headings, metadata.

    Raises
    ------
    InputError
        Broken, encrypted or no such document.
    MissingExtraError
        A PDF without pypdf.

    Examples
    --------
    >>> read_document(b"# Kites\n\nHow to fly one.", "markdown").title
    'Kites'
    """
    return _READERS[check_choice(kind, tuple(_READERS), name="kind")](data)


def raw_documents(path: Path, kind: str, *, max_bytes: int = MAX_BYTES) -> Iterator[tuple[str, str, bytes | None]]:
    """Yield the documents of a file as bytes: one, or one per message of a mailbox.

    Parameters
    ----------
    path : Path
        The file.
    kind : str
        From ``kind_of``.
    max_bytes : int, default 64 MiB
        Longer documents come as None.

    Yields
    ------
    key : str
        Empty, or the message within its mailbox.
    kind : str
        For ``read_document``.
    data : bytes or None
        None for a document beyond ``max_bytes``.

    Raises
    ------
    InputError
        The file cannot be opened, or is no mailbox.
    """
    try:
        if kind == "mbox":
            for key, data in mbox_messages(path, max_bytes=max_bytes):
                yield key, "mail", data
            return
        with open(path, "rb") as handle:
            # The size is not asked for beforehand: a file may grow, and some never end.
            data = handle.read(max_bytes + 1)
        yield "", kind, data if len(data) <= max_bytes else None
    except OSError as error:
        given = f"{path}, which cannot be read ({error.strerror})"
        raise InputError(message(given, "a readable file", "check its permissions")) from error


def read_documents(path: str | Path, *, max_bytes: int = MAX_BYTES) -> list[DocumentText]:
    """Read a file of any known kind: one document, or every message of a mailbox.

    Use it to see what a reader makes of a file. ``Collection.add_documents`` reads whole folders.

    Parameters
    ----------
    path : str or Path
        The file; its ending says what it is.
    max_bytes : int, default 64 MiB
        Longest document; more costs memory, less refuses long ones.

    Returns
    -------
    list of DocumentText
        In the order of the file.

    Raises
    ------
    NotFoundError
        No such file.
    InputError
        An unknown ending, a broken, encrypted or overlong document.
    MissingExtraError
        A PDF without pypdf.
    """
    path, max_bytes = Path(path), check_count(max_bytes, name="max_bytes")
    if not path.is_file():
        raise NotFoundError(message(f"no file at {path}", "a document", "check the path"))
    kind = kind_of(path)
    if kind is None:
        expected = f"one of {', '.join(sorted(SUFFIXES))}"
        raise InputError(message(f"{path}, whose ending is unknown", expected, "rename it"))
    out = []
    for key, inner, data in raw_documents(path, kind, max_bytes=max_bytes):
        where = f"{path}, message {key}" if key else str(path)
        if data is None:
            raise InputError(f"{where}: {too_long(max_bytes)}")
        try:
            out.append(read_document(data, inner))
        except InputError as error:
            raise type(error)(f"{where}: {error}") from error
    return out


def too_long(max_bytes: int) -> str:
    """Return the text of the error for a document beyond the bound.

    Parameters
    ----------
    max_bytes : int
        The bound.

    Returns
    -------
    str
        One paragraph.
    """
    return message(f"more than {max_bytes:,} bytes", "a shorter document", "split it, or raise max_bytes")
