"""An encoder replaced from the page, in Chromium: rehearsed, started, watched, paused, committed, taken back."""

from __future__ import annotations

import pytest

import orthant
from orthant.server import KeyFile, background
from server.page.browsing import launch, sync_api, until
from server.upgrading.slow import Slow

RECORDS = 120


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as play:
        browser = launch(play)
        yield browser
        browser.close()


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "books"
    with orthant.open(path, encoder="static") as books:
        texts = [f"the {i} keeper of lighthouse {i % 7} and boat {i % 5} text" for i in range(RECORDS)]
        books.upsert([f"r{i}" for i in range(RECORDS)], texts=texts)
    return path


def rehearsed(page, url):
    page.goto(f"{url}/page/#/books/upgrade")
    page.wait_for_selector("#rehearse-form")
    assert page.locator("#rehearse-encoder option").all_inner_texts() == ["second"]
    page.fill("#rehearse-queries", "\n".join(f"keeper {i} of lighthouse {i % 7}" for i in range(20)))
    page.select_option("#rehearse-using", "reencode")
    page.click("#rehearse-form button")
    page.wait_for_selector("#start-form", state="attached")


def test_an_upgrade_from_rehearsal_to_commit_and_back(browser, folder):
    second = Slow(1)
    with background({"books": folder}, upgrades={"second": second}) as url:
        page = browser.new_page()
        wrong = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        rehearsed(page, url)
        told = page.inner_text("#rehearsed")
        # Advice, its reason, and intervals of the gain and of every share.
        assert "Worth it" in told and "interval" in told and told.count(" to ") >= 6
        second.free = type(second.free)(0)
        page.click("#start-form button")
        page.wait_for_selector("#upgrade-pause")
        second.free.release(1)
        until(page, "() => document.querySelector('#upgraded progress')?.value > 0")
        # Pressed by the keyboard; what has the focus is not lost when the state changes.
        page.focus("#upgrade-pause")
        page.keyboard.press("Enter")
        until(page, "() => document.querySelector('#upgrade-pause')?.disabled")
        second.free.release(1)
        page.wait_for_selector("#upgrade-commit")
        assert "Paused" in page.inner_text("#upgrade-state")
        assert page.evaluate("document.activeElement.matches('#upgraded h2')")
        page.click("#upgrade-commit")
        page.wait_for_selector("#upgrade-alert .alert")
        assert "without a vector of the new encoder" in page.inner_text("#upgrade-alert")
        second.free.release(1000)
        page.click("#upgrade-resume")
        until(page, f"() => document.querySelector('#upgraded progress')?.value === {RECORDS}")
        until(page, "() => document.querySelector('#upgrade-commit')")
        page.click("#upgrade-commit")
        page.wait_for_selector("#upgrade-release")
        assert "the new encoder answers" in page.inner_text("#upgraded h2")
        page.on("dialog", lambda dialog: dialog.dismiss())
        page.click("#upgrade-release")
        page.click("#upgrade-rollback")
        page.wait_for_selector("#rehearse-form")
        # The rehearsal is still there, so it can be started again.
        assert page.locator("#start-form").count() == 1
        assert not wrong
        page.close()


def test_a_key_that_only_reads_is_told_that_it_may_not(browser, folder, tmp_path):
    keys = KeyFile(tmp_path / "keys.json")
    key = keys.add("reader", {"books": "read"})
    with background({"books": folder}, keys=keys) as url:
        page = browser.new_page()
        page.goto(f"{url}/page/#/books/upgrade")
        page.fill("#key-text", getattr(key, "secret", key))
        page.press("#key-text", "Enter")
        page.wait_for_selector("#upgraded .alert")
        assert "admin" in page.inner_text("#upgraded") and page.locator("#rehearse-form").count() == 0
        page.close()
