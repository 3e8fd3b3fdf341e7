"""Take the pictures of the guide to the page: ``python scripts/page_screenshots.py``, with Chromium and Playwright.

They show the papers, and for the map posts of newsgroups where ORTHANT_DATA is set. Look at them before they are kept.
"""

from __future__ import annotations

import argparse
import io
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import orthant
from orthant.cli.demo import Stages, build_papers
from orthant.server import background

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "guide" / "images"
MOST_BYTES = 150_000
QUERIES = (
    "faster vector search with compressed codes", "replace a model without re-indexing", "longer documents",
    "pictures and texts in one space", "recommend items to users", "nodes of a graph as vectors", "weighted terms",
    "many vectors per document", "smaller embedding tables", "hard negatives for training", "classes that shift",
    "senses of a word", "sums of best matches", "codes of a few bits", "text in other alphabets", "drawings as code",
)  # fmt: skip


def build_posts(path: Path, count: int) -> bool:
    """Passages of newsgroup posts, evenly over the groups; False without the data."""
    try:
        found = orthant.datasets.load("newsgroups20")
    except orthant.errors.OrthantError:
        return False
    rows = []
    for i, (text, label) in enumerate(zip(found.texts, found.labels.tolist(), strict=True)):
        words = text.split()
        for j in range(0, len(words), 35):
            passage = " ".join(words[j : j + 35])
            if len(passage) > 60:
                about = {"group": found.label_names[label], "part": j // 35, "words": len(words)}
                rows.append((f"post-{i}-{j // 35}", passage, about))
    random.Random(0).shuffle(rows)
    with orthant.open(path, encoder="static") as posts:
        for begin in range(0, min(count, len(rows)), 4096):
            ids, texts, metadata = zip(*rows[begin : min(begin + 4096, count)], strict=True)
            posts.upsert(ids, texts=texts, metadata=metadata)
    return True


def keep(name: str, picture: bytes) -> None:
    """Write a picture with as many colours as fit into the bytes."""
    from PIL import Image

    image = Image.open(io.BytesIO(picture)).convert("RGB")
    for colours in (256, 128, 64, 32):
        held = io.BytesIO()
        image.quantize(colours, Image.Quantize.MAXCOVERAGE).save(held, "PNG", optimize=True)
        if held.tell() < MOST_BYTES:
            break
    (IMAGES / f"{name}.png").write_bytes(held.getvalue())
    print(f"{name}.png: {held.tell():,} bytes, {colours} colours")


def search(page, url: str) -> Iterator[str]:
    """Searching, its reasons, and why something is missing."""
    page.goto(f"{url}/page/#/papers/search")
    page.fill("#q", "faster vector search with compressed codes")
    page.press("#q", "Enter")
    page.wait_for_selector(".strip")
    page.locator("details.why summary").first.click()
    yield "page-search"
    page.click("#ask-why")
    page.fill("#why-id", "seqpe")
    page.press("#why-id", "Enter")
    page.wait_for_selector(".steps")
    yield "page-why-not"
    page.keyboard.press("Escape")


def steer(page, url: str) -> Iterator[str]:
    """Examples in place of a query."""
    page.goto(f"{url}/page/#/papers/search?plus=%5B%22leanvec%22%5D&minus=%5B%22distill-vq%22%5D&dir=0.6")
    page.wait_for_selector("#steer .minus")
    page.wait_for_selector("#hits .score")
    yield "page-steer"
    page.goto(f"{url}/page/#/papers/compare?q=replace+a+model+without+re-indexing")
    page.wait_for_selector("#right .hit")
    yield "page-compare"


def plane(page, url: str) -> Iterator[str]:
    """The map, with a lasso drawn on it."""
    page.goto(f"{url}/page/#/posts/map")
    page.wait_for_selector("#legend li", timeout=180_000)
    page.click("#map-lasso")
    box = page.locator("#map").bounding_box()
    x, y = box["x"] + box["width"] * 0.52, box["y"] + box["height"] * 0.2
    page.mouse.move(x - 60, y - 60)
    page.mouse.down()
    for dx, dy in ((60, -60), (60, 60), (-60, 60), (-60, -50)):
        page.mouse.move(x + dx, y + dy, steps=8)
    page.mouse.up()
    page.wait_for_selector("#map-panel .titles")
    yield "page-map"


def feed(page, url: str) -> Iterator[str]:
    """The feed of the papers, and one of them."""
    for key, times in (("leanvec", 5), ("muvera", 3), ("crisp", 2), ("static-training", 1)):
        for number in range(times):
            # Who looks twice counts once.
            page.set_extra_http_headers({"User-Agent": f"reader {number}"})
            page.goto(f"{url}/feed/papers/item?id={key}")
    page.goto(f"{url}/feed/papers?order=trending")
    yield "feed-trending"
    page.goto(f"{url}/feed/papers/item?id=leanvec")
    # Down to the button.
    page.set_viewport_size({"width": 900, "height": 1900})
    yield "feed-paper"


def upgrade(page, url: str) -> Iterator[str]:
    """A rehearsal, and an upgrade that was paused."""
    page.goto(f"{url}/page/#/papers/upgrade")
    page.wait_for_selector("#rehearse-form")
    page.fill("#rehearse-queries", "\n".join(QUERIES))
    page.click("#rehearse-form button")
    page.wait_for_selector("#start-form", state="attached", timeout=300_000)
    page.evaluate("document.querySelector('#rehearsed').scrollIntoView()")
    yield "page-rehearsal"
    body = {"encoder": "minilm", "using": "reencode", "batch_size": 4, "pause_s": 1}
    page.evaluate(
        "body => import('./api.js').then(api => api.call(['collections', 'papers', 'upgrade', 'run'], body))", body
    )
    page.goto(f"{url}/page/#/papers/search")
    page.goto(f"{url}/page/#/papers/upgrade")
    while not page.evaluate("document.querySelector('#upgraded progress')?.value > 20"):
        page.wait_for_timeout(200)
    page.click("#upgrade-pause")
    page.wait_for_selector("#upgrade-resume")
    yield "page-upgrade"
    page.click("#upgrade-rollback")
    page.wait_for_selector("#rehearse-form")


VIEWS = ((search, "light"), (steer, "dark"), (plane, "light"), (feed, "light"), (upgrade, "light"))


def main() -> None:
    """Take them all."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=20_000, help="records on the map")
    parser.add_argument("--only", nargs="+", choices=[views.__name__ for views, _ in VIEWS])
    options = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as home:
        served = {"papers": Path(home) / "papers"}
        build_papers(served["papers"], Stages())
        if "plane" in (options.only or ["plane"]) and build_posts(Path(home) / "posts", options.posts):
            served["posts"] = Path(home) / "posts"
        with background(served) as url, sync_playwright() as play:
            browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for views, scheme in VIEWS:
                if views.__name__ not in (options.only or views.__name__) or (views is plane and "posts" not in served):
                    continue
                page = browser.new_page(viewport={"width": 1180, "height": 780}, color_scheme=scheme)
                for name in views(page, url):
                    page.mouse.move(2, 2)
                    page.wait_for_timeout(300)
                    keep(name, page.screenshot())
            browser.close()


if __name__ == "__main__":
    main()
