"""The pages of a feed, as HTML without a script."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from orthant.feed.addresses import one_line
from orthant.feed.entries import Entry, Page
from orthant.feed.markup import Markup, document, element, external, joined

__all__ = [
    "STYLE_PATH",
    "enter_page",
    "item_page",
    "list_page",
    "message_page",
    "overview_page",
    "question_page",
    "subscribe_page",
]

STYLE_PATH = "/feed/-/style.css"
ORDERS = {"newest": "Newest", "trending": "Trending", "saved": "Saved"}
MODES = {"": "by meaning and words", "dense": "by meaning", "lexical": "by words"}
EVERY = {"day": "once a day", "week": "once a week", "run": "as it comes"}
PER_PAGE = 20
_SNIPPET_LETTERS = 320
_LINK_FIELDS = ("url", "link", "href")
_LONGEST_VALUE = 400


def address(name: str, part: str = "", **query: str | int | None) -> str:
    """Return the address of a page of a feed.

    Parameters
    ----------
    name : str
        The collection.
    part : str, default ""
        What comes behind, such as ``"/item"``.
    **query : str or int
        Its query; what is None or empty is left out.

    Returns
    -------
    str
        A path.
    """
    asked = urlencode({key: value for key, value in query.items() if value not in (None, "")})
    return f"/feed/{quote(name, safe='')}{part}" + (f"?{asked}" if asked else "")


def on_page(name: str, view: str, **query: str) -> str:
    """Return the address of a view of the page, which shows the same collection.

    Parameters
    ----------
    name : str
        The collection.
    view : str
        Such as ``"map"``.
    **query : str
        What the view is to show.

    Returns
    -------
    str
        A path with a fragment.
    """
    return f"/page/#/{quote(name, safe='')}/{view}" + (f"?{urlencode(query)}" if query else "")


def overview_page(names: Sequence[str], *, shut: bool) -> Markup:
    """Return the list of the feeds that a reader may see.

    Parameters
    ----------
    names : sequence of str
        Collections.
    shut : bool
        Whether keys are in use.

    Returns
    -------
    Markup
        HTML.
    """
    links = [element("li", element("a", name, href=address(name))) for name in names]
    return _page(
        "Feeds",
        element("h1", "Feeds"),
        element("ul", *links, class_="plain") if links else element("p", "There is no feed that you may read."),
        element("p", element("a", "Use another key", href="/feed/-/enter")) if shut else None,
    )


def list_page(
    name: str, page: Page, *, order: str, query: str, mode: str, offset: int, saved: Sequence[str], keeps: bool
) -> Markup:
    """Return some entries of an order, or what a search found.

    Parameters
    ----------
    name : str
        The collection.
    page : Page
        The entries.
    order : {"newest", "trending", "saved"}
        Their order, where nothing is searched.
    query, mode : str
        What is searched, and how.
    offset : int
        Entries before these.
    saved : sequence of str
        The reader's list.
    keeps : bool
        Whether anything can be counted and saved.

    Returns
    -------
    Markup
        HTML.
    """
    shown = f"Search: {query}" if query else ORDERS[order]
    here: dict[str, Any] = {"q": query, "mode": mode} if query else {"order": order}
    entries = [_entry(name, entry, entry.id in saved) for entry in page.entries]
    more = len(page.entries) == PER_PAGE and (page.total is None or offset + PER_PAGE < page.total)
    steps = [
        element("a", "← Back", href=address(name, **here, offset=max(0, offset - PER_PAGE)), rel="prev")
        if offset
        else None,
        element("a", "More →", href=address(name, **here, offset=offset + PER_PAGE), rel="next") if more else None,
    ]
    return _page(
        f"{shown} · {name}",
        _top(name, order="" if query else order, query=query, mode=mode, keeps=keeps),
        element("h1", one_line(shown)),
        element("p", element("a", "E-mail me what is new for this", href=address(name, "/subscribe", q=query)))
        if query and keeps
        else None,
        *entries,
        None if entries else element("p", "Nothing here yet." if order == "saved" else "Nothing found."),
        element("nav", *steps, class_="steps", aria_label="Pages"),
    )


def item_page(
    name: str,
    entry: Entry,
    neighbours: Sequence[Entry],
    *,
    saved: bool,
    keeps: bool,
    panel: Markup | None = None,
    refresh: bool = False,
) -> Markup:
    """Return one entry, what is known of it, and what is near it.

    Parameters
    ----------
    name : str
        The collection.
    entry : Entry
        The entry.
    neighbours : sequence of Entry
        Closest first.
    saved : bool
        Whether it is on the reader's list.
    keeps : bool
        Whether it can be put there.
    panel : Markup, optional
        What else belongs to it.
    refresh : bool, default False
        Whether the page is to look again by itself.

    Returns
    -------
    Markup
        HTML.
    """
    known = [
        (key, " ".join(str(value).split())[:_LONGEST_VALUE]) for key, value in entry.metadata.items() if value != ""
    ]
    link = next((found for key in _LINK_FIELDS if (found := external(entry.metadata.get(key)))), None)
    return _page(
        f"{one_line(entry.title)} · {name}",
        _top(name, order="", query="", mode="", keeps=keeps),
        element(
            "article",
            element("h1", one_line(entry.title)),
            _about(entry),
            element(
                "div",
                _save(name, entry, saved, back="item") if keeps else None,
                element("a", "Open the source ↗", href=link, rel="noopener noreferrer external") if link else None,
                element("a", "E-mail me more like this", href=address(name, "/subscribe", q=one_line(entry.title)))
                if keeps
                else None,
                element("a", "On the map", href=on_page(name, "map", id=entry.id)),
                element("a", "Steer from here", href=on_page(name, "search", plus=json.dumps([entry.id]))),
                class_="actions",
            ),
            *(element("p", part) for part in entry.text.split("\n") if part.strip()),
            element("details", element("summary", "Fields"), _pairs(known)) if known else None,
        ),
        panel,
        element("h2", "Near it") if neighbours else None,
        *(_entry(name, one, saved=None) for one in neighbours),
        head=element("meta", http_equiv="refresh", content="3") if refresh else "",
    )


def subscribe_page(name: str, *, query: str, problem: str = "") -> Markup:
    """Return the form that saves a search.

    Parameters
    ----------
    name : str
        The collection.
    query : str
        What is looked for.
    problem : str, default ""
        What was wrong with the last try.

    Returns
    -------
    Markup
        HTML.
    """
    often = [element("option", label, value=value) for value, label in EVERY.items()]
    return _page(
        f"Subscribe · {name}",
        _top(name, order="", query="", mode="", keeps=True),
        element("h1", "E-mail me what is new"),
        element("p", problem, role="alert", class_="problem") if problem else None,
        element(
            "form",
            element("label", "About", element("input", name="q", value=query, required=True, maxlength=500)),
            element(
                "label",
                "Your address",
                element("input", name="address", type="email", required=True, maxlength=254, autocomplete="email"),
            ),
            element("label", "How often", element("select", *often, name="every")),
            element("button", "Subscribe"),
            method="post",
            action=address(name, "/subscribe"),
            class_="stack",
        ),
        element("p", "You get one letter with a link that begins it; every digest has one that ends it."),
    )


def question_page(name: str, title: str, text: str, button: str) -> Markup:
    """Return a page that asks before it does what a link out of a letter is for.

    Programs that follow links to look for malware must not end or begin anything, so it takes a click.

    Parameters
    ----------
    name : str
        The collection.
    title, text, button : str
        What is asked.

    Returns
    -------
    Markup
        HTML; the form goes where the page came from.
    """
    return _page(
        f"{title} · {name}",
        element("h1", title),
        element("p", text),
        element("form", element("button", button), method="post"),
    )


def enter_page(*, problem: str = "", after: str = "/feed") -> Markup:
    """Return the form that asks for a key.

    Parameters
    ----------
    problem : str, default ""
        What was wrong.
    after : str, default "/feed"
        Where to go then.

    Returns
    -------
    Markup
        HTML.
    """
    return _page(
        "Key needed",
        element("h1", "Key needed"),
        element("p", problem, role="alert", class_="problem") if problem else None,
        element(
            "form",
            element("input", type="hidden", name="after", value=after),
            element("label", "Key", element("input", name="key", type="password", required=True, autocomplete="off")),
            element("button", "Enter"),
            method="post",
            action="/feed/-/enter",
            class_="stack",
        ),
    )


def message_page(title: str, text: str) -> Markup:
    """Return a page that says one thing.

    Parameters
    ----------
    title, text : str
        What it says.

    Returns
    -------
    Markup
        HTML.
    """
    back = element("p", element("a", "All feeds", href="/feed"))
    return _page(title, element("h1", title), element("p", text), back)


# ---- parts ----------------------------------------------------------------------------------------------------------


def _page(title: str, *body: str | Markup | None, head: str | Markup = "") -> Markup:
    skip = element("a", "Skip to content", href="#content", class_="skip")
    return document(title, skip, element("main", *body, id="content"), style=STYLE_PATH, head=head)


def _top(name: str, *, order: str, query: str, mode: str, keeps: bool) -> Markup:
    tabs = [
        element("a", label, href=address(name, order=key), aria_current="page" if key == order else None)
        for key, label in ORDERS.items()
        if keeps or key == "newest"
    ]
    modes = [element("option", label, value=key, selected=key == mode) for key, label in MODES.items()]
    return element(
        "header",
        element(
            "nav",
            element("span", element("a", "Feeds", href="/feed"), " / ", element("a", name, href=address(name))),
            element("a", "Search page", href=on_page(name, "search")),
            element("a", "Map", href=on_page(name, "map")),
            class_="where",
            aria_label="Places",
        ),
        element("nav", *tabs, class_="tabs", aria_label="Orders"),
        element(
            "form",
            element(
                "input", type="search", name="q", value=query, placeholder="Search", aria_label="Search", required=True
            ),
            element("select", *modes, name="mode", aria_label="How to search"),
            element("button", "Search"),
            action=address(name),
            role="search",
        ),
    )


def _entry(name: str, entry: Entry, saved: bool | None) -> Markup:
    snippet = one_line(entry.text, _SNIPPET_LETTERS)
    title = element("a", one_line(entry.title), href=address(name, "/item", id=entry.id))
    return element(
        "article",
        element("h2", title),
        _about(entry),
        element("p", snippet) if snippet else None,
        class_="entry saved" if saved else "entry",
    )


def _about(entry: Entry) -> Markup:
    told = [element("time", entry.day, datetime=entry.day)] if entry.day else []
    counts = ((entry.views, "view", "views"), (entry.saves, "save", "saves"))
    told += [element("span", f"{count} {one if count == 1 else many}") for count, one, many in counts if count]
    if isinstance(entry.metadata.get("status"), str):
        told.append(element("span", one_line(entry.metadata["status"], 40), class_="badge"))
    if entry.score is not None:
        told.append(element("span", f"score {entry.score:.3f}"))
    return element("p", *told, class_="about")


def _save(name: str, entry: Entry, saved: bool, *, back: str) -> Markup:
    return element(
        "form",
        element("input", type="hidden", name="id", value=entry.id),
        element("input", type="hidden", name="saved", value="" if saved else "yes"),
        element("button", "Saved ✓ (take off)" if saved else "Save"),
        method="post",
        action=address(name, "/save"),
    )


def _pairs(pairs: Sequence[tuple[str, str]]) -> Markup:
    return element("dl", *(joined(element("dt", key), element("dd", value)) for key, value in pairs))


STYLE: str = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 22%, transparent); --accent: #1456b8; }
@media (prefers-color-scheme: dark) { :root { --accent: #8db8ff; } }
* { box-sizing: border-box; }
body { font: 1rem/1.55 system-ui, sans-serif; margin: 0; background: Canvas; color: CanvasText; }
main { max-width: 50rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
a { color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: .5rem; }
header { border-bottom: 1px solid var(--line); padding-bottom: .8rem; }
.where { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: 0 0 .5rem; }
.where span { flex: 1 1 auto; }
header form, .actions { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; }
header input[type=search] { flex: 1 1 14rem; }
.tabs { display: flex; gap: 1rem; margin-bottom: .8rem; }
.tabs a { text-decoration: none; padding: .2rem 0; }
.tabs a[aria-current] { border-bottom: 3px solid var(--accent); font-weight: 600; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 1rem 0 .5rem; }
h2 { font-size: 1.15rem; line-height: 1.3; margin: 1.2rem 0 .1rem; }
h3 { font-size: 1rem; margin: 1rem 0 .2rem; }
.entry { border-bottom: 1px solid var(--line); padding-bottom: .7rem; }
.entry h2 { margin-top: .8rem; }
.entry p { margin: .2rem 0; }
.entry.saved h2::before { content: "\\2605 "; }
.about { display: flex; flex-wrap: wrap; gap: .3rem 1rem; font-size: .875rem; opacity: .8; }
.about:empty { display: none; }
.badge { border: 1px solid var(--line); border-radius: .6rem; padding: 0 .5rem; font-size: .85rem; font-weight: 400; }
.badge.holds { border-color: #2e7d32; } .badge.fails { border-color: #c62828; }
.steps { display: flex; justify-content: space-between; padding: 1rem 0; }
.stack { display: grid; gap: .8rem; max-width: 28rem; }
.stack label { display: grid; gap: .2rem; }
.problem { border-left: 4px solid #c62828; padding-left: .7rem; }
.plain { list-style: none; padding: 0; }
input, select, button { font: inherit; padding: .4rem .6rem; border: 1px solid var(--line); border-radius: .3rem; }
button { cursor: pointer; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dt { font-weight: 600; } dd { margin: 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { text-align: left; padding: .15rem 1rem .15rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
tbody th { font-weight: 400; white-space: normal; min-width: 12rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .875em; }
pre { overflow: auto; padding: .7rem; border: 1px solid var(--line); border-radius: .3rem; }
@media (max-width: 34rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; } }
"""
"""The style sheet of every page."""


def entries_json(page: Page) -> Mapping[str, Any]:
    """Return some entries for programs.

    Parameters
    ----------
    page : Page
        The entries.

    Returns
    -------
    mapping
        ``entries`` and ``total``.
    """
    return {"entries": [entry.to_dict() for entry in page.entries], "total": page.total}
