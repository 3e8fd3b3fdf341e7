"""Addresses of the feed: pages for browsers under ``/feed``, and the same entries as JSON."""

from __future__ import annotations

import functools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from orthant.errors import InputError, NotFoundError, OrthantError, OverloadedError, message
from orthant.feed.entries import Entry, Feed, Page
from orthant.feed.links import Purpose
from orthant.feed.markup import Markup
from orthant.feed.subscriptions import EVERY, Subscription, Subscriptions
from orthant.server.answers.feed import FeedAnswer
from orthant.server.failures import Refusal, status_of
from orthant.server.feed import pages
from orthant.server.feed.jobs import Jobs
from orthant.server.feed.papers import paper_of, paper_panel, source_page
from orthant.server.feed.state import KEY_COOKIE, READER_COOKIE, FeedState, read_form, reader_of, set_cookie
from orthant.server.routes.requests import json_answer
from orthant.server.service import Service

__all__ = ["routes"]

_POLICY = (
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; img-src data:"
)
_LONGEST_QUERY, _LONGEST_ID = 500, 2_000
_MOST_OFFSET = 10_000
Page_ = Callable[..., Awaitable[Response]]


def routes(service: Service) -> APIRouter:
    """Return the routes of the feed.

    Parameters
    ----------
    service : Service
        The server's state.

    Returns
    -------
    APIRouter
        ``/feed`` and what is below it, and ``/collections/{name}/feed``.
    """
    state, jobs = FeedState(service), Jobs()

    @asynccontextmanager
    async def running(app: Any) -> AsyncIterator[None]:
        try:
            yield
        finally:
            jobs.close()
            state.close()

    router = APIRouter(lifespan=running)
    # Readers come with a cookie, or with a signed link instead of a key: these routes ask for either themselves.
    service.public |= {"/feed", "/feed/"}
    _add_entrance(router, state)
    _add_lists(router, state)
    _add_items(router, state, jobs)
    _add_papers(router, state, jobs)
    _add_subscribing(router, state)
    _add_json(router, state)
    return router


def _answer(content: Markup, status: int = 200) -> Response:
    # Without any referrer a browser calls the origin of a form "null", which is refused as another one.
    headers = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "same-origin"}
    return HTMLResponse(content, status, headers=headers)


def _guarded(state: FeedState, *, admitted: bool = True) -> Callable[[Page_], Page_]:
    """Let a page admit its reader first, and say as a page what went wrong."""

    def wrap(page: Page_) -> Page_:
        @functools.wraps(page)
        async def guarded(*args: Any, request: Request, **kwargs: Any) -> Response:
            try:
                if admitted:
                    state.admit(request)
                return await page(*args, request=request, **kwargs)
            except Refusal as refusal:
                if refusal.status_code == 401:
                    problem = str(refusal.detail) if KEY_COOKIE in request.cookies else ""
                    return _answer(pages.enter_page(problem=problem, after=_after(request)), 401)
                return _answer(pages.message_page("That is not possible", str(refusal.detail)), refusal.status_code)
            except OrthantError as error:
                title = "Not found" if isinstance(error, NotFoundError) else "That is not possible"
                return _answer(pages.message_page(title, state.service.hide(str(error))), status_of(error))

        return guarded

    return wrap


def _after(request: Request) -> str:
    """Where to go once a key was given: the page that was asked for."""
    return f"{request.url.path}?{request.url.query}" if request.method == "GET" and request.url.query else "/feed"


def _add_entrance(router: APIRouter, state: FeedState) -> None:
    @router.get("/feed", include_in_schema=False)
    @_guarded(state)
    async def overview(*, request: Request) -> Response:
        names = [served.name for served in state.service.visible(request)]
        return _answer(pages.overview_page(names, shut=state.service.keys is not None))

    @router.get(pages.STYLE_PATH, include_in_schema=False)
    async def style() -> Response:
        return Response(pages.STYLE, media_type="text/css", headers={"Cache-Control": "max-age=3600"})

    @router.get("/feed/-/enter", include_in_schema=False)
    async def ask() -> Response:
        return _answer(pages.enter_page())

    @router.post("/feed/-/enter", include_in_schema=False)
    @_guarded(state, admitted=False)
    async def enter(*, request: Request) -> Response:
        form = await read_form(request)
        key, after = form.get("key", "").strip(), form.get("after", "")
        try:
            state.service.admit(f"Bearer {key}")
        except Refusal as refusal:
            return _answer(pages.enter_page(problem=str(refusal.detail), after="/feed"), 401)
        # Only a page of the feed, never the address of another host.
        response = RedirectResponse(after if after.startswith("/feed/") and "\\" not in after else "/feed", 303)
        if state.service.keys is not None:
            set_cookie(request, response, KEY_COOKIE, key)
        return response


