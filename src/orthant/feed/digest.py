"""One run of the digests: what is new for whom is written down first, and handed over then."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orthant.collection.storage.lock import WriterLock
from orthant.errors import InputError, OrthantError, StoreLockedError, message
from orthant.feed.addresses import check_sender
from orthant.feed.delivery import Delivery, DeliveryError
from orthant.feed.entries import Entry, Feed
from orthant.feed.letters import Places, digest_letter, request_letter
from orthant.feed.matching import as_close_as_now, find_matches
from orthant.feed.outbox import Letter, Outbox
from orthant.feed.subscriptions import CONFIRM_WITHIN_S, EVERY, Subscription, Subscriptions
from orthant.urls import check_url

__all__ = ["DigestReport", "run_digest"]

_CLOCK_JITTER_S = 3_600.0
_MOST_LOOKED_AT = 1_000


@dataclass
class DigestReport:
    """What a run did.

    Attributes
    ----------
    written : int
        Letters that were composed.
    sent : int
        Letters that were handed over and taken.
    waiting : int
        Letters that wait for the next run.
    refused : int
        Letters that the other side will never take; of all runs.
    uncertain : int
        Letters of which nobody knows whether they arrived; of all runs.
    problems : list of str
        What was in the way, one line each.
    """

    written: int = 0
    sent: int = 0
    waiting: int = 0
    refused: int = 0
    uncertain: int = 0
    problems: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values.

        Returns
        -------
        dict
            Every attribute.
        """
        return dict(vars(self))


def run_digest(
    feed: Feed,
    delivery: Delivery,
    *,
    sender: str,
    base_url: str | None = None,
    served_as: str | None = None,
    resend_uncertain: bool = False,
) -> DigestReport:
    """Send every saved search its new matches; call it as often as digests should be sent, such as every hour.

    A run may be killed at any moment and repeated: a record is told to a saved search once. What is new is written into
    a letter in the transaction that notes it as told, so a later run never composes it again; and a letter is noted as
    being handed over before, and as sent after it. If the process dies between the two nobody can say whether the
    letter arrived: it is reported as uncertain and not sent again unless ``resend_uncertain``, with the same
    Message-ID. Files are simply written again under their names.

    Parameters
    ----------
    feed : Feed
        With its database.
    delivery : Delivery
        :class:`~orthant.feed.FolderDelivery` or :class:`~orthant.feed.SmtpDelivery`.
    sender : str
        Who letters are from.
    base_url : str, optional
        Where readers reach the server, for links; needed for mail, which must tell how to unsubscribe.
    served_as : str, optional
        Name of the collection there; default the folder's, without ``.orthant``.
    resend_uncertain : bool, default False
        Send again what may have arrived.

    Returns
    -------
    DigestReport
        Counts and problems. One saved search that cannot be answered does not hold up the others.

    Raises
    ------
    InputError
        No database, a malformed sender or address, or mail without ``base_url``.
    StoreLockedError
        Another run is going on.

    Notes
    -----
    Cost: one search per saved search among the records that are new to it.
    """
    database = feed.settings
    check_sender(sender)
    if base_url is None and delivery.needs_links:
        raise InputError(
            message(
                "mail without base_url", "the server's address, to unsubscribe at", "pass base_url, or use a folder"
            )
        )
    name = Path(feed.collection.path).resolve().name.removesuffix(".orthant") if served_as is None else served_as
    places = Places(None if base_url is None else check_url(base_url), name)
    report, run = DigestReport(), _Run(feed, sender, places)
    with ExitStack() as stack:
        lock = WriterLock(database.path.with_name(f"{database.path.name}.lock"))
        try:
            lock.acquire()
        except StoreLockedError:
            raise StoreLockedError(
                message("a second run of the digests", "one at a time", "wait until the other has ended")
            ) from None
        stack.callback(lock.release)
        run.outbox.recover(repeatable=delivery.repeatable, resend_uncertain=resend_uncertain)
        for subscription in run.subscriptions.list():
            try:
                report.written += run.compose(subscription)
            except OrthantError as error:
                report.problems.append(f"saved search {subscription.id}: {error}")
        _hand_over(run.outbox, delivery, report)
    counts = run.outbox.counts()
    report.waiting, report.refused = counts.get("pending", 0), counts.get("refused", 0)
    report.uncertain = counts.get("uncertain", 0)
    return report


