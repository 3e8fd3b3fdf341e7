"""Addresses of people and of servers, checked before anything is sent to them."""

from __future__ import annotations

import re
from email.headerregistry import Address
from email.utils import parseaddr

from orthant.errors import InputError, message

__all__ = ["check_address", "check_sender", "one_line"]

_LOCAL = r"[A-Za-z0-9!#$&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$&'*+/=?^_`{|}~-]+)*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"{_LOCAL}@(?:{_LABEL}\.)*{_LABEL}")
_LONGEST, _LONGEST_LOCAL = 254, 64


def check_address(address: str) -> str:
    """Refuse what is not one plain e-mail address.

    Parameters
    ----------
    address : str
        Such as ``"ada@example.org"``: no name, no quotes, no comment, ASCII only.

    Returns
    -------
    str
        The address; its domain in lower case.

    Raises
    ------
    InputError
        Anything else. An address goes into headers and commands, so a line break in it could add some of its own.

    Examples
    --------
    >>> check_address("Ada@Example.org")
    'Ada@example.org'
    """
    if isinstance(address, str) and len(address) <= _LONGEST and _ADDRESS.fullmatch(address):
        local, _, domain = address.rpartition("@")
        if len(local) <= _LONGEST_LOCAL:
            return f"{local}@{domain.lower()}"
    shown = repr(str(address)[:60])
    raise InputError(message(f"address {shown}", "one address such as ada@example.org", "correct it"))


def check_sender(sender: str) -> tuple[Address, str]:
    """Return who letters are from.

    Parameters
    ----------
    sender : str
        An address, or a name and an address: ``"Library <library@example.org>"``.

    Returns
    -------
    shown : email.headerregistry.Address
        For the header.
    address : str
        For the envelope.

    Raises
    ------
    InputError
        Not of that form.

    Examples
    --------
    >>> str(check_sender("Library <library@example.org>")[0])
    'Library <library@example.org>'
    """
    if not isinstance(sender, str) or one_line(sender) != sender.strip():
        raise InputError(message(f"sender {str(sender)[:60]!r}", "NAME <ADDRESS> on one line", "correct it"))
    name, address = parseaddr(sender)
    address = check_address(address)
    local, _, domain = address.rpartition("@")
    return Address(name, local, domain), address


def one_line(text: str, longest: int = 200) -> str:
    r"""Return a text that can stand in a header.

    Parameters
    ----------
    text : str
        Any text.
    longest : int, default 200
        Letters kept.

    Returns
    -------
    str
        White space of any kind is one blank; control and direction characters are gone.

    Examples
    --------
    >>> one_line("a\r\nBcc: b")
    'a Bcc: b'
    """
    # Separators and marks of direction would let a subject look like something else.
    kept = "".join(c if c.isprintable() or c.isspace() else " " for c in str(text))
    words = " ".join(kept.split())
    return words if len(words) <= longest else f"{words[: longest - 1].rstrip()}…"