def _add_lists(router: APIRouter, state: FeedState) -> None:
    @router.get("/feed/{name}", include_in_schema=False)
    @_guarded(state)
    async def entries(
        name: str, *, request: Request, order: str = "newest", q: str = "", mode: str = "", offset: str = "0"
    ) -> Response:
        query, start = q.strip()[:_LONGEST_QUERY], _offset(offset)
        order, mode = (order if order in pages.ORDERS else "newest"), (mode if mode in pages.MODES else "")
        reader = reader_of(request)

        def read(feed: Feed) -> Markup:
            saved = feed.database.saved(reader) if feed.database is not None and reader is not None else []
            if query:
                page = feed.search(query, k=pages.PER_PAGE, offset=start, mode=mode or None)
            elif order == "saved":
                page = _saved_page(feed, saved, start)
            else:
                ask = feed.trending if order == "trending" else feed.newest
                page = ask(k=pages.PER_PAGE, offset=start)
            keeps = feed.database is not None
            return pages.list_page(
                name, page, order=order, query=query, mode=mode, offset=start, saved=saved, keeps=keeps
            )

        return _answer(await state.run(request, name, read))


def _add_items(router: APIRouter, state: FeedState, jobs: Jobs) -> None:
    @router.get("/feed/{name}/item", include_in_schema=False)
    @_guarded(state)
    async def item(name: str, *, request: Request, id: str = "") -> Response:
        reader, record_id = reader_of(request), id[:_LONGEST_ID]
        may_run = state.service.grant(request).allows(name, "admin")

        def read(feed: Feed) -> Markup:
            entry = feed.item(record_id)
            saved = False
            if feed.database is not None:
                if state.first_look(request, name, entry.id):
                    feed.database.view(entry.id)
                saved = reader is not None and entry.id in feed.database.saved(reader)
            row = paper_of(entry)
            job = None if row is None else jobs.get(row.key)
            return pages.item_page(
                name,
                entry,
                feed.neighbours(entry.id),
                saved=saved,
                keeps=feed.database is not None,
                panel=None if row is None else paper_panel(row, name, job, may_run=may_run),
                refresh=job is not None and job.running,
            )

        return _answer(await state.run(request, name, read))

    @router.post("/feed/{name}/save", include_in_schema=False)
    @_guarded(state)
    async def save(name: str, *, request: Request) -> Response:
        form = await read_form(request)
        reader = reader_of(request) or secrets.token_urlsafe(24)

        def write(feed: Feed) -> Entry:
            entry = feed.item(form.get("id", ""))
            if form.get("saved"):
                feed.settings.save(reader, entry.id)
            else:
                feed.settings.unsave(reader, entry.id)
            return entry

        entry = await state.run(request, name, write)
        response = RedirectResponse(pages.address(name, "/item", id=entry.id), 303)
        set_cookie(request, response, READER_COOKIE, reader)
        return response


def _offset(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 9):
        raise InputError(message("a malformed offset", "a number", "go back"))
    if int(text) > _MOST_OFFSET:
        raise InputError(message(f"offset {int(text):,}", f"at most {_MOST_OFFSET:,}", "search instead"))
    return int(text)


def _saved_page(feed: Feed, saved: list[str], start: int) -> Page:
    chosen = saved[start : start + pages.PER_PAGE]
    held = [record.id for record in feed.collection.get(chosen) if record is not None] if chosen else []
    return Page(tuple(feed.item(record_id) for record_id in held), len(saved))


