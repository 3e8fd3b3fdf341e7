"""Orders of a feed, what an entry shows, and what is near it."""

from __future__ import annotations

import math
import sqlite3

import numpy as np
import pytest

import orthant
from feed.notes import DAY, START, TEXTS, Clock, feed_of, fill, make
from orthant.errors import InputError, NotFoundError, StoreCorruptedError, StoreLockedError, StoreVersionError
from orthant.feed import Feed, FeedDatabase, heat
from orthant.feed.dates import date_field_of, parse_date, show_date
from orthant.feed.entries import title_of


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def feed(tmp_path, clock):
    with make(tmp_path / "notes.orthant") as collection:
        found = feed_of(collection, clock)
        yield found
        found.database.close()


def ids(page):
    return [entry.id for entry in page.entries]


def test_newest_is_by_date_and_undated_come_last(feed):
    page = feed.newest()
    assert ids(page) == ["cake", "ship", "sea", "soup", "code"]
    assert page.total == 5
    assert ids(feed.newest(k=2, offset=1)) == ["ship", "sea"]
    assert ids(feed.newest(where={"kind": "s"})) == ["ship", "sea", "soup"]
    assert feed.newest(where={"kind": "s"}).total == 3
    assert page.entries[0].day == "2024-03-15"
    assert math.isnan(page.entries[-1].date)


def test_newest_follows_commits_and_deletions(feed):
    feed.newest()
    fill(feed.collection, {"late": ("a late one", "2024-03-17"), "soup": ("soup again", "2024-03-16")})
    assert ids(feed.newest())[:3] == ["late", "soup", "cake"]
    feed.collection.delete(["late"])
    assert ids(feed.newest())[:2] == ["soup", "cake"]


def test_trending_is_the_documented_formula(feed, clock):
    # Without a click it is newest.
    assert ids(feed.trending()) == ids(feed.newest())
    feed.database.view("soup")
    feed.database.view("soup")
    clock.move(3)
    feed.database.save("a reader", "code")
    feed.database.view("ship")
    clock.move(0.5)
    today = clock() / DAY

    def expected(entry):
        days = [(START / DAY, 2, 0)] if entry == "soup" else []
        days += [(START / DAY + 3, 0, 1)] if entry == "code" else [(START / DAY + 3, 1, 0)] if entry == "ship" else []
        age = math.inf if TEXTS[entry][1] is None else today - parse_date(TEXTS[entry][1]) / DAY
        ages, views, saves = zip(*[(today - day, v, s) for day, v, s in days], strict=True) if days else ((), (), ())
        return heat(age, ages, views, saves)

    order = sorted(TEXTS, key=expected, reverse=True)
    assert ids(feed.trending()) == order
    assert order[:3] == ["code", "soup", "ship"]
    shown = {entry.id: (entry.views, entry.saves) for entry in feed.trending().entries}
    assert shown["soup"] == (2, 0)
    assert shown["code"] == (0, 1)


def test_waiting_changes_no_order_and_old_clicks_do_not_count(feed, clock):
    for _ in range(3):
        feed.database.view("soup")
    before = ids(feed.trending())
    assert before[0] == "soup"
    clock.move(60)
    assert ids(feed.trending()) == before
    clock.move(3000)
    assert ids(feed.trending()) == ids(feed.newest())


def test_heat_halves_and_ignores_the_future():
    assert heat(-5) == heat(0) == 1.0
    np.testing.assert_allclose(heat(14, [7, 0], [4, 1], [1, 0]), 0.25 + (4 + 5) / 2 + 1)
    assert heat(math.nan) == 0.0
    with pytest.raises(InputError, match="half_life_days"):
        heat(1, half_life_days=0)


def test_a_reader_saves_once_and_takes_it_back(feed, clock, monkeypatch):
    base = feed.database
    assert [base.save("one", "sea"), base.save("one", "sea"), base.save("two", "sea")] == [True, False, True]
    clock.move(1)
    base.save("one", "soup")
    assert base.saved("one") == ["soup", "sea"]
    assert base.clicks() == {"sea": [(19_800, 0, 2)], "soup": [(19_801, 0, 1)]}
    assert [base.unsave("one", "sea"), base.unsave("one", "sea"), base.unsave("three", "sea")] == [True, False, False]
    assert base.clicks(records=["sea"]) == {"sea": [(19_800, 0, 1)]}
    assert not any("one" in str(row) for row in base.rows("SELECT * FROM saves"))
    monkeypatch.setattr("orthant.feed.database._MOST_SAVES", 1)
    assert not base.save("two", "soup")


