"""The pages of a feed as a person and as an attacker would use them."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser

import pytest

import orthant
from feed.mailbox import Mailbox
from feed.notes import fill
from orthant.feed import Feed, SmtpDelivery, Subscriptions, run_digest
from orthant.papers import catalogue, results
from orthant.server import KeyFile, create_app
from orthant.server.feed import jobs
from server.serving import LOCAL

TestClient = pytest.importorskip("fastapi.testclient", exc_type=ImportError).TestClient

EVIL = '<script>alert("1")</script>"><img src=x onerror=alert(2)>'
FORM = {"content-type": "application/x-www-form-urlencoded"}


class Tags(HTMLParser):
    """What a browser would make of a page: its tags and the attributes of each."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def check_harmless(response):
    """No script, no style, no address of another host but in links, and the policy that forbids them."""
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers.get_list("referrer-policy") == ["same-origin"]
    for tag, attributes in Tags(response.text).found:
        assert tag not in {"script", "img", "style", "iframe", "object", "svg", "base"}, tag
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("href", "src", "action"):
            value = attributes.get(name, "#")
            assert value.startswith(("/feed", "/page/#/", "#", "data:,")) or (
                tag == "a" and value.startswith("https://")
            ), value


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("feeds") / "notes.orthant"
    with orthant.open(folder, encoder="static") as collection:
        fill(collection)
        collection.upsert(
            [EVIL, "../..", "many/slashes?and#more"],
            texts=[f"{EVIL}\n{EVIL} about storms", "up\nup", "odd\nodd"],
            metadata=[
                {"date": "2024-03-16", "url": "javascript:alert(3)", EVIL: EVIL, "status": EVIL},
                {"url": "https://example.org/a?b=<i>"},
                {},
            ],
        )
    return folder


@pytest.fixture(scope="module")
def client(path):
    with TestClient(create_app({"notes": path}), base_url=LOCAL, follow_redirects=False) as client:
        yield client


def titles(response):
    return re.findall(r"<h2><a href=[^>]*>(.*?)</a></h2>", response.text)


def item(client, record_id, *, status=200):
    response = client.get("/feed/notes/item", params={"id": record_id})
    assert response.status_code == status, response.text
    return response


def test_orders_and_search(client):
    newest = client.get("/feed/notes")
    assert titles(newest)[0].startswith("&lt;script")
    assert [title[:10] for title in titles(newest)[1:4]] == ["Bake a cho", "The ship s", "A lighthou"]
    found = client.get("/feed/notes", params={"q": "ocean storm", "mode": "dense"})
    assert "Search: ocean storm" in found.text
    assert "score 0." in found.text
    assert [title[:6] for title in titles(client.get("/feed/notes", params={"q": "onion", "mode": "lexical"}))] == [
        "A reci"
    ]
    assert "/feed/notes" in client.get("/feed").text
    for address in (
        "/feed/notes?order=magic",
        "/feed/notes?mode=magic&q=x",
        "/feed/notes?q=%20",
        "/feed/notes?offset=5",
    ):
        assert client.get(address).status_code == 200
    for address in ("/feed/notes?offset=-1", "/feed/notes?offset=x", "/feed/notes?offset=99999999"):
        assert client.get(address).status_code == 400
    for address in ("/feed/nothing", "/feed/nothing/item?id=sea", "/feed/-/nothing"):
        assert client.get(address).status_code == 404
    style = client.get("/feed/-/style.css")
    assert style.headers["content-type"].startswith("text/css")
    assert "http" not in style.text


@pytest.mark.parametrize("record_id", [EVIL, "../..", "many/slashes?and#more", "sea"])
def test_every_record_has_a_page_and_none_gets_out_of_it(client, record_id):
    response = item(client, record_id)
    check_harmless(response)
    assert "Near it" in response.text
    for link in re.findall(r'href="(/feed/notes/item\?id=[^"]*)"', response.text):
        assert client.get(link.replace("&amp;", "&")).status_code == 200


