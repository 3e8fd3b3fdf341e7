"""``orthant reproduce KEY``: run a paper's claims and say by exit code what they came to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer
    from rich.console import Console

    from orthant.papers.record import ClaimResult
    from orthant.papers.reproduce import ReproduceReport

__all__ = ["register", "reproduce_command"]


def reproduce_command(key: str, *, seed: int | None = None, quick: bool = False, json: bool = False) -> int:
    """Run the claims of a row; results go to stdout, progress to stderr.

    Parameters
    ----------
    key : str
        Key of the row, as listed by ``orthant papers``.
    seed : int, optional
        First seed; the claims' own fresh seeds when left out.
    quick : bool, default False
        Run one fresh seed and compare it with the committed result.
    json : bool, default False
        Print one JSON object instead of a table.

    Returns
    -------
    int
        0 the claims hold, 3 figures are only reported, 1 a claim fails, 4 data is missing.

    Raises
    ------
    OrthantError
        Unknown key, unusable seed, a missing extra, or a claim that stopped; nothing is printed on stdout then.
    """
    from rich.console import Console

    from orthant.papers.reproduce import reproduce

    log = Console(stderr=True, highlight=False)
    report = reproduce(key, seed=seed, quick=quick, progress=lambda line: log.print(line, style="dim", markup=False))
    if json:
        from json import dumps

        print(dumps(report.as_json(), ensure_ascii=False, indent=2, allow_nan=False))
    else:
        _show(report)
    return report.exit_code


def _show(report: ReproduceReport) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    console.print(f"{report.key}: {report.outcome} (status {report.status})", markup=False)
    if report.missing:
        names = ", ".join(report.missing)
        console.print(f"Data is missing: {names}. Point ORTHANT_DATA at the folder that holds it.", markup=False)
    elif not report.claims:
        console.print("No claim has been recorded for this paper yet.", markup=False)
    for claim in report.claims:
        _show_claim(console, claim)


def _show_claim(console: Console, claim: ClaimResult) -> None:
    from rich.table import Table

    metrics = list(claim.measured)
    lead = sum(claim.gains) / len(claim.gains)
    margin = "no margin, so nothing is claimed" if claim.margin is None else f"margin {claim.margin:g}"
    seeds = ", ".join(str(seed) for seed in claim.seeds)
    table = Table("arm", *metrics, title=f"{claim.name}: {claim.outcome}", title_justify="left")
    arms = {
        "measured": claim.measured,
        "baseline": claim.baseline,
        f"strongest alternative: {claim.alternative}": claim.strongest_alternative,
        f"mechanism off ({claim.ablated_outcome or 'reported'})": claim.ablated,
    }
    for name, figures in arms.items():
        if figures:
            table.add_row(name, *(f"{figures[metric]:.4g}" if metric in figures else "" for metric in metrics))
    console.print(claim.sentence, markup=False)
    console.print(table)
    console.print(f"{claim.metric}, {claim.direction} is better: ahead by {lead:.4g}; {margin}.", markup=False)
    console.print(f"{claim.data} data, seeds {seeds}, {claim.seconds:.1f} s. {claim.note}".rstrip(), markup=False)


def register(app: typer.Typer) -> None:
    """Add the verb ``reproduce`` to the command line.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    text = "Run a paper's claims. Exit code: 0 they hold, 3 only reported, 1 one fails, 4 data missing, 2 an error."

    @app.command("reproduce", help=text)
    def reproduce(
        key: str = typer.Argument(..., help="Key of the paper, as listed by `orthant papers`."),
        seed: int = typer.Option(None, help="First seed; the claim's own fresh seeds when left out."),
        quick: bool = typer.Option(False, "--quick", help="Run one fresh seed and compare with the committed result."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        raise typer.Exit(reproduce_command(key, seed=seed, quick=quick, json=json))
