"""The feed in a real browser: what a person clicks, and what a browser does that no client of HTTP does."""

from __future__ import annotations

import shutil
import threading

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")

import orthant
from feed.notes import fill
from orthant.papers import catalogue
from orthant.server import background
from orthant.server.feed import jobs

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("feeds") / "notes.orthant"
    with orthant.open(folder, encoder="static") as collection:
        fill(collection)
        collection.upsert(["evil"], texts=["<script>document.title = 'taken'</script>\nstorm"], metadata=[{}])
    with background({"notes": folder}) as url:
        yield url


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def test_read_search_save_and_subscribe(site, browser):
    page = browser.new_page()
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda line: complaints.append(line.text))
    page.goto(f"{site}/feed")
    page.click("text=notes")
    assert page.locator("article h2").first.inner_text().startswith("Bake a chocolate cake")
    page.fill("input[type=search]", "ocean storm")
    page.press("input[type=search]", "Enter")
    page.click("text=A lighthouse keeper")
    assert page.locator("h1").inner_text().startswith("A lighthouse keeper")
    # A form is a write, so its origin is checked; browsers call it "null" under some policies.
    page.click("button:has-text('Save')")
    assert page.locator("button:has-text('Saved')").count() == 1
    page.click("text=Saved >> nth=0")
    assert page.locator("article").count() == 1
    page.click("text=A lighthouse keeper")
    page.click("text=E-mail me more like this")
    page.fill("input[type=email]", "ada@example.org")
    page.click("button:has-text('Subscribe')")
    assert page.locator("h1").inner_text() == "Look into your mail"
    page.goto(f"{site}/feed/notes/item?id=evil")
    assert page.title() != "taken"
    assert not complaints
    assert {url.partition("/feed")[0] for url in asked} <= {site, "data:,"}
    page.close()


def test_from_the_feed_to_the_page_and_back(site, browser):
    page = browser.new_page()
    page.goto(f"{site}/feed/notes")
    page.click("text=A lighthouse keeper")
    entry = page.url
    for label, place in (("Search page", "#q"), ("Map", "#map"), ("On the map", "#map"), ("Steer from here", "#steer")):
        page.goto(entry)
        page.click(f"a:text-is('{label}')")
        page.wait_for_selector(f"{place}:not([hidden])")
    # The record that was steered from is the example.
    assert "A lighthouse keeper" in page.inner_text("#steer")
    page.wait_for_selector("#hits .hit")
    found = page.get_attribute("#hits .hit >> nth=0", "data-id")
    page.click("a:text-is('In the feed') >> nth=0")
    page.wait_for_selector("h1")
    assert page.url == f"{site}/feed/notes/item?id={found}"
    page.go_back()
    page.wait_for_selector("#feed-link:not([hidden])")
    page.click("#feed-link")
    assert page.url == f"{site}/feed/notes"
    page.close()


def test_without_dates_the_page_has_no_way_to_the_feed(browser, tmp_path):
    with orthant.open(tmp_path / "plain") as plain:
        plain.upsert(["a"], texts=["a red kite"], metadata=[{"colour": "red"}])
    with background({"plain": tmp_path / "plain"}) as url:
        page = browser.new_page()
        page.goto(f"{url}/page/#/plain/search?q=kite&mode=lexical")
        page.wait_for_selector("#hits .hit")
        assert page.locator("#feed-link").is_hidden() and page.locator("text=In the feed").count() == 0
        page.close()


def test_by_keyboard_alone_and_on_a_narrow_screen(site, browser):
    page = browser.new_page(viewport={"width": 360, "height": 640}, color_scheme="dark")
    page.goto(f"{site}/feed/notes")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    wide = page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert wide
    unnamed = page.locator("input:not([aria-label]):not([type=hidden]), select:not([aria-label])").count()
    assert unnamed == 0
    page.goto(f"{site}/feed/notes/subscribe?q=x")
    assert page.get_by_label("Your address").count() == 1
    page.close()


def test_a_run_ends_on_the_page_without_a_click(tmp_path, browser, monkeypatch):
    class Process:
        returncode = 0

        def __init__(self, command, **about):
            pass

        def communicate(self, timeout):
            ended.wait(60)
            return b"{}", None

        def poll(self):
            return 0

    ended = threading.Event()
    monkeypatch.setattr(jobs.subprocess, "Popen", Process)
    with orthant.open(tmp_path / "papers", encoder="static") as collection:
        record = next(one for one in catalogue.documents() if one["id"] == "leanvec")
        collection.upsert(["leanvec"], texts=[record["text"]], metadata=[record["metadata"]])
    with background({"papers": tmp_path / "papers"}) as url:
        page = browser.new_page()
        page.goto(f"{url}/feed/papers/item?id=leanvec")
        page.click("button:has-text('Reproduce')")
        assert page.locator("button:has-text('Running')").is_disabled()
        ended.set()
        page.wait_for_selector("text=This server's run: holds", timeout=20_000)
        page.close()
