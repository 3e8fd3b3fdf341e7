"""HTML by construction: whatever is not made here is escaped."""

from __future__ import annotations

from html import escape
from urllib.parse import urlsplit

__all__ = ["Markup", "document", "element", "external", "joined"]

_VOID = frozenset({"input", "link", "meta", "br"})


class Markup(str):
    """Text that is HTML already; only `element` and `document` make it."""

    __slots__ = ()


def element(name: str, /, *children: str | Markup | None, **attributes: str | int | bool | None) -> Markup:
    """Return an element.

    Parameters
    ----------
    name : str
        Its tag, from the source and never from data.
    *children : str or Markup
        What is inside: text is escaped, :class:`Markup` is not. None is left out.
    **attributes : str, int or bool
        Attributes, escaped; ``_`` in a name stands for ``-``, and one at its end is dropped. None and False leave one
        out, True gives one without a value.

    Returns
    -------
    Markup
        HTML.

    Examples
    --------
    >>> element("p", "a < b", class_="x")
    '<p class="x">a &lt; b</p>'
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{joined(*children)}</{name}>")


def joined(*children: str | Markup | None) -> Markup:
    """Return several pieces one behind the other, each escaped unless it is HTML already.

    Parameters
    ----------
    *children : str or Markup
        Pieces.

    Returns
    -------
    Markup
        HTML.
    """
    return Markup("".join(_piece(child) for child in children if child is not None))


def document(title: str, *body: str | Markup | None, style: str | None = None, head: str | Markup = "") -> Markup:
    """Return a whole page.

    Parameters
    ----------
    title : str
        Its title.
    *body : str or Markup
        What it shows.
    style : str, optional
        Address of a style sheet.
    head : Markup, default ""
        Further elements of the head.

    Returns
    -------
    Markup
        HTML.
    """
    top = element(
        "head",
        element("meta", charset="utf-8"),
        element("title", title),
        element("meta", name="viewport", content="width=device-width"),
        None if style is None else element("link", rel="stylesheet", href=style),
        # Else browsers ask for an icon that is not there.
        None if style is None else element("link", rel="icon", href="data:,"),
        head,
    )
    return Markup(f"<!doctype html>\n{element('html', top, element('body', *body), lang='en')}\n")


def external(address: object) -> str | None:
    """Return an address that a link may lead to, or None.

    Parameters
    ----------
    address : object
        Such as a field of a record.

    Returns
    -------
    str or None
        None for what is not an http or https address: a script is one too.

    Examples
    --------
    >>> external("https://example.org/a"), external("javascript:alert(1)")
    ('https://example.org/a', None)
    """
    if not isinstance(address, str) or len(address) > 2_000 or any(c.isspace() or ord(c) < 32 for c in address):
        return None
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    return address if parts.scheme in ("http", "https") and parts.netloc else None


def _piece(child: str | Markup) -> str:
    return child if isinstance(child, Markup) else escape(str(child))


def _attribute(name: str, value: str | int | bool | None) -> str:
    if value is None or value is False:
        return ""
    key = name.rstrip("_").replace("_", "-")
    return f" {key}" if value is True else f' {key}="{escape(str(value))}"'