def test_pages_escape_what_they_are_asked(client):
    for address, query in (
        ("/feed/notes", {"q": EVIL}),
        ("/feed/notes", {"order": EVIL, "mode": EVIL}),
        ("/feed/notes/subscribe", {"q": EVIL}),
        ("/feed/notes/item", {"id": EVIL * 2}),
        ("/feed/notes/code", {"id": "sea", "module": EVIL}),
        (f"/feed/notes/unsubscribe/{EVIL[:10]}", {}),
    ):
        check_harmless(client.get(address, params=query))
    response = client.post("/feed/notes/subscribe", content="q=%3Cscript%3E&address=%3Cscript%3E", headers=FORM)
    assert response.status_code == 400
    check_harmless(response)


def test_views_count_once_for_each_visitor(client, path):
    def cake():
        return client.get("/collections/notes/feed", params={"query": "cake", "mode": "lexical"}).json()["entries"][0]

    before = cake()["views"]
    for visitor in ("one", "one", "two"):
        client.get("/feed/notes/item", params={"id": "cake"}, headers={"user-agent": visitor})
    client.get("/feed/notes/item", params={"id": "cake"}, headers={"user-agent": "three", "sec-purpose": "prefetch"})
    assert (cake()["id"], cake()["views"] - before, cake()["day"]) == ("cake", 2, "2024-03-15")
    assert client.get("/collections/notes/feed?order=trending&k=1").json()["entries"][0]["id"] == "cake"
    answer = client.get("/collections/notes/feed?k=1&offset=1").json()
    assert (answer["total"], len(answer["entries"])) == (8, 1)
    assert answer["entries"][0]["date"] > 0
    for bad in ("order=hot", "k=0", "k=5000", "k=x", "offset=-1", "mode=magic&query=x"):
        assert client.get(f"/collections/notes/feed?{bad}").status_code == 400
    with orthant.open(path, read_only=True) as collection:
        assert "views" not in str(collection.get("cake").metadata)


def test_a_reader_keeps_a_list(path):
    with TestClient(create_app({"notes": path}), base_url=LOCAL, follow_redirects=False) as reader:
        assert "Nothing here yet" in reader.get("/feed/notes?order=saved").text
        answer = reader.post("/feed/notes/save", data={"id": "sea", "saved": "yes"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/feed/notes/item?id=sea")
        cookie = answer.headers["set-cookie"]
        assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/feed"))
        assert len(titles(reader.get("/feed/notes?order=saved"))) == 1
        assert "Saved ✓" in item(reader, "sea").text
        reader.post("/feed/notes/save", data={"id": "sea", "saved": ""})
        assert "Nothing here yet" in reader.get("/feed/notes?order=saved").text
        assert reader.post("/feed/notes/save", data={"id": "nothing", "saved": "yes"}).status_code == 404


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({**FORM, "origin": "http://evil.example"}, "id=sea&saved=yes", 403),
        ({**FORM, "origin": "null"}, "id=sea&saved=yes", 403),
        ({**FORM, "sec-fetch-site": "cross-site"}, "id=sea&saved=yes", 403),
        ({"content-type": "application/json"}, '{"id": "sea"}', 415),
        ({"content-type": "text/plain"}, "id=sea&saved=yes", 415),
        (FORM, "&".join(f"a{i}=1" for i in range(50)), 400),
        (FORM, "id=" + "x" * 100_000, 413),
        (FORM, b"id=\xff", 400),
        (FORM, "id=%ff", 400),
        (FORM, "", 400),
        (FORM, "id=nothing", 404),
    ],
)
def test_forms_that_are_not_ours(client, headers, content, status):
    assert client.post("/feed/notes/save", content=content, headers=headers).status_code == status


