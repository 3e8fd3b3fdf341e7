"""The page in Chromium: when it can be used, how long a map takes, and what one frame of it costs.

``python benchmarks/page.py`` serves ``--records`` texts from this process and opens the page in a fresh browser
``--runs`` times: from the first byte asked for until the results of a search are there. Then the map of 20,000 of them
is asked for, and moved ``--frames`` times.
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
from orthant.evaluation.context import run_context
from server import texts_of, vectors_of

RESULTS = Path(__file__).parent / "results" / "page.json"


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--no-save", action="store_true")
    return parser.parse_args()


def build(path, options):
    rng = np.random.default_rng(3)
    with orthant.open(path) as collection, collection.bulk():
        for begin in range(0, options.records, 4096):
            n = min(4096, options.records - begin)
            metadata = [{"kind": f"k{i % 7}", "year": 1950 + i % 70} for i in range(begin, begin + n)]
            ids = [f"r{i}" for i in range(begin, begin + n)]
            vectors = vectors_of(n, options.dim, rng)
            collection.upsert(ids, texts=texts_of(n, rng), metadata=metadata, vectors=vectors)


def opened(browser, url):
    """Milliseconds until the first results are there, in a context that has nothing cached."""
    page = browser.new_context(viewport={"width": 1280, "height": 860}).new_page()
    began = time.perf_counter()
    page.goto(f"{url}/page/#/bench/search?q=w3+w40&mode=lexical")
    page.wait_for_selector(".hit .score")
    took = time.perf_counter() - began
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
    for i in range(frames):
        page.mouse.move(x + 60 * np.sin(i / 9), y + 60 * np.cos(i / 9))
    page.mouse.up()
    page.wait_for_timeout(200)
    told = page.evaluate("import('./map.js').then(map => ({ ...map.timing, points: map.probe().count }))")
    return {
        "points": told["points"],
        "seconds_until_drawn": round(seconds, 2),
        "frames": told["frames"],
        "script_ms_per_frame": round(told["milliseconds"] / told["frames"], 2),
    }


def main():
    from playwright.sync_api import sync_playwright

    from orthant.server import background

    options = parse()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench"
        build(path, options)
        with background({"bench": path}) as url, sync_playwright() as play:
            browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            took = [opened(browser, url) for _ in range(options.runs)]
            report = {
                "records": options.records,
                "first_open_ms": round(took[0]),
                "open_ms": round(float(np.median(took[1:]))),
                "map": mapped(browser, url, options.frames),
                "context": run_context(seed=3),
            }
            browser.close()
    print(json.dumps(report))
    if not options.no_save:
        RESULTS.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
