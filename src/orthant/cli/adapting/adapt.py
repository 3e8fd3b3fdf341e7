"""``orthant adapt``: learn from pairs of a query and a record how queries are better asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

    from orthant.collection.adapting.report import AdaptReport

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb ``adapt``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command("adapt", help="Learn a correction of queries from pairs; nothing is stored without --apply.")
    def adapt(
        collection: str = typer.Argument(help="The collection's folder."),
        pairs: str = typer.Option(None, help="Rows with query and id: JSON lines, CSV or Parquet."),
        space: str = typer.Option("default", help="The vector space."),
        held_out: float = typer.Option(0.2, help="Share of the pairs held out to evaluate the adapter."),
        group_by: str = typer.Option(
            None, help="Hold out all pairs with the same value of this field, such as a module."
        ),
        sides: str = typer.Option(
            "auto",
            help="query; both: correct vectors of records too, which --reset undoes; auto: chosen by validation.",
        ),
        kind: str = typer.Option("linear", help="Kind of correction: linear or memory."),
        rank: int = typer.Option(None, help="Rank of the correction; default 32, or 128 for both sides."),
        alpha: float = typer.Option(0.05, help="Significance level: the chance of a false recommendation."),
        seed: int = typer.Option(0, help="Random seed of split, training and tests."),
        encoder: str = typer.Option(None, help="Needed if the collection was created with an encoder from a folder."),
        apply: bool = typer.Option(False, "--apply", help="Use the correction if it is significantly better."),
        reset: bool = typer.Option(False, "--reset", help="Remove the stored correction; learns nothing."),
        keep: bool = typer.Option(
            False, "--keep", help="Delete the old vectors of corrected records; --reset is then impossible."
        ),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.output import note, print_json
        from orthant.cli.spaces.opening import opened_with
        from orthant.collection.opening import open

        _check(collection, pairs, apply=apply, reset=reset, keep=keep)
        if reset or keep:
            with open(collection, encoder=encoder) as opened:
                done = opened.reset_adapter(space) if reset else opened.keep_adapter(space)
            said = ("stored correction taken away" if reset else "former vectors let go") if done else "none was stored"
            print_json({"reset" if reset else "keep": done}) if json else note(said)
            return
        with opened_with(collection, space=space, encoder=encoder, read_only=not apply) as opened:
            report = opened.adapt(
                pairs,
                space=space,
                sides=sides,  # type: ignore[arg-type]
                held_out=held_out,
                group_by=group_by,
                kind=kind,  # type: ignore[arg-type]
                rank=rank,
                alpha=alpha,
                seed=seed,
                apply="if-significant" if apply else False,
            )
        if json:
            print_json(report.to_dict())
        else:
            _show(report, asked=apply)


def _check(collection: str, pairs: str | None, *, apply: bool, reset: bool, keep: bool) -> None:
    from orthant.cli.output import require_collection
    from orthant.errors import InputError, message

    require_collection(collection)
    ends = "--reset" if reset else "--keep" if keep else None
    idle = [name for name, value in (("--pairs", pairs), ("--apply", apply), ("--keep", reset and keep)) if value]
    if ends and idle:
        raise InputError(message(f"{ends} beside {idle[0]}", "one of them", "run one after the other"))
    if not ends and pairs is None:
        raise InputError(message("no pairs", "--pairs", "name a file with the fields query and id"))


def _show(report: AdaptReport, *, asked: bool) -> None:
    from orthant.cli.output import note, print_pairs

    print(report.sentence, end="\n\n")
    rows: list[tuple[str, Any]] = [
        ("taught", f"{report.trained_pairs:,} pairs, {report.best_epoch} passes"),
        ("judged", f"{report.queries:,} queries, held out by {report.split_by}"),
        ("better/equal/worse", f"{report.wins}/{report.ties}/{report.losses}"),
    ]
    if len(report.validated) > 2:
        told = ", ".join(f"{side} {value:.4f}" for side, value in report.validated.items())
        rows.insert(1, ("sides chosen by", f"{told} (reciprocal rank of pairs set aside)"))
    left = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in report.left_out.items() if count)
    if left:
        rows.append(("left out", left))
    what = "queries and records" if report.sides == "both" else "the queries"
    print_pairs(rows, title=f"Correction of {what} of {report.space!r}")
    if report.applied:
        note("in use; take it back with --reset")
    elif report.recommended:
        note("nothing was stored; --apply does")
    elif asked:
        note("nothing was stored, since nothing is recommended")