def test_subscribe_confirm_receive_unsubscribe(tmp_path):
    folder = tmp_path / "notes.orthant"
    with orthant.open(folder, encoder="static") as collection:
        fill(collection)
        with (
            TestClient(create_app({"notes": folder}), base_url=LOCAL, follow_redirects=False) as client,
            Mailbox() as box,
        ):
            feed = Feed.beside(collection)
            send = SmtpDelivery("127.0.0.1", port=box.port, sender="l@example.org", security="none", timeout_s=5)

            def run():
                run_digest(feed, send, sender="l@example.org", base_url="http://library.example.org")
                return [content.decode() for _, _, content in box.letters]

            def link(letter, purpose):
                found = re.search(rf"/feed/notes/{purpose}/[\w-]+", letter.replace("=\r\n", "").replace("=\n", ""))
                return found[0]

            asked = client.post("/feed/notes/subscribe", data={"q": "ocean storm", "address": "ada@example.org"})
            assert "Look into your mail" in asked.text
            again = client.post("/feed/notes/subscribe", data={"q": "ocean storm", "address": "ada@example.org"})
            assert again.text == asked.text
            for bad in ({"address": "ada"}, {"address": "a@b.c\r\nBcc: d@e.f"}, {"address": "a@b.c", "q": ""}):
                answer = client.post("/feed/notes/subscribe", data={"q": "storm", **bad})
                assert (answer.status_code, 'role="alert"' in answer.text) == (400, True)
            confirm = link(run()[-1], "confirm")
            # Looking at a link does nothing.
            assert "Receive new entries?" in client.get(confirm).text
            assert Subscriptions(feed).get(1).state == "unconfirmed"
            assert "Done" in client.post(confirm).text
            fill(collection, {"gale": ("a gale and a storm on the ocean", "2024-03-18")})
            letters = run()
            assert len(letters) == 2
            away = link(letters[-1], "unsubscribe")
            assert client.get(away.replace("unsubscribe", "confirm")).status_code == 404
            assert client.post(away[:-1]).status_code == 404
            assert "Unsubscribe?" in client.get(away).text
            assert Subscriptions(feed).get(1).state == "active"
            one_click = client.post(away, content="List-Unsubscribe=One-Click", headers=FORM)
            assert "Done" in one_click.text
            assert Subscriptions(feed).get(1).state == "ended"
            feed.database.close()


def test_keys_shut_the_pages_and_a_form_opens_them(path, tmp_path):
    keys = KeyFile(tmp_path / "keys.json")
    key = keys.add("reader", {"notes": "read"})
    other = keys.add("other", {"else": "read"})
    app = create_app({"notes": path}, keys=keys)
    with TestClient(app, base_url="https://library.example.org", follow_redirects=False) as client:
        shut = client.get("/feed/notes/item?id=sea")
        assert (shut.status_code, "Key needed" in shut.text, "lighthouse" in shut.text) == (401, True, False)
        check_harmless(shut)
        assert 'value="/feed/notes/item?id=sea"' in shut.text
        for address in ("/feed", "/feed/notes", "/feed/notes/code?id=sea", "/feed/notes/subscribe"):
            assert client.get(address).status_code == 401
        for part in ("save", "subscribe", "reproduce"):
            assert client.post(f"/feed/notes/{part}", data={"id": "sea"}).status_code == 401
        assert client.get("/collections/notes/feed").status_code == 401
        assert client.post("/feed/-/enter", data={"key": "orth_wrong", "after": "/feed"}).status_code == 401
        for after, location in (
            ("/feed/notes", "/feed/notes"),
            ("https://evil.example", "/feed"),
            ("//evil.example", "/feed"),
            ("/feed/\\evil", "/feed"),
            ("/feedevil", "/feed"),
        ):
            answer = client.post("/feed/-/enter", data={"key": key, "after": after})
            assert (answer.status_code, answer.headers["location"]) == (303, location)
        assert all(word in answer.headers["set-cookie"] for word in ("HttpOnly", "SameSite=strict", "Secure"))
        assert "lighthouse" in client.get("/feed/notes/item?id=sea").text
        assert client.get("/feed").text.count("/feed/notes") == 1
        # The cookie is for pages only.
        assert client.get("/collections/notes/feed").status_code == 401
        assert client.post("/feed/notes/reproduce", data={"id": "sea"}).status_code == 403
        client.cookies.clear()
        client.cookies.set("orthant_key", other)
        assert client.get("/feed/notes").status_code == 403
        assert "/feed/notes" not in client.get("/feed").text
        assert client.get("/feed/notes", headers={"authorization": f"Bearer {key}"}).status_code == 200
        # A link out of a letter stands for a key.
        assert client.get("/feed/notes/unsubscribe/1-x").status_code == 404


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("papers") / "papers.orthant"
    with orthant.open(folder, encoder="static") as collection:
        records = catalogue.documents()
        collection.upsert(
            [r["id"] for r in records], texts=[r["text"] for r in records], metadata=[r["metadata"] for r in records]
        )
        collection.upsert(["crisp"], texts=["Crisp bread\nA recipe"], metadata=[{"arxiv": "none"}])
    with TestClient(create_app({"papers": folder}), base_url=LOCAL, follow_redirects=False) as client:
        yield client


