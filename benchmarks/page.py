"""The page in Chromium: when it can be used, how long a map takes, and what one frame of it costs.

``python benchmarks/page.py`` serves ``--records`` chunks of newsgroup messages from this process and opens the page in
a fresh browser ``--runs`` times: from the first byte asked for until the results of a search with its facets are there.
Then the map of 20,000 of them is asked for, and moved ``--frames`` times; what a frame costs is the script's part of
it, and ``frame_interval_ms`` how far apart frames came, drawing by the browser's software included.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

import orthant
from ann import make_if_missing
from orthant.evaluation.context import run_context
from orthant.evaluation.stores.inputs import newsgroup_corpus

RESULTS = Path(__file__).parent / "results" / "page.json"


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--folder", help="a collection that is there already, in place of a new one")
    parser.add_argument("--no-save", action="store_true")
    return parser.parse_args()


def build(path, options):
    make_if_missing("newsgroups_chunks")
    corpus = newsgroup_corpus(options.records, 0)
    with orthant.open(path) as collection, collection.bulk():
        for begin in range(0, options.records, 10_000):
            part = slice(begin, min(begin + 10_000, options.records))
            ids = [str(i) for i in range(part.start, part.stop)]
            given = {"metadata": corpus.metadata[part], "vectors": corpus.vectors[part]}
            collection.upsert(ids, texts=corpus.texts[part], **given)


def opened(browser, url):
    """Milliseconds until the first results are there, in a context that has nothing cached."""
    page = browser.new_context(viewport={"width": 1280, "height": 860}).new_page()
    began = time.perf_counter()
    page.goto(f"{url}/page/#/bench/search?q=launch+of+the+space+shuttle&mode=lexical")
    page.wait_for_selector(".hit .score")
    took = time.perf_counter() - began
    # Until then it is drawn, and its box can be typed into.
    if not page.locator("#facets fieldset").count() or not page.locator("#q").is_enabled():
        raise SystemExit("the page has results and cannot be used")
    page.context.close()
    return 1e3 * took


def mapped(browser, url, frames):
    page = browser.new_page(viewport={"width": 1280, "height": 860})
    began = time.perf_counter()
    page.goto(f"{url}/page/#/bench/map")
    page.wait_for_selector("#legend li", timeout=300_000)
    seconds = time.perf_counter() - began
    box = page.locator("#map").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.evaluate("import('./map.js').then(map => { map.timing.frames = 0; map.timing.milliseconds = 0; })")
    page.mouse.move(x, y)
    page.mouse.down()
    page.evaluate(
        "window.stamps = []; window.stamp = now => { stamps.push(now); requestAnimationFrame(stamp); };"
        "requestAnimationFrame(stamp);"
    )
    for i in range(frames):
        page.mouse.move(x + 60 * np.sin(i / 9), y + 60 * np.cos(i / 9))
    gaps = np.diff(page.evaluate("window.stamps"))
    page.mouse.up()
    page.wait_for_timeout(200)
    told = page.evaluate("import('./map.js').then(map => ({ ...map.timing, points: map.probe().count }))")
    return {
        "points": told["points"],
        "seconds_until_drawn": round(seconds, 2),
        "frames": told["frames"],
        "script_ms_per_frame": round(told["milliseconds"] / told["frames"], 2),
        "frame_interval_ms": {
            "p50": round(float(np.median(gaps)), 1),
            "p95": round(float(np.percentile(gaps, 95)), 1),
        },
    }


def main():
    from playwright.sync_api import sync_playwright

    from orthant.server import background

    options = parse()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(options.folder or Path(folder) / "bench")
        if not options.folder:
            build(path, options)
        with background({"bench": path}) as url, sync_playwright() as play:
            browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            took = [opened(browser, url) for _ in range(options.runs)]
            report = {
                "records": options.records,
                "first_open_ms": round(took[0]),
                "open_ms": round(float(np.median(took[1:]))),
                "slowest_open_ms": round(max(took[1:])),
                "map": mapped(browser, url, options.frames),
                "context": run_context(seed=3),
            }
            browser.close()
    print(json.dumps(report))
    if not options.no_save:
        RESULTS.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
