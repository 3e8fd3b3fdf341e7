"""Links that prove by a signature that they came out of a letter."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Literal, get_args

from orthant.errors import NotFoundError, message

__all__ = ["Purpose", "read_link", "sign_link"]

Purpose = Literal["confirm", "unsubscribe"]
_BYTES = 24
_LONGEST = 128


def sign_link(secret: bytes, purpose: Purpose, subscription: int, address: str) -> str:
    """Return the last part of a link.

    Parameters
    ----------
    secret : bytes
        Of the database.
    purpose : {"confirm", "unsubscribe"}
        What the link is for; one of a purpose is of no use for another.
    subscription : int
        Id of the saved search.
    address : str
        Whose it is.

    Returns
    -------
    str
        Letters, digits, ``-`` and ``_``.

    Examples
    --------
    >>> token = sign_link(b"secret", "unsubscribe", 7, "ada@example.org")
    >>> read_link(b"secret", "unsubscribe", token, lambda number: "ada@example.org")
    7
    """
    return f"{subscription}-{_signature(secret, purpose, subscription, address)}"


def read_link(secret: bytes, purpose: Purpose, token: str, address_of: Callable[[int], str | None]) -> int:
    """Return which saved search a link is about.

    Parameters
    ----------
    secret : bytes
        Of the database.
    purpose : {"confirm", "unsubscribe"}
        What it is to be used for.
    token : str
        As it came.
    address_of : callable of int
        Gives the address of a saved search, or None.

    Returns
    -------
    int
        Id of the saved search.

    Raises
    ------
    NotFoundError
        Not a link that was signed here for this purpose; the same text whatever is wrong with it.
    """
    number, _, given = token.partition("-") if len(token) <= _LONGEST else ("", "", "")
    subscription = int(number) if number.isascii() and number.isdigit() and len(number) <= 15 else -1
    address = address_of(subscription)
    # A saved search that does not exist costs as much as a wrong signature.
    expected = _signature(secret, purpose, subscription, address or "")
    if not hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace")) or address is None:
        raise NotFoundError(message("a link that is not known", "one out of a letter, whole", "copy it again"))
    return subscription


def _signature(secret: bytes, purpose: Purpose, subscription: int, address: str) -> str:
    if purpose not in get_args(Purpose):
        raise NotFoundError(message(f"purpose {purpose!r}", "confirm or unsubscribe", "correct it"))
    text = f"{purpose}\0{subscription}\0{address}".encode()
    return base64.urlsafe_b64encode(hmac.new(secret, text, hashlib.sha256).digest()[:_BYTES]).decode()
