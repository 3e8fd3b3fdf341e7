"""A real browser before a real server; skips with the reason where there is none."""

from __future__ import annotations

import shutil
import time

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def launch(play):
    """Start Chromium, or skip."""
    if CHROMIUM is None:
        pytest.skip(
            "no Chromium on this machine: install it with the system's packages, such as `apt install chromium`"
        )
    return play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])


def until(page, condition, arg=None, *, timeout_s=15.0):
    """Wait until a condition in JavaScript holds; the page's policy forbids Playwright's own way to wait."""
    deadline = time.monotonic() + timeout_s
    while not page.evaluate(condition, arg):
        assert time.monotonic() < deadline, f"{condition} did not come true; alert: {page.inner_text('#alert')!r}"
        page.wait_for_timeout(15)
