"""Saved searches: what may be one, whose they are, and the links that end or begin them."""

from __future__ import annotations

import pytest

from feed.notes import Clock, feed_of, make
from orthant.errors import FilterError, InputError, NotFoundError, OverloadedError
from orthant.feed import Subscriptions, subscriptions
from orthant.feed.addresses import check_address, check_sender, one_line

BAD_ADDRESSES = [
    "",
    "ada",
    "ada@",
    "@example.org",
    "a b@example.org",
    "ada@example.org\r\nBcc: eve@example.org",
    "ada@example.org\n",
    "ada@example.org\0",
    "ada@example.org,eve@example.org",
    "Ada <ada@example.org>",
    '"ada"@example.org',
    "ada@exam_ple.org",
    "ada@-example.org",
    "ada@example..org",
    ".ada@example.org",
    "ada%eve@example.org",
    "<ada@example.org>",
    "ada@exämple.org",
    "a" * 65 + "@example.org",
    "ada@" + "a" * 63 + "." + "b." * 120 + "org",
    None,
]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def saved(tmp_path, clock):
    with make(tmp_path / "notes.orthant") as collection:
        feed = feed_of(collection, clock)
        yield Subscriptions(feed)
        feed.database.close()


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_only_one_plain_address(address):
    with pytest.raises(InputError, match="address"):
        check_address(address)


def test_senders_and_lines_of_headers():
    shown, address = check_sender("The Library <library@Example.org>")
    assert (str(shown), address) == ("The Library <library@example.org>", "library@example.org")
    for bad in ("a\nb <a@b.c>", "Library", "a@b.c\r\nBcc: d@e.f", None):
        with pytest.raises(InputError):
            check_sender(bad)
    assert one_line("a\r\n\tBcc:\u2028 b\u202e\0") == "a Bcc: b"
    assert one_line("x" * 300, 10) == "x" * 9 + "…"


def test_a_saved_search_is_kept_once(saved):
    one = saved.add("Ada@Example.org", "ocean  storm\n", where={"kind": "s"}, every="week", most=5)
    assert (one.address, one.query, one.mode, one.state) == ("Ada@example.org", "ocean storm", "dense", "active")
    assert one.min_score is not None
    assert saved.add("Ada@example.org", "ocean storm", where={"kind": "s"}, every="week", most=5) == one
    assert saved.add("Ada@example.org", "ocean storm").id != one.id
    assert [each.id for each in saved.list()] == [1, 2]
    assert saved.remove(1).state == "ended"
    assert [each.id for each in saved.list()] == [2]
    assert len(saved.list(ended=True)) == 2
    # One that has ended may begin anew.
    assert saved.add("Ada@example.org", "ocean storm", where={"kind": "s"}, every="week", most=5).id == 3


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({}, InputError),
        ({"query": "x", "mode": "filter"}, InputError),
        ({"mode": "filter"}, InputError),
        ({"query": "x", "mode": "hybrid"}, InputError),
        ({"query": "x", "mode": "lexical", "min_score": 0.5}, InputError),
        ({"query": "x", "every": "minute"}, InputError),
        ({"query": "x", "most": 0}, InputError),
        ({"query": "x", "most": 1000}, InputError),
        ({"where": {"year": {"about": 1}}}, FilterError),
        ({"where": {"kind": {"gt": 1}}}, FilterError),
    ],
)
def test_settings_that_make_no_search(saved, settings, error):
    with pytest.raises(error):
        saved.add("ada@example.org", **settings)
    assert saved.list(ended=True) == []


def test_default_modes(saved, tmp_path):
    assert saved.add("ada@example.org", where={"kind": "s"}).mode == "filter"
    with make(tmp_path / "words.orthant", encoder=None) as collection:
        feed = feed_of(collection, Clock())
        assert Subscriptions(feed).add("ada@example.org", "storm").mode == "lexical"
        feed.database.close()
    with pytest.raises(NotFoundError):
        saved.get(99)


def test_one_address_cannot_be_flooded(saved, monkeypatch):
    monkeypatch.setattr(subscriptions, "_MOST_OF_ADDRESS", 2)
    monkeypatch.setattr(subscriptions, "_MOST_WAITING", 3)
    for i in range(2):
        saved.add("ada@example.org", f"word {i}", mode="lexical", confirmed=False)
    with pytest.raises(OverloadedError, match="one address"):
        saved.add("ada@example.org", "another", mode="lexical")
    saved.add("bob@example.org", "word", mode="lexical", confirmed=False)
    with pytest.raises(OverloadedError, match="wait"):
        saved.add("eve@example.org", "word", mode="lexical", confirmed=False)
    saved.add("eve@example.org", "word", mode="lexical")


def test_links_do_one_thing_to_one_search(saved):
    one = saved.add("ada@example.org", "storm", confirmed=False)
    two = saved.add("bob@example.org", "storm")
    confirm, away = saved.link("confirm", one), saved.link("unsubscribe", one)
    forged = saved.link("unsubscribe", two).replace("2-", "1-")
    for purpose, token in (
        ("unsubscribe", confirm),
        ("confirm", away),
        ("unsubscribe", forged),
        ("unsubscribe", away[:-1]),
        ("unsubscribe", away + "A"),
        ("unsubscribe", "9" * 200),
        ("unsubscribe", "-"),
        ("unsubscribe", "99-AAAA"),
        ("unsubscribe", "é-ü"),
        ("unsubscribe", "²-x"),
        ("unsubscribe", ""),
    ):
        with pytest.raises(NotFoundError, match="link"):
            saved.of_link(purpose, token)
    assert saved.get(1).state == "unconfirmed"
    assert saved.confirm(confirm).state == "active"
    assert saved.confirm(confirm).confirmed == saved.get(1).confirmed
    assert saved.unsubscribe(away).state == "ended"
    assert saved.unsubscribe(away).state == "ended"
    with pytest.raises(NotFoundError, match="no longer"):
        saved.confirm(confirm)
    assert saved.get(2).state == "active"


def test_a_link_to_confirm_is_good_for_a_week(saved, clock):
    one = saved.add("ada@example.org", "storm", confirmed=False)
    clock.move(7.5)
    with pytest.raises(NotFoundError, match="no longer"):
        saved.confirm(saved.link("confirm", one))
    assert saved.get(1).state == "unconfirmed"


def test_keys_of_links_differ_and_the_file_is_private(saved, tmp_path):
    import stat

    assert stat.S_IMODE(saved.database.path.stat().st_mode) == 0o600
    with make(tmp_path / "other.orthant") as collection:
        feed = feed_of(collection, Clock())
        assert feed.database.secret() != saved.database.secret()
        feed.database.close()
    assert not [path for path in (tmp_path / "notes.orthant").rglob("*") if "feed" in path.name]
