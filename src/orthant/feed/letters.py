"""Letters: a digest or a request to confirm, as one message with text and HTML."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from urllib.parse import quote, urlencode

from orthant.feed.addresses import check_sender, one_line
from orthant.feed.entries import Entry
from orthant.feed.markup import Markup, document, element, external, joined
from orthant.feed.subscriptions import Subscription

__all__ = ["Places", "digest_letter", "html_of", "request_letter"]

_SNIPPET_LETTERS = 280
# Bytes above 127 would need a server that announces 8BITMIME.
_POLICY = SMTP.clone(cte_type="7bit")
# Programs that show mail drop style sheets, and keep the attributes.
_BODY_STYLE = "font-family:sans-serif;line-height:1.5;max-width:40em"
_TITLE_STYLE = "font-size:1.4em;margin:.5em 0"
_HEADING_STYLE = "font-size:1.1em;margin:1.2em 0 0"
_LINK_FIELDS = ("url", "link", "href")


class Places:
    """Where the links of letters lead.

    Parameters
    ----------
    base_url : str or None
        Of the server; without it letters carry no link of their own.
    served_as : str
        Name of the collection there.
    """

    def __init__(self, base_url: str | None, served_as: str) -> None:
        self.base_url = base_url
        self.served_as = served_as

    def item(self, entry: Entry) -> str | None:
        """Return where an entry is shown.

        Parameters
        ----------
        entry : Entry
            The entry.

        Returns
        -------
        str or None
            The server's page, else the address that the record names, if any.
        """
        if self.base_url is None:
            return next((found for name in _LINK_FIELDS if (found := external(entry.metadata.get(name)))), None)
        return f"{self._feed}/item?{urlencode({'id': entry.id})}"

    def search(self, query: str) -> str | None:
        """Return where a search is shown.

        Parameters
        ----------
        query : str
            What is looked for.

        Returns
        -------
        str or None
            None without a server.
        """
        return None if self.base_url is None else f"{self._feed}?{urlencode({'q': query})}"

    def action(self, purpose: str, token: str) -> str | None:
        """Return where a signed link leads.

        Parameters
        ----------
        purpose : {"confirm", "unsubscribe"}
            What it does.
        token : str
            Its signed part.

        Returns
        -------
        str or None
            None without a server.
        """
        return None if self.base_url is None else f"{self._feed}/{purpose}/{token}"

    @property
    def _feed(self) -> str:
        return f"{self.base_url}/feed/{quote(self.served_as, safe='')}"


def digest_letter(
    subscription: Subscription,
    entries: Sequence[Entry],
    more: int,
    *,
    sender: str,
    places: Places,
    token: str,
    now: float,
) -> bytes:
    """Return a digest, ready to be sent.

    Parameters
    ----------
    subscription : Subscription
        Whose.
    entries : sequence of Entry
        What it shows.
    more : int
        How many others match.
    sender : str
        Who it is from.
    places : Places
        Where links lead.
    token : str
        Signed part of the link that unsubscribes.
    now : float
        Seconds since 1970.

    Returns
    -------
    bytes
        A message of RFC 5322, with a header for one-click unsubscription (RFC 8058) where there is a server.
    """
    about = _about(subscription)
    count = len(entries) + more
    subject = f"{count} new in {places.served_as}: {about}"
    away = places.action("unsubscribe", token)
    lines: list[str] = [f"{count} new in {places.served_as} for: {about}", ""]
    for entry in entries:
        lines += [_heading(entry), *filter(None, [_snippet(entry), places.item(entry)]), ""]
    if more:
        lines += [f"and {more} more" + (f": {places.search(subscription.query)}" if places.base_url else ""), ""]
    lines += ["--", _farewell(subscription, away)]
    body = element(
        "main",
        element("h1", f"{count} new in {places.served_as}", style=_TITLE_STYLE),
        element("p", about),
        *(_article(entry, places.item(entry)) for entry in entries),
        element("p", f"and {more} more") if more else None,
        element("p", element("a", "Unsubscribe", href=away) if away else _farewell(subscription, None)),
        style=_BODY_STYLE,
    )
    letter = _letter(subject, lines, document(subject, body), to=subscription.address, sender=sender, now=now)
    letter["Message-ID"] = _message_id("digest", [token, *(entry.id for entry in entries)], sender)
    letter["Auto-Submitted"] = "auto-generated"
    if away is not None:
        letter["List-Unsubscribe"] = f"<{away}>"
        letter["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return letter.as_bytes()


def request_letter(subscription: Subscription, *, sender: str, places: Places, token: str, now: float) -> bytes:
    """Return the letter that asks a reader to confirm a saved search.

    Parameters
    ----------
    subscription : Subscription
        Which.
    sender, places, now
        As in :func:`digest_letter`.
    token : str
        Signed part of the link that confirms.

    Returns
    -------
    bytes
        A message of RFC 5322.
    """
    about, link = _about(subscription), places.action("confirm", token)
    subject = f"Confirm: new in {places.served_as}"
    asked = f"Somebody, perhaps you, asked for new entries of {places.served_as} at this address, about: {about}"
    lines = [asked, "", "To receive them, follow this link within a week:", str(link), "", "Else do nothing."]
    body = element(
        "main",
        element("p", asked),
        element("p", element("a", "Receive them", href=link), " (within a week). Else do nothing."),
        style=_BODY_STYLE,
    )
    letter = _letter(subject, lines, document(subject, body), to=subscription.address, sender=sender, now=now)
    letter["Message-ID"] = _message_id("confirm", [token], sender)
    letter["Auto-Submitted"] = "auto-generated"
    return letter.as_bytes()


def html_of(letter: bytes) -> bytes:
    """Return the HTML of a letter as a page of its own.

    Parameters
    ----------
    letter : bytes
        From this module.

    Returns
    -------
    bytes
        UTF-8.
    """
    from email import message_from_bytes

    message = message_from_bytes(letter, policy=_POLICY)
    part = message.get_body(("html",))
    return (part.get_content() if part is not None else "").encode()


def _letter(subject: str, lines: Sequence[str], page: Markup, *, to: str, sender: str, now: float) -> EmailMessage:
    letter = EmailMessage(policy=_POLICY)
    shown, _ = check_sender(sender)
    letter["From"] = shown
    letter["To"] = to
    letter["Subject"] = one_line(subject, 120)
    letter["Date"] = datetime.fromtimestamp(now, UTC)
    letter.set_content("\n".join(lines) + "\n")
    letter.add_alternative(page, subtype="html")
    return letter


def _message_id(kind: str, parts: Sequence[str], sender: str) -> str:
    # The same for the same content, so that a receiver which gets a letter twice can tell.
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"<{kind}.{digest}@{check_sender(sender)[1].rpartition('@')[2]}>"


def _about(subscription: Subscription) -> str:
    return subscription.query or one_line(str(subscription.where))


def _farewell(subscription: Subscription, away: str | None) -> str:
    if away is not None:
        return f"Unsubscribe: {away}"
    return f"Saved search {subscription.id}; to end it: orthant digest remove COLLECTION {subscription.id}"


def _heading(entry: Entry) -> str:
    return one_line(entry.title) + (f" ({entry.day})" if entry.day else "")


def _snippet(entry: Entry) -> str:
    return one_line(entry.text, _SNIPPET_LETTERS)


def _article(entry: Entry, address: str | None) -> Markup:
    title = one_line(entry.title)
    return joined(
        element("h2", element("a", title, href=address) if address else title, style=_HEADING_STYLE),
        element("small", entry.day) if entry.day else None,
        element("p", _snippet(entry), style="margin:.2em 0"),
    )
