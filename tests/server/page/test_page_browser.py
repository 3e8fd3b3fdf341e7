"""The page as a person uses it, in Chromium: search, filters, map, steering, upload; and what an attacker stores."""

from __future__ import annotations

import json

import pytest

import orthant
from collection.fakes import FakeEncoder, FakeSparseEncoder, FakeTokenEncoder
from orthant.server import KeyFile, background
from server.page.browsing import launch, sync_api, until

HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
PLACES = ("harbour", "forest", "desert")
WORDS = {
    "harbour": "ships and boats lie at the quay while sailors mend nets beside the lighthouse",
    "forest": "oak and pine trees shelter deer and foxes under green leaves and moss",
    "desert": "camels cross hot sand dunes between dry wells under a burning sun",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "stories"
    with orthant.open(path, encoder="static") as stories:
        texts = [f"Story {i} of the {PLACES[i % 3]}\n{WORDS[PLACES[i % 3]]}, told in part {i}." for i in range(60)]
        metadata = [{"place": PLACES[i % 3], "year": 1960 + i, "tags": [f"t{i % 4}", "all"]} for i in range(60)]
        stories.upsert([f"s{i}" for i in range(60)], texts=texts, metadata=metadata)
        stories.upsert([f"evil {HOSTILE}"], texts=[f"{HOSTILE}\n{HOSTILE} volcano"], metadata=[{"place": HOSTILE[:28]}])
    return path


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as play:
        browser = launch(play)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def url(folder):
    with background({"stories": folder}) as url:
        yield url


@pytest.fixture
def page(browser, url):
    """A tab whose every complaint and every request elsewhere fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    page.set_default_timeout(15_000)
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console",
        lambda told: (
            wrong.append(told.text) if told.type in ("error", "warning") and "status of 4" not in told.text else None
        ),
    )
    page.on("request", lambda request: None if request.url.startswith(url) else wrong.append(request.url))
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    yield page
    title = page.title()
    context.close()
    assert not wrong, wrong
    assert title != "taken"


def _search(page, url, text, **params):
    page.goto(f"{url}/page/#/stories/search")
    page.fill("#q", text)
    for name, value in params.items():
        page.select_option(f"#{name}", value)
    page.press("#q", "Enter")
    page.wait_for_selector("#hits .score")


def _ids(page, place="#hits"):
    return page.eval_on_selector_all(f"{place} .hit", "all => all.map(one => one.dataset.id)")


def test_a_search_shows_hits_with_their_reasons_and_the_plan(page, url):
    _search(page, url, "sailors on their boats")
    assert all(int(key[1:]) % 3 == 0 for key in _ids(page)) and len(_ids(page)) == 10
    first = page.locator(".hit").first
    assert {word.lower() for word in first.locator(".snippet mark").all_inner_texts()} == {"boats", "sailors"}
    first.locator("details.why summary").click()
    rows = first.locator("table tbody tr").all_inner_texts()
    assert [row.split()[0] for row in rows] == ["meaning", "words"]
    # What the legs add is the score, to the digits shown.
    added = sum(float(row.split()[-1]) for row in rows)
    assert added == pytest.approx(float(first.locator(".score").inner_text()), abs=2e-3)
    assert "61 vectors compared" in page.inner_text("#told")
    page.check("#modes input[value=dense]")
    until(page, "location.hash.includes('mode=dense')")
    page.wait_for_selector(".hit")
    until(page, "document.querySelectorAll('.strip').length === 0")
    page.go_back()
    page.wait_for_selector(".strip")


def test_facets_filter_and_stay_in_the_address(page, url):
    _search(page, url, "a story", k="50")
    page.locator(".facet", has_text="place").get_by_text("forest").click()
    until(page, "document.querySelectorAll('.hit').length === 20")
    assert all(int(key[1:]) % 3 == 1 for key in _ids(page))
    page.locator(".facet", has_text="year").get_by_text("1980 to 1990").click()
    until(page, "document.querySelectorAll('.hit').length === 3")
    assert sorted(_ids(page)) == ["s22", "s25", "s28"]
    page.reload()
    until(page, "document.querySelectorAll('.hit').length === 3")
    page.locator(".facet", has_text="tags").get_by_text("t1", exact=True).click()
    until(page, "document.querySelectorAll('.hit').length === 1")
    assert _ids(page) == ["s25"]
    page.get_by_role("button", name="Take all filters away").click()
    until(page, "document.querySelectorAll('.hit').length === 50")


def test_what_records_hold_is_shown_and_never_run(page, url):
    _search(page, url, "volcano")
    assert page.inner_text(".hit h2").startswith("<img src=x") and page.inner_text(".hit .id").endswith("</script>")
    assert page.locator(".hit img, .hit script").count() == 0
    page.locator(".hit").first.get_by_text("On the map").click()
    page.wait_for_selector("#map-panel .hit")
    assert "<script>" in page.inner_text("#map-panel") and HOSTILE[:20] in page.inner_text("#legend")
    page.goto(f"{url}/page/#/stories/search?" + "q=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E&x=%7B%22%3Cb%3E%22%3A1%7D")
    page.wait_for_selector("#alert:not([hidden])")
    assert page.locator("main img").count() == 0


def test_why_not_tells_the_step_and_what_brings_the_record_in(page, url):
    _search(page, url, "sailors on their boats")
    missing = next(f"s{i}" for i in range(0, 60, 3) if f"s{i}" not in _ids(page))
    page.click("#ask-why")
    page.fill("#why-id", missing)
    page.press("#why-id", "Enter")
    page.wait_for_selector(".steps .no")
    assert "on the page" in page.inner_text(".steps .no") and missing in page.inner_text(".verdict")
    page.locator("#why-told button").first.click()
    until(page, "id => [...document.querySelectorAll('.hit')].some(hit => hit.dataset.id === id)", missing)


def test_examples_and_the_slider_steer(page, url):
    _search(page, url, "camels")
    first = _ids(page)[0]
    page.locator(".hit").first.get_by_text("+ More like this").click()
    page.wait_for_selector("#steer .plus")
    until(page, "id => document.querySelector('.hit') && document.querySelector('.hit').dataset.id !== id", first)
    found = _ids(page)
    assert first not in found and all(int(key[1:]) % 3 == 2 for key in found)
    page.locator(".hit").nth(1).get_by_text("− Less").click()
    page.wait_for_selector("#steer .minus")
    until(page, "id => ![...document.querySelectorAll('.hit')].some(hit => hit.dataset.id === id)", found[1])
    page.wait_for_selector("#hits:not([aria-busy])")
    far = page.locator(".hit .score").first.inner_text()
    page.locator("#strength").fill("0.2")
    until(page, "location.hash.includes('dir=0.2')")
    until(page, "far => document.querySelector('.hit .score').textContent !== far", far)
    assert found[1] not in _ids(page)
    page.get_by_role("button", name="Back to the query").click()
    page.wait_for_selector(".strip")
    assert _ids(page)[0] == first


PROBE = "import('./map.js').then(map => map.probe())"


def _probe(page):
    return page.evaluate(
        "import('./map.js').then(map => { const p = map.probe(); return [p.count, p.chosen, p.zoom]; })"
    )


def _screen(page, record):
    box = page.locator("#map").bounding_box()
    code = f"id => {PROBE}.then(p => p.screen([...Array(p.count).keys()].find(i => p.id(i) === id)))"
    x, y = page.evaluate(code, record)
    return box["x"] + x, box["y"] + y


def test_the_map_takes_pointer_and_keyboard(page, url):
    page.goto(f"{url}/page/#/stories/map?by=place")
    page.wait_for_selector("#legend li")
    assert _probe(page)[:2] == [61, 0] and page.locator("#legend button").count() == 4
    x, y = _screen(page, "s7")
    page.mouse.click(x, y)
    page.wait_for_selector("#map-panel .hit")
    assert page.get_attribute("#map-panel .hit", "data-id").startswith("s")
    page.mouse.move(x, y)
    page.mouse.wheel(0, -600)
    assert _probe(page)[2] > 2
    # What was under the pointer stays under it.
    assert _screen(page, "s7") == pytest.approx((x, y), abs=1.5)
    page.focus("#map")
    page.keyboard.press("Enter")
    page.keyboard.press("0")
    assert _probe(page)[2] == 1
    page.click("#map-lasso")
    box = page.locator("#map").bounding_box()
    corners = [(3, 3), (box["width"] - 3, 3), (box["width"] - 3, box["height"] - 3), (3, box["height"] - 3)]
    page.mouse.move(box["x"] + 3, box["y"] + 3)
    page.mouse.down()
    for dx, dy in corners:
        page.mouse.move(box["x"] + dx, box["y"] + dy, steps=4)
    page.mouse.up()
    page.wait_for_selector("#map-panel .titles")
    assert _probe(page)[1] == 61 and "61 records" in page.inner_text("#map-panel")
    page.locator("#legend button", has_text="forest").click()
    page.keyboard.press("Escape")
    page.select_option("#map-field", "year")
    page.wait_for_selector(".shades")


def test_terms_and_tokens_that_met_are_shown(browser, tmp_path):
    def opened():
        box = orthant.open(tmp_path / "box", encoder=FakeEncoder())
        box.add_space("concepts", encoder=FakeSparseEncoder())
        box.add_space("parts", encoder=FakeTokenEncoder(), kind="tokens")
        box.upsert(["a", "b"], texts=["red lamp", "blue boat"])
        return box

    with background({"box": opened}) as url:
        page = browser.new_page()
        page.goto(f"{url}/page/#/box/search?q=red+lamp&mode=sparse")
        page.locator("details.why summary").first.click()
        table = page.locator(".why table", has_text="Concepts, or terms")
        # Two words, each with weight 1 on either side or more.
        assert table.locator("tbody tr").count() == 2 and "NaN" not in table.inner_text()
        page.goto(f"{url}/page/#/box/search?q=red+lamp&mode=tokens&space=parts")
        page.wait_for_selector("text=Which token met which", state="attached")
        assert page.locator("#modes label").count() == 6
        page.close()


def test_two_ways_side_by_side(page, url):
    page.goto(f"{url}/page/#/stories/compare")
    page.fill("#compare-q", "sailors on their boats")
    page.press("#compare-q", "Enter")
    page.wait_for_selector("#right .hit")
    assert len(_ids(page, "#left")) == 10 and page.locator(".badge").count() == 20
    shared = len(set(_ids(page, "#left")) & set(_ids(page, "#right")))
    assert page.inner_text("#compare-told").startswith(f"{shared} records are on both sides")


def test_files_are_taken_in_with_progress_and_mistakes_named(browser, tmp_path):
    with background({"box": lambda: orthant.open(tmp_path / "box")}) as url:
        page = browser.new_page()
        page.goto(f"{url}/page/#/box/add")
        lines = "".join(json.dumps({"id": f"j{i}", "text": f"line {i}", "n": i}) + "\n" for i in range(1200))
        files = {
            "rows.jsonl": lines,
            "cells.csv": 'id,text,size\nc1,"said ""no"",\ntwice",4\nc2,plain,007\n',
            "notes.md": "# Heading\n\nA paragraph about lanterns.\n",
            "bad.jsonl": '{"id": "ok", "text": "kept"}\nnot json\n',
            "strange.exe": "MZ",
        }
        page.wait_for_selector("#view-add:not([hidden])")
        sent = [{"name": name, "mimeType": "text/plain", "buffer": text.encode()} for name, text in files.items()]
        page.set_input_files("#files", sent)
        until(page, "document.querySelectorAll('#loads .good, #loads .bad').length === 5")
        told = {line.split("\n")[0]: line for line in page.locator("#loads li").all_inner_texts()}
        assert "1,200 records stored" in told["rows.jsonl"] and "2 records stored" in told["cells.csv"]
        assert "chunk" in told["notes.md"] and "Line 2 is no JSON" in told["bad.jsonl"]
        assert "another kind" in told["strange.exe"]
        page.close()
    with orthant.open(tmp_path / "box", read_only=True) as box:
        assert box.get("c1").text == 'said "no",\ntwice' and box.get("c1").metadata == {"size": 4}
        assert box.get("c2").metadata == {"size": "007"} and box.get("j7").metadata == {"n": 7}
        assert len(box) == 1203 and "ok" not in box


def test_a_key_is_asked_for_once_and_kept_in_the_tab_only(browser, folder, tmp_path):
    keys = KeyFile(tmp_path / "keys.json")
    made = keys.add("reader", {"stories": "read"})
    with background({"stories": folder}, keys=keys) as url:
        page = browser.new_page()
        page.goto(url)
        page.wait_for_selector("#key[open]")
        page.fill("#key-text", "wrong")
        page.press("#key-text", "Enter")
        until(page, "document.querySelector('#key-text').value === '' && document.querySelector('#key').open")
        page.fill("#key-text", getattr(made, "secret", made))
        page.press("#key-text", "Enter")
        page.wait_for_selector("#hits .hit")
        assert page.evaluate("localStorage.length") == 0 and not page.context.cookies()
        page.goto(f"{url}/page/#/stories/diagnose")
        page.click("#diagnose-form button")
        page.wait_for_selector("#diagnosis .alert")
        assert "admin" in page.inner_text("#diagnosis")
        page.close()


def test_diagnosis_shows_figures_with_intervals(page, url):
    page.goto(f"{url}/page/#/stories/diagnose")
    page.click("#diagnose-form button")
    page.wait_for_selector(".plots svg")
    assert "local dimension" in page.inner_text("#diagnosis table") and "to" in page.inner_text("#diagnosis table")
    page.goto(f"{url}/page/#/stories/upgrade")
    page.wait_for_selector("#upgraded p")
    assert "No upgrade is open" in page.inner_text("#upgraded")


CONTROLS = "button, input, select, textarea, a, canvas, progress, [role=img]"
NAMELESS = f"""() => [...document.querySelectorAll('{CONTROLS}')]
  .filter(one => one.checkVisibility() && !one.closest('[hidden]'))
  .filter(one => !one.getAttribute('aria-label') && !one.textContent.trim())
  .filter(one => ![...(one.labels || [])].some(label => label.textContent.trim()))
  .map(one => one.outerHTML)"""


def test_every_control_has_a_name_and_narrow_dark_screens_fit(browser, url):
    context = browser.new_context(viewport={"width": 390, "height": 800}, color_scheme="dark", reduced_motion="reduce")
    page = context.new_page()
    for view in ("search?q=boats", "map", "compare?q=boats", "diagnose", "add", "upgrade"):
        page.goto(f"{url}/page/#/stories/{view}")
        page.wait_for_selector(f"#view-{view.partition('?')[0]}:not([hidden])")
        page.wait_for_load_state("networkidle")
        assert page.evaluate(NAMELESS) == [], view
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(int(part) for part in ground[4:-1].split(",")) < 60
    context.close()


def test_the_keyboard_alone_is_enough_to_search_and_open_a_reason(page, url):
    page.goto(f"{url}/page/")
    page.wait_for_selector(".hit")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("/")
    page.keyboard.type("oak trees")
    page.keyboard.press("Enter")
    page.wait_for_selector(".strip")
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.why summary')"):
            break
    page.keyboard.press("Enter")
    assert page.locator("details.why[open]").count() == 1
