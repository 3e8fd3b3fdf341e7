"""Addresses of servers, and how long they ask to wait, on the standard library alone."""

from __future__ import annotations

import ipaddress
import urllib.parse
from typing import Any

from orthant.errors import InputError, message

__all__ = ["check_url", "is_loopback", "retry_after_s"]


def check_url(url: Any) -> str:
    """Return a base address without its trailing slash, or refuse what could carry a secret or is no address.

    Parameters
    ----------
    url : str
        http or https, without user, password, query or fragment.

    Returns
    -------
    str
        The address.

    Raises
    ------
    InputError
        Anything else; the address is not repeated, since it may hold a password.

    Examples
    --------
    >>> check_url("http://localhost:8000/v1/")
    'http://localhost:8000/v1'
    """
    refused = InputError(
        message(
            "an address that is no plain http or https URL",
            "such as 'http://localhost:8000/v1'",
            "leave out user, password, query and fragment; a key is passed by key_from_env",
        )
    )
    if not isinstance(url, str) or any(c.isspace() or not c.isprintable() for c in url):
        raise refused
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError:
        raise refused from None
    secret = parts.username or parts.password or parts.query or parts.fragment
    if parts.scheme not in ("http", "https") or not parts.hostname or secret or port == 0:
        raise refused
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address.

    Parameters
    ----------
    host : str
        A name or an address to listen at.

    Returns
    -------
    bool
        True for ``localhost`` and the addresses of the loopback.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def retry_after_s(value: str | None) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for.

    Parameters
    ----------
    value : str or None
        The header.

    Returns
    -------
    float or None
        0 or more; None without a header, or where it holds a date: the caller's usual wait will do.
    """
    try:
        wait = float(value) if value else None
    except ValueError:
        return None
    # NaN would pass a comparison with the longest wait.
    return None if wait is None or wait != wait else max(0.0, wait)
