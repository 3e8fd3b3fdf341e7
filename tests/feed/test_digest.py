"""Runs of the digests: what is new is told once, whatever dies in between."""

from __future__ import annotations

import email
import email.policy
import re

import pytest

import orthant
from feed.mailbox import Mailbox
from feed.notes import DAY, START, Clock, feed_of, fill, make
from orthant.errors import InputError, StoreLockedError
from orthant.feed import FolderDelivery, SmtpDelivery, Subscriptions, run_digest
from orthant.feed.outbox import MOST_ATTEMPTS, Outbox

SENDER = "The Library <library@example.org>"
URL = "https://library.example.org"
STORM = {"storm": ("A storm at sea: waves, wind and a lighthouse", "2024-03-17")}
TAX = {"tax": ("Income tax forms for small companies", "2024-03-17")}


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def feed(tmp_path, clock):
    with make(tmp_path / "notes.orthant") as collection:
        found = feed_of(collection, clock)
        yield found
        found.database.close()


def mail(box, **settings):
    return SmtpDelivery("127.0.0.1", port=box.port, sender=SENDER, security="none", timeout_s=5, **settings)


def run(feed, delivery, **settings):
    return run_digest(feed, delivery, sender=SENDER, base_url=URL, **settings)


def read(content):
    return email.message_from_bytes(content, policy=email.policy.SMTP)


def test_new_matches_are_told_once_and_old_ones_never(feed, clock):
    saved = Subscriptions(feed)
    saved.add("ada@example.org", "ocean storm", every="run")
    saved.add("bob@example.org", "onion", mode="lexical", every="run")
    saved.add("eve@example.org", where={"kind": "t"}, every="run")
    with Mailbox() as box:
        assert run(feed, mail(box)).to_dict() == {
            **dict.fromkeys(("written", "sent", "waiting", "refused", "uncertain"), 0),
            "problems": [],
        }
        assert box.commands == []
        fill(feed.collection, STORM | TAX)
        report = run(feed, mail(box))
        assert (report.written, report.sent, report.problems) == (2, 2, [])
        found = {recipient: read(content) for _, recipient, content in box.letters}
        assert set(found) == {"ada@example.org", "eve@example.org"}
        assert "storm at sea" in found["ada@example.org"].get_body(("plain",)).get_content()
        assert "tax" not in found["ada@example.org"].get_body(("plain",)).get_content()
        # Written again, and found again, but not new.
        fill(feed.collection, STORM | TAX)
        fill(feed.collection)
        assert run(feed, mail(box)).written == 0
        assert len(box.letters) == 2


