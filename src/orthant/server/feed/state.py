"""What the pages of a feed keep while the server runs: feeds, who has just looked, and who may come in."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from orthant.collection.collection import Collection
from orthant.errors import InputError, StoreError, message
from orthant.feed.database import FeedDatabase
from orthant.feed.entries import Feed
from orthant.server.failures import Refusal
from orthant.server.routes.requests import require_type
from orthant.server.service import Service

__all__ = ["KEY_COOKIE", "READER_COOKIE", "FeedState", "read_form", "reader_of", "set_cookie"]

T = TypeVar("T")
KEY_COOKIE = "orthant_key"
READER_COOKIE = "orthant_reader"
_YEAR_S = 365 * 86_400
_MOST_FIELDS, _MOST_FORM_BYTES = 20, 64 * 1024
_MOST_LOOKS = 20_000
_READER_LETTERS = range(20, 65)


class FeedState:
    """The feeds of a server.

    Parameters
    ----------
    service : Service
        The server's state.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self._feeds: dict[str, Feed] = {}
        self._lock = threading.Lock()
        self._looks: OrderedDict[bytes, None] = OrderedDict()
        self._salt = secrets.token_bytes(16)

    def admit(self, request: Request) -> None:
        """Let in who has a key, in the header or in the cookie of the form that asks for one.

        Parameters
        ----------
        request : Request
            A request to a page.

        Raises
        ------
        Refusal
            Status 401: no key, or one that does not exist.
        """
        header, cookie = request.headers.get("authorization"), request.cookies.get(KEY_COOKIE)
        given = f"Bearer {cookie}" if header is None and cookie else header
        request.scope["orthant.grant"] = self.service.admit(given)

    async def run(self, request: Request, name: str, function: Callable[[Feed], T]) -> T:
        """Run a function on a feed that the sender may read.

        Parameters
        ----------
        request : Request
            Admitted.
        name : str
            The collection.
        function : callable of Feed
            May block.

        Returns
        -------
        object
            What it gave.
        """
        served = self.service.collection(request, name)
        return await served.read(lambda collection: function(self._feed(name, collection)))

    async def by_link(self, name: str, function: Callable[[Feed], T]) -> T:
        """Run a function on a feed for who followed a signed link, which stands for a key.

        Parameters
        ----------
        name : str
            The collection.
        function : callable of Feed
            Checks the link first.

        Returns
        -------
        object
            What it gave.
        """
        return await self.service.served(name).read(lambda collection: function(self._feed(name, collection)))

    def _feed(self, name: str, collection: Collection) -> Feed:
        with self._lock:
            held = self._feeds.get(name)
            if held is None or held.collection is not collection:
                try:
                    database = FeedDatabase(FeedDatabase.beside(Path(collection.path)))
                except StoreError:
                    # Beside a folder that cannot be written nothing is counted; reading goes on.
                    database = None
                held = self._feeds[name] = Feed(collection, database)
            return held

    def close(self) -> None:
        """Close the databases."""
        with self._lock:
            for feed in self._feeds.values():
                if feed.database is not None:
                    feed.database.close()
            self._feeds.clear()

    def first_look(self, request: Request, name: str, record_id: str) -> bool:
        """Return whether a visitor looks at a record for the first time in a while.

        Parameters
        ----------
        request : Request
            Of the visitor; a browser that only fetches ahead does not count.
        name, record_id : str
            The record.

        Returns
        -------
        bool
            False for one of the last 20,000 looks, so that reloading a page does not make it trend. Who looked is kept
            as a hash that nobody can undo after the server ends.
        """
        if "prefetch" in (request.headers.get("sec-purpose", ""), request.headers.get("purpose", "")):
            return False
        host = request.client.host if request.client is not None else ""
        told = "\0".join((host, request.headers.get("user-agent", ""), name, record_id))
        look = hashlib.blake2b(told.encode("utf-8", "replace"), key=self._salt, digest_size=12).digest()
        with self._lock:
            if look in self._looks:
                return False
            self._looks[look] = None
            if len(self._looks) > _MOST_LOOKS:
                self._looks.popitem(last=False)
        return True


async def read_form(request: Request) -> Mapping[str, str]:
    """Return the fields of a form.

    Parameters
    ----------
    request : Request
        A POST of a form without files.

    Returns
    -------
    mapping of str to str
        The last value of each field.

    Raises
    ------
    Refusal
        Another media type, or more than a form of these pages has.
    InputError
        Not the text of a form.
    """
    require_type(request, "application/x-www-form-urlencoded")
    raw = await request.body()
    if len(raw) > _MOST_FORM_BYTES:
        raise Refusal(413, "InputError", message("a form that is too large", "at most 64 KiB", "write less"))
    try:
        text = raw.decode("ascii")
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"))
    except ValueError:
        raise InputError(message("a malformed form", "one of these pages", "go back, and send it again")) from None


def set_cookie(request: Request, response: Response, name: str, value: str) -> None:
    """Set a cookie that only these pages get, never a script and never another site's request.

    Parameters
    ----------
    request : Request
        Tells whether the connection is encrypted.
    response : Response
        Carries it.
    name, value : str
        The cookie.
    """
    response.set_cookie(
        name,
        value,
        max_age=_YEAR_S,
        path="/feed",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def reader_of(request: Request) -> str | None:
    """Return the token that a browser keeps for its list, None where it has none.

    Parameters
    ----------
    request : Request
        Of the browser.

    Returns
    -------
    str or None
        20 to 64 letters.
    """
    found = request.cookies.get(READER_COOKIE, "")
    return found if len(found) in _READER_LETTERS and found.isascii() else None
