"""``orthant papers``: the catalogue as a table or as one JSON object."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

__all__ = ["papers_command", "register"]


def papers_command(*, json: bool = False, wing: str | None = None, status: str | None = None) -> int:
    """Print the rows of the catalogue on stdout.

    Parameters
    ----------
    json : bool, default False
        Print one JSON object instead of a table.
    wing : str, optional
        Only the rows of one wing: ``search``, ``space``, ``text``, ``recommend`` or ``vision``.
    status : str, optional
        Only the rows of one status: ``shown``, ``shown-generated``, ``works`` or ``planned``.

    Returns
    -------
    int
        Exit code 0.

    Raises
    ------
    InputError
        An unknown wing or status.
    """
    from orthant.papers.catalogue import as_json, counts
    from orthant.papers.record import STATUSES, WINGS
    from orthant.validate import check_choice

    for value, allowed, name in ((wing, WINGS, "wing"), (status, STATUSES, "status")):
        if value is not None:
            check_choice(value, allowed, name=name)
    rows = [row for row in as_json()["papers"] if wing in (None, row["wing"]) and status in (None, row["status"])]
    if json:
        from json import dumps

        print(dumps({"papers": rows}, ensure_ascii=False, indent=2))
        return 0
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{len(rows)} papers", caption=", ".join(f"{n} {name}" for name, n in counts().items()))
    for name in ("key", "year", "status"):
        table.add_column(name, no_wrap=True)
    table.add_column("title, home, last measured", overflow="fold")
    for row in rows:
        homes = ", ".join(module.removeprefix("orthant.") for module in row["lives_in"])
        about = Text.assemble(row["title"], (f"\n{homes}\n{row['last_measured']}", "dim"))
        table.add_row(row["key"], str(row["year"]), row["status"], about)
    Console().print(table)
    return 0


def register(app: typer.Typer) -> None:
    """Add the verb ``papers`` to the command line.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command("papers", help="List the papers Orthant is built from: modules, status and claims of each.")
    def papers(
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
        wing: str = typer.Option(None, help="Only one wing: search, space, text, recommend or vision."),
        status: str = typer.Option(None, help="Only one status: shown, shown-generated, works or planned."),
    ) -> None:
        raise typer.Exit(papers_command(json=json, wing=wing, status=status))