def test_a_letter_says_who_why_and_how_to_end_it(feed):
    Subscriptions(feed).add("ada@example.org", "ocean storm", every="run")
    fill(feed.collection, STORM)
    with Mailbox() as box:
        run(feed, mail(box), served_as="notes & more")
    sender, _, content = box.letters[0]
    letter = read(content)
    assert sender == "library@example.org"
    assert letter["From"] == SENDER
    assert letter["Subject"] == "1 new in notes & more: ocean storm"
    assert letter["Date"].datetime.isoformat() == "2024-03-18T00:00:00+00:00"
    away = letter["List-Unsubscribe"].strip("<>")
    assert re.fullmatch(URL + r"/feed/notes%20%26%20more/unsubscribe/1-[\w-]{32}", away)
    assert letter["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert away in letter.get_body(("plain",)).get_content()
    page = letter.get_body(("html",)).get_content()
    assert f'href="{away}"' in page
    assert f'href="{URL}/feed/notes%20%26%20more/item?id=storm"' in page
    assert not re.search(r"<(img|script|link|iframe)", page)
    assert Subscriptions(feed).unsubscribe(away.rpartition("/")[2]).state == "ended"


def test_no_record_and_no_query_adds_a_header_or_a_tag(feed):
    evil = 'x\r\nBcc: eve@example.org\r\n\r\n<script>alert("1")</script>'
    Subscriptions(feed).add("ada@example.org", evil, mode="lexical", every="run")
    feed.collection.upsert(
        ["<b>\r\nX: y"],
        texts=[evil],
        metadata=[{"title": f"{evil}\u202e", "url": "javascript:alert(1)", "date": "2024-03-18"}],
    )
    with Mailbox() as box:
        assert run(feed, mail(box)).sent == 1
    _, recipient, content = box.letters[0]
    letter = read(content)
    assert recipient == "ada@example.org"
    assert letter["Bcc"] is None
    assert letter["X"] is None
    assert content.isascii()
    page = letter.get_body(("html",)).get_content()
    assert "<script" not in page
    assert "javascript:" not in page
    assert "&lt;script&gt;" in page
    assert all(len(line) <= 998 for line in content.split(b"\r\n"))


class Killed(BaseException):
    """What a process that dies does to the code that runs."""


class Dying:
    """Hands over through another delivery, and dies before or after."""

    def __init__(self, inner, moment):
        self.inner, self.moment = inner, moment
        self.repeatable, self.needs_links = inner.repeatable, inner.needs_links

    def __enter__(self):
        self.inner.__enter__()
        return self

    def __exit__(self, *about):
        self.inner.__exit__(*about)

    def deliver(self, letter, handing):
        if self.moment == "before":
            raise Killed
        self.inner.deliver(letter, handing)
        raise Killed


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_that_dies_is_repeated_without_doubles(tmp_path, clock, moment):
    with make(tmp_path / "c") as collection:
        feed = feed_of(collection, clock)
        for name in ("ada", "bob"):
            Subscriptions(feed).add(f"{name}@example.org", "ocean storm", every="run")
        fill(collection, STORM)
        with Mailbox() as box:
            with pytest.raises(Killed):
                run(feed, Dying(mail(box), moment))
            feed.database.close()
            feed = feed_of(collection, clock)
            report = run(feed, mail(box))
            assert report.written == 0
            if moment == "before":
                assert (report.sent, report.uncertain) == (2, 0)
            else:
                # Nobody can say whether the first one arrived (it did): it is not sent again by itself.
                assert (report.sent, report.uncertain) == (1, 1)
            assert sorted(to for _, to, _ in box.letters) == ["ada@example.org", "bob@example.org"]
            assert run(feed, mail(box)).sent == 0
            if moment == "after":
                assert run(feed, mail(box), resend_uncertain=True).sent == 1
                first, again = (read(box.letters[i][2]) for i in (0, 2))
                assert first["Message-ID"] == again["Message-ID"]
        feed.database.close()


def test_a_connection_that_breaks_is_later_or_unknown_by_when_it_broke(feed):
    for name in ("ada", "bob"):
        Subscriptions(feed).add(f"{name}@example.org", "ocean storm", every="run")
    fill(feed.collection, STORM)
    with Mailbox(replies={"RCPT": None}) as box:
        report = run(feed, mail(box))
        assert (report.sent, report.waiting, report.uncertain) == (0, 2, 0)
        # One letter more is tried, in case it was the first that the server did not like.
        assert len(report.problems) == 2
        box.replies = {".": None}
        report = run(feed, mail(box))
        assert (report.sent, report.waiting, report.uncertain) == (0, 1, 1)
        box.replies = {}
        report = run(feed, mail(box))
        assert (report.sent, report.waiting, report.uncertain) == (1, 0, 1)
        assert [to for _, to, _ in box.letters] == ["ada@example.org", "bob@example.org"]


def test_refusals_are_for_good_and_delays_end(feed):
    for name in ("ada", "bob"):
        Subscriptions(feed).add(f"{name}@example.org", "ocean storm", every="run")
    fill(feed.collection, STORM)
    with Mailbox(replies={"RCPT": "451 later"}) as box:
        for _ in range(MOST_ATTEMPTS):
            report = run(feed, mail(box))
        assert (report.waiting, report.refused) == (0, 2)
        assert "451 later" in report.problems[0]
        fill(feed.collection, {"gale": ("a gale and a storm on the ocean", "2024-03-18")})
        box.replies = {".": "554 spam"}
        report = run(feed, mail(box))
        assert (report.written, report.sent, report.refused) == (2, 0, 4)
        box.replies = {}
        assert run(feed, mail(box)).sent == 0


def test_files_have_one_name_and_are_written_again(feed, tmp_path):
    Subscriptions(feed).add("ada@example.org", "ocean storm", every="run")
    fill(feed.collection, STORM)
    folder = tmp_path / "out"
    with pytest.raises(Killed):
        run_digest(feed, Dying(FolderDelivery(folder), "after"), sender=SENDER)
    (folder / "digest-000001.eml").unlink()
    report = run_digest(feed, FolderDelivery(folder), sender=SENDER)
    assert (report.sent, report.uncertain) == (1, 0)
    assert [path.name for path in folder.iterdir()] == ["digest-000001.eml"]
    assert read((folder / "digest-000001.eml").read_bytes())["List-Unsubscribe"] is None
    fill(feed.collection, {"gale": ("a gale and a storm on the ocean", "2024-03-18")})
    run_digest(feed, FolderDelivery(folder, form="html"), sender=SENDER, base_url=URL)
    assert (folder / "digest-000002.html").read_text().startswith("<!doctype html>")


def test_how_often(tmp_path, clock):
    with make(tmp_path / "c", encoder=None) as collection:
        feed = feed_of(collection, clock)
        _check_how_often(feed, clock)
        feed.database.close()


def _check_how_often(feed, clock):
    saved = Subscriptions(feed)
    for every in ("run", "day", "week"):
        saved.add(f"{every}@example.org", where={"kind": "n"}, every=every)
    seen = []
    with Mailbox() as box:
        for hour in (0, 12, 24, 36, 47, 166, 167, 191):
            clock.now = START + hour * DAY / 24
            fill(feed.collection, {f"n{hour}": (f"note {hour}", "2024-03-18")})
            run(feed, mail(box))
            seen += [(hour, to.partition("@")[0]) for _, to, _ in box.letters]
            box.letters.clear()
    assert [hour for hour, who in seen if who == "week"] == [0, 167]
    assert [hour for hour, who in seen if who == "day"] == [0, 24, 47, 166, 191]
    assert [hour for hour, who in seen if who == "run"] == [0, 12, 24, 36, 47, 166, 167, 191]
    # What came between is in the next one.
    (count,) = feed.database.rows("SELECT count(*) FROM told WHERE subscription = 3")[0]
    assert count == 7


def test_a_long_digest_counts_what_it_does_not_show(feed):
    Subscriptions(feed).add("ada@example.org", where={"kind": "n"}, most=3, every="run")
    fill(feed.collection, {f"n{i}": (f"note {i}", "2024-03-18") for i in range(10)})
    with Mailbox() as box:
        run(feed, mail(box))
        text = read(box.letters[0][2]).get_body(("plain",)).get_content()
        assert "10 new in notes" in text
        assert "and 7 more" in text
        assert run(feed, mail(box)).written == 0


def test_readers_must_confirm_before_they_get_anything(feed, clock):
    saved = Subscriptions(feed)
    one = saved.add("ada@example.org", "ocean storm", every="run", confirmed=False)
    fill(feed.collection, STORM)
    with Mailbox() as box:
        assert run(feed, mail(box)).sent == 1
        assert run(feed, mail(box)).sent == 0
        letter = read(box.letters[0][2])
        assert letter["Subject"] == "Confirm: new in notes"
        token = re.search(rf"{URL}/feed/notes/confirm/(\S+)", letter.get_body(("plain",)).get_content())[1]
        assert saved.confirm(token).state == "active"
        # What came while the reader thought about it is new.
        assert run(feed, mail(box)).sent == 1
        saved.add("bob@example.org", "soup", confirmed=False)
        clock.move(8)
        assert run(feed, mail(box)).sent == 0
        assert saved.get(2).state == "ended"
    assert one.id == 1
    with pytest.raises(InputError, match="base_url"):
        run_digest(feed, mail(box), sender=SENDER)


def test_who_ended_a_search_gets_nothing_more(feed):
    saved = Subscriptions(feed)
    for name in ("ada", "bob", "eve"):
        saved.add(f"{name}@example.org", "ocean storm", every="run")
    fill(feed.collection, STORM)
    with Mailbox(replies={"MAIL": "451 later"}) as box:
        assert run(feed, mail(box)).waiting == 3
        saved.remove(1)

        class Ending(SmtpDelivery):
            def deliver(self, letter, handing):
                def end():
                    if letter.subscription == 2:
                        saved.remove(2)
                    handing()

                super().deliver(letter, end)

        box.replies = {}
        ending = Ending("127.0.0.1", port=box.port, sender=SENDER, security="none", timeout_s=5)
        assert run(feed, ending).sent == 1
        assert [to for _, to, _ in box.letters] == ["eve@example.org"]
    assert Outbox(feed.database).counts() == {"dropped": 2, "sent": 1}


def test_one_search_that_fails_holds_up_no_other(feed):
    saved = Subscriptions(feed)
    saved.add("ada@example.org", where={"kind": {"gt": "a"}}, every="run")
    saved.add("bob@example.org", "ocean storm", every="run")
    feed.collection.delete(where={"kind": {"exists": True}})
    feed.collection.upsert(["n"], texts=["A storm on the ocean, a lighthouse"], metadata=[{"kind": 3}])
    with Mailbox() as box:
        report = run(feed, mail(box))
    assert report.sent == 1
    assert report.problems[0].startswith("saved search 1:")


def test_a_collection_made_anew_begins_anew(feed, tmp_path):
    Subscriptions(feed).add("ada@example.org", "ocean storm", every="run")
    with orthant.open(tmp_path / "new.orthant", encoder="static") as fresh:
        fill(fresh, dict(list(STORM.items())[:1]))
        feed.collection = fresh
        with Mailbox() as box:
            # Its one row is below the mark; what follows is new.
            assert run(feed, mail(box)).written == 0
            fill(fresh, {"gale": ("a gale and a storm on the ocean", "2024-03-18")})
            assert run(feed, mail(box)).sent == 1


def test_runs_do_not_overlap(feed, tmp_path):
    class Nested(FolderDelivery):
        def deliver(self, letter, handing):
            with pytest.raises(StoreLockedError, match="one at a time"):
                run_digest(feed, FolderDelivery(tmp_path), sender=SENDER)
            super().deliver(letter, handing)

    Subscriptions(feed).add("ada@example.org", "ocean storm", every="run")
    fill(feed.collection, STORM)
    assert run_digest(feed, Nested(tmp_path / "out"), sender=SENDER).sent == 1


def test_a_letter_at_which_the_server_hangs_up_holds_up_no_other_for_ever(feed):
    for name in ("hangup", "ada"):
        Subscriptions(feed).add(f"{name}@example.org", "ocean storm", every="run")
    fill(feed.collection, STORM)
    with Mailbox() as box:
        box.replies = {"RCPT": lambda: None if "hangup" in box.commands[-1] else "250 ok"}
        reports = [run(feed, mail(box)) for _ in range(MOST_ATTEMPTS)]
        assert [recipient for _, recipient, _ in box.letters] == ["ada@example.org"]
    assert reports[0].waiting == 1 and len(reports[0].problems) == 1
    assert (reports[-1].waiting, reports[-1].refused) == (0, 1)
