"""PDF to text, page by page, with the optional package pypdf."""

from __future__ import annotations

import io
import logging
from typing import Any

from orthant.datasets.documents.kinds import DocumentText, tidy
from orthant.errors import InputError, MissingExtraError, message

__all__ = ["read_pdf"]

_MOST_PAGES = 20_000


def read_pdf(data: bytes) -> DocumentText:
    """Read the text layer of a PDF; needs the extra ``pdf`` (pypdf).

    Parameters
    ----------
    data : bytes
        The file. One that is encrypted is opened with the empty password, as viewers do.

    Returns
    -------
    DocumentText
        Pages follow each other as paragraphs. A scan without a text layer has an empty text.

    Raises
    ------
    InputError
        Encrypted with a password, broken, or more than 20,000 pages.
    MissingExtraError
        pypdf is not installed.

    Notes
    -----
    Headings are not told from the text: a PDF stores how letters look, not what they are for.
    """
    try:
        import pypdf
    except ImportError as error:
        raise MissingExtraError(
            message("a PDF without pypdf", "the extra 'pdf'", "install it with: pip install 'orthant[pdf]'")
        ) from error
    # It tells every oddity of a file on the log, and what matters is raised.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        locked = reader.is_encrypted and not reader.decrypt("")
        if not locked:
            return _document(reader)
    except InputError:
        raise
    except Exception as error:
        # Broken files make it raise errors of every kind, from its own to those of its decoders.
        what = f"a broken PDF ({type(error).__name__}: {str(error)[:120]})"
        raise InputError(message(what, "a PDF that can be opened", "repair it, or leave it out")) from error
    raise InputError(message("an encrypted PDF", "one without a password", "save it unprotected, or leave it out"))


def _document(reader: Any) -> DocumentText:
    count = len(reader.pages)
    if count > _MOST_PAGES:
        raise InputError(message(f"{count:,} pages", f"at most {_MOST_PAGES:,}", "split the file"))
    parts: list[str] = []
    begins: list[int] = []
    length = 0
    for page in reader.pages:
        # A lone half of a surrogate pair, from a broken font table, is no text.
        text = tidy((page.extract_text() or "").encode("utf-16", "replace").decode("utf-16", "replace"))
        begins.append(length)
        if text:
            parts.append(text)
            length += len(text) + 2
    about = reader.metadata
    title = str(about.title or "").strip() if about else ""
    metadata: dict[str, Any] = {"pages": count}
    if about and about.author:
        metadata["author"] = str(about.author)
    last = max(0, length - 2)
    return DocumentText("\n\n".join(parts), "pdf", title, pages=tuple(min(b, last) for b in begins), metadata=metadata)