def _add_papers(router: APIRouter, state: FeedState, jobs: Jobs) -> None:
    def paper(feed: Feed, record_id: str) -> Any:
        row = paper_of(feed.item(record_id))
        if row is None:
            raise NotFoundError(message("a record that is no paper", "one of the catalogue", "go back"))
        return row

    @router.get("/feed/{name}/code", include_in_schema=False)
    @_guarded(state)
    async def code(name: str, *, request: Request, id: str = "", module: str = "") -> Response:
        def read(feed: Feed) -> Markup:
            return source_page(paper(feed, id[:_LONGEST_ID]), module, name, style=pages.STYLE_PATH)

        return _answer(await state.run(request, name, read))

    @router.post("/feed/{name}/reproduce", include_in_schema=False)
    @_guarded(state)
    async def reproduce(name: str, *, request: Request) -> Response:
        # A run takes minutes of this machine, so reading alone does not permit it.
        state.service.require(request, name, "admin")
        form = await read_form(request)
        row = await state.run(request, name, lambda feed: paper(feed, form.get("id", "")))
        jobs.start(row.key)
        # Without a fragment: a page that looks again at an address with one only scrolls.
        return RedirectResponse(pages.address(name, "/item", id=row.key), 303)


def _add_subscribing(router: APIRouter, state: FeedState) -> None:
    @router.get("/feed/{name}/subscribe", include_in_schema=False)
    @_guarded(state)
    async def form_page(name: str, *, request: Request, q: str = "") -> Response:
        await state.run(request, name, lambda feed: feed.settings)
        return _answer(pages.subscribe_page(name, query=q[:_LONGEST_QUERY]))

    @router.post("/feed/{name}/subscribe", include_in_schema=False)
    @_guarded(state)
    async def subscribe(name: str, *, request: Request) -> Response:
        form = await read_form(request)
        query, every = form.get("q", ""), form.get("every", "day")

        def write(feed: Feed) -> Subscription:
            if every not in EVERY:
                raise InputError(message("another interval", "day, week or run", "choose one"))
            # Whoever types an address need not be its owner, so the owner is asked.
            return Subscriptions(feed).add(form.get("address", ""), query, every=cast(Any, every), confirmed=False)

        try:
            await state.run(request, name, write)
        except (InputError, OverloadedError) as error:
            problem = state.service.hide(str(error))
            return _answer(pages.subscribe_page(name, query=query, problem=problem), status_of(error))
        # The same whether the address was known or not.
        text = "A letter with a link that begins it is on its way, with the next run of the digests."
        return _answer(pages.message_page("Look into your mail", text))

    _add_links(router, state, "confirm", "Receive new entries?", "Receive them", "You will hear of what is new.")
    _add_links(router, state, "unsubscribe", "Unsubscribe?", "Unsubscribe", "You will get nothing more of this.")


def _add_links(router: APIRouter, state: FeedState, purpose: Purpose, title: str, button: str, done: str) -> None:
    @router.get(f"/feed/{{name}}/{purpose}/{{token}}", include_in_schema=False, name=f"ask_{purpose}")
    @_guarded(state, admitted=False)
    async def ask(name: str, token: str, *, request: Request) -> Response:
        found = await state.by_link(name, lambda feed: Subscriptions(feed).of_link(purpose, token))
        about = f"{found.address}: {found.query or found.where}"
        return _answer(pages.question_page(name, title, about, button))

    @router.post(f"/feed/{{name}}/{purpose}/{{token}}", include_in_schema=False, name=purpose)
    @_guarded(state, admitted=False)
    async def act(name: str, token: str, *, request: Request) -> Response:
        def write(feed: Feed) -> Subscription:
            searches = Subscriptions(feed)
            return searches.confirm(token) if purpose == "confirm" else searches.unsubscribe(token)

        await state.by_link(name, write)
        return _answer(pages.message_page("Done", done))


def _add_json(router: APIRouter, state: FeedState) -> None:
    @router.get("/collections/{name}/feed", tags=["feed"], response_model=FeedAnswer)
    async def feed_json(
        name: str,
        request: Request,
        order: str = "newest",
        query: str = "",
        mode: str | None = None,
        k: int = 20,
        offset: int = 0,
    ) -> Response:
        """Return entries newest first, trending, or closest to a query."""
        state.service.limits.require("k", k, "max_k")
        state.service.limits.require("offset", offset, "max_depth")
        if order not in ("newest", "trending"):
            raise InputError(message("another order", "newest or trending", "correct it"))

        def read(feed: Feed) -> Any:
            if query.strip():
                return pages.entries_json(feed.search(query, k=k, offset=offset, mode=mode))
            return pages.entries_json((feed.trending if order == "trending" else feed.newest)(k=k, offset=offset))

        return json_answer(await state.run(request, name, read))