def test_only_the_most_clicked_are_read(feed, monkeypatch):
    monkeypatch.setattr("orthant.feed.entries._MOST_CLICKED", 1)
    feed.database.view("soup")
    for _ in range(2):
        feed.database.view("code")
    assert ids(feed.trending()) == ["code", "cake", "ship", "sea", "soup"]


def test_damage_is_said_and_another_writer_is_waited_for(feed, tmp_path, monkeypatch):
    monkeypatch.setattr("orthant.feed.database._WAIT_S", 0.05)
    with FeedDatabase(feed.database.path) as other, other.writing():
        feed.database._connection.execute("PRAGMA busy_timeout=50")
        with pytest.raises(StoreLockedError, match=r"(?i)try again"):
            feed.database.view("sea")
    feed.database.view("sea")
    for name, content in (
        ("text", b"not a database, but longer than its header would have to be" * 20),
        ("other", None),
    ):
        path = tmp_path / name
        if content is None:
            with sqlite3.connect(path) as connection:
                connection.execute("CREATE TABLE t (x)")
            connection.close()
        else:
            path.write_bytes(content)
        with pytest.raises(StoreCorruptedError, match="database of a feed"):
            FeedDatabase(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StoreVersionError, match=r"(?i)upgrade"):
        FeedDatabase(path)
    with pytest.raises(InputError, match="setting"):
        feed.database.setting("secret")


def test_clicks_on_what_is_gone_are_passed_over(feed):
    feed.database.view("sea")
    feed.database.view("never")
    feed.collection.delete(["sea"])
    assert ids(feed.trending()) == ["cake", "ship", "soup", "code"]


def test_search_item_and_neighbours(feed):
    assert ids(feed.search("ocean storm", mode="dense", k=2))[0] == "sea"
    assert ids(feed.search("onion", mode="lexical")) == ["soup"]
    assert feed.search("onion", mode="lexical").entries[0].score > 0
    assert [entry.id for entry in feed.neighbours("sea", k=1)] == ["ship"]
    assert feed.item("soup").title == TEXTS["soup"][0]
    with pytest.raises(NotFoundError):
        feed.item("nothing")
    with pytest.raises(InputError, match="mode"):
        feed.search("x", mode="magic")


def test_records_without_vectors_have_no_neighbours(tmp_path):
    with orthant.open(tmp_path / "c") as collection:
        collection.upsert(["a", "b"], texts=["one", "two"])
        feed = Feed(collection)
        assert feed.neighbours("a") == ()
        assert feed.date_field is None
        assert ids(feed.newest()) == ["b", "a"]
        assert ids(feed.trending()) == ["b", "a"]
        with pytest.raises(InputError, match="database"):
            _ = feed.settings


def test_a_field_can_be_named(feed, tmp_path):
    feed.collection.upsert(
        ["x", "y"],
        texts=["x\nmore", "y"],
        metadata=[{"seen": "2030-01-01", "label": "An X"}, {"seen": "2031-01-01", "date": {"odd": 1}}],
    )
    feed.database.setting("date_field", "seen")
    feed.database.setting("title_field", "label")
    again = feed_of(feed.collection, Clock())
    assert ids(again.newest())[:2] == ["y", "x"]
    assert again.item("x").title == "An X"
    assert again.item("x").text == "x\nmore"
    again.database.close()
    assert ids(Feed(feed.collection, date_field="nothing").newest())[0] == "y"


@pytest.mark.parametrize(
    ("value", "day"),
    [
        ("2024", "2024"),
        (" 2024-05 ", "2024-05"),
        ("2024-05-30", "2024-05-30"),
        ("2024-05-30T23:30:00-02:00", "2024-05-31"),
        (2024, "2024"),
        (8_640_000, "1970-04-11"),
        (1_717_027_200, "2024-05-30"),
        (1_717_027_200_000, "2024-05-30"),
        *[(odd, "") for odd in ("soon", "", None, True, math.nan, math.inf, [2024], "99999", "2024-13")],
    ],
)
def test_dates(value, day):
    assert show_date(value) == day
    assert math.isnan(parse_date(value)) == (not day)


def test_the_date_field_holds_dates_in_half_of_its_values():
    assert date_field_of({"date": ["x", "y"], "year": [2020]}) == "year"
    assert date_field_of({"date": ["2020", "y"]}) == "date"
    assert date_field_of({"date": ["2020", "y", "z"]}) is None
    assert date_field_of({}) is None


def test_titles():
    assert title_of("a", None, {}) == ("a", "")
    assert title_of("a", "T\nbody", {"title": "T"}) == ("T", "body")
    assert title_of("a", "first\nbody", {"title": " Two\n words "}) == ("Two words", "first\nbody")
    long = "word " * 100
    title, text = title_of("a", long, {})
    assert len(title) <= 160
    assert title.endswith("…")
    assert text == long.strip()
