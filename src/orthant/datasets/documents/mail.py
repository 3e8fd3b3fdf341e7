"""Mail to documents: headers as metadata, the text part, or the HTML part where there is no other."""

from __future__ import annotations

import datetime
import hashlib
import mailbox
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any

from orthant.datasets.documents.kinds import DocumentText, tidy
from orthant.datasets.documents.markup import html_text
from orthant.datasets.documents.texts import decode
from orthant.errors import InputError, message

__all__ = ["mbox_messages", "read_mail"]

_FIELDS = {"from": "From", "to": "To", "cc": "Cc"}
_LONGEST_HEADER = 2_000
_LONGEST_KEY = 200
_SURROGATES = re.compile("[\ud800-\udfff]")


def read_mail(data: bytes) -> DocumentText:
    r"""Read one message in the format of Internet mail (RFC 5322).

    Parameters
    ----------
    data : bytes
        The message.

    Returns
    -------
    DocumentText
        The title is the subject, which is the first line of the text as well, so that it is searched. Metadata:
        ``from``, ``to``, ``cc``, ``date`` (ISO 8601, UTC), ``message_id`` and ``attachments`` (names), as far as the
        message has them.

    Raises
    ------
    InputError
        Neither headers nor a body.

    Examples
    --------
    >>> mail = read_mail(b"From: a@b.example\nSubject: Kites\n\nThe wind is fine.\n")
    >>> mail.title, mail.text, mail.metadata
    ('Kites', 'Kites\n\nThe wind is fine.', {'from': 'a@b.example'})
    """
    try:
        return _read(data)
    except RecursionError as error:
        given = "a message with hundreds of parts inside each other"
        raise InputError(message(given, "mail", "save what matters of it as text, or leave it out")) from error


def _read(data: bytes) -> DocumentText:
    parsed = BytesParser(policy=policy.default).parsebytes(data)
    if not parsed.keys():
        raise InputError(message("a message without headers", "mail", "rename the file to .txt, or leave it out"))
    metadata = {name: value for name, header in _FIELDS.items() if (value := _header(parsed, header))}
    if moment := _date(_header(parsed, "Date")):
        metadata["date"] = moment
    if key := _header(parsed, "Message-ID"):
        metadata["message_id"] = key.strip("<> ")
    text, encoding = _body(parsed)
    told: dict[str, Any] = dict(metadata)
    if names := _attachments(parsed):
        told["attachments"] = names
    subject = _header(parsed, "Subject")
    whole = "\n\n".join(part for part in (subject, text) if part)
    return DocumentText(whole, "mail", subject, metadata=told, encoding=encoding)


def _header(parsed: EmailMessage, name: str) -> str:
    raw = next((value for key, value in parsed.raw_items() if key.lower() == name.lower()), None)
    value = _told(lambda: parsed.get(name), raw)
    return _text(" ".join(str(value).split())[:_LONGEST_HEADER]) if value is not None else ""


def _told(ask: Callable[[], Any], otherwise: Any) -> Any:
    try:
        return ask()
    except (ValueError, IndexError, AttributeError, TypeError, KeyError):
        # The parser of structured headers fails on some malformed ones instead of noting a defect.
        return otherwise


def _text(value: str) -> str:
    # Bytes that no header may hold come as lone surrogates.
    try:
        return tidy(value.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    except UnicodeEncodeError:
        # Other halves of surrogate pairs are spelt out by some encodings that a header may name.
        return tidy(_SURROGATES.sub("\ufffd", value))


def _date(value: str) -> str:
    try:
        moment = parsedate_to_datetime(value)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
        return aware.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, TypeError, IndexError, OverflowError):
        return ""


def _body(parsed: EmailMessage) -> tuple[str, str]:
    parts = [part for part in parsed.walk() if not part.is_multipart() and not _told(part.is_attachment, False)]  # type: ignore[attr-defined]
    for kind in ("text/plain", "text/html"):
        texts, encoding = [], ""
        for part in parts:
            if _told(part.get_content_type, "text/plain") != kind:
                continue
            payload = _told(partial(part.get_payload, decode=True), b"")
            data = payload if isinstance(payload, bytes) else b""
            decoded, encoding = decode(data, declared=_told(part.get_content_charset, None))
            texts.append(html_text(decoded)[0] if kind == "text/html" else tidy(decoded))
        if any(texts):
            return "\n\n".join(text for text in texts if text), encoding
    return "", ""


def _attachments(parsed: EmailMessage) -> list[str]:
    parts = (part for part in parsed.walk() if _told(part.is_attachment, False))  # type: ignore[attr-defined]
    names = (_told(part.get_filename, "") for part in parts)
    return [_text(name) for name in names if name]


def mbox_messages(path: Path, *, max_bytes: int) -> Iterator[tuple[str, bytes | None]]:
    """Yield the messages of a mailbox one by one, with keys that stay when other messages come or go.

    Parameters
    ----------
    path : Path
        A file in the mbox format.
    max_bytes : int
        Longest message to hold in memory.

    Yields
    ------
    key : str
        The message's ``Message-ID``, else a hash of its bytes; a repeated one gets ``~2``, ``~3`` and so on.
    data : bytes or None
        None for a message that is too long.

    Raises
    ------
    InputError
        No line that begins a message, although the file is not empty.
    """
    box = mailbox.mbox(path, create=False)
    seen: dict[str, int] = {}
    try:
        if not len(box) and path.stat().st_size:
            raise InputError(message("no line that begins with 'From '", "a mailbox in mbox format", "check the file"))
        for number in box.keys():  # noqa: SIM118
            with closing(box.get_file(number)) as part:
                read = part.read(max_bytes + 1)
            data = read if len(read) <= max_bytes else None
            key = f"message-{number}" if data is None else _key(data)
            seen[key] = seen.get(key, 0) + 1
            yield (key if seen[key] == 1 else f"{key}~{seen[key]}"), data
    finally:
        box.close()


def _key(data: bytes) -> str:
    head = BytesParser(policy=policy.compat32).parsebytes(data.split(b"\n\n", 1)[0], headersonly=True)
    key = _text(str(head.get("Message-ID") or "")).strip("<> \t\r\n")
    usable = 0 < len(key.encode()) <= _LONGEST_KEY and key.isprintable()
    return key if usable else hashlib.sha256(data).hexdigest()[:20]