def test_a_paper_shows_its_code_and_its_claims(papers):
    row = catalogue.paper("leanvec")
    response = papers.get("/feed/papers/item?id=leanvec")
    check_harmless(response)
    for claim in row.claims:
        assert claim.name in response.text
    for claim in results.read("leanvec").claims:
        figure = claim.measured[claim.metric]
        assert f"<td>{figure:.4g}</td>" in response.text
    assert "orthant reproduce leanvec" in response.text
    for module in row.lives_in:
        assert module in response.text
        if results.module_sources(module):
            code = papers.get("/feed/papers/code", params={"id": "leanvec", "module": module})
            check_harmless(code)
            assert "from __future__ import annotations" in code.text
    assert "Claims" not in papers.get("/feed/papers/item?id=crisp").text


def test_each_of_the_papers_has_its_code_its_claims_and_the_button(papers):
    # In place of one of them the fixture has a record of another kind.
    for row in (one for one in catalogue.papers() if one.key != "crisp"):
        shown = papers.get("/feed/papers/item", params={"id": row.key}).text
        assert f"orthant reproduce {row.key}" in shown
        assert all(module in shown for module in row.lives_in) and row.status in shown
        assert all(claim.name in shown for claim in row.claims)
        assert ("Reproduce now" if row.claims else "Nothing to reproduce yet") in shown
    assert papers.get("/collections/papers").json()["date_field"] == "date"


@pytest.mark.parametrize("module", ["os", "orthant.server.keys", "orthant", "", "../../etc/passwd", "orthant.papers"])
def test_only_code_that_the_paper_names_is_shown(papers, module):
    assert papers.get("/feed/papers/code", params={"id": "leanvec", "module": module}).status_code == 404
    assert papers.get("/feed/papers/code", params={"id": "crisp", "module": "orthant.index"}).status_code == 404


def test_the_button_runs_the_command(papers, monkeypatch):
    started = []

    class Process:
        returncode = 3

        def __init__(self, command, **about):
            started.append(command[1:])

        def communicate(self, timeout):
            while not let_end:
                time.sleep(0.005)
            return b'{"claims": [], "outcome": "reported"}', None

        def poll(self):
            return 3

    let_end = []
    monkeypatch.setattr(jobs.subprocess, "Popen", Process)
    answer = papers.post("/feed/papers/reproduce", data={"id": "leanvec"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/feed/papers/item?id=leanvec")
    assert started == [["-m", "orthant", "reproduce", "leanvec", "--quick", "--json"]]
    page = papers.get("/feed/papers/item?id=leanvec").text
    assert 'http-equiv="refresh"' in page
    assert "Running…" in page
    assert papers.post("/feed/papers/reproduce", data={"id": "muvera"}).status_code == 503
    let_end.append(True)
    for _ in range(1000):
        page = papers.get("/feed/papers/item?id=leanvec").text
        if "only reported" in page:
            break
        time.sleep(0.005)
    assert "only reported" in page
    assert "refresh" not in page
    for record in ("crisp", "nothing"):
        assert papers.post("/feed/papers/reproduce", data={"id": record}).status_code == 404
    assert len(started) == 1


def test_beside_a_folder_that_cannot_be_written_reading_goes_on(path, monkeypatch):
    from orthant.errors import StoreReadOnlyError
    from orthant.server.feed import state

    def refuse(*about):
        raise StoreReadOnlyError("no")

    monkeypatch.setattr(state, "FeedDatabase", type("Closed", (), {"beside": staticmethod(str), "__init__": refuse}))
    with TestClient(create_app({"notes": path}), base_url=LOCAL) as client:
        assert "Trending" not in client.get("/feed/notes").text
        assert "Near it" in item(client, "sea").text
        assert client.post("/feed/notes/save", data={"id": "sea", "saved": "yes"}).status_code == 400
