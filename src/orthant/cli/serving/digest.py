"""``orthant digest run | add | list | remove | fields``: saved searches, and what is new for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import typer

    from orthant.feed.digest import DigestReport
    from orthant.feed.entries import Feed
    from orthant.feed.subscriptions import Subscription

__all__ = ["register"]

_FOLDER = "The collection's folder."
_JSON = "Print one JSON object."
_ENCODER = "Needed where the collection was made with an encoder from a folder."
_PASSWORD = "ORTHANT_SMTP_PASSWORD"


def register(app: typer.Typer) -> None:
    """Add the verb ``digest`` with its actions.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    group = typer.Typer(
        help="Manage saved searches over a collection, whose new matches are sent by e-mail or written to files.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    _register_run(group)
    _register_add(group)
    _register_lists(group)
    _register_fields(group)
    app.add_typer(group, name="digest")


def _register_run(group: typer.Typer) -> None:
    import typer

    @group.command(
        "run",
        help="Send the new matches of every saved search; safe to repeat. Exit code 1: something could not be sent.",
    )
    def run(
        collection: str = typer.Argument(help=_FOLDER),
        to: str = typer.Option(None, "--to", help="Folder for one file per message, instead of mail."),
        html: bool = typer.Option(False, "--html", help="With --to: HTML pages instead of .eml messages."),
        smtp: str = typer.Option(None, "--smtp", help="Mail server: HOST or HOST:PORT."),
        security: str = typer.Option("starttls", help="starttls, tls or none (only for a server on this machine)."),
        user: str = typer.Option(None, help=f"Name at the mail server; the password is taken from {_PASSWORD}."),
        timeout: float = typer.Option(30.0, help="Seconds to wait for each answer of the mail server."),
        sender: str = typer.Option("orthant@localhost", "--from", help="Sender: NAME <ADDRESS>."),
        base_url: str = typer.Option(None, help="URL of the server, for links; needed for mail."),
        served_as: str = typer.Option(None, help="Name of the collection on the server; default: the folder's."),
        resend_uncertain: bool = typer.Option(
            False, "--resend-uncertain", help="Send again messages that may not have arrived."
        ),
        encoder: str = typer.Option(None, help=_ENCODER),
        json: bool = typer.Option(False, "--json", help=_JSON),
    ) -> None:
        from orthant.feed.digest import run_digest

        delivery = _delivery(to, html, smtp, {"security": security, "username": user, "timeout_s": timeout}, sender)
        with _feed(collection, encoder) as feed:
            report = run_digest(
                feed, delivery, sender=sender, base_url=base_url, served_as=served_as,
                resend_uncertain=resend_uncertain,
            )  # fmt: skip
        _show(report, json=json)
        raise typer.Exit(1 if report.problems else 0)


def _register_add(group: typer.Typer) -> None:
    import typer

    @group.command("add", help="Save a search; records that match already are not sent.")
    def add(
        collection: str = typer.Argument(help=_FOLDER),
        address: str = typer.Argument(help="E-mail address to send digests to."),
        query: str = typer.Argument("", help="What to look for; may be empty with --where."),
        mode: str = typer.Option(None, help="dense, lexical or filter; default: dense where there is an encoder."),
        where: str = typer.Option(None, help='Filter as JSON, such as \'{"year": {"gte": 2000}}\'.'),
        min_score: float = typer.Option(
            None, help="With dense: minimum score; default: that of the 20th best record now."
        ),
        most: int = typer.Option(20, help="Most entries of one digest."),
        every: str = typer.Option("day", help="run, day or week: how often a digest may go out."),
        confirm: bool = typer.Option(False, "--confirm", help="Ask the reader to confirm by a link first."),
        encoder: str = typer.Option(None, help=_ENCODER),
        json: bool = typer.Option(False, "--json", help=_JSON),
    ) -> None:
        from orthant.cli.output import parse_json_object, print_json
        from orthant.feed.subscriptions import Subscriptions

        conditions = parse_json_object(where, name="--where")
        with _feed(collection, encoder) as feed:
            found = Subscriptions(feed).add(
                address, query, mode=cast(Any, mode), where=conditions, min_score=min_score, most=most,
                every=cast(Any, every), confirmed=not confirm,
            )  # fmt: skip
        if json:
            print_json(found.to_dict())
            return
        close = "" if found.min_score is None else f", as close as {found.min_score:.3f}"
        print(f"Saved search {found.id} for {found.address}: {found.mode}{close}, every {found.every}, {found.state}.")


def _register_lists(group: typer.Typer) -> None:
    import typer

    @group.command("list", help="List the saved searches of a collection.")
    def list_(
        collection: str = typer.Argument(help=_FOLDER),
        ended: bool = typer.Option(False, "--ended", help="Also list cancelled ones."),
        json: bool = typer.Option(False, "--json", help=_JSON),
    ) -> None:
        from orthant.cli.output import print_json, print_table
        from orthant.feed.outbox import Outbox
        from orthant.feed.subscriptions import Subscriptions

        with _feed(collection, None) as feed:
            searches = Subscriptions(feed)
            found, letters = searches.list(ended=ended), Outbox(searches.database).counts()
        if json:
            print_json({"saved": [one.to_dict() for one in found], "letters": letters})
            return
        rows = [(str(one.id), one.address, _about(one), one.every, one.state) for one in found]
        caption = ", ".join(f"{count} {state}" for state, count in letters.items())
        print_table(
            "Saved searches" if rows else "No saved searches.",
            ("id#", "address", "about", "every", "state"),
            rows,
            caption=f"Letters: {caption}" if caption else "",
        )

    @group.command("remove", help="Cancel a saved search.")
    def remove(
        collection: str = typer.Argument(help=_FOLDER),
        number: int = typer.Argument(help="Its id, as `list` shows it."),
        json: bool = typer.Option(False, "--json", help=_JSON),
    ) -> None:
        from orthant.cli.output import print_json
        from orthant.feed.subscriptions import Subscriptions

        with _feed(collection, None) as feed:
            found = Subscriptions(feed).remove(number)
        if json:
            print_json({"ended": found.id, "address": found.address})
        else:
            print(f"Ended saved search {found.id} of {found.address}.")


def _register_fields(group: typer.Typer) -> None:
    import typer

    @group.command("fields", help="Set the fields of dates and titles, if they are not recognised by name.")
    def fields(
        collection: str = typer.Argument(help=_FOLDER),
        date: str = typer.Option(None, help="Field with the dates."),
        title: str = typer.Option(None, help="Field with the titles."),
        json: bool = typer.Option(False, "--json", help=_JSON),
    ) -> None:
        from orthant.cli.output import print_json

        with _feed(collection, None) as feed:
            _check_fields(feed, date, title)
            held = {
                name: feed.settings.setting(name, value)
                for name, value in (("date_field", date), ("title_field", title))
            }
            held["date_field"] = feed.date_field
        if json:
            print_json(held)
            return
        print(f"Dates: {held['date_field'] or 'none, in the order of writing'}.")
        print(f"Titles: {held['title_field'] or 'title, headline, subject or name, else the first line'}.")


def _check_fields(feed: Feed, *names: str | None) -> None:
    """Refuse a field that nothing has: the feed would lose its dates without a word."""
    from orthant.errors import InputError, message

    known = feed.collection.stats().fields
    for name in names:
        if name is not None and known and name not in known:
            given = f"field {name!r}, which none of the records has"
            raise InputError(message(given, f"one of: {', '.join(map(str, known))}", "check the spelling"))


@contextmanager
def _feed(folder: str, encoder: str | None) -> Iterator[Feed]:
    from orthant.collection.opening import open
    from orthant.feed.entries import Feed

    with open(folder, read_only=True, encoder=encoder) as collection:
        feed = Feed.beside(collection)
        try:
            yield feed
        finally:
            feed.settings.close()


def _delivery(to: str | None, html: bool, smtp: str | None, settings: dict[str, Any], sender: str) -> Any:
    import os

    from orthant.errors import InputError, message
    from orthant.feed.delivery import FolderDelivery
    from orthant.feed.smtp import SmtpDelivery

    if (to is None) == (smtp is None):
        given = "neither --to nor --smtp" if to is None else "both --to and --smtp"
        raise InputError(message(given, "one of them", "say where letters go: to a folder, or to a mail server"))
    if to is not None:
        return FolderDelivery(to, form="html" if html else "eml")
    host, sign, port = str(smtp).rpartition(":")
    if sign and not port.isdigit():
        raise InputError(message(f"--smtp {smtp!r}", "HOST or HOST:PORT", "correct it"))
    password = os.environ.get(_PASSWORD) if settings["username"] is not None else None
    if settings["username"] is not None and not password:
        raise InputError(message(f"--user without {_PASSWORD}", "the password in that variable", "set it"))
    return SmtpDelivery(
        host if sign else port, port=int(port) if sign else None, sender=sender, password=password, **settings
    )


def _about(one: Subscription) -> str:
    return " ".join(part for part in (one.query, str(one.where) if one.where else "") if part)


def _show(report: DigestReport, *, json: bool) -> None:
    from orthant.cli.output import note, print_json

    if json:
        print_json(report.to_dict())
        return
    print(f"Wrote {report.written} letters and handed over {report.sent}; {report.waiting} wait.")
    if report.refused:
        print(f"Refused for good, in all runs: {report.refused}.")
    if report.uncertain:
        print(f"May have arrived: {report.uncertain}; --resend-uncertain sends them again.")
    for problem in report.problems:
        note(problem)