class _Run:
    """What composing needs."""

    def __init__(self, feed: Feed, sender: str, places: Places) -> None:
        self.feed = feed
        self.database = feed.settings
        self.subscriptions = Subscriptions(feed)
        self.outbox = Outbox(self.database)
        self.sender = sender
        self.places = places

    def compose(self, subscription: Subscription) -> int:
        """Write what a saved search is to get now, and return how many letters that is."""
        now = self.database.clock()
        if subscription.confirmed is None:
            return self._ask(subscription, now)
        # A run that comes an hour early is the next day's.
        pause = EVERY[subscription.every] - _CLOCK_JITTER_S
        if subscription.composed is not None and now - subscription.composed < pause:
            return 0
        # What is committed after this look is looked at again by the next run, and is known by then.
        end = self.feed.collection._store.refreshed().next_row
        entries = self._new(subscription) if subscription.mark < end else []
        with self.database.writing() as connection:
            if connection.execute("SELECT ended FROM subscriptions WHERE id = ?", (subscription.id,)).fetchone()[0]:
                return 0
            connection.executemany("INSERT INTO told VALUES (?, ?)", [(subscription.id, entry.id) for entry in entries])
            if entries:
                shown = entries[: subscription.most]
                letter = digest_letter(
                    subscription,
                    shown,
                    len(entries) - len(shown),
                    sender=self.sender,
                    places=self.places,
                    token=self.subscriptions.link("unsubscribe", subscription),
                    now=now,
                )
                self.outbox.write(connection, subscription.id, "digest", subscription.address, letter, len(entries))
            # Where the collection was made anew its rows begin again, and so does the mark.
            connection.execute(
                "UPDATE subscriptions SET mark = ?, composed = CASE WHEN ? THEN ? ELSE composed END WHERE id = ?",
                (end, bool(entries), now, subscription.id),
            )
        return int(bool(entries))

    def _new(self, subscription: Subscription) -> list[Entry]:
        least = subscription.min_score
        if least is None and subscription.mode == "dense":
            least = as_close_as_now(self.feed, subscription.query)
        found = find_matches(
            self.feed,
            subscription.query,
            mode=subscription.mode,
            where=subscription.where,
            min_score=least,
            from_row=subscription.mark,
            most=_MOST_LOOKED_AT,
        )
        rows = self.database.rows("SELECT record FROM told WHERE subscription = ?", subscription.id)
        told = {record for (record,) in rows}
        return [entry for entry in found if entry.id not in told]

    def _ask(self, subscription: Subscription, now: float) -> int:
        if now - subscription.created > CONFIRM_WITHIN_S:
            self.subscriptions.remove(subscription.id)
            return 0
        if self.places.base_url is None:
            raise InputError(
                message("a reader who must confirm", "base_url, for the link", "pass base_url, or add it confirmed")
            )
        letter = request_letter(
            subscription,
            sender=self.sender,
            places=self.places,
            token=self.subscriptions.link("confirm", subscription),
            now=now,
        )
        with self.database.writing() as connection:
            asked = connection.execute(
                "SELECT 1 FROM outbox WHERE subscription = ? AND kind = 'confirm'", (subscription.id,)
            ).fetchone()
            if asked is not None:
                return 0
            self.outbox.write(connection, subscription.id, "confirm", subscription.address, letter, 0)
        return 1


class _Dropped(Exception):
    """The saved search ended while its letter was about to be handed over."""


def _hand_over(outbox: Outbox, delivery: Delivery, report: DigestReport) -> None:
    with delivery:
        for letter in outbox.pending():
            try:
                delivery.deliver(letter, lambda letter=letter: _begin(outbox, letter))  # type: ignore[misc]
            except _Dropped:
                continue
            except DeliveryError as error:
                state: Any = {"later": "pending", "refused": "refused", "unknown": "uncertain"}[error.outcome]
                outbox.settle(letter, state, str(error), counted=error.tried)
                report.problems.append(f"letter {letter.id}: {error}")
                if error.over:
                    return
                continue
            # Any other error, and a process that dies, leaves the letter as being handed over.
            outbox.settle(letter, "sent")
            report.sent += 1


def _begin(outbox: Outbox, letter: Letter) -> None:
    if not outbox.handing(letter):
        raise _Dropped
