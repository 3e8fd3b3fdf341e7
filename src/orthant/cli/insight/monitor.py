"""``orthant monitor``: the report of a file that a monitor writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb ``monitor``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command(
        "monitor", help="Show the report of a monitor from its file. Exit 0: no change; 1: a change was reported."
    )
    def monitor(
        file: str = typer.Argument(help="The file given to Collection.monitor."),
        plot: str = typer.Option(None, help="Also draw the report to this SVG file."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.output import note, print_json
        from orthant.collection.insight.report import read_report

        report = read_report(file)
        if plot is not None:
            report.plot(plot)
            note(f"drawn to {plot}")
        if json:
            print_json(report.to_dict())
        else:
            print(report)
        raise typer.Exit(1 if report.changes else 0)
